//! Requests at random, and servers that answer them item by item: each entry hangs on nothing but the item as it is written.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::value::RawValue;

use super::Protocol;
use crate::base::rng::Rng;

/// One of each protocol.
pub fn protocols() -> Vec<Protocol> {
    vec![
        Protocol::OpenaiEmbeddings,
        Protocol::OpenaiCompletions,
        Protocol::TeiEmbed,
        Protocol::TeiRerank,
        Protocol::CohereRerank,
        Protocol::KserveV2,
        Protocol::JsonArray { request: "in \"puts\"".into(), answer: "outputs".into() },
    ]
}

/// How a server writes.
#[derive(Debug, Clone, Default)]
pub struct Style {
    /// Entries with an index come in this order.
    pub shuffle: Option<u64>,
    /// Blanks stand between tokens.
    pub is_spaced: bool,
    pub has_usage: bool,
}

fn one_of<'a>(rng: &mut Rng, all: &[&'a str]) -> &'a str {
    all[rng.below(all.len() as u64) as usize]
}

fn shuffle<T>(rng: &mut Rng, all: &mut [T]) {
    for at in (1..all.len()).rev() {
        all.swap(at, rng.below(at as u64 + 1) as usize);
    }
}

/// A string as it may be written.
pub fn text(rng: &mut Rng) -> String {
    let parts = [
        "a",
        "Hello ",
        "é",
        "\\u00e9",
        "\\u00E9",
        "\\ud83d\\ude00",
        "😀",
        "\\n",
        "\\\"",
        "\\\\",
        "{",
        "]",
        ",",
        ":",
        "\\u0000",
        "\\/",
        "\\u001f",
        "\u{7f}",
        "\u{2028}",
        "日本",
        "null",
        "12",
        "\\t",
        "'",
        "input",
    ];
    let inside: String = (0..rng.below(6)).map(|_| one_of(rng, &parts)).collect();
    format!("\"{inside}\"")
}

/// A number as it may be written.
pub fn number(rng: &mut Rng) -> String {
    match rng.below(3) {
        0 => one_of(
            rng,
            &[
                "0.10000000149011612",
                "1e-7",
                "1E400",
                "-0.0",
                "12345678901234567890",
                "0",
                "-1",
                "1.0",
                "5e-324",
                "-1.5E+3",
            ],
        )
        .to_owned(),
        1 => rng.below(50_000).to_string(),
        _ => format!("{}", rng.unit() * 2.0 - 1.0),
    }
}

fn blank(rng: &mut Rng) -> &'static str {
    ["", "", "", " ", "\n", "\t ", "\r\n  "][rng.below(7) as usize]
}

/// A list as it may be written.
pub fn list(rng: &mut Rng, items: &[String]) -> String {
    let mut out = format!("[{}", blank(rng));
    for (at, item) in items.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        out += &format!("{comma}{}{item}{}", blank(rng), blank(rng));
    }
    out + "]"
}

/// An object as it may be written, its members in any order.
pub fn object(rng: &mut Rng, mut members: Vec<(String, String)>) -> String {
    shuffle(rng, &mut members);
    let mut out = format!("{}{{{}", blank(rng), blank(rng));
    for (at, (name, value)) in members.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let key = serde_json::to_string(name).unwrap();
        // Now and then the first letter is escaped.
        let first = key[1..].chars().next().filter(|c| c.is_ascii_lowercase() && rng.below(8) == 0);
        let key = first.map_or(key.clone(), |c| format!("\"\\u{:04x}{}", u32::from(c), &key[2..]));
        out += &format!("{comma}{}{key}{}:{}{value}{}", blank(rng), blank(rng), blank(rng), blank(rng));
    }
    out + "}" + blank(rng)
}

/// Any value.
pub fn value(rng: &mut Rng, depth: u32) -> String {
    match rng.below(if depth == 0 { 4 } else { 6 }) {
        0 => one_of(rng, &["null", "true", "false"]).to_owned(),
        1 => number(rng),
        2 | 3 => text(rng),
        4 => {
            let items: Vec<_> = (0..rng.below(3)).map(|_| value(rng, depth - 1)).collect();
            list(rng, &items)
        }
        _ => {
            let members = (0..rng.below(3)).map(|at| (format!("k{at}"), value(rng, depth - 1))).collect();
            object(rng, members)
        }
    }
}

/// What requests of one batch have in common.
#[derive(Debug, Clone)]
pub struct Common {
    parameters: Vec<(String, String)>,
    are_tokens: bool,
    inputs: Vec<Input>,
}

#[derive(Debug, Clone)]
struct Input {
    name: String,
    shape: Vec<usize>,
    is_nested: bool,
}

/// Parameters at random.
pub fn common(protocol: &Protocol, rng: &mut Rng) -> Common {
    let mut parameters = vec![("model".to_owned(), text(rng)), ("user".to_owned(), value(rng, 2))];
    parameters.truncate(rng.below(3) as usize);
    match protocol {
        Protocol::OpenaiCompletions if rng.below(2) == 0 => {
            parameters.push(("n".into(), (1 + rng.below(3)).to_string()));
        }
        Protocol::TeiRerank | Protocol::CohereRerank => parameters.push(("query".into(), text(rng))),
        _ => {}
    }
    let input = |at: u64, rng: &mut Rng| Input {
        name: format!("in{at}"),
        shape: (0..rng.below(3)).map(|_| 1 + rng.below(3) as usize).collect(),
        is_nested: rng.below(2) == 0,
    };
    let inputs = (0..1 + rng.below(2)).map(|at| input(at, rng)).collect();
    Common { parameters, are_tokens: rng.below(3) == 0, inputs }
}

/// A request of so many items.
pub fn request(protocol: &Protocol, common: &Common, items: usize, rng: &mut Rng) -> String {
    let mut members = common.parameters.clone();
    if *protocol == Protocol::KserveV2 {
        if rng.below(2) == 0 {
            members.push(("id".into(), text(rng)));
        }
        let inputs: Vec<_> = common.inputs.iter().map(|input| tensor(input, items, rng)).collect();
        members.push(("inputs".into(), list(rng, &inputs)));
        return object(rng, members);
    }
    let takes_prompts =
        matches!(protocol, Protocol::OpenaiEmbeddings | Protocol::OpenaiCompletions | Protocol::TeiEmbed);
    let item = |rng: &mut Rng| match protocol {
        _ if takes_prompts && common.are_tokens => {
            let ids: Vec<_> = (0..1 + rng.below(4)).map(|_| rng.below(99_999).to_string()).collect();
            list(rng, &ids)
        }
        Protocol::CohereRerank if rng.below(3) == 0 => {
            let text = text(rng);
            object(rng, vec![("text".into(), text)]).trim().to_owned()
        }
        Protocol::JsonArray { .. } => value(rng, 3).trim().to_owned(),
        _ => text(rng),
    };
    let written: Vec<_> = (0..items).map(|_| item(rng)).collect();
    let is_single = takes_prompts && items == 1 && rng.below(2) == 0;
    let written = if is_single { written[0].clone() } else { list(rng, &written) };
    members.push((protocol.items_name().to_owned(), written));
    if *protocol == Protocol::CohereRerank && rng.below(2) == 0 {
        members.push(("top_n".into(), (1 + rng.below(4)).to_string()));
    }
    object(rng, members)
}

fn tensor(input: &Input, rows: usize, rng: &mut Rng) -> String {
    let width: usize = input.shape.iter().product();
    let mut values: Vec<_> = (0..rows * width).map(|_| number(rng)).collect();
    if input.is_nested {
        for dimension in input.shape.iter().rev() {
            values = values.chunks(*dimension).map(|values| list(rng, values)).collect();
        }
    }
    let shape: Vec<_> = std::iter::once(&rows).chain(&input.shape).map(usize::to_string).collect();
    let members = vec![
        ("name".to_owned(), format!("\"{}\"", input.name)),
        ("shape".to_owned(), list(rng, &shape)),
        ("datatype".to_owned(), "\"FP32\"".to_owned()),
        ("data".to_owned(), list(rng, &values)),
    ];
    object(rng, members).trim().to_owned()
}

type Call<'c> = HashMap<String, &'c RawValue>;

/// What the server answers to a call.
pub fn answer(protocol: &Protocol, call: &[u8], style: &Style) -> Vec<u8> {
    let call: Call<'_> = serde_json::from_slice(call).expect("a call is an object of JSON");
    let answer = match protocol {
        Protocol::KserveV2 => infer(&call),
        _ => answer_list(protocol, &call, style),
    };
    match style.is_spaced {
        true => spaced(&answer).into_bytes(),
        false => answer.into_bytes(),
    }
}

fn answer_list(protocol: &Protocol, call: &Call<'_>, style: &Style) -> String {
    let items = items(call[protocol.items_name()].get(), protocol);
    let n = call.get("n").map_or(1, |n| n.get().parse().unwrap());
    let query = call.get("query").map_or("", |query| query.get());
    let mut entries: Vec<_> = items.iter().flat_map(|item| vec![*item; n]).enumerate().collect();
    let score = |item: &str| hash(&(item, query)) % 7;
    if matches!(protocol, Protocol::TeiRerank | Protocol::CohereRerank) {
        entries.sort_by_key(|(_, item)| std::cmp::Reverse(score(item)));
        let top = call.get("top_n").map_or(usize::MAX, |top| top.get().parse().unwrap());
        entries.truncate(top);
    } else if matches!(protocol, Protocol::OpenaiEmbeddings | Protocol::OpenaiCompletions) {
        style.shuffle.into_iter().for_each(|seed| shuffle(&mut Rng::new(seed), &mut entries));
    }
    let entry = |(at, item): &(usize, &str)| {
        let rng = &mut Rng::new(hash(item));
        let vector: Vec<_> = (0..3).map(|_| number(rng)).collect();
        let vector = format!("[{}]", vector.join(","));
        match protocol {
            Protocol::OpenaiEmbeddings => {
                format!("{{\"object\":\"embedding\",\"index\":{at},\"embedding\":{vector}}}")
            }
            Protocol::OpenaiCompletions => {
                format!(
                    "{{\"text\":{},\"choice\":{},\"logprobs\":{{\"index\":7}},\"index\":{at}}}",
                    text(rng),
                    at % n
                )
            }
            Protocol::TeiRerank => {
                format!("{{\"index\":{at},\"text\":{},\"score\":0.{}}}", text(rng), score(item))
            }
            Protocol::CohereRerank => {
                format!(
                    "{{\"document\":{{\"text\":{}}},\"index\":{at},\"relevance_score\":{}.5e-1}}",
                    text(rng),
                    score(item)
                )
            }
            Protocol::JsonArray { .. } => format!("{{\"index\":99,\"said\":{item},\"y\":{}}}", text(rng)),
            Protocol::TeiEmbed | Protocol::KserveV2 => vector,
        }
    };
    let entries = format!("[{}]", entries.iter().map(entry).collect::<Vec<_>>().join(","));
    let usage = if style.has_usage { usage(&items) } else { String::new() };
    match protocol {
        Protocol::OpenaiEmbeddings => {
            format!("{{\"object\":\"list\",\"data\":{entries},\"model\":\"m\\u00e9\"{usage}}}")
        }
        Protocol::OpenaiCompletions => {
            format!("{{\"id\":\"c-1\",\"created\":1{usage},\"choices\":{entries},\"x\":null}}")
        }
        Protocol::CohereRerank => {
            format!(
                "{{\"id\":\"r\",\"results\":{entries},\"meta\":{{\"api_version\":{{\"version\":\"2\"}}}}{usage}}}"
            )
        }
        Protocol::JsonArray { .. } => format!("{{\"took\":0.10{usage},\"outputs\":{entries}}}"),
        Protocol::TeiEmbed | Protocol::TeiRerank | Protocol::KserveV2 => entries,
    }
}

/// Counts that have nothing to do with how long items are.
fn usage(items: &[&str]) -> String {
    let sum = |salt: u64| items.iter().map(|item| hash(&(item, salt)) % 100).sum::<u64>();
    let (prompt, completion, cached) = (sum(1), sum(2), sum(3));
    let total = prompt + completion;
    format!(
        ",\"usage\":{{\"prompt_tokens\":{prompt},\"total_tokens\":{total},\"completion_tokens\":{completion},\"cost\":0.25,\
         \"prompt_tokens_details\":{{\"cached_tokens\":{cached},\"audio_tokens\":null}}}}"
    )
}

fn items<'c>(raw: &'c str, protocol: &Protocol) -> Vec<&'c str> {
    let Ok(all) = serde_json::from_str::<Vec<&'c RawValue>>(raw) else { return vec![raw] };
    let is_one = !matches!(protocol, Protocol::JsonArray { .. })
        && all.first().is_some_and(|first| first.get().as_bytes()[0].is_ascii_digit());
    if is_one { vec![raw] } else { all.iter().map(|item| item.get()).collect() }
}

fn infer(call: &Call<'_>) -> String {
    let inputs: Vec<Call<'_>> = serde_json::from_str(call["inputs"].get()).unwrap();
    let mut rows: Vec<String> = Vec::new();
    for input in &inputs {
        let shape: Vec<usize> = serde_json::from_str(input["shape"].get()).unwrap();
        let data: Vec<&RawValue> = serde_json::from_str(input["data"].get()).unwrap();
        assert!(data.len().is_multiple_of(shape[0]), "as many values in each row");
        rows.resize(shape[0], String::new());
        for (row, values) in rows.iter_mut().zip(data.chunks(data.len() / shape[0])) {
            *row += &values.iter().map(|value| value.get()).collect::<Vec<_>>().join(",");
        }
    }
    let numbers = |row: &String| {
        let rng = &mut Rng::new(hash(row));
        format!("{},{}", number(rng), number(rng))
    };
    let flat: Vec<_> = rows.iter().map(numbers).collect();
    let nested: Vec<_> = rows.iter().map(|row| format!("[[{}]]", numbers(row))).collect();
    let texts: Vec<_> = rows.iter().map(|row| text(&mut Rng::new(hash(row)))).collect();
    let count = rows.len();
    let id = call.get("id").map(|id| format!(",\"id\":{}", id.get())).unwrap_or_default();
    format!(
        "{{\"model_name\":\"m\",\"outputs\":[{{\"name\":\"a\",\"shape\":[{count},2],\"datatype\":\"FP32\",\"data\":[{}]}},\
         {{\"data\":[{}],\"name\":\"b\",\"datatype\":\"FP32\",\"shape\":[{count},1,2]}},\
         {{\"name\":\"c\",\"datatype\":\"BYTES\",\"shape\":[{count}],\"data\":[{}],\"parameters\":{{\"x\":1.0}}}}]{id}}}",
        flat.join(","),
        nested.join(","),
        texts.join(",")
    )
}

/// The same with blanks between tokens.
fn spaced(text: &str) -> String {
    let mut out = String::new();
    let (mut in_text, mut is_escaped) = (false, false);
    for c in text.chars() {
        let is_mark = !in_text && "{}[]:,".contains(c);
        if is_mark {
            out += " \n";
        }
        out.push(c);
        if is_mark {
            out += "\t";
        }
        if c == '"' && !is_escaped {
            in_text = !in_text;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    out
}

fn hash(what: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Bytes of it changed, lost, doubled or moved.
pub fn mutated(rng: &mut Rng, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..1 + rng.below(3) {
        let at = rng.below(bytes.len() as u64 + 1) as usize;
        let to = (at + rng.below(12) as usize).min(bytes.len());
        match rng.below(5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..to)),
            2 => {
                let part = bytes[at..to].to_vec();
                bytes.splice(at..at, part);
            }
            3 => bytes.insert(at, rng.next_u64() as u8),
            _ => {
                let marks = b"{}[]:,\"\\0123e.-n \xff";
                let mark = marks[rng.below(marks.len() as u64) as usize];
                bytes.get_mut(at).into_iter().for_each(|byte| *byte = mark);
            }
        }
    }
    bytes
}
