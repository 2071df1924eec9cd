//! The fields of one head, as offsets into its bytes, and what they say of the connection.

use bytes::Bytes;

use super::connection::ConnectionOptions;
use super::field::{FieldName, list};
use super::version::{Reuse, Version};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(super) fn new(start: usize, end: usize) -> Self {
        // A head is at most a few MiB (base/limits.rs), so offsets fit.
        Self { start: start as u32, end: end as u32 }
    }

    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) struct FieldSpan {
    pub(super) name: FieldName,
    pub(super) raw: Span,
    pub(super) value: Span,
    pub(super) is_nominated: bool,
}

impl FieldSpan {
    /// From the name to two bytes behind the value, which are there: a line end follows.
    fn line(&self) -> Span {
        Span { start: self.raw.start, end: self.value.end + 2 }
    }
}

/// The fields of a head, in order, each as offsets into the head's bytes.
#[derive(Debug, Clone, Default)]
pub struct FieldTable {
    pub(super) spans: Vec<FieldSpan>,
    /// A bit for each name that is there: most names that are asked for are not.
    pub(super) names: u32,
}

/// One field as it was sent.
#[derive(Debug, Clone, Copy)]
pub struct Field<'h> {
    /// The name, if it is one the proxy knows.
    pub name: FieldName,
    /// The name's bytes as sent.
    pub raw: &'h [u8],
    /// The value, trimmed.
    pub value: &'h [u8],
    /// From the name on, as sent, to two bytes behind the value: its line, where nothing is trimmed.
    pub(super) line: &'h [u8],
    /// Whether a Connection field names it: then it stays behind (RFC 9110 §7.6.1).
    pub is_nominated: bool,
}

/// Bytes, fields and connection options: what both kinds of head have.
#[derive(Debug, Clone)]
pub struct Head {
    pub(super) bytes: Bytes,
    pub(super) fields: FieldTable,
    pub(super) version: Version,
    pub(super) options: ConnectionOptions,
}

impl Head {
    /// The version of the sender.
    pub fn version(&self) -> Version {
        self.version
    }

    /// All fields in order.
    pub fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        let bytes = &self.bytes[..];
        self.fields.spans.iter().map(move |span| Field {
            name: span.name,
            raw: span.raw.of(bytes),
            value: span.value.of(bytes),
            line: span.line().of(bytes),
            is_nominated: span.is_nominated,
        })
    }

    /// Whether there is a field called `name`.
    pub fn has(&self, name: FieldName) -> bool {
        self.fields.names & name.bit() != 0
    }

    /// The values of each field called `name`.
    pub fn values(&self, name: FieldName) -> impl Iterator<Item = &[u8]> {
        let spans = if self.has(name) { &self.fields.spans[..] } else { &[] };
        spans.iter().filter(move |span| span.name == name).map(|span| span.value.of(&self.bytes))
    }

    /// The first value of the field called `name`.
    pub fn value(&self, name: FieldName) -> Option<&[u8]> {
        self.values(name).next()
    }

    /// The values of each field whose name is `name` in any case.
    pub fn values_of<'h>(&'h self, name: &'h [u8]) -> impl Iterator<Item = &'h [u8]> {
        self.fields().filter(move |field| field.raw.eq_ignore_ascii_case(name)).map(|field| field.value)
    }

    /// Whether `field` passes to the other side: neither hop-by-hop nor named by Connection (RFC 9110 §7.6.1).
    pub fn passes(&self, field: &Field<'_>) -> bool {
        !field.name.is_hop_by_hop() && !field.is_nominated
    }

    /// Whether the sender speaks of this protocol only: it wants to go on in it on the same connection, or does from here
    /// on (RFC 9110 §7.8). In HTTP/1.0 nobody can.
    pub fn upgrades_to(&self, protocol: &[u8]) -> bool {
        let mut named = self.values(FieldName::Upgrade).flat_map(list);
        self.options.upgrade
            && self.version == Version::Http11
            && named.next().is_some_and(|name| name.eq_ignore_ascii_case(protocol))
            && named.next().is_none()
    }

    /// Whether the sender lets the connection live on (RFC 9112 §9.3).
    pub fn reuse(&self) -> Reuse {
        match (self.options.close, self.version, self.options.keep_alive) {
            (true, _, _) | (false, Version::Http10, false) => Reuse::Close,
            (false, Version::Http11, _) | (false, Version::Http10, true) => Reuse::KeepAlive,
        }
    }

    /// Gives the field table back, so that the next head needs no allocation.
    pub fn into_table(self) -> FieldTable {
        self.fields
    }
}
