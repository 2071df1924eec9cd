//! Corelane: the gateway in front of the inference servers you run, one event loop on each core.
//!
//! # The idea
//!
//! Each core runs one **lane**: its own monoio event loop, listening sockets, connection pools, balancers and counters.
//! Lanes share one read-mostly thing, the **plan**, an immutable compiled configuration; beside it hangs the **board**,
//! a few padded atomics for the numbers that are wrong when every lane keeps its own.
//!
//! **Deciders** hold every rule: plain functions and state machines over bytes, numbers and a `now` that is handed to
//! them. **Doers** hold every effect and are thin: ask a decider what to do, do it, tell the decider what happened.
//!
//! # Floors
//!
//! A room may import from floors below it, never from a neighbour, never from above; `tests/house.rs` checks it.
//!
//! ```text
//!  9  door      main  cli              arguments, process
//!  8  control   control                admin API, reload, collected metrics
//!  7  lane      lane                   one core: loop, accept, tick, adopt a plan
//!  6  proxy     proxy                  the flow of an exchange: the doers
//!  5  plan      plan                   config -> immutable plan
//!  4  config    config                 text -> config
//!  3  cluster   cluster                balancing, admission, health and what may be repeated, as one decision
//!  2  deciders  route filter balance admission batch fanout health multi single_flight retry pool metrics
//!  1  world     codec  net  board  discovery
//!  0  ground    base                   ids, limits, time, chance, faults, problems
//!  beside       sim load               the simulated inference server, the load generator
//! ```
//!
//! # Reading it
//!
//! In an hour: [`proxy`], `proxy/steps.rs`, `proxy/answer.rs`, `proxy/call.rs`, [`cluster::dispatch`], [`codec`], [`plan`],
//! [`lane`]. A byte is wrong: [`codec`]. The wrong endpoint got it: [`route`], [`balance`], [`cluster`];
//! none did: [`health`]; it waited, or was told to come back: [`admission`], `proxy/waiting.rs`; it was refused: [`filter`]. It was sent
//! again, or was not: [`cluster::dispatch`], `proxy/unread.rs`, `proxy/forward.rs`. It hung: [`net::reader`], [`net::writer`],
//! `proxy/ear.rs`, `proxy/upload.rs`. Who was too slow: `proxy/mouth.rs`, [`proxy::watchdog`]. A setting is misread:
//! [`plan::compile`]. A number is wrong: [`metrics`]; the dashboard: `control/live.rs`, `control/dashboard`. Nothing happened after a reload: `control/reload.rs`, [`lane::adopt`]; after a file
//! that the configuration names had changed: `control/follow.rs`.
//! It was not replaced: `control/replace.rs`, [`net::handed`]. An endpoint at https:// is not trusted: [`base::trust`], `net/tls.rs`,
//! `plan/trusts.rs`, `proxy/untrusted.rs`. A model is not found that an endpoint serves: `control/asking.rs`, [`discovery::models`],
//! [`cluster::listings`]. An engine's own word of its load: [`discovery::signals`], [`board::pressure`]. What a collector is told:
//! [`proxy::spans`], `control/told_spans.rs`. Time is told of the wrong phase: `proxy/waits.rs`, `proxy/notes.rs`. Tokens are counted wrongly: [`codec::usage`], `codec/usage_glance.rs`. What several
//! share cost one of them something: `proxy/standing.rs`, `proxy/side_by_side.rs`, `proxy/told.rs`.
//!
//! # Where this differs from a first sketch, and why
//!
//! - Plans reach lanes by a command with an acknowledgement, not by a cell that every exchange looks at: a reload can
//!   then say that it is in force, and an exchange pays nothing.
//! - A read is owned by its connection (`net::reader::Reader`), not by who waits for it: it can be left in one phase and
//!   taken up in the next, which is how a client that leaves is noticed in every phase without losing a byte.
//! - A write goes on while the next thing is waited for (`net::writer::Writer`), and its end is looked at before the next
//!   one: nobody is woken for it, and a client that takes nothing still holds up its upstream. One that has not ended by
//!   the next tick is waited for (`proxy/mouth.rs`).
//! - TLS is no stream of its own below the halves: what is written is sealed before it is ordered, what was read is opened where
//!   it is handed on (`net/tls.rs`), so that a connection without it pays one look each.
//! - An answer is its head and a source of pieces, and the request may still be on its way beside it (`proxy/source.rs`).
//! - Where a body decides, it is held until the byte behind which nothing but a fault can change the decision
//!   (`proxy/inquiry.rs`), and goes on from there: a member may stand twice, so it is looked at on (`proxy/passing.rs`), and its
//!   last byte leaves when all of it was found sound.
//! - A body is changed by a listener to the same grammar, which tells in its order which bytes pass, which go and what is put
//!   between them (`codec/json/amender.rs`): no place in it is kept, and held or streamed is all the same.
//! - Filters stay pure though a service may be asked: a walk stops there, a doer asks, and the walk goes on. Those that need
//!   the body hear it as it comes (`filter/examine.rs`), each by a listener of its own to one grammar (`codec/json/walker.rs`).
//! - Of several clusters asked at once the first that shows a token is found by a scout, which reads a copy of what came: the
//!   answer itself is still unread, and is relayed as any other (`proxy/leg.rs`).
//! - Whose turn has come in front of a full cluster picks like any other: a place is never handed from one exchange to the
//!   next, for its endpoint may be out by then, or tried already (`admission/mod.rs`).
//! - What endpoints know of prompts is one table that all lanes write without a lock (`board/blocks.rs`): a note that is lost
//!   costs a prompt that is computed twice.
//! - Access log lines are formatted on the lane and written by a thread of their own that looks for them: a line costs no
//!   wake-up.
//! - Configuration is read by a small reader over the spanned tree instead of derived deserialisation, which stops at
//!   the first error.
#![deny(unsafe_code)]

/// The rooms. The program uses nothing but [`main`], so that what nobody uses any more shows; tests and benches look into
/// all of them, by the feature `testing`.
macro_rules! rooms {
    ($($room:ident)*) => {$(
        #[cfg(feature = "testing")]
        pub mod $room;
        #[cfg(not(feature = "testing"))]
        mod $room;
    )*};
}

rooms! {
    admission balance base batch board cli cluster codec config control discovery fanout filter health lane load metrics multi net plan pool proxy retry route sim single_flight
}

pub use cli::main;
