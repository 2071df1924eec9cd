//! `kind = "ip"`: by address.

use crate::base::network::Network;
use crate::config::reader::Table;
use crate::config::table::table;

table! {
    /// `kind = "ip"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct IpConfig checked by check_ip {
        /// "ip": lets clients pass by their address; an unknown one fits no `allow` and every `deny`.
        kind: String = key("kind", Choice(&["ip"]), Required("nobody could know what it does", "\"ip\"")),
        /// Networks whose clients pass; all without it. "unix:" stands for whoever comes over a Unix socket.
        allow: Vec<Network> = key("allow", NonEmpty(&Text, EMPTY, "write networks, or remove it"), Absent),
        /// Networks whose clients do not; it wins over `allow`.
        deny: Vec<Network> = key("deny", NonEmpty(&Text, EMPTY, "write networks, or remove it"), Absent),
    }
}

/// Why a list of networks is not empty.
const EMPTY: &str = "it could mean everybody or nobody";

fn check_ip(table: &Table<'_, '_>, _: &IpConfig) {
    if !table.has("allow") && !table.has("deny") {
        table.complain(
            "an ip filter has neither `allow` nor `deny`",
            "it would let everybody pass",
            "add allow = [\"10.0.0.0/8\"], or remove it",
        );
    }
}
