//! The compiled form of a configuration: resolved, complete, immutable, shared by all lanes.
//!
//! A plan has no "unset", no name that is looked up later and no value that needs checking again. Ids are valid only
//! inside their own plan.

mod actions;
mod balancing;
mod catalog;
mod chains;
pub mod compile;
mod edits;
mod filters;
mod fixed;
mod listing;
mod placing;
mod routes;
mod sharing;
mod shown;
mod trusts;
mod types;
mod unshared;

pub use crate::base::choice::{HalfClose, HostRule};
pub use catalog::Catalog;
pub use placing::Placing;
pub use sharing::{Batching, Kept, Sharing, Standing, Waiting};
pub use types::{
    AccessLogPlan, Action, ClusterPlan, EndpointPlan, Fanout, ListenerPlan, Mirror, Multi, ObservePlan, Plan,
    RoutePlan, Targets, Timeouts,
};
