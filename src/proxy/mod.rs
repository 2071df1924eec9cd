//! The flow of an exchange: the doers. One direction, top to bottom, on one lane; nothing calls upwards.
//!
//! | step | file |
//! |---|---|
//! | read until a head is complete | `downstream` |
//! | take the plan, find the route, run its action, record the end | `exchange` |
//! | read and hold a body that the route depends on | `hold` |
//! | decide what head and body decide, and write the head that goes upstream | `decide`; `explain` asks it too |
//! | ask `cluster::dispatch` whom to try | `action/forward` |
//! | take a pooled connection or connect; send head and body; wait for the response head | `attempt`, `upstream` |
//! | relay the body, watch token boundaries | `relay` |
//! | turn a fault into an answer | `reply` |
//!
//! Rules: borrow, decide, release, then await; a wait is always beside the client's own read and its watchdog
//! (`ear`), so that a client that leaves is noticed in every phase; everything a peer can send is a fault.

pub mod action;
mod attempt;
mod decide;
pub mod downstream;
mod ear;
mod exchange;
pub mod explain;
mod hold;
mod idle;
mod log;
mod pace;
mod relay;
mod reply;
pub mod state;
mod tally;
pub mod upstream;
pub mod watchdog;
