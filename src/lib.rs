//! Corelane: the gateway in front of the inference servers you run. (Front page under construction.)
#![deny(unsafe_code)]
pub mod balance;
pub mod base;
pub mod board;
pub mod cli;
pub mod cluster;
pub mod codec;
pub mod config;
pub mod control;
pub mod discovery;
pub mod lane;
pub mod metrics;
pub mod net;
pub mod plan;
pub mod pool;
pub mod proxy;
pub mod route;
pub mod sim;
