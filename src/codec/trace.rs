//! Trace context (W3C, level 1): a trace that a trusted sender began is continued, any other request begins its own.

use super::field::FieldName;
use super::fields::Head;
use crate::base::hex::write_hex;
use crate::base::link::Link;

/// The trace that a request belongs to, and our own part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// `00-TRACE-PARENT-FLAGS`, our own id as the parent of what follows.
    text: [u8; 55],
    /// Whether somebody before us began it: then its tracestate passes.
    pub is_continued: bool,
    /// The span of whoever asks us; 0 where nobody began it before us.
    pub parent: u64,
}

/// The flag that says that a trace is recorded (§3.2.2.5).
const SAMPLED: u8 = 1;

impl TraceContext {
    /// Begins one; all of it is random.
    #[inline(always)] // each exchange has one
    pub fn new(trace: [u64; 2], span: u64) -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        // Ids that are all zero are invalid (§3.2.2.3).
        write_hex(&mut text[3..19], trace[0] | 1);
        write_hex(&mut text[19..35], trace[1]);
        write_hex(&mut text[36..52], span | 1);
        Self { text, is_continued: false, parent: 0 }
    }

    /// Continues the trace in `head`, if it has exactly one well-formed traceparent; else begins one. `trace` and
    /// `span` are random.
    pub fn of(head: &Head, is_trusted: bool, trace: [u64; 2], span: u64) -> Self {
        let mut given = head.values(FieldName::Traceparent);
        let parent = match (given.next(), given.next()) {
            (Some(value), None) if is_trusted => well_formed(value),
            _ => None,
        };
        let mut own = Self::new(trace, span);
        if let Some(parent) = parent {
            own.text[3..35].copy_from_slice(&parent[3..35]);
            // What other flags mean is not known, so that they are not passed on (§3.2.2.5).
            own.text[54] = if number(&parent[53..55]) as u8 & SAMPLED == 0 { b'0' } else { b'1' };
            (own.is_continued, own.parent) = (true, number(&parent[36..52]));
        }
        own
    }

    /// Whether it is recorded.
    pub fn is_sampled(&self) -> bool {
        number(&self.text[53..]) as u8 & SAMPLED != 0
    }

    /// It is recorded from here on, and those behind us are told so.
    pub fn sample(&mut self) {
        self.text[54] = b'1';
    }

    /// The same for what the part of it with this span asks of others.
    pub fn child(&self, span: u64) -> Self {
        let mut child = *self;
        write_hex(&mut child.text[36..52], span);
        child
    }

    /// The trace goes on in a part of it that has this span, within ours.
    pub fn within(&self, span: u64) -> Self {
        Self { parent: self.span(), ..self.child(span | 1) }
    }

    /// Our own span, as others link to it.
    pub fn link(&self) -> Link {
        let id = self.id();
        let (high, low) = (number(&id[..16]), number(&id[16..]));
        Link { trace: u128::from(high) << 64 | u128::from(low), span: self.span() }
    }

    /// Our own span.
    pub fn span(&self) -> u64 {
        number(&self.text[36..52])
    }

    /// The field's value.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The trace's id, 32 hex digits.
    pub fn id(&self) -> &[u8; 32] {
        self.text[3..35].try_into().expect("these are 32 bytes")
    }
}

/// Up to sixteen hex digits.
fn number(digits: &[u8]) -> u64 {
    std::str::from_utf8(digits).ok().and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// A traceparent of version 00, or what later versions have in common with it (§3.2.2, §4.3).
fn well_formed(value: &[u8]) -> Option<&[u8]> {
    let is_hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let (head, rest) = value.split_at_checked(55)?;
    let [version, trace, parent, flags] = [&head[..2], &head[3..35], &head[36..52], &head[53..]];
    let dashes = head[2] == b'-' && head[35] == b'-' && head[52] == b'-';
    let length = match version {
        b"00" => rest.is_empty(),
        b"ff" => false,
        _ => rest.is_empty() || rest[0] == b'-',
    };
    let some = |part: &[u8]| part.iter().any(|&b| b != b'0');
    let digits = [version, trace, parent, flags].into_iter().all(is_hex);
    (dashes && length && digits && some(trace) && some(parent)).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::fields::FieldTable;
    use crate::codec::split::split_request;

    fn context(fields: &str, is_trusted: bool) -> (String, bool) {
        let text = format!("GET / HTTP/1.1\r\nhost: h\r\n{fields}\r\n");
        let head = split_request(text.into(), FieldTable::default()).unwrap();
        let context = TraceContext::of(head.head(), is_trusted, [0x10, 0x20], 0x30);
        (String::from_utf8(context.as_bytes().to_vec()).unwrap(), context.is_continued)
    }

    const OWN: &str = "00-00000000000000110000000000000020-0000000000000031-00";

    #[test]
    fn a_trusted_trace_goes_on_with_our_span() {
        let given = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";
        let continued = "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000031-01".to_owned();
        assert_eq!(context(given, true), (continued.clone(), true));
        assert_eq!(context(given, false), (OWN.to_owned(), false));
        let later = given.replace(" 00-", " 01-").replace("-01\r", "-01-more\r");
        assert_eq!(context(&later, true), (continued, true));
        assert_eq!(context(&format!("{given}{given}"), true), (OWN.to_owned(), false), "which of the two?");
    }

    #[test]
    fn malformed_traces_begin_anew() {
        for value in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(
                context(&format!("traceparent: {value}\r\n"), true),
                (OWN.to_owned(), false),
                "{value}"
            );
        }
    }
}
