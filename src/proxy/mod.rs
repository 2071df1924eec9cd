//! The flow of an exchange: the doers. One direction, top to bottom, on one lane; nothing calls upwards.
//!
//! Four circles, each usable without the one around it; none but the outermost knows the client.
//!
//! | circle | does | asked by |
//! |---|---|---|
//! | `attempt` | tries one endpoint once: a connection, the request (`upload`), the head of the answer | `call` |
//! | `call` | asks one cluster: dispatch, repeats | `forward`, for `answer`: a route's cluster, then its fallbacks |
//! | `answer` | turns a request into an answer: what head and body decide (`inquiry`, `hold`), what the route changes (`edit`) and does | `steps` |
//! | `steps` | serves one exchange of a client: attend, answer, deliver, record | `downstream` |
//!
//! What travels through them stands in `request`: the request as it is understood, and the call that is made of it.
//! `intake` is the body of the request wherever it comes from (`passing` looks on at one that is sent on before its end),
//! `source` the answer and where its body comes from, `deliver` the only way out (`tunnel`, where both sides went on in another
//! protocol). A client connection is `downstream` (its loop), `idle` (a socket and a deadline) and `client` (what an active one
//! needs: its `ear` and its `mouth`).
//!
//! What asks more than once, or for more than one, is a call of its own beside these, made from bytes: a fan-out runs several
//! (`fanout`, `leg`) and a multi an `answer` for each element (`multi`, `lines`, `element`); what clusters share is asked for all
//! who wait (`sharing`, `batching`, `pieces`), carried apart from any of them (`carrier`, `carried`), and `told` to each
//! (`retell` is its way out, `collect` reads an answer whole). A `mirror` has a share of all calls of a route copied: what goes
//! upstream is heard on its way (`listeners`), and the copy (`copied`) goes as a call of its own that nobody waits for.
//!
//! A cluster that is full lets requests in one by one (`waiting`, before the pick); one that asks for a stream may be told so
//! (`comments`) in an answer that begins before anybody gave it (`begun`, by way of `early`).
//!
//! Rules: borrow, decide, release, then await. Cancel is drop, once, at the top: `ear::attend` does the work unless
//! the client is lost, and then the work is dropped with all it holds; below it are plain awaits and clocks
//! (`watchdog`), and guards whose drop leaves. Clocks know whose they are: the client's (head, body, what it takes)
//! are in its ear and its mouth, the cluster's in the call. Everything a peer can send is a fault.

mod allowance;
mod answer;
mod answered;
mod around;
mod ask;
mod attempt;
pub mod audit;
mod batching;
mod begun;
mod book;
mod boxed;
mod call;
mod carried;
mod carrier;
mod catalog;
pub mod caught;
mod client;
mod collect;
mod comments;
mod common;
mod copied;
mod decide;
mod deliver;
pub mod downstream;
mod ear;
mod early;
mod edit;
mod element;
mod ends;
pub mod explain;
mod fanout;
mod file;
mod finish;
mod forward;
mod guard;
mod held;
mod hold;
mod idle;
mod inquiry;
mod intake;
mod keeper;
mod leg;
mod lines;
mod listeners;
mod log;
pub mod lookup;
mod mirror;
mod mouth;
mod multi;
mod notes;
mod overheard;
mod pace;
mod passing;
mod pieces;
mod placement;
mod placing;
mod pressed;
pub mod probe;
mod reply;
mod request;
mod resting;
mod retell;
pub mod service;
mod sharing;
mod side_by_side;
mod slot;
mod source;
pub mod spans;
mod stall;
mod standing;
pub mod state;
mod steps;
mod streamed;
mod told;
mod traced;
mod tunnel;
pub mod turns;
mod unread;
mod untrusted;
mod upload;
pub mod upstream;
mod waiting;
mod waits;
mod watch;
pub mod watchdog;
mod whole;

#[cfg(test)]
mod tests;
