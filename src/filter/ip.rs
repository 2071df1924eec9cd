//! `kind = "ip"`: clients pass by their address.

use super::verdict::{Verdict, View};
use crate::base::network::Network;
use crate::codec::forwarded::Client;
use crate::codec::reply::ErrorReply;

/// Who passes: nobody in `deny`, and where there is an `allow` only who is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Ip {
    /// Networks whose clients pass; all where it is empty.
    pub allow: Vec<Network>,
    /// Networks whose clients do not.
    pub deny: Vec<Network>,
}

impl Ip {
    /// 403 `forbidden` for who does not pass. One whom nobody knows fits no `allow` and every `deny`; so does one over a Unix
    /// socket, unless "unix:" is among them.
    pub(super) fn on_request(&self, view: &View) -> Verdict {
        let is_in = |networks: &[Network], unknown: bool| match view.client {
            Client::Address(address) => networks.iter().any(|network| network.contains(Some(address))),
            Client::Local if self.names_unix() => networks.contains(&Network::Unix),
            Client::Local | Client::Unknown => unknown && !networks.is_empty(),
        };
        match !is_in(&self.deny, true) && (self.allow.is_empty() || is_in(&self.allow, false)) {
            true => Verdict::Continue,
            false => Verdict::Refuse(ErrorReply::new(
                403,
                "forbidden",
                "Requests from this address are not allowed here; ask whoever runs this gateway.",
            )),
        }
    }

    fn names_unix(&self) -> bool {
        self.allow.contains(&Network::Unix) || self.deny.contains(&Network::Unix)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{head, view};
    use super::*;

    #[test]
    fn an_address_passes_by_both_lists_and_deny_wins() {
        let passes = |allow: &[&str], deny: &[&str], client| {
            let read = |all: &[&str]| all.iter().map(|text| Network::parse(text).unwrap()).collect();
            let ip = Ip { allow: read(allow), deny: read(deny) };
            let head = head("");
            matches!(ip.on_request(&View { client, ..view(&head) }), Verdict::Continue)
        };
        let at = |text: &str| Client::Address(text.parse().unwrap());
        let (local, unknown) = (Client::Local, Client::Unknown);
        let rows: [(&[&str], &[&str], Client, bool); 20] = [
            (&["10.0.0.0/8"], &[], at("10.1.2.3"), true),
            (&["10.0.0.0/8"], &[], at("::ffff:10.1.2.3"), true),
            (&["10.0.0.0/8"], &[], at("11.1.2.3"), false),
            (&["10.0.0.0/8"], &[], at("::1"), false),
            (&["10.0.0.0/8"], &["10.6.6.0/24"], at("10.6.6.1"), false),
            (&["10.0.0.0/8"], &["10.6.6.0/24"], at("10.6.7.1"), true),
            (&["10.6.6.1"], &["10.6.6.0/24"], at("10.6.6.1"), false),
            (&[], &["10.6.6.0/24"], at("10.6.7.1"), true),
            (&[], &["fd00::/8"], at("fd00::1"), false),
            (&["0.0.0.0/0", "::/0"], &[], at("1.2.3.4"), true),
            (&["0.0.0.0/0", "::/0"], &[], unknown, false),
            (&[], &["10.0.0.0/8"], unknown, false),
            (&["unix:"], &[], unknown, false),
            (&[], &["unix:"], unknown, false),
            (&["unix:"], &[], local, true),
            (&["10.0.0.0/8", "unix:"], &["10.6.6.6"], local, true),
            (&["unix:"], &["unix:"], local, false),
            (&[], &["unix:"], local, false),
            (&["0.0.0.0/0"], &[], local, false),
            (&[], &["10.0.0.0/8"], local, false),
        ];
        for (allow, deny, client, expected) in rows {
            assert_eq!(passes(allow, deny, client), expected, "{allow:?} {deny:?} {client:?}");
        }
    }
}
