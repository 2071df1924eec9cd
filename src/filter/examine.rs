//! Filters that look into a body, as it comes. They run once head and route have passed all others, in the order written, and
//! before anything is taken from a limit.

use std::collections::VecDeque;
use std::sync::Arc;

use super::admission::{ask, ask_holder};
use super::estimate::Estimate;
use super::findings::Findings;
use super::guard::{Guarding, Passed};
use super::kinds::{FilterPlan, Filters, holder_of};
use super::model::{ModelReader, Read, Said, asks_for_none, no_name};
use super::rate_limit::{Counted, RateLimit};
use super::validate::Checking;
use super::verdict::{Refused, Step, Verdict, View};
use crate::base::ids::FilterId;
use crate::codec::content::{BodyScanner, Kind, kind};
use crate::codec::json::Wanted;
use crate::codec::json::walker::Walker;
use crate::codec::unreadable;

/// What is found out of one body.
pub struct Examination<'p> {
    /// The filter that asked first for the model, or for tokens, if any: what breaks the reading is told by it.
    asker: Option<FilterId>,
    model: Model,
    /// Counts tokens, where somebody asks for them.
    estimate: Option<Box<Walker<Estimate>>>,
    /// Filters that judge by the body, in their order.
    judges: VecDeque<(FilterId, Judge<'p>)>,
    /// What the model and the tokens say was judged: how many tokens are asked for.
    judged: Option<u64>,
    /// Bytes so far.
    seen: u64,
}

/// How far the reading of the model is.
enum Model {
    Reading(ModelReader),
    /// It says this, if the rest of it is sound.
    Foreseen(Said, ModelReader),
    Read(Read),
}

/// A filter that judges by the body.
enum Judge<'p> {
    /// By the model that it names, or by the tokens that it may take.
    Limit,
    /// By all of it.
    Check(Checking<'p>),
    /// By its texts.
    Guard(Guarding<'p>),
    /// By what a service says, that is told so much of it.
    Ask(u64),
}

impl<'p> Examination<'p> {
    /// Of a request that passed all that its head and its route decide; none where nobody asks for its body. `chains` are all
    /// filters that it meets.
    pub fn new<'c>(
        filters: &'p Filters,
        mut chains: impl Iterator<Item = &'c FilterId>,
        view: &View<'_>,
        findings: &Findings,
    ) -> Option<Self> {
        let judge = |id: &FilterId| {
            let judge = match &filters[*id].1 {
                FilterPlan::Validate(validate) => Judge::Check(validate.check(view)),
                FilterPlan::Guard(guard) => Judge::Guard(guard.check(view.head)),
                FilterPlan::Ask(ask) => Judge::Ask(ask.body as u64),
                _ => Judge::Limit,
            };
            (*id, judge)
        };
        let judges: VecDeque<_> = findings.waiting.iter().map(judge).collect();
        let holder = holder_of(filters, findings);
        let limits = |has: fn(&RateLimit) -> bool| {
            let mut waiting = findings.waiting.iter();
            waiting.find(|id| matches!(&filters[**id].1, FilterPlan::RateLimit(limit) if has(limit))).copied()
        };
        let by_models =
            holder.filter(|(_, holder)| holder.models.is_some() && !is_free(view)).map(|(id, _)| id);
        let asks_model = by_models
            .or_else(|| limits(RateLimit::needs_model))
            .or_else(|| chains.find(|id| filters[**id].1.says_model()).copied());
        let by_tokens = holder.filter(|(_, holder)| holder.tokens.is_some()).map(|(id, _)| id);
        let asks_tokens = by_tokens.or_else(|| limits(|limit| limit.tokens.is_some()));
        let asker = asks_model.or(asks_tokens);
        let reads = asker.is_some() || view.asks_model;
        if !reads && judges.is_empty() {
            return None;
        }
        let model = match (reads, kind(view.head)) {
            // Who counts tokens must read the body as the engine will, as well.
            (true, Kind::Plain) => Model::Reading(ModelReader::new(view.head)),
            // Whoever does not look at the label reads it all the same.
            (true, Kind::Encoded) => Model::Read(Err(unreadable::encoded())),
            _ => Model::Read(Ok(Said::Nothing)),
        };
        let estimate = asks_tokens.map(|_| Box::new(Walker::new(Estimate::default())));
        Some(Self { asker, model, estimate, judges, judged: None, seen: 0 })
    }

    /// Bytes of the body that may be needed; none where all of them may.
    pub fn needs(&self) -> Option<u64> {
        let of_model = match &self.model {
            Model::Reading(reader) => Some(reader.needs()?),
            Model::Foreseen(..) | Model::Read(_) => None,
        };
        let of_judges = self.judges.iter().map(|(_, judge)| match judge {
            Judge::Limit => Some(0),
            Judge::Ask(most) => Some(*most),
            Judge::Check(_) | Judge::Guard(_) => None,
        });
        if self.estimate.is_some() {
            return None;
        }
        of_judges.chain([Some(of_model.unwrap_or(0))]).try_fold(0, |most, needs| Some(needs?.max(most)))
    }

    /// Whether no further byte can change what is found, if they are sound.
    pub fn is_over(&self) -> bool {
        let is_read = !matches!(self.model, Model::Reading(_)) && self.estimate.is_none();
        is_read
            && self.judges.iter().all(|(_, judge)| match judge {
                Judge::Limit => true,
                Judge::Ask(most) => self.seen >= *most,
                Judge::Check(_) | Judge::Guard(_) => false,
            })
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.seen += bytes.len() as u64;
        self.read_model(|reader| reader.feed(bytes));
        if let Some(estimate) = &mut self.estimate {
            // What is no JSON tells nothing of tokens; whether it may be that is for others to say.
            let _ = estimate.feed(bytes);
        }
        for (_, judge) in &mut self.judges {
            match judge {
                Judge::Limit | Judge::Ask(_) => {}
                Judge::Check(check) => check.feed(bytes),
                Judge::Guard(guard) => guard.feed(bytes),
            }
        }
    }

    /// The body ended.
    pub fn end(&mut self) {
        self.read_model(|reader| Some(reader.end()));
    }

    /// Who looks on for a model where what was read says already which it is, with the member that is looked for.
    pub fn take_scanner(&mut self) -> Option<(Box<BodyScanner>, &'static Arc<Wanted>)> {
        match std::mem::replace(&mut self.model, Model::Read(Ok(Said::Nothing))) {
            Model::Foreseen(said, reader) => {
                self.model = Model::Read(Ok(said));
                Some(reader.into_scanner())
            }
            other => {
                self.model = other;
                None
            }
        }
    }

    /// Whether some service is told of the body.
    pub fn tells_body(&self) -> bool {
        self.judges.iter().any(|(_, judge)| matches!(judge, Judge::Ask(_)))
    }

    /// Reads on for the model.
    fn read_model(&mut self, read: impl FnOnce(&mut ModelReader) -> Option<Read>) {
        let (foreseen, mut reader) = match std::mem::replace(&mut self.model, Model::Read(Ok(Said::Nothing)))
        {
            Model::Reading(reader) => (None, reader),
            Model::Foreseen(said, reader) => (Some(said), reader),
            Model::Read(read) => return self.model = Model::Read(read),
        };
        self.model = match (read(&mut reader), foreseen) {
            (Some(read), _) => Model::Read(read),
            (None, Some(said)) => Model::Foreseen(said, reader),
            (None, None) => match reader.foreseen() {
                Some(said) => Model::Foreseen(said, reader),
                None => Model::Reading(reader),
            },
        };
    }

    /// The body ended, or nobody needs more of it: judges by what was found, until a filter refuses the request, or asks.
    /// `passed` hears of each that did not.
    pub fn judge(
        &mut self,
        filters: &Filters,
        view: &View<'_>,
        findings: &mut Findings,
        mut passed: impl FnMut(FilterId),
    ) -> Result<Step, Refused> {
        let tokens = match self.judged {
            Some(tokens) => tokens,
            None => {
                let tokens = self.judge_model(filters, view, findings)?;
                *self.judged.insert(tokens)
            }
        };
        while let Some((id, judge)) = self.judges.pop_front() {
            let verdict = match (judge, &filters[id].1) {
                (Judge::Ask(_), _) => Verdict::Ask,
                (Judge::Check(check), _) => check.end().map_or_else(Verdict::Refuse, |()| Verdict::Continue),
                (Judge::Guard(guard), _) => match guard.end() {
                    Ok(Passed { is_flagged, splices }) => {
                        findings.flagged = findings.flagged.or(is_flagged.then_some(id));
                        findings.splices.extend(splices);
                        Verdict::Continue
                    }
                    Err(refusal) => Verdict::Refuse(refusal),
                },
                (Judge::Limit, FilterPlan::RateLimit(limit)) => {
                    ask_late((id, limit), tokens, filters, view, findings)
                }
                (Judge::Limit, _) => Verdict::Continue,
            };
            match verdict {
                Verdict::Continue | Verdict::Later => passed(id),
                Verdict::Ask => return Ok(Step::Ask(id)),
                Verdict::Refuse(refusal) => return Err((id, refusal)),
            }
        }
        Ok(Step::Done)
    }

    /// Judges by the model and the tokens of whose request it is; the tokens that it asks for.
    fn judge_model(
        &mut self,
        filters: &Filters,
        view: &View<'_>,
        findings: &mut Findings,
    ) -> Result<u64, Refused> {
        findings.waiting.clear();
        findings.models.path = view.path_model.map(Into::into);
        let read = match std::mem::replace(&mut self.model, Model::Read(Ok(Said::Nothing))) {
            Model::Reading(mut reader) | Model::Foreseen(_, mut reader) => reader.end(),
            Model::Read(read) => read,
        };
        match (read, self.asker) {
            (Ok(Said::NoName), _)
                if view.asks_model && !view.edits.is_some_and(|edits| edits.replaces("model")) =>
            {
                findings.unreadable = Some(no_name());
            }
            (Ok(said), _) => findings.models.body = said.or_of_route(view.edits),
            (Err(refusal), Some(asker)) => return Err((asker, refusal)),
            // No filter refuses it: whoever needs the model does.
            (Err(refusal), None) => findings.unreadable = Some(refusal),
        }
        if let Some((id, holder)) = holder_of(filters, findings)
            && let Some(allowed) = &holder.models
            && !is_free(view)
        {
            findings.models.among(allowed).map_err(|refusal| (id, refusal))?;
        }
        let tokens = self.estimate.take().map_or(0, |estimate| estimated(*estimate, view, findings));
        if let Some(id) = holder_of(filters, findings).map(|(id, _)| id)
            && let Verdict::Refuse(refusal) = ask_holder(filters, tokens, view.now, findings)
        {
            return Err((id, refusal));
        }
        Ok(tokens)
    }
}

/// What a body says of tokens: one at least, for who asks a model pays something. Has the engine tell of a stream.
fn estimated(mut estimate: Walker<Estimate>, view: &View<'_>, findings: &mut Findings) -> u64 {
    let is_whole = estimate.finish().is_ok();
    let read = estimate.into_listener();
    let tokens = read.tokens();
    findings.estimated = Some(tokens);
    // What the route changes may have to do with it: then it is looked at what comes of that.
    if view.edits.is_some() {
        findings.asks_usage = true;
    } else if is_whole && let Some(splice) = read.ask_for_usage(view.operation) {
        findings.splices.push(splice);
        findings.hides_usage = true;
    }
    if kind(view.head) == Kind::Absent { 0 } else { tokens.total.max(1) }
}

/// Asks a limit that had to wait: for requests too, where it had to know the model.
fn ask_late(
    (id, limit): (FilterId, &RateLimit),
    tokens: u64,
    filters: &Filters,
    view: &View<'_>,
    findings: &mut Findings,
) -> Verdict {
    if limit.needs_model() {
        let verdict = ask((id, limit), (Counted::Requests, 1), filters, view, findings);
        if !matches!(verdict, Verdict::Continue) {
            return verdict;
        }
    }
    ask((id, limit), (Counted::Tokens, tokens), filters, view, findings)
}

/// Whether it needs to name no model to pass.
fn is_free(view: &View<'_>) -> bool {
    view.path_model.is_none() && asks_for_none(view.head)
}
