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
        /// Where clients connect; or "unix:/run/corelane.sock". Several [[listener]] may stand here.
        address: Placed<Address> = key(
            "address",
            Text,
            Required("nobody could connect to it", "\"127.0.0.1:8080\"")
        ),
        /// "10.0.0.0/8", "::1", "unix:": whose x-forwarded-*, x-request-id and traceparent are believed; those of
        /// others are replaced.
        trusted: Vec<Network> = key("trusted", List(&Text), Is("[]")),
        /// "v1" or "v2": every connection must begin with that header, which names the client.
        proxy_protocol: ProxyProtocol = key("proxy_protocol", Choice(ProxyProtocol::WORDS), Is("'off'")),
        /// Filters that each request meets first, in this order, also one that no route fits.
        filters: Vec<Placed<String>> = key("filters", List(&Text), Is("[]")),
        /// A client that closes its sending side after its request: "cancel", or "finish".
        on_half_close: HalfClose = key("on_half_close", Choice(HalfClose::WORDS), Is("'cancel'")),
    }
}

text_setting!(Network, read by |value| value.parsed(Network::parse), shown by ToString::to_string);
