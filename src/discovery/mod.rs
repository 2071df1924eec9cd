//! The outside in, endpoints out; blocking, so it is called where nobody waits; knows neither lanes nor plans.

pub mod dns;
pub mod engine;
pub mod load_header;
pub mod models;
pub mod signals;
