//! The tree the operator writes: tables of keys, each key said once, read with their places; knows no plan and no lane.
//!
//! Reading reports all problems of a file at once. A plain value comes out as it holds: what is absent has its key's
//! default. What needs names, other tables or the machine is left to compilation. How a key is added: `key.rs`.

mod cluster;
mod edits;
pub mod file;
mod filter;
pub mod key;
mod keys;
mod limits;
mod listener;
mod matching;
mod observe;
mod pem;
pub(crate) mod reader;
mod root;
mod route;
pub mod schema;
mod secret;
pub mod server;
mod table;
pub mod text;
pub mod units;
pub mod url;
pub(crate) mod values;

pub use cluster::{BatchConfig, ClusterConfig, EndpointConfig, QueueConfig, TimeoutConfig};
pub use filter::{
    AskConfig, CorsConfig, FilterConfig, GuardConfig, HeadersConfig, IpConfig, JwksConfig, JwtConfig,
    KeysConfig, LimitRate, RateLimitConfig, SchemaConfig, SideConfig, ValidateConfig,
};
pub use keys::KeyConfig;
pub use limits::LimitsConfig;
pub use listener::ListenerConfig;
pub use observe::{AccessLogConfig, DumpConfig, ObserveConfig};
pub use root::{Config, ROOT};
pub use route::{
    FanoutConfig, MirrorConfig, MultiConfig, NamedRoute, RespondConfig, RouteConfig, Says, TargetConfig, name,
};
pub use server::{CoreList, ServerConfig};

#[cfg(test)]
mod tests;
