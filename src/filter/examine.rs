//! Filters that look into a body, as it comes. They run once head and route have passed all others, in the order written, and
//! before anything is taken from a limit.

use super::admission::ask;
use super::findings::Findings;
use super::guard::{Guarding, Passed};
use super::kinds::{FilterPlan, Filters, holder_of};
use super::model::{ModelReader, Read, asks_for_none};
use super::validate::Checking;
use super::verdict::{Refused, Verdict, View};
use crate::base::ids::FilterId;
use crate::codec::content::{Kind, kind};
use crate::codec::unreadable;

/// What is found out of one body.
pub struct Examination<'p> {
    /// The filter that asked first for the model, if any: what breaks its reading is told by it.
    asker: Option<FilterId>,
    model: Model,
    /// Filters that judge by the body, in their order.
    judges: Vec<(FilterId, Judge<'p>)>,
}

/// How far the reading of the model is.
enum Model {
    Reading(ModelReader),
    Read(Read),
}

/// A filter that judges by the body.
enum Judge<'p> {
    /// By the model that it names.
    Model,
    /// By all of it.
    Check(Checking<'p>),
    /// By its texts.
    Guard(Guarding<'p>),
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
                _ => Judge::Model,
            };
            (*id, judge)
        };
        let judges: Vec<_> = findings.waiting.iter().map(judge).collect();
        let by_holder =
            holder_of(filters, findings).filter(|(_, holder)| holder.models.is_some() && !is_free(view));
        let by_judge = || judges.iter().find(|(_, judge)| matches!(judge, Judge::Model)).map(|(id, _)| *id);
        let by_words = || chains.find(|id| filters[**id].1.says_model()).copied();
        let asker = by_holder.map(|(id, _)| id).or_else(by_judge).or_else(by_words);
        if asker.is_none() && judges.is_empty() {
            return None;
        }
        let model = match (asker, kind(view.head)) {
            (Some(_), Kind::Plain) => Model::Reading(ModelReader::new(view.head)),
            // Whoever does not look at the label reads it all the same.
            (Some(_), Kind::Encoded) => Model::Read(Err(unreadable::encoded())),
            (Some(_), Kind::Absent) | (None, _) => Model::Read(Ok(None)),
        };
        Some(Self { asker, model, judges })
    }

    /// Bytes of the body that may be needed; none where all of them may.
    pub fn needs(&self) -> Option<u64> {
        match &self.model {
            Model::Reading(reader) if !self.needs_all() => reader.needs(),
            _ => None,
        }
    }

    /// Whether no further byte can change what is found.
    pub fn is_over(&self) -> bool {
        matches!(self.model, Model::Read(_)) && !self.needs_all()
    }

    fn needs_all(&self) -> bool {
        self.judges.iter().any(|(_, judge)| !matches!(judge, Judge::Model))
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if let Model::Reading(reader) = &mut self.model
            && let Some(read) = reader.feed(bytes)
        {
            self.model = Model::Read(read);
        }
        for (_, judge) in &mut self.judges {
            match judge {
                Judge::Model => {}
                Judge::Check(check) => check.feed(bytes),
                Judge::Guard(guard) => guard.feed(bytes),
            }
        }
    }

    /// The body ended, or nobody needs more of it: judges by what was found. `passed` hears of each that did not refuse.
    pub fn end(
        self,
        filters: &Filters,
        view: &View<'_>,
        findings: &mut Findings,
        mut passed: impl FnMut(FilterId),
    ) -> Result<(), Refused> {
        findings.waiting.clear();
        findings.models.path = view.path_model.map(Into::into);
        if let Some(asker) = self.asker {
            let read = match self.model {
                Model::Reading(mut reader) => reader.end(),
                Model::Read(read) => read,
            };
            findings.models.body = read.map_err(|refusal| (asker, refusal))?;
        }
        if let Some((id, holder)) = holder_of(filters, findings)
            && let Some(allowed) = &holder.models
            && !is_free(view)
        {
            findings.models.among(allowed).map_err(|refusal| (id, refusal))?;
        }
        for (id, judge) in self.judges {
            let verdict = match (judge, &filters[id].1) {
                (Judge::Check(check), _) => check.end().map_or_else(Verdict::Refuse, |()| Verdict::Continue),
                (Judge::Guard(guard), _) => match guard.end() {
                    Ok(Passed { is_flagged, splices }) => {
                        findings.flagged = findings.flagged.or(is_flagged.then_some(id));
                        findings.splices.extend(splices);
                        Verdict::Continue
                    }
                    Err(refusal) => Verdict::Refuse(refusal),
                },
                (Judge::Model, FilterPlan::RateLimit(limit)) => ask(id, limit, filters, view, findings),
                (Judge::Model, _) => Verdict::Continue,
            };
            match verdict {
                Verdict::Continue | Verdict::Later => passed(id),
                Verdict::Refuse(refusal) => return Err((id, refusal)),
            }
        }
        Ok(())
    }
}

/// Whether it needs to name no model to pass.
fn is_free(view: &View<'_>) -> bool {
    view.path_model.is_none() && asks_for_none(view.head)
}
