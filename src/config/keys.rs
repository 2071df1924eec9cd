//! A keys file: `[[key]]`, who may ask, told by the digest of what they show.

use std::collections::HashMap;
use std::time::SystemTime;

use serde_json::{Value as Json, json};

use super::key::Kind;
use super::reader::{Setting, Source, Table, Value, parse};
use super::route::name;
use super::table::table;
use super::units;
use super::values::{text_setting, unfit};
use crate::base::digest::Digest;
use crate::base::problem::{Placed, Problem};

/// A keys file, read.
#[derive(Debug, Clone, PartialEq)]
pub struct KeysFile {
    /// Its path, as written.
    pub path: String,
    /// Its keys.
    pub keys: Vec<KeyConfig>,
}

table! {
    /// A keys file.
    #[derive(Debug, Clone, PartialEq)]
    pub struct KeysFileConfig checked by check_keys {
        /// Who may ask; nobody without one.
        keys: Vec<KeyConfig> = key("key", List(&Table(KeyConfig::KEYS)), Absent),
    }
}

table! {
    /// `[[key]]`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct KeyConfig {
        /// Whose it is, in logs, metrics and {key}.
        name: Placed<String> = key("name", Form(name), Required("nobody could tell whose requests they are", "\"team-a\"")),
        /// SHA-256 of the whole key, in lower-case hex; or a list, while a key is being changed.
        digests: Digests = key(
            "sha256",
            OneOrMore(&Text),
            Required("nobody could show it", "the line that `corelane key new NAME` prints")
        ),
        /// Routes that it may use; all without it.
        routes: Option<Vec<Placed<String>>> = key("routes", List(&Text), Absent),
        /// Models that it may use, exact or with "*"; all without it.
        models: Option<Vec<String>> = key("models", List(&Text), Absent),
        /// Requests that it may make in a minute, over all routes; as many at once.
        rpm: Option<u64> = key("rpm", Number(1, 1_000_000_000), Absent),
        /// Tokens that it may take in a minute, over all routes; as many at once.
        tpm: Option<u64> = key("tpm", Number(1, 1_000_000_000), Absent),
        /// Requests of it that may be under way at once.
        in_flight: Option<u64> = key("in_flight", Number(1, 1_000_000), Absent),
        /// The class of its requests.
        class: Option<String> = key("class", Form(name), Absent),
        /// From when on it is refused.
        expires: Option<Expiry> = key("expires", Text, Absent),
    }
}

/// The digests of one key: it may be changed without a moment at which neither holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Digests(pub Vec<Placed<Digest>>);

impl Setting for Digests {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        if value.array_is_empty() {
            value.complain(
                "`sha256` is empty",
                "nobody could show the key",
                "add the line that `corelane key new NAME` prints",
            );
            return None;
        }
        Setting::read(value, kind).map(Self)
    }

    fn show(&self, kind: &'static Kind) -> Json {
        self.0.show(kind)
    }
}

fn digest(text: &str) -> Result<Digest, String> {
    let fix = "write the 64 digits of its SHA-256 in lower-case hex, as `corelane key new NAME` prints them";
    Digest::parse(text).ok_or_else(|| fix.to_owned())
}

text_setting!(Digest, read by |value| value.parsed(digest), shown by Digest::text);

/// When a key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry(pub SystemTime);

text_setting!(Expiry, read by |value| value.instant().map(Expiry), shown by |expiry| units::show_instant(expiry.0));

impl Setting for KeysFile {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::File = kind else { unfit::<Self>(kind) };
        let file = value.file()?;
        let path = value.string()?;
        let (keys, problems) = read_keys(&file.path.display().to_string(), &file.text);
        problems.into_iter().for_each(|problem| value.tell(problem));
        Some(Self { path, keys: keys? })
    }

    fn show(&self, _: &'static Kind) -> Json {
        json!(self.path)
    }
}

/// Reads the text of a keys file.
fn read_keys(file: &str, text: &str) -> (Option<Vec<KeyConfig>>, Vec<Problem>) {
    static ROOT: Kind = Kind::Table(KeysFileConfig::KEYS);
    let source = Source::new(file, text);
    let read: Option<KeysFileConfig> = parse(&source, text, &ROOT);
    (read.map(|read| read.keys), source.into_problems())
}

/// Two entries that could be taken for each other make a file that nobody should trust.
fn check_keys(table: &Table<'_, '_>, file: &KeysFileConfig) {
    let mut names = HashMap::new();
    let mut digests: HashMap<_, &str> = HashMap::new();
    for key in &file.keys {
        let name = &key.name;
        if let Some(line) = names.insert(&name.value, name.place.line) {
            table.tell(name.problem(
                format!("two keys are named \"{}\" (the other at line {line})", name.value),
                "their requests could not be told apart",
                "give one of them another name, or one entry both digests",
            ));
        }
        for digest in &key.digests.0 {
            if let Some(other) = digests.insert(digest.value, &name.value) {
                table.tell(digest.problem(
                    format!("this digest is that of the key \"{other}\" too"),
                    "nobody could tell whose request it is",
                    "remove one of them",
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    const B: &str = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752";

    #[test]
    fn a_keys_file_is_read_with_all_that_a_key_may_have() {
        let text = format!(
            "[[key]]\nname = \"team-a\"\nsha256 = \"{A}\"\n[[key]]\nname = \"team-b\"\nsha256 = [\"{B}\"]\n\
             routes = [\"chat\"]\nclass = \"bulk\"\nexpires = 2027-01-01T00:00:00Z\n"
        );
        let (keys, problems) = read_keys("keys.toml", &text);
        assert_eq!(problems, []);
        let keys = keys.unwrap();
        assert_eq!((keys[0].name.value.as_str(), &keys[0].routes, keys[0].expires), ("team-a", &None, None));
        assert_eq!(keys[0].digests.0[0].value.text(), A);
        let routes = keys[1].routes.as_ref().unwrap();
        assert_eq!((routes[0].value.as_str(), keys[1].class.as_deref()), ("chat", Some("bulk")));
        let as_text = text.replace("2027-01-01T00:00:00Z", "\"2027-01-01T02:00:00+02:00\"");
        assert_eq!(read_keys("keys.toml", &as_text).0.unwrap()[1].expires, keys[1].expires);
        assert_eq!(read_keys("keys.toml", "").0, Some(Vec::new()));
    }

    #[test]
    fn what_is_wrong_in_a_keys_file_is_told_with_its_place() {
        let key = |name: &str, rest: &str| format!("[[key]]\nname = \"{name}\"\n{rest}\n");
        for (text, told) in [
            (key("a", ""), "k.toml:1:1 `key` has no `sha256`"),
            (key("a", "sha256 = []"), "k.toml:3:10 `sha256` is empty"),
            (key("a", "sha256 = \"abc\""), "k.toml:3:10 `sha256` cannot be \"abc\""),
            (key("a", &format!("sha256 = \"{}\"", A.to_uppercase())), "k.toml:3:10 `sha256` cannot be"),
            (key("", &format!("sha256 = \"{A}\"")), "k.toml:2:8 `name` cannot be \"\""),
            (
                key("a", &format!("sha256 = [\"{A}\", \"{A}\"]")),
                "k.toml:3:79 this digest is that of the key \"a\" too",
            ),
            (key("a", &format!("sha256 = \"{A}\"\nkey = 1")), "k.toml:4:1 unknown key `key` in `key`"),
            (key("a", &format!("sha256 = \"{A}\"\nexpires = 2027-01-01")), "k.toml:4:11 `expires` cannot be"),
            (
                key("a", &format!("sha256 = \"{A}\"")) + &key("a", &format!("sha256 = \"{B}\"")),
                "k.toml:5:8 two keys are named \"a\" (the other at line 2)",
            ),
            ("[[key]\n".to_owned(), "k.toml:1:"),
            ("keys = []\n".to_owned(), "k.toml:1:1 unknown key `keys` here"),
        ] {
            let (_, problems) = read_keys("k.toml", &text);
            let all: Vec<_> =
                problems.iter().map(|problem| format!("{} {}", problem.place, problem.what)).collect();
            assert!(all.len() == 1 && all[0].starts_with(told), "{text}: {all:?}");
        }
    }
}
