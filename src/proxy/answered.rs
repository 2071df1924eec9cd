//! What a request is answered with: who says it, and where its body comes from.

use super::lines::Lines;
use super::source::Relayed;
use super::told::Told;
use crate::codec::reply::LocalReply;

/// What a request is answered with.
#[allow(
    clippy::large_enum_variant,
    reason = "the large one is the usual one: a box would be an allocation an exchange"
)]
pub(super) enum Answer {
    /// What an endpoint says, as it says it.
    Relayed(Relayed),
    /// What we say ourselves: a refusal, for the most part.
    Own(LocalReply),
    /// What the route says.
    OfRoute,
    /// What others are told too, or were before.
    Told(Box<Told>),
    /// What several requests in one are told, as they are answered.
    Lines(Box<Lines>),
}
