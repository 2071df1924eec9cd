//! Placement on a virtual clock: the product's own cluster picks, model engines serve, and seconds are what is compared.

mod bursts;
mod conversations;
mod engine;
mod fleet;
