//! Placement on a virtual clock: the product's own cluster picks, model engines serve, and seconds are what is compared.
#![allow(clippy::print_stdout)] // the tables are what a run is read for

mod bursts;
mod conversations;
mod engine;
mod fleet;
mod goodput;
