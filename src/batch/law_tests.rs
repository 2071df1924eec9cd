//! The law of batches, at random: the parts of the answer to all are the answers to each.

use bytes::Bytes;
use serde_json::Value;

use super::testing::{Style, answer, common, mutated, protocols, request};
use super::{Member, Protocol};
use crate::base::rng::Rng;
use crate::codec::json::canonical;
use crate::codec::json::sound::{is_readable, is_sound};

/// Rounds for each protocol.
const ROUNDS: u64 = 300;

/// Some requests that may travel together, and the members that they are.
fn members(protocol: &Protocol, rng: &mut Rng) -> Vec<(String, Member)> {
    let common = common(protocol, rng);
    let count = 1 + rng.below(4);
    (0..count)
        .map(|_| {
            let items = 1 + rng.below(5) as usize;
            let body = request(protocol, &common, items, rng);
            let member = protocol.read(Bytes::from(body.clone()));
            let member = member.unwrap_or_else(|| panic!("{protocol:?} travels alone: {body}"));
            assert_eq!(member.items(), items, "{body}");
            (body, member)
        })
        .collect()
}

/// Runs `check` with seeds that are told where it fails.
fn rounds(mut check: impl FnMut(&Protocol, &mut Rng)) {
    for protocol in protocols() {
        for seed in 0..ROUNDS {
            let told = Told(seed, &protocol);
            check(&protocol, &mut Rng::new(seed));
            std::mem::forget(told);
        }
    }
}

/// Tells a seed where a round does not end well.
struct Told<'p>(u64, &'p Protocol);

impl Drop for Told<'_> {
    #[expect(clippy::print_stderr, reason = "a test that fails says how to fail again")]
    fn drop(&mut self) {
        eprintln!("seed {} of {:?}", self.0, self.1);
    }
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn parts_of_the_answer_to_all_are_the_answers_to_each() {
    rounds(|protocol, rng| {
        let members = members(protocol, rng);
        let (_, first) = &members[0];
        assert!(members.iter().all(|(_, member)| member.parameters() == first.parameters()));
        let all: Vec<_> = members.iter().map(|(_, member)| member).collect();
        let call = protocol.merge(&all);
        assert!(is_sound(&call), "{}", said(&call));
        let style = Style { shuffle: Some(rng.next_u64()), is_spaced: rng.below(3) == 0, has_usage: false };
        let parts = protocol.split(&all, &answer(protocol, &call, &style)).unwrap();
        for ((body, _), part) in members.iter().zip(&parts) {
            let own = answer(protocol, body.as_bytes(), &Style::default());
            let is_same = match style.is_spaced {
                true => canonical::digest(part) == canonical::digest(&own),
                false => *part == own,
            };
            assert!(is_same, "{body}\n{}\n{}", said(part), said(&own));
        }
        assert_eq!(parts.len(), members.len());
    });
}

#[test]
fn pieces_of_a_member_joined_are_the_answer_to_it() {
    rounds(|protocol, rng| {
        let members = members(protocol, rng);
        let (body, member) = &members[0];
        let most = 1 + rng.below(6) as usize;
        let pieces = protocol.cut(member, most).unwrap();
        assert!(
            pieces.iter().all(|piece| piece.items() <= most && piece.parameters() == member.parameters())
        );
        assert_eq!(pieces.iter().map(Member::items).sum::<usize>(), member.items());
        assert_eq!(pieces.iter().map(Member::bytes).sum::<usize>(), member.bytes());
        let style = Style { shuffle: Some(rng.next_u64()), ..Style::default() };
        // Each goes alone or with somebody else's request, as it comes.
        let answers: Vec<_> = pieces
            .iter()
            .map(|piece| {
                let mut all = vec![piece];
                all.extend(members[1..].iter().map(|(_, member)| member).take(rng.below(3) as usize));
                let call = protocol.merge(&all);
                protocol.split(&all, &answer(protocol, &call, &style)).unwrap().remove(0)
            })
            .collect();
        let answers: Vec<_> = answers.iter().map(Vec::as_slice).collect();
        // One that was not cut is no piece: it has its own ranking already.
        let joined = protocol.join(member, &pieces, &answers);
        if pieces.len() > 1 {
            let own = answer(protocol, body.as_bytes(), &Style::default());
            assert_eq!(said(&joined.unwrap()), said(&own), "{body}");
        }
    });
}

/// The usage of an answer.
fn usage(text: &[u8]) -> Option<Value> {
    serde_json::from_slice::<Value>(text).ok()?.get("usage").cloned()
}

const COUNTS: [&str; 4] =
    ["/prompt_tokens", "/completion_tokens", "/total_tokens", "/prompt_tokens_details/cached_tokens"];

fn count(usage: &Value, path: &str) -> u64 {
    usage.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} of {usage}"))
}

#[test]
fn shares_of_the_usage_sum_to_the_whole() {
    rounds(|protocol, rng| {
        let members = members(protocol, rng);
        let all: Vec<_> = members.iter().map(|(_, member)| member).collect();
        let style = Style { has_usage: true, ..Style::default() };
        let whole = answer(protocol, &protocol.merge(&all), &style);
        // Its own reader has no such number, but ours passes it on.
        let whole = said(&whole).replace("1E400", "1E300");
        let Some(expected) = usage(whole.as_bytes()) else { return };
        let parts = protocol.split(&all, whole.as_bytes()).unwrap();
        let shares: Vec<_> = parts.iter().map(|part| usage(part).unwrap()).collect();
        for path in COUNTS {
            let sum: u64 = shares.iter().map(|share| count(share, path)).sum();
            assert_eq!(sum, count(&expected, path), "{path}");
        }
        for share in &shares {
            let [prompt, completion, total, _] = COUNTS.map(|path| count(share, path));
            assert_eq!(prompt + completion, total, "{share}");
            assert_eq!(share["cost"], expected["cost"]);
            assert_eq!(share["prompt_tokens_details"]["audio_tokens"], Value::Null);
        }
        // And back.
        let (member, pieces) = (&members[0].1, protocol.cut(&members[0].1, 2).unwrap());
        let answers: Vec<_> =
            pieces.iter().map(|piece| answer(protocol, &protocol.merge(&[piece]), &style)).collect();
        let answers: Vec<_> =
            answers.iter().map(|answer| said(answer).replace("1E400", "1E300").into_bytes()).collect();
        let texts: Vec<_> = answers.iter().map(Vec::as_slice).collect();
        let joined = usage(&protocol.join(member, &pieces, &texts).unwrap()).unwrap();
        for path in COUNTS {
            let sum: u64 = answers.iter().map(|answer| count(&usage(answer).unwrap(), path)).sum();
            assert_eq!(sum, count(&joined, path), "{path}");
        }
    });
}

/// How many entries the list of an answer has, or the first tensor rows.
fn entries(protocol: &Protocol, text: &[u8]) -> Option<usize> {
    let text = said(text).replace("1E400", "1").replace("NaN", "1").replace("Infinity", "1");
    let answer: Value = serde_json::from_str(&text).ok()?;
    let list = match protocol {
        Protocol::OpenaiEmbeddings => &answer["data"],
        Protocol::OpenaiCompletions => &answer["choices"],
        Protocol::TeiEmbed | Protocol::TeiRerank => &answer,
        Protocol::CohereRerank => &answer["results"],
        Protocol::JsonArray { .. } => &answer["outputs"],
        Protocol::KserveV2 => return answer["outputs"][0]["shape"][0].as_u64().map(|rows| rows as usize),
    };
    list.as_array().map(Vec::len)
}

#[test]
fn a_broken_answer_breaks_nothing_else() {
    let (mut fit, mut unfit) = (0, 0);
    rounds(|protocol, rng| {
        let members = members(protocol, rng);
        let all: Vec<_> = members.iter().map(|(_, member)| member).collect();
        let style = Style { has_usage: true, ..Style::default() };
        let broken = mutated(rng, answer(protocol, &protocol.merge(&all), &style));
        match protocol.split(&all, &broken) {
            Err(_) => unfit += 1,
            Ok(parts) => {
                fit += 1;
                assert_eq!(parts.len(), all.len());
                for (part, member) in parts.iter().zip(&all) {
                    assert!(is_readable(part), "{}", said(part));
                    let expected = (member.items() * member.each).min(member.top.unwrap_or(usize::MAX));
                    let count = entries(protocol, part);
                    assert!(count.is_none_or(|count| count == expected), "{}", said(part));
                }
            }
        }
        let pieces = protocol.cut(all[0], 2).unwrap();
        let mut answers: Vec<_> =
            pieces.iter().map(|piece| answer(protocol, &protocol.merge(&[piece]), &style)).collect();
        answers[0] = mutated(rng, std::mem::take(&mut answers[0]));
        let texts: Vec<_> = answers.iter().map(Vec::as_slice).collect();
        if let Ok(joined) = protocol.join(all[0], &pieces, &texts) {
            assert!(is_readable(&joined), "{}", said(&joined));
        }
    });
    assert!(fit > 100 && unfit > 100, "both happen: {fit} and {unfit}");
}

#[test]
fn a_broken_request_travels_alone_or_whole() {
    let (mut read, mut alone, mut unread) = (0, 0, 0);
    rounds(|protocol, rng| {
        let common = common(protocol, rng);
        let items = 1 + rng.below(4) as usize;
        let whole = request(protocol, &common, items, rng);
        if protocol.may_go_unread(whole.as_bytes(), usize::MAX) {
            assert!(protocol.read(Bytes::from(whole.clone())).is_some(), "{whole}");
            unread += 1;
        }
        let broken = mutated(rng, whole.into_bytes());
        let Some(member) = protocol.read(Bytes::from(broken.clone())) else {
            alone += 1;
            return;
        };
        read += 1;
        assert!(member.items() > 0 && member.bytes() > 0, "{}", said(&broken));
        // Nothing that has to be cut goes unread.
        assert!(!protocol.may_go_unread(&broken, member.items() - 1), "{}", said(&broken));
        let call = protocol.merge(&[&member, &member]);
        assert!(is_sound(&call), "{}", said(&call));
        let again = protocol.read(Bytes::from(call)).expect("a call is a request");
        assert_eq!(again.items(), 2 * member.items());
        assert_eq!(again.bytes(), 2 * member.bytes());
        assert_eq!(again.parameters(), member.parameters());
    });
    assert!(read > 100 && alone > 100 && unread > 100, "all happen: {read}, {alone} and {unread}");
}
