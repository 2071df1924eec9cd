//! Ground floor: ids, limits, time, chance, faults and problems; knows nothing of HTTP or sockets.

pub mod address;
pub mod choice;
pub mod digest;
pub mod fault;
pub mod glob;
pub mod hash;
pub mod hex;
pub mod ids;
pub mod limits;
pub mod link;
pub mod model;
pub mod network;
pub mod problem;
pub mod rng;
pub mod say;
pub mod secret;
pub mod summary;
pub mod time;
pub mod trust;
