//! The real program between scripted raw-byte peers, one file per story; the driver comes from CORELANE_TEST_IO.
#![allow(clippy::print_stderr, reason = "a test tells its row where it fails")]

mod admin;
mod admin_access;
mod amending;
mod asking;
mod batching;
mod bodies;
mod both_ways;
mod browsers;
#[path = "../support/cases.rs"]
#[allow(dead_code, reason = "the codec's readers look at columns that nobody sees outside")]
mod cases;
mod clocks;
mod closing;
mod crowd;
mod editing;
mod explaining;
mod failing;
mod fallback;
mod filtering;
mod forwarding;
mod guarding;
mod headers;
mod health;
mod keys;
mod lanes;
mod leaving;
mod limits;
mod logging;
mod many;
mod models;
mod paths;
mod pooling;
mod rates;
mod readings;
mod refusing;
mod reloading;
mod repeating;
mod replacing;
mod restarting;
mod routing;
mod secured;
mod several;
mod sharing;
mod spending;
mod starting;
mod streaming;
mod support;
mod table;
mod telling;
mod tokens;
mod tunnels;
mod validating;
mod ways;
mod wire;
