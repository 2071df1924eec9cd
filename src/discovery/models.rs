//! Lists of models as engines write them, read: bounded, and forgiving of all that is not a name.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::base::limits::{MODEL_NAME_BYTES_MAX, MODELS_MAX};
use crate::base::model::{Model, Models};

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// `{"data":[{"id","created","owned_by"}]}`, as OpenAI and most others write it; `aliases` beside `id` are names too.
    Openai,
    /// `{"models":[{"name","modified_at"}]}`.
    Ollama,
    /// `[{"name","version","state"}]`, of which those that are ready count.
    Triton,
    /// `{"model_id"}`: one.
    Tei,
}

/// What stands in the place of an owner that is not told.
const NOBODY: &str = "unknown";

impl Listing {
    /// The models of a list, in the order written; one without a name, or with one that no request could ask for, is left
    /// out. The error says in words why it is no list, or one that is too long.
    pub fn read(self, body: &[u8]) -> Result<Models, String> {
        let all = match self {
            Self::Openai => openai(body),
            Self::Ollama => ollama(body),
            Self::Triton => triton(body),
            Self::Tei => tei(body),
        };
        let all = all.map_err(|error| format!("it is no list of models: {error}"))?;
        let names: usize = all.iter().map(|model| 1 + model.also.len()).sum();
        if names > MODELS_MAX {
            return Err(format!("it lists {names} names, and {MODELS_MAX} are taken at most"));
        }
        let mut seen = HashSet::new();
        Ok(all.into_iter().filter(|model| seen.insert(Arc::clone(&model.id))).collect())
    }
}

/// A name that requests can ask for.
fn name(value: &Value) -> Option<&str> {
    value.as_str().filter(|name| (1..=MODEL_NAME_BYTES_MAX).contains(&name.len()))
}

/// What is told of a model with this name; none where it can be nobody's.
fn model(id: &Value, created: u64, owner: &Value) -> Option<Model> {
    let id = Arc::from(name(id)?);
    let owned_by = Arc::from(name(owner).unwrap_or(NOBODY));
    Some(Model { id, also: Box::default(), created, owned_by })
}

fn openai(body: &[u8]) -> serde_json::Result<Vec<Model>> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        id: Value,
        #[serde(default)]
        created: Value,
        #[serde(default)]
        owned_by: Value,
        /// Further names, of llama.cpp.
        #[serde(default)]
        aliases: Value,
    }
    let list: List = serde_json::from_slice(body)?;
    // Some write seconds with a fraction.
    let seconds =
        |created: &Value| created.as_u64().or_else(|| created.as_f64().map(|created| created as u64));
    let read = |entry: Entry| {
        let found = model(&entry.id, seconds(&entry.created).unwrap_or(0), &entry.owned_by)?;
        let others = entry.aliases.as_array().map_or(&[][..], Vec::as_slice).iter().filter_map(name);
        let also = others.filter(|name| **name != *found.id).map(Arc::from).collect();
        Some(Model { also, ..found })
    };
    Ok(list.data.into_iter().filter_map(read).collect())
}

fn ollama(body: &[u8]) -> serde_json::Result<Vec<Model>> {
    #[derive(Deserialize)]
    struct List {
        models: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        name: Value,
        #[serde(default)]
        modified_at: Value,
    }
    let list: List = serde_json::from_slice(body)?;
    let read = |entry: Entry| {
        let made = entry.modified_at.as_str().and_then(unix_seconds);
        let found = model(&entry.name, made.unwrap_or(0), &Value::from("ollama"))?;
        // What is asked for without a tag is the latest.
        let also = found.id.strip_suffix(":latest").map(Arc::from).into_iter().collect();
        Some(Model { also, ..found })
    };
    Ok(list.models.into_iter().filter_map(read).collect())
}

fn triton(body: &[u8]) -> serde_json::Result<Vec<Model>> {
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        name: Value,
        #[serde(default)]
        state: Value,
    }
    let list: Vec<Entry> = serde_json::from_slice(body)?;
    let ready = list.into_iter().filter(|entry| entry.state == "READY");
    Ok(ready.filter_map(|entry| model(&entry.name, 0, &Value::from("triton"))).collect())
}

fn tei(body: &[u8]) -> serde_json::Result<Vec<Model>> {
    #[derive(Deserialize)]
    struct Told {
        model_id: Value,
    }
    let told: Told = serde_json::from_slice(body)?;
    Ok(model(&told.model_id, 0, &Value::from("tei")).into_iter().collect())
}

/// A time as RFC 3339 §5.6 writes it, in seconds of Unix time; none where it is another form, or before 1970.
fn unix_seconds(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let fits =
        (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let rest = text.get(19..)?;
    let zone = rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), ..] if zone.len() == 6 => {
            let at = text.len() - 5;
            let minutes = number(at, at + 2)? * 60 + number(at + 3, at + 5)?;
            if *sign == b'+' { minutes } else { -minutes }
        }
        _ => return None,
    };
    // Days since 1970 in the proleptic Gregorian calendar, of years that begin in March.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 153 + 2) / 5
        + (day - 1)
        - 719_468;
    let seconds = days * 86_400 + hour * 3600 + (minute - offset) * 60 + second;
    fits.then_some(seconds)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA_CPP: &str = r#"{"models":[{"name":"/models/gemma.gguf","model":"/models/gemma.gguf","modified_at":"","size":"","digest":"","type":"model","description":"","tags":[""],"capabilities":["completion"],"parameters":"","details":{"parent_model":"","format":"gguf","family":"","families":[""],"parameter_size":"","quantization_level":""}}],"object":"list","data":[{"id":"/models/gemma.gguf","aliases":["/models/gemma.gguf"],"tags":[],"object":"model","architecture":{"input_modalities":["text"],"output_modalities":["text"]},"created":1795782420,"owned_by":"llamacpp","meta":{"vocab_type":1,"n_vocab":262144,"n_ctx":512,"n_ctx_train":32768,"n_embd":640,"n_params":268098176,"size":246587904,"ftype":"Q4_K - Medium"}}]}"#;

    /// Each model as `id/also/created/owner`.
    fn told(listing: Listing, body: &str) -> Result<Vec<String>, String> {
        let tell = |model: &Model| {
            let also = if model.also.is_empty() { "-".to_owned() } else { model.also.join("+") };
            format!("{}/{also}/{}/{}", model.id, model.created, model.owned_by)
        };
        listing.read(body.as_bytes()).map(|all| all.iter().map(tell).collect())
    }

    #[test]
    fn lists_are_read_as_engines_write_them() {
        for (listing, body, models) in [
            (Listing::Openai, r#"{"object":"list","data":[]}"#, &[][..]),
            (
                Listing::Openai,
                r#"{"object":"list","data":[{"id":"b","object":"model","created":1700000000,"owned_by":"vllm","root":"/m","permission":[{"id":"x"}]},{"id":"a"}]}"#,
                &["b/-/1700000000/vllm", "a/-/0/unknown"],
            ),
            // llama.cpp writes both kinds beside each other.
            (
                Listing::Openai,
                r#"{"models":[{"name":"m.gguf"}],"object":"list","data":[{"id":"m.gguf","created":1.5e9,"owned_by":"llamacpp","meta":{}}]}"#,
                &["m.gguf/-/1500000000/llamacpp"],
            ),
            // As a real one said it: llama.cpp's server, built of November 2026, of a model without an alias.
            (Listing::Openai, LLAMA_CPP, &["/models/gemma.gguf/-/1795782420/llamacpp"]),
            // The same of one with several aliases, the last of which names it.
            (
                Listing::Openai,
                r#"{"data":[{"id":"both","aliases":["m1","both",7,""],"created":7,"owned_by":"llamacpp"},{"id":"x","aliases":"y"}]}"#,
                &["both/m1/7/llamacpp", "x/-/0/unknown"],
            ),
            // What is no name is left out, as is what comes again.
            (
                Listing::Openai,
                r#"{"data":[{"id":1},{},{"id":""},{"id":null},{"id":"a","created":"x","owned_by":7},{"id":"a","owned_by":"b"}]}"#,
                &["a/-/0/unknown"],
            ),
            (
                Listing::Ollama,
                r#"{"models":[{"name":"llama3.2:latest","modified_at":"2023-11-04T14:56:49.277302595-07:00","size":1},{"name":"qwen3:8b","modified_at":"soon"}]}"#,
                &["llama3.2:latest/llama3.2/1699135009/ollama", "qwen3:8b/-/0/ollama"],
            ),
            (
                Listing::Triton,
                r#"[{"name":"a","version":"1","state":"READY"},{"name":"a","version":"2","state":"READY"},{"name":"b","version":"1","state":"UNAVAILABLE","reason":"unloaded"},{"name":"c"}]"#,
                &["a/-/0/triton"],
            ),
            (
                Listing::Tei,
                r#"{"model_id":"BAAI/bge","model_sha":null,"max_input_length":512}"#,
                &["BAAI/bge/-/0/tei"],
            ),
        ] {
            let models = models.iter().map(|model| (*model).to_owned()).collect::<Vec<_>>();
            assert_eq!(told(listing, body), Ok(models), "{body}");
        }
    }

    #[test]
    fn what_is_no_list_is_told() {
        for (listing, body) in [
            (Listing::Openai, ""),
            (Listing::Openai, "not found"),
            (Listing::Openai, r#"{"error":{"message":"no"}}"#),
            (Listing::Openai, r#"{"data":{"id":"a"}}"#),
            (Listing::Openai, r#"{"data":[{"id":"a"}]} x"#),
            (Listing::Ollama, r#"{"data":[{"id":"a"}]}"#),
            (Listing::Triton, r#"{"models":[]}"#),
            (Listing::Tei, "[]"),
        ] {
            let why = told(listing, body).unwrap_err();
            assert!(why.starts_with("it is no list of models"), "{body}: {why}");
        }
        let nested = format!("{{\"data\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(told(Listing::Openai, &nested).is_err());
        let entry = |at: usize| format!("{{\"id\":\"{at}\"}}");
        let list =
            |count: usize| format!("{{\"data\":[{}]}}", (0..count).map(entry).collect::<Vec<_>>().join(","));
        assert_eq!(told(Listing::Openai, &list(MODELS_MAX)).unwrap().len(), MODELS_MAX);
        assert!(told(Listing::Openai, &list(MODELS_MAX + 1)).unwrap_err().contains("are taken at most"));
        let long = format!("{{\"data\":[{{\"id\":\"{}\"}}]}}", "x".repeat(MODEL_NAME_BYTES_MAX + 1));
        assert_eq!(told(Listing::Openai, &long), Ok(vec![]));
    }

    #[test]
    fn times_are_read_with_their_zones() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T23:59:59z", Some(951_868_799)),
            ("2024-12-31T23:59:60.5Z", Some(1_735_689_600)),
            ("2023-11-04T14:56:49+02:30", Some(1_699_100_809)),
            ("1969-12-31T23:59:59Z", None),
            ("2023-13-04T14:56:49Z", None),
            ("2023-11-04 14:56", None),
            ("2023-11-04T14:56:49", None),
            ("2023-11-04T14:56:49+0230", None),
            ("2023-11-04T14:56:4éZ", None),
            ("", None),
        ] {
            assert_eq!(unix_seconds(text), seconds, "{text}");
        }
    }
}
