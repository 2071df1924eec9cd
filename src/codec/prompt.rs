//! The beginning of a prompt in blocks, hashed as the body arrives: no tokenizer, no tree.
//!
//! A prompt is what stands in the values under `messages` or `prompt`, strings and numbers (token ids), as they are written:
//! whoever goes on with a conversation writes its beginning as before, and what an escape says costs more to find out than
//! all the rest. Each block of [`PROMPT_BLOCK_BYTES`] has a hash over itself and all before it, and over the model:
//! two that are equal are the beginnings of prompts that an engine computes once.

use super::json::walker::{Container, Listener, Told, Walker};
use super::json::{JsonFault, Kept};
use crate::base::hash::{Hash64, hash64};
use crate::base::limits::{
    BODY_VALUE_BYTES_MAX, PROMPT_BLOCK_BYTES, PROMPT_BLOCKS_MAX, PROMPT_READ_BYTES_MAX,
};

/// Reads one body.
#[derive(Debug)]
pub struct PromptReader {
    walker: Walker<Reader>,
    read: u64,
    is_over: bool,
}

#[derive(Debug)]
struct Reader {
    depth: usize,
    /// What stands under the key at hand.
    under: Under,
    /// What is at hand is a value, not a key.
    is_value: bool,
    hash: Hash64,
    /// Bytes of the block at hand.
    filled: usize,
    blocks: Vec<u64>,
    model: Option<u64>,
    /// Its prompt ended.
    has_prompt: bool,
    kept: Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Under {
    Prompt,
    Model,
    Other,
}

const KEYS: [(&[u8], Under); 3] =
    [(b"messages", Under::Prompt), (b"prompt", Under::Prompt), (b"model", Under::Model)];
const KEY_BYTES_MAX: usize = 8;
/// Stands behind each value, so that two values are not one.
const END: &[u8] = b"\0";

impl Default for PromptReader {
    fn default() -> Self {
        let reader = Reader {
            depth: 0,
            under: Under::Other,
            is_value: false,
            hash: Hash64::new(0),
            filled: 0,
            blocks: Vec::new(),
            model: None,
            has_prompt: false,
            kept: Kept::default(),
        };
        Self { walker: Walker::new(reader), read: 0, is_over: false }
    }
}

impl PromptReader {
    /// Reads the next bytes. What is no JSON has no prompt behind where that shows.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        self.read += bytes.len() as u64;
        let reads_on = self.walker.feed(bytes).is_ok();
        let Reader { blocks, model, has_prompt, .. } = self.walker.listener();
        let is_known = blocks.len() == PROMPT_BLOCKS_MAX || (*has_prompt && model.is_some());
        self.is_over = !reads_on || is_known || self.read >= PROMPT_READ_BYTES_MAX;
    }

    /// Whether no further byte matters.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// The blocks, for the model that was read, else for `model`.
    pub fn blocks(self, model: Option<&[u8]>) -> Vec<u64> {
        let Reader { mut blocks, model: read, .. } = self.walker.into_listener();
        let model = read.or(model.map(hash64)).unwrap_or(0);
        blocks.iter_mut().for_each(|block| *block ^= model);
        blocks
    }
}

impl Reader {
    fn absorb(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.blocks.len() < PROMPT_BLOCKS_MAX {
            let (now, later) = bytes.split_at(bytes.len().min(PROMPT_BLOCK_BYTES - self.filled));
            self.hash.update(now);
            self.filled += now.len();
            bytes = later;
            if self.filled == PROMPT_BLOCK_BYTES {
                let block = self.hash.value();
                self.blocks.push(block);
                // What comes next is hashed behind all before it.
                (self.hash, self.filled) = (Hash64::new(block), 0);
            }
        }
    }

    fn is_key(&self) -> bool {
        self.depth == 1
    }

    /// A value ended that stands in the outermost object.
    fn after_value(&mut self) {
        if self.depth == 1 {
            self.has_prompt |= self.under == Under::Prompt;
            self.under = Under::Other;
        }
    }
}

impl Listener for Reader {
    fn open(&mut self, _: Container, _: u64) -> Result<(), JsonFault> {
        self.depth += 1;
        Ok(())
    }

    fn close(&mut self, _: u64) -> Result<(), JsonFault> {
        self.depth -= 1;
        self.after_value();
        Ok(())
    }

    fn begin(&mut self, what: Told) -> bool {
        self.is_value = what != Told::Key;
        match (what, self.under) {
            (Told::Key, _) if self.is_key() => {
                self.kept.begin(KEY_BYTES_MAX);
                true
            }
            (Told::Text, Under::Model) if self.is_key() => {
                self.kept.begin(BODY_VALUE_BYTES_MAX);
                true
            }
            // Texts pass as they are written.
            (Told::Number, Under::Prompt) => true,
            (Told::Key | Told::Text | Told::Number, _) => false,
        }
    }

    fn bytes(&mut self, bytes: &[u8], _: u64) {
        match self.under {
            Under::Prompt => self.absorb(bytes),
            Under::Model | Under::Other => self.kept.push(bytes),
        }
    }

    fn passed(&mut self, bytes: &[u8]) {
        if self.is_value && self.under == Under::Prompt {
            self.absorb(bytes);
        }
    }

    fn unit(&mut self, unit: u16, _: u64) {
        self.kept.push_unit(unit);
    }

    fn end(&mut self, what: Told, _: u64) -> Result<(), JsonFault> {
        match (what, self.under) {
            (Told::Key, _) if self.is_key() => {
                let key = self.kept.text().unwrap_or_default();
                let known = KEYS.iter().find(|(name, _)| *name == key);
                self.under = known.map_or(Under::Other, |(_, under)| *under);
            }
            (Told::Key, _) => {}
            (Told::Text | Told::Number, Under::Prompt) => {
                self.absorb(END);
                self.after_value();
            }
            (Told::Text, Under::Model) if self.is_key() => {
                self.model = self.kept.text().map(hash64);
                self.after_value();
            }
            (Told::Text | Told::Number, _) => self.after_value(),
        }
        Ok(())
    }

    fn word(&mut self, _: &'static [u8], _: u64) -> Result<(), JsonFault> {
        self.after_value();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(document: &str, cut: usize) -> Vec<u64> {
        let mut reader = PromptReader::default();
        document.as_bytes().chunks(cut).for_each(|piece| reader.feed(piece));
        reader.blocks(None)
    }

    fn chat(model: &str, turns: &[&str]) -> String {
        let turn = |text: &&str| format!(r#"{{"role":"user","content":"{text}"}}"#);
        let turns: Vec<_> = turns.iter().map(turn).collect();
        format!(r#"{{"messages":[{}],"model":"{model}"}}"#, turns.join(","))
    }

    #[test]
    fn conversations_share_the_blocks_of_what_they_have_in_common() {
        let (system, one, other) = ("s".repeat(3000), "1".repeat(2000), "2".repeat(2000));
        let short = blocks(&chat("m", &[&system, &one]), usize::MAX);
        let long = blocks(&chat("m", &[&system, &one, &other]), usize::MAX);
        let apart = blocks(&chat("m", &[&system, &other]), usize::MAX);
        assert_eq!((short.len(), long.len()), (4, 6));
        assert_eq!(short[..], long[..4]);
        assert_eq!((&short[..2], short[2] == apart[2]), (&apart[..2], false));
        assert!(blocks(&chat("n", &[&system, &one]), usize::MAX).iter().all(|block| !short.contains(block)));
    }

    #[test]
    fn any_split_and_any_spelling_give_the_same_blocks() {
        let text = format!("{}é{}", "a".repeat(1500), "b".repeat(1500));
        let plain = chat("m", &[&text]);
        let whole = blocks(&plain, usize::MAX);
        assert_eq!(whole.len(), 2);
        for cut in [1, 2, 3, 7, 64, 1000] {
            assert_eq!(blocks(&plain, cut), whole, "{cut}");
        }
        let escaped = plain.replace('b', "\\u0062").replace('a', "\\u0061");
        assert_eq!(blocks(&escaped, 5), blocks(&escaped, 1));
        let first = format!(r#"{{"model":"m",{}"#, &chat("m", &[&text])[1..]);
        assert_eq!(blocks(&first, 9), whole, "wherever the model stands");
    }

    #[test]
    fn prompts_and_token_ids_count_and_all_else_does_not() {
        let text = "t".repeat(1024);
        assert_eq!(blocks(&format!(r#"{{"prompt":"{text}"}}"#), 10).len(), 1);
        assert_eq!(blocks(&format!(r#"{{"prompt":["{text}"]}}"#), 10).len(), 1);
        let ids = vec!["12345"; 300].join(",");
        assert_eq!(blocks(&format!(r#"{{"prompt":[{ids}]}}"#), 10).len(), 1);
        for other in [
            format!(r#"{{"input":"{text}"}}"#),
            format!(r#"{{"x":{{"prompt":"{text}"}}}}"#),
            format!(r#"["{text}"]"#),
            format!(r#""{text}""#),
            format!("model={text}"),
            String::new(),
        ] {
            assert_eq!(blocks(&other, 10).len(), 0, "{}", &other[..other.len().min(20)]);
        }
    }

    #[test]
    fn it_stops_where_nothing_more_matters() {
        let mut reader = PromptReader::default();
        reader.feed(chat("m", &["x"]).as_bytes());
        assert!(reader.is_over(), "the prompt and the model came");
        let mut long = PromptReader::default();
        long.feed(br#"{"messages":[{"content":""#);
        let mut read = 0;
        while !long.is_over() {
            long.feed(&[b'x'; 1000]);
            read += 1000;
        }
        assert!((65_536..67_000).contains(&read), "{read}");
        assert_eq!(long.blocks(None).len(), PROMPT_BLOCKS_MAX);
        let mut behind = PromptReader::default();
        behind.feed(br#"{"image":""#);
        (0..132).for_each(|_| behind.feed(&[b'x'; 1000]));
        assert!(behind.is_over(), "nobody waits for a prompt that far behind");
    }
}
