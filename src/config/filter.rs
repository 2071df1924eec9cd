//! `[filter.NAME]`: what looks at requests before they are answered.

use super::key::{Key, Kind};
use super::reader::{Setting, Table, Value};
use super::table::table;
use super::keys::KeysFile;
use crate::base::network::Network;

/// One filter, of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterConfig {
    /// By address.
    Ip(IpConfig),
    /// By API key.
    Keys(KeysConfig),
}

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

table! {
    /// `kind = "keys"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct KeysConfig {
        /// "keys": lets those pass who show an API key, as `authorization: Bearer`, `x-api-key` or `api-key`; it stays here.
        kind: String = key("kind", Choice(&["keys"]), Required("nobody could know what it does", "\"keys\"")),
        /// The file of the keys, from the folder of this one; in force within a second of a change.
        file: KeysFile = key("file", File, Required("nobody could pass", "\"keys.toml\"")),
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

impl FilterConfig {
    /// All kinds, each the table that it is read by.
    pub const KINDS: Kind = Kind::Kinds(&[Kind::Table(IpConfig::KEYS), Kind::Table(KeysConfig::KEYS)]);
}

/// The word by which a table is known.
fn word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Table([Key { kind: Kind::Choice([word]), .. }, ..]) => word,
        _ => super::values::unfit::<FilterConfig>(kind),
    }
}

impl Setting for FilterConfig {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::Kinds(kinds) = kind else { super::values::unfit::<Self>(kind) };
        let words: Vec<_> = kinds.iter().map(word).collect();
        let found = value.kind(&words)?;
        let table = kinds.iter().find(|kind| word(kind) == found)?;
        match found {
            "ip" => IpConfig::read(value, table).map(Self::Ip),
            "keys" => KeysConfig::read(value, table).map(Self::Keys),
            _ => None,
        }
    }

    fn show(&self, kind: &'static Kind) -> serde_json::Value {
        let Kind::Kinds(kinds) = kind else { super::values::unfit::<Self>(kind) };
        let of = |name: &str| kinds.iter().find(|kind| word(kind) == name).expect("each kind has its table");
        match self {
            Self::Ip(ip) => ip.show(of("ip")),
            Self::Keys(keys) => keys.show(of("keys")),
        }
    }
}
