//! What the Connection fields of a head say: whether it is the last one, and which fields stay behind (RFC 9110 §7.6.1).

use std::cmp::Ordering;

use super::error::{CodecError, Rule};
use super::field::list;
use crate::base::limits::CONNECTION_OPTIONS_MAX;

/// What all Connection fields of a head say.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ConnectionOptions {
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    /// `upgrade`: beside an Upgrade field, which never passes by itself.
    pub(super) upgrade: bool,
    /// Some option is none of these: it may nominate a field.
    pub(super) nominates: bool,
    count: usize,
}

impl ConnectionOptions {
    /// Takes one Connection field in; refused past a number of options over all of them.
    pub(super) fn note(&mut self, value: &[u8]) -> Result<(), CodecError> {
        for option in list(value) {
            self.count += 1;
            if self.count > CONNECTION_OPTIONS_MAX {
                return Err(CodecError::at(Rule::OptionsMax, 0));
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade = true;
            } else {
                self.nominates = true;
            }
        }
        Ok(())
    }
}

/// The names that the Connection fields of a head nominate, sorted.
pub(super) struct Nominated<'b> {
    names: [&'b [u8]; CONNECTION_OPTIONS_MAX],
    count: usize,
}

impl<'b> Nominated<'b> {
    /// All options of `values`, of which [`ConnectionOptions::note`] has seen that they are few enough.
    pub(super) fn of(values: impl Iterator<Item = &'b [u8]>) -> Self {
        let mut nominated = Self { names: [&[]; CONNECTION_OPTIONS_MAX], count: 0 };
        for name in values.flat_map(list).take(CONNECTION_OPTIONS_MAX) {
            nominated.names[nominated.count] = name;
            nominated.count += 1;
        }
        nominated.names[..nominated.count].sort_unstable_by(|one, other| order(one, other));
        nominated
    }

    /// Whether a field of this name stays behind.
    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.names[..self.count].binary_search_by(|nominated| order(nominated, name)).is_ok()
    }
}

/// By length first, which mostly decides; then by the bytes in lower case.
fn order(one: &[u8], other: &[u8]) -> Ordering {
    #[cfg(test)]
    tests::COMPARISONS.set(tests::COMPARISONS.get() + 1);
    let lower = |name: &'_ [u8], at: usize| name[at].to_ascii_lowercase();
    one.len().cmp(&other.len()).then_with(|| {
        (0..one.len())
            .map(|at| lower(one, at).cmp(&lower(other, at)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::base::limits::FIELDS_MAX;
    use crate::codec::fields::FieldTable;
    use crate::codec::split::split_request;

    thread_local! {
        pub(super) static COMPARISONS: Cell<usize> = const { Cell::new(0) };
    }

    fn passing(connection: &str, fields: &[String]) -> Vec<String> {
        let fields: String = fields.iter().map(|field| format!("{field}: v\r\n")).collect();
        let text = format!("GET / HTTP/1.1\r\nhost: h\r\n{connection}{fields}\r\n");
        let head = split_request(text.into(), FieldTable::default()).unwrap();
        let head = head.head();
        let passing = head.fields().filter(|field| head.passes(field));
        passing.map(|field| String::from_utf8(field.raw.to_vec()).unwrap()).collect()
    }

    #[test]
    fn nominated_fields_stay_behind_in_any_case_and_whichever_field_names_them() {
        let fields = ["a", "Bb", "ab", "ba", "x-long-name", "close"].map(str::to_owned);
        let connection = "Connection: close, BB,x-LONG-name\r\nconnection: , A ,\r\n";
        assert_eq!(passing(connection, &fields), ["host", "ab", "ba"]);
        assert_eq!(passing("connection: keep-alive\r\n", &fields[..2]), ["host", "a", "Bb"]);
    }

    #[test]
    fn a_field_is_looked_up_in_a_few_steps_however_many_are_nominated() {
        let names: Vec<_> = (0..CONNECTION_OPTIONS_MAX).map(|at| format!("q{at:02}")).collect();
        let fields: Vec<_> = (0..FIELDS_MAX - 2).map(|at| format!("q{:02}", at % 99)).collect();
        COMPARISONS.set(0);
        let connection = format!("connection: {}\r\n", names.join(","));
        let passing = passing(&connection, &fields).len();
        assert_eq!(passing, 1 + fields.iter().filter(|field| !names.contains(field)).count());
        let steps = |count: usize| count.ilog2() as usize + 2;
        let most = (FIELDS_MAX + CONNECTION_OPTIONS_MAX) * steps(CONNECTION_OPTIONS_MAX);
        assert!(COMPARISONS.get() <= most, "{} comparisons, at most {most}", COMPARISONS.get());
    }

    #[test]
    fn options_past_their_number_are_refused_however_they_are_spread() {
        let split = |fields: String| {
            let text = format!("GET / HTTP/1.1\r\nhost: h\r\n{fields}\r\n");
            split_request(text.into(), FieldTable::default()).map(drop)
        };
        let one = |count: usize| format!("connection: {}\r\n", vec!["q"; count].join(","));
        assert!(split(one(CONNECTION_OPTIONS_MAX)).is_ok());
        let refused = split(one(CONNECTION_OPTIONS_MAX + 1)).unwrap_err();
        assert_eq!((refused.rule, refused.status()), (Rule::OptionsMax, 431));
        assert!(split("connection: close\r\n".repeat(CONNECTION_OPTIONS_MAX)).is_ok());
        assert!(split("connection: close\r\n".repeat(CONNECTION_OPTIONS_MAX + 1)).is_err());
        assert!(split(format!("connection: {}\r\n", ",".repeat(1000))).is_ok(), "nothing is no option");
    }
}
