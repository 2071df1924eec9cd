//! The outside in, endpoints out; blocking, so only the control thread calls it; knows neither lanes nor plans.

pub mod dns;
