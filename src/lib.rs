//! Corelane: the gateway in front of the inference servers you run. (Front page under construction.)
#![deny(unsafe_code)]
pub mod base;
pub mod codec;
pub mod balance;
pub mod board;
pub mod metrics;
pub mod net;
pub mod pool;
pub mod route;
