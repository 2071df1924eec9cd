//! The answers to the pieces of a member, as the one answer to it.

use std::cmp::Reverse;

use super::answer::{Answer, Entry};
use super::list::{List, Order};
use super::member::Member;
use super::unfit::Unfit;
use super::usage;
use crate::codec::json::cursor::{Cursor, text_of};

/// An entry of one answer, with its index in the whole.
struct Placed<'a> {
    answer: &'a Answer<'a>,
    entry: &'a Entry,
    index: usize,
    /// What it ranks by.
    score: f64,
}

/// The answer to `member`. What is said beside the entries is said as by the one that says most of the usage.
pub(super) fn join(
    list: &List<'_>,
    member: &Member,
    pieces: &[Member],
    texts: &[&[u8]],
) -> Result<Vec<u8>, Unfit> {
    let expected = |piece: &Member| piece.items.saturating_mul(piece.each);
    let answers = pieces.iter().zip(texts).map(|(piece, text)| Answer::read(list, text, expected(piece)));
    let answers = answers.collect::<Result<Vec<_>, _>>()?;
    let mut placed = Vec::new();
    let mut start = 0;
    for (answer, piece) in answers.iter().zip(pieces) {
        placed.extend(answer.entries.iter().map(|entry| Placed {
            answer,
            entry,
            index: start + entry.index,
            score: score(list.order, answer.text(&entry.span)),
        }));
        start += expected(piece);
    }
    if let Order::Ranked(_) = list.order {
        // Those that rank the same stay in the order of their pieces, as an engine would have seen them.
        placed.sort_by(|one, other| other.score.total_cmp(&one.score));
    }
    let usages: Vec<_> = answers.iter().filter_map(|answer| answer.usage.as_ref()).collect();
    let numbers = |answer: &Answer<'_>| answer.usage.as_ref().map_or(0, |usage| 1 + usage.numbers());
    let most = answers.iter().enumerate().max_by_key(|(at, answer)| (numbers(answer), Reverse(*at)));
    let (_, told) = most.ok_or(Unfit::Count)?;
    let sums = told.usage.as_ref().map(|usage| usage::sums(usage, &usages)).unwrap_or_default();
    Ok(told.write(&sums, |out| {
        for one in placed.iter().take(member.top.unwrap_or(usize::MAX)) {
            one.answer.write_entry(out, one.entry, one.index);
        }
    }))
}

/// What an entry ranks by. One that does not say it, or that it is no number, comes last.
fn score(order: Order, entry: &[u8]) -> f64 {
    let Order::Ranked(name) = order else { return 0.0 };
    let mut cursor = Cursor::new(entry);
    cursor.enter();
    let mut score = None;
    while let Some(key) = cursor.next_key() {
        let key = text_of(cursor.text(&key)).unwrap_or_default();
        let value = cursor.skip();
        if key == name {
            score = std::str::from_utf8(cursor.text(&value)).ok().and_then(|text| text.parse::<f64>().ok());
        }
    }
    score.filter(|score| !score.is_nan()).unwrap_or(f64::NEG_INFINITY)
}
