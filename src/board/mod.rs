//! What lanes share besides the plan: padded atomics, no lock while there is room; knows neither HTTP nor who reads it.

pub mod audit;
pub mod batches;
pub mod blocks;
pub mod buckets;
pub mod buffered;
pub mod cache;
pub mod flight;
pub mod granted;
pub mod in_flight;
pub mod lanes;
pub mod latency;
pub mod lines;
pub mod loads;
pub mod names;
pub mod pressure;
pub mod published;
pub mod ring;
pub mod served;
pub mod spans;
pub mod verdicts;

/// A value alone on its cache lines (two of them: the prefetcher fetches pairs), so that one lane's writes do not
/// slow another lane's.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Padded<T>(pub T);
