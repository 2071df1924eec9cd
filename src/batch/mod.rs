//! Several requests as one call, and its answer as several: what the engines' protocols have in common, bytes to bytes. Pure.
//!
//! A request is read into a [`Member`]: where its items stand in its body, and a digest of everything else. Those of one
//! digest may travel together: [`Protocol::merge`] writes their items into the body of the first, [`Protocol::split`] gives
//! each its own part of the answer. One that has too many items is [cut](Protocol::cut), and the answers to the pieces are
//! [joined](Protocol::join).
//!
//! The law, for any server that answers item by item: the parts of the answer to all are the answers to each, but for `usage`,
//! whose shares sum to the whole. An item passes as it was written, to the byte, in both directions.
//!
//! What a request says that no two readers may differ about must be plain: one that is not goes alone, as it came. An answer
//! is taken as it is as far as it can be taken apart; one that cannot is [`Unfit`], for all members.

use bytes::Bytes;

use crate::base::limits::{PIECE_COMMON_BYTES_MAX, PIECES_MAX};
use crate::codec::json::skim;

mod answer;
mod join;
mod list;
mod member;
mod rewrite;
mod split;
mod tensor;
mod tensors;
mod unfit;
mod usage;

#[cfg(test)]
mod law_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use member::Member;
pub use unfit::Unfit;

use list::{Accepted, List, Order};

/// How requests and answers of one kind are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protocol {
    /// `/v1/embeddings`: `input` and `data`.
    OpenaiEmbeddings,
    /// `/v1/completions`: `prompt` and `choices`, `n` of them for each.
    OpenaiCompletions,
    /// `/embed` of Text Embeddings Inference: `inputs`, answered by a bare list.
    TeiEmbed,
    /// `/rerank` of Text Embeddings Inference: `texts`, answered by a bare ranking.
    TeiRerank,
    /// `/rerank` of Cohere, Jina and vLLM: `documents` and `results`.
    CohereRerank,
    /// The Open Inference Protocol, `/v2/models/{model}/infer`: tensors, joined along their first dimension.
    KserveV2,
    /// Any other whose items are a list, as its answer is.
    JsonArray {
        /// The JSON member of a request that has the items.
        request: String,
        /// The JSON member of the answer that has what became of them.
        answer: String,
    },
}

impl Protocol {
    /// Whether a request to this path, without its query, speaks it: a server may have others whose bodies look the same and mean
    /// something else. Slashes at its end do not count.
    pub fn is_at(&self, path: &[u8]) -> bool {
        let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let ends: &[&str] = match self {
            Self::OpenaiEmbeddings => &["/embeddings"],
            Self::OpenaiCompletions => {
                return path[..end].ends_with(b"/completions")
                    && !path[..end].ends_with(b"/chat/completions");
            }
            Self::TeiEmbed => &["/embed", "/embed_all", "/embed_sparse"],
            Self::TeiRerank | Self::CohereRerank => &["/rerank"],
            Self::KserveV2 => &["/infer"],
            Self::JsonArray { .. } => &[""],
        };
        ends.iter().any(|known| path[..end].ends_with(known.as_bytes()))
    }

    /// Whether a request with this body, where it may go by itself, may go unread: it has items, no more than `most`, for between
    /// two of them stands a comma, and nothing with which it would travel alone. False where only reading it tells.
    pub fn may_go_unread(&self, body: &[u8], most: usize) -> bool {
        if matches!(self, Self::JsonArray { .. }) {
            return false;
        }
        let Some(list) = self.list() else { return false };
        if !skim::is_object_without_escapes(body) || !skim::has_fewer_commas(body, most) {
            return false;
        }
        let mut has_items = false;
        for text in skim::texts(body) {
            has_items |= text == list.items.as_bytes();
            if list.alone().any(|name| text == name.as_bytes()) {
                return false;
            }
        }
        has_items
    }

    /// The member that a request with this body is; none where it must travel alone, as it came.
    pub fn read(&self, body: Bytes) -> Option<Member> {
        match self.list() {
            Some(list) => list.read(body),
            None => tensors::read(body),
        }
    }

    /// The body of one call for all of `members`, which have the same parameters: those of the first, as they are written there.
    pub fn merge(&self, members: &[&Member]) -> Vec<u8> {
        match self.list() {
            Some(list) => list.merge(members),
            None => tensors::merge(members),
        }
    }

    /// The answer that each of `members` gets, out of the one to the call for all of them.
    pub fn split(&self, members: &[&Member], answer: &[u8]) -> Result<Vec<Vec<u8>>, Unfit> {
        match self.list() {
            Some(list) => split::split(&list, members, answer),
            None => tensors::split(members, answer),
        }
    }

    /// `member` as pieces of at most `most` items each, in their order. One that has no more is its only piece, and travels and is
    /// answered as any other. None where it would be too many, or each would say too much beside its items.
    pub fn cut(&self, member: &Member, most: usize) -> Option<Vec<Member>> {
        let most = most.max(1);
        let pieces = member.items().div_ceil(most);
        if pieces <= 1 {
            return Some(vec![member.clone()]);
        }
        if pieces > PIECES_MAX {
            return None;
        }
        let frame = match self.list() {
            Some(list) => list.frame(&member.body),
            None => tensors::frame(&member.body),
        };
        (frame.len() <= PIECE_COMMON_BYTES_MAX).then(|| member.cut(most, &frame.into()))
    }

    /// The answer to `member`, out of those to the pieces that it was cut into, in their order.
    pub fn join(&self, member: &Member, pieces: &[Member], answers: &[&[u8]]) -> Result<Vec<u8>, Unfit> {
        if pieces.is_empty() || pieces.len() != answers.len() {
            return Err(Unfit::Count);
        }
        match self.list() {
            Some(list) => join::join(&list, member, pieces, answers),
            None => tensors::join(member, pieces, answers),
        }
    }

    /// The JSON member of a request that has the items, as an error's `param` names it.
    pub fn items_name(&self) -> &str {
        self.list().map_or(tensors::INPUTS, |list| list.items)
    }

    /// Where the items are one list; none where they are tensors.
    fn list(&self) -> Option<List<'_>> {
        let plain = List {
            items: "inputs",
            accepted: Accepted::Prompts,
            count: None,
            top: None,
            alone: &[],
            answer: None,
            order: Order::Place,
        };
        Some(match self {
            Self::OpenaiEmbeddings => List {
                items: "input",
                // vLLM embeds a conversation too.
                alone: &["messages"],
                answer: Some("data"),
                order: Order::Index,
                ..plain
            },
            Self::OpenaiCompletions => List {
                items: "prompt",
                count: Some("n"),
                // vLLM takes prompts that are vectors beside those that are texts, and answers both in one list.
                // What it hands from one engine to another is of one prompt.
                alone: &["prompt_embeds", "kv_transfer_params"],
                answer: Some("choices"),
                order: Order::Index,
                ..plain
            },
            Self::TeiEmbed => plain,
            Self::TeiRerank => {
                List { items: "texts", accepted: Accepted::Texts, order: Order::Ranked("score"), ..plain }
            }
            Self::CohereRerank => List {
                items: "documents",
                accepted: Accepted::Documents,
                top: Some("top_n"),
                answer: Some("results"),
                order: Order::Ranked("relevance_score"),
                ..plain
            },
            Self::JsonArray { request, answer } => {
                List { items: request, accepted: Accepted::Anything, answer: Some(answer), ..plain }
            }
            Self::KserveV2 => return None,
        })
    }
}
