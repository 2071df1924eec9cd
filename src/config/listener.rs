//! `[[listener]]`: addresses that clients connect to.

use super::table::table;
use super::values::text_setting;
use crate::base::address::Address;
use crate::base::choice::{HalfClose, ProxyProtocol, Words};
use crate::base::network::Network;
use crate::base::problem::Placed;

table! {
    /// `[[listener]]`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct ListenerConfig {
        /// ip:port, or unix:/path.
        address: Placed<Address> = key(
            "address",
            Text,
            Required("nobody could connect to it", "\"127.0.0.1:8080\"")
        ),
        /// Networks whose x-forwarded-*, x-request-id and traceparent are believed; "unix:" for clients over Unix sockets.
        trusted: Vec<Network> = key("trusted", List(&Text), Is("[]")),
        /// What every connection must begin with.
        proxy_protocol: ProxyProtocol = key("proxy_protocol", Choice(ProxyProtocol::WORDS), Is("'off'")),
        /// What a client means that closes its sending side after a request.
        on_half_close: HalfClose = key("on_half_close", Choice(HalfClose::WORDS), Is("'cancel'")),
    }
}

text_setting!(Network, read by |value| value.parsed(Network::parse), shown by ToString::to_string);
