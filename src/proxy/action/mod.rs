//! What routes do: forward to a cluster, or answer by themselves.

pub(super) mod forward;
pub(super) mod respond;
