//! `kind = "keys"`: those pass who show an API key.

use super::credential::{Shown, shown, unauthorized};
use super::holder::Holder;
use super::verdict::View;
use crate::base::digest::Digest;
use crate::base::limits::KEY_BYTES_MAX;
use crate::codec::reply::ErrorReply;

/// All keys, found by their digests: the keys themselves are known to their holders alone.
#[derive(Debug, Default)]
pub struct Keys {
    /// In the order of their prefixes.
    digests: Vec<(Digest, u32)>,
    holders: Vec<Holder>,
}

impl Keys {
    /// Holders, each with the digests of their keys.
    pub fn new(all: impl IntoIterator<Item = (Vec<Digest>, Holder)>) -> Self {
        let mut keys = Self::default();
        for (digests, holder) in all {
            let position =
                u32::try_from(keys.holders.len()).expect("a keys file of 64 MiB has fewer than 2^32 keys");
            keys.digests.extend(digests.into_iter().map(|digest| (digest, position)));
            keys.holders.push(holder);
        }
        keys.digests.sort_unstable();
        keys
    }

    /// All holders by their names.
    pub fn named(&self) -> impl Iterator<Item = (&str, &Holder)> {
        self.holders.iter().map(|holder| (&*holder.name, holder))
    }

    /// One of them.
    pub(super) fn holder(&self, position: u32) -> &Holder {
        &self.holders[position as usize]
    }

    /// Whose request it is; 401 `unauthorized` for who shows no key, several, or one that is not or no longer known.
    pub(super) fn on_request(&self, view: &View<'_>) -> Result<u32, ErrorReply> {
        let found = match shown(view.head) {
            Shown::One(key) if key.len() <= KEY_BYTES_MAX => self.find(&Digest::of(key)),
            Shown::One(_) | Shown::Nothing | Shown::Several => None,
        };
        let valid = found.filter(|position| self.holder(*position).is_valid(view.today));
        valid.ok_or_else(|| {
            unauthorized(
                "No valid API key was shown; send yours as `Authorization: Bearer`, and no other beside it.",
            )
        })
    }

    /// The position of whose digest it is. A search tells by its time where a digest stands among others, by its first bits;
    /// whoever can choose those has no key that makes them.
    fn find(&self, digest: &Digest) -> Option<u32> {
        let prefix = digest.prefix();
        let first = self.digests.partition_point(|(known, _)| known.prefix() < prefix);
        let same = self.digests[first..].iter().take_while(|(known, _)| known.prefix() == prefix);
        same.filter(|(known, _)| known.is(digest)).map(|(_, position)| *position).next()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::testing::{head, view};
    use super::*;
    use crate::base::ids::{Id, RouteId};

    fn holder(name: &str) -> Holder {
        Holder {
            name: name.into(),
            routes: None,
            models: None,
            class: None,
            expires: None,
            requests: None,
            tokens: None,
            in_flight: None,
        }
    }

    fn keys() -> Keys {
        let until = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        let digests = |keys: &[&str]| keys.iter().map(|key| Digest::of(key.as_bytes())).collect();
        Keys::new([
            (digests(&["sk-a"]), holder("a")),
            (digests(&["sk-old", "sk-new"]), Holder { routes: Some(vec![RouteId::at(1)]), ..holder("b") }),
            (digests(&["sk-ended"]), Holder { expires: until(0), ..holder("c") }),
            (digests(&["sk-ends"]), Holder { expires: until(1), ..holder("d") }),
        ])
    }

    /// Whose request it is that has these fields.
    fn whose(fields: &str) -> Result<String, u16> {
        let (keys, head) = (keys(), head(fields));
        let found = keys.on_request(&view(&head));
        found.map(|position| keys.holder(position).name.to_string()).map_err(|refusal| refusal.status)
    }

    #[test]
    fn those_pass_who_show_a_key_that_is_known_and_holds() {
        for (fields, expected) in [
            ("authorization: Bearer sk-a\r\n", Ok("a")),
            ("AUTHORIZATION: bEARER   sk-a \r\n", Ok("a")),
            ("x-api-key: sk-a\r\n", Ok("a")),
            ("Api-Key: sk-a\r\n", Ok("a")),
            ("authorization: Bearer sk-a\r\nx-api-key: sk-a\r\napi-key: sk-a\r\n", Ok("a")),
            // What is no bearer is no key: it is for somebody else, and a key stands beside it.
            ("authorization: Basic c2stYTo=\r\nx-api-key: sk-a\r\n", Ok("a")),
            // Nothing is shown there.
            ("authorization: Bearer \r\nx-api-key: sk-a\r\n", Ok("a")),
            ("x-api-key: sk-old\r\n", Ok("b")),
            ("x-api-key: sk-new\r\n", Ok("b")),
            ("x-api-key: sk-ends\r\n", Ok("d")),
            ("x-api-key: sk-ended\r\n", Err(401)),
            ("", Err(401)),
            ("x-api-key:\r\n", Err(401)),
            ("x-api-key: SK-A\r\n", Err(401)),
            ("x-api-key: sk-\r\n", Err(401)),
            ("x-api-key: sk-a sk-a\r\n", Err(401)),
            ("x-api-key: sk-a, sk-a\r\n", Err(401)),
            ("x-api-key: \"sk-a\"\r\n", Err(401)),
            ("x-api-key: Bearer sk-a\r\n", Err(401)),
            ("x_api_key: sk-a\r\n", Err(401)),
            ("authorization: sk-a\r\n", Err(401)),
            ("authorization: Bearersk-a\r\n", Err(401)),
            ("authorization: Bearer\tsk-a\r\n", Err(401)),
            ("authorization: Basic sk-a\r\n", Err(401)),
            ("authorization: Bearer sk-a, Bearer sk-a\r\n", Err(401)),
            ("proxy-authorization: Bearer sk-a\r\n", Err(401)),
            ("cookie: api-key=sk-a\r\n", Err(401)),
            // Whoever stands behind might take the other one.
            ("authorization: Bearer sk-a\r\nx-api-key: sk-b\r\n", Err(401)),
            ("authorization: Bearer sk-a\r\nauthorization: Bearer sk-new\r\n", Err(401)),
            ("x-api-key: sk-old\r\napi-key: sk-new\r\n", Err(401)),
        ] {
            assert_eq!(whose(fields), expected.map(str::to_owned), "{fields}");
        }
    }

    #[test]
    fn what_is_longer_than_any_key_is_refused_unread() {
        for (length, passes) in [(KEY_BYTES_MAX, true), (KEY_BYTES_MAX + 1, false)] {
            let key = "k".repeat(length);
            let keys = Keys::new([(vec![Digest::of(key.as_bytes())], holder("long"))]);
            let head = head(&format!("x-api-key: {key}\r\n"));
            assert_eq!(keys.on_request(&view(&head)).is_ok(), passes, "{length}");
        }
    }

    #[test]
    fn a_refusal_asks_for_a_bearer_and_does_not_tell_what_was_wrong() {
        let texts = ["", "x-api-key: sk-ended\r\n", "x-api-key: sk-b\r\n"].map(|fields| {
            let refusal = keys().on_request(&view(&head(fields))).unwrap_err();
            assert_eq!(refusal.fields, [("www-authenticate", "Bearer".to_owned())]);
            refusal.message
        });
        assert!(texts[0] == texts[1] && texts[1] == texts[2]);
    }

    #[test]
    fn a_key_is_for_its_routes() {
        let keys = keys();
        for (position, route, passes) in [(0, 0, true), (0, 1, true), (1, 0, false), (1, 1, true)] {
            let judged = keys.holder(position).on_route(RouteId::at(route)).map_err(|refusal| refusal.code);
            assert_eq!(judged, if passes { Ok(()) } else { Err("forbidden") }, "{position} {route}");
        }
    }
}
