//! One core: its event loop, its listening sockets, and everything it owns; knows no file and no admin API.
//!
//! A lane runs these tasks: one acceptor a listener, the inbox, the tick, the evictor of closed pooled connections, the
//! probes that it was dealt, and one task a client connection. Each connection's task is caught on its own: a panic costs
//! that connection.

mod accept;
pub mod adopt;
pub mod event_loop;
pub mod flag;
pub mod inbox;
mod probe;
mod room;
mod running;
pub mod spawn;
mod tick;
