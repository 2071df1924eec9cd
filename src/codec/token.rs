//! Whether an event of a token stream carries a token: something that the model said, and that a reader waits for.
//!
//! The dialects of the engines differ, the question does not. What is judged is a bounded window of one line, and what
//! cannot be judged counts as a token: a figure that is late by one event is better than one that is missing.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Whether an event of this name never carries a token: beginnings, ends, pings and errors of OpenAI's Responses and of
/// Anthropic's messages. Other names say nothing.
pub(super) fn is_structural(event: &[u8]) -> bool {
    const NAMES: [&[u8]; 7] = [
        b"content_block_start",
        b"content_block_stop",
        b"error",
        b"message_delta",
        b"message_start",
        b"message_stop",
        b"ping",
    ];
    (event.starts_with(b"response.") && !event.ends_with(b".delta")) || NAMES.contains(&event)
}

/// Whether the data of an event, trimmed, carries a token.
pub(super) fn carries_token(data: &[u8]) -> bool {
    match data.first() {
        None => false,
        Some(b'{') => object_carries_token(data),
        Some(_) => data != b"[DONE]",
    }
}

/// Names of members, each with its quotes and its colon. Inside a string the closing quote would stand behind a
/// backslash, so a name is never found in what a model said. Built once: to build one costs more than to use it.
struct Names {
    delta: Finder<'static>,
    text: Finder<'static>,
    content: Finder<'static>,
    text_output: Finder<'static>,
    choices: Finder<'static>,
    special: Finder<'static>,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| Names {
    delta: Finder::new("\"delta\":"),
    text: Finder::new("\"text\":"),
    content: Finder::new("\"content\":"),
    text_output: Finder::new("\"text_output\":"),
    choices: Finder::new("\"choices\":"),
    special: Finder::new("\"special\":true"),
});

fn object_carries_token(object: &[u8]) -> bool {
    if let Some(kind) = object.strip_prefix(b"{\"type\":").and_then(|rest| string(rest.trim_ascii_start()))
        && is_structural(kind.0)
    {
        return false;
    }
    let names = &*NAMES;
    // Chat (one delta a choice), Responses, Anthropic.
    if let Some(carries) = any(object, &names.delta, delta_carries_token) {
        return carries;
    }
    // Completions (one text a choice), and the token of TGI, which may be one that nobody shows.
    if let Some(carries) = any(object, &names.text, says_something) {
        return carries && names.special.find(object).is_none();
    }
    // llama.cpp's own, Triton's.
    if let Some(carries) = [&names.content, &names.text_output].into_iter().find_map(|name| {
        let (value, _) = value(object, name)?;
        Some(says_something(value))
    }) {
        return carries;
    }
    let is_error = object.starts_with(b"{\"error\"") || object.starts_with(b"{\"object\":\"error\"");
    !is_error && !value(object, &names.choices).is_some_and(|(choices, _)| choices.starts_with(b"[]"))
}

/// Whether one of the members of this name is `such`; none where there is no such member.
fn any(object: &[u8], name: &Finder<'_>, such: impl Fn(&[u8]) -> bool) -> Option<bool> {
    let (mut first, mut rest) = value(object, name)?;
    while !such(first) {
        match value(rest, name) {
            Some(next) => (first, rest) = next,
            None => return Some(false),
        }
    }
    Some(true)
}

/// The first member of this name: what follows its colon, without and with blanks.
fn value<'o>(object: &'o [u8], name: &Finder<'_>) -> Option<(&'o [u8], &'o [u8])> {
    let rest = &object[name.find(object)? + name.needle().len()..];
    Some((rest.trim_ascii_start(), rest))
}

/// Whether a value is neither an empty text nor null.
fn says_something(value: &[u8]) -> bool {
    !value.starts_with(b"\"\"") && !value.starts_with(b"null")
}

/// A delta is a string, or an object of which some member says something that the model said.
fn delta_carries_token(delta: &[u8]) -> bool {
    let Some(mut rest) = delta.strip_prefix(b"{") else { return says_something(delta) };
    loop {
        rest = rest.trim_ascii_start();
        if rest.first() == Some(&b',') {
            rest = rest[1..].trim_ascii_start();
        }
        let (Some((name, after)), false) = (string(rest), rest.first() == Some(&b'}')) else {
            // The end of the object, or of the window: an unfinished member is one that says something.
            return !rest.is_empty() && rest[0] != b'}';
        };
        let Some(value) = after.trim_ascii_start().strip_prefix(b":") else { return true };
        let value = value.trim_ascii_start();
        let empty = [&b"\"\""[..], b"null", b"[]", b"{}"].into_iter().find(|empty| value.starts_with(empty));
        rest = match (empty, name) {
            (Some(empty), _) => &value[empty.len()..],
            (None, b"role" | b"type" | b"signature" | b"stop_reason" | b"stop_sequence") => {
                match string(value) {
                    Some((_, after)) => after,
                    None => return true,
                }
            }
            // What was said before is quoted.
            (None, b"citation") => return false,
            (None, _) => return true,
        };
    }
}

/// The inside of the string at the start of `bytes`, and what follows it.
fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let inside = bytes.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', inside.get(at..)?)?;
        if inside[at] == b'"' {
            return Some((&inside[..at], &inside[at + 1..]));
        }
        at += 2;
    }
}
