//! Filters that look into a body, as it comes. They run once head and route have passed all others, in the order written, and
//! before anything is taken from a limit.

use super::findings::Findings;
use super::kinds::{Filters, holder_of};
use super::model::{ModelReader, Read, asks_for_none};
use super::verdict::{Verdict, View};
use super::{Refused, judge_body};
use crate::base::ids::FilterId;
use crate::codec::content::{Kind, kind};
use crate::codec::unreadable;

/// What is found out of one body.
pub struct Examination {
    /// The filter that asked first for it: what breaks the body is told by it.
    asker: FilterId,
    /// Reads the model, where somebody asks for it, until it is read.
    reader: Option<ModelReader>,
    model: Option<Read>,
}

impl Examination {
    /// Of a request that passed all that its head and its route decide; none where nobody asks for its body. `chains` are all
    /// filters that it meets.
    pub fn new<'c>(
        filters: &Filters,
        chains: impl Iterator<Item = &'c FilterId>,
        view: &View<'_>,
        findings: &Findings,
    ) -> Option<Self> {
        let by_holder = holder_of(filters, findings);
        let asker = match by_holder.filter(|(_, holder)| holder.models.is_some() && !is_free(view)) {
            Some((id, _)) => Some(id),
            None => {
                let mut chains = chains;
                let says_model = |id: &&FilterId| filters[**id].1.says_model();
                findings.waiting.first().copied().or_else(|| chains.find(says_model).copied())
            }
        }?;
        let mut examination = Self { asker, reader: None, model: None };
        match kind(view.head) {
            Kind::Plain => examination.reader = Some(ModelReader::new(view.head)),
            Kind::Absent => examination.model = Some(Ok(None)),
            // Whoever does not look at the label reads it all the same.
            Kind::Encoded => examination.model = Some(Err(unreadable::encoded())),
        }
        Some(examination)
    }

    /// Bytes of the body that may be needed; none where all of them may.
    pub fn needs(&self) -> Option<u64> {
        self.reader.as_ref().and_then(ModelReader::needs)
    }

    /// Whether no further byte can change what is found.
    pub fn is_over(&self) -> bool {
        self.reader.is_none()
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if let Some(reader) = &mut self.reader
            && let Some(read) = reader.feed(bytes)
        {
            self.model = Some(read);
            self.reader = None;
        }
    }

    /// The body ended, or nobody needs more of it: judges by what was found. `passed` hears of each that did not refuse.
    pub fn end(
        mut self,
        filters: &Filters,
        view: &View<'_>,
        findings: &mut Findings,
        mut passed: impl FnMut(FilterId),
    ) -> Result<(), Refused> {
        let of_reader = self.reader.as_mut().map(ModelReader::end);
        let model = of_reader.or(self.model).unwrap_or(Ok(None)).map_err(|refusal| (self.asker, refusal))?;
        findings.models.path = view.path_model.map(Into::into);
        findings.models.body = model;
        if let Some((id, holder)) = holder_of(filters, findings)
            && let Some(allowed) = &holder.models
            && !is_free(view)
        {
            findings.models.among(allowed).map_err(|refusal| (id, refusal))?;
        }
        for id in std::mem::take(&mut findings.waiting) {
            match judge_body(id, filters, view, findings) {
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
