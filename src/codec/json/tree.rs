//! A document as a tree, for whoever needs all of it at once. What two readers could read differently makes none.

use serde_json::{Map, Value};

use super::decoded::Decoded;
use super::fault::JsonFault;
use super::walker::{Container, Listener, Told};

/// Grows a tree of a bounded number of values.
#[derive(Debug)]
pub struct Tree {
    /// The open containers, each with the key that it stands under in its object.
    open: Vec<(Value, String)>,
    key: String,
    text: Decoded,
    left: usize,
    root: Option<Value>,
    fault: Option<TreeFault>,
}

/// Why there is no tree of a document that is well-formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeFault {
    /// This member stands twice in one object.
    Doubled(String),
    /// A number that is none to JSON, or that no number of 64 bits holds.
    Number,
    /// More values than allowed.
    TooMany,
}

impl Tree {
    /// Of `most` values at most.
    pub fn new(most: usize) -> Self {
        Self {
            open: Vec::new(),
            key: String::new(),
            text: Decoded::default(),
            left: most,
            root: None,
            fault: None,
        }
    }

    /// The tree, once the document has ended.
    pub fn into_value(self) -> Result<Value, TreeFault> {
        match (self.fault, self.root) {
            (Some(fault), _) => Err(fault),
            (None, root) => Ok(root.unwrap_or_default()),
        }
    }

    fn put(&mut self, value: Value) {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.fault.get_or_insert(TreeFault::TooMany);
        }
        // Nothing more is kept of what has a fault already.
        if self.fault.is_some() {
            return;
        }
        match self.open.last_mut() {
            None => self.root = Some(value),
            Some((Value::Object(members), _)) => {
                let key = std::mem::take(&mut self.key);
                if members.contains_key(&key) {
                    self.fault = Some(TreeFault::Doubled(key));
                } else {
                    members.insert(key, value);
                }
            }
            Some((Value::Array(items), _)) => items.push(value),
            Some(_) => unreachable!("only containers are open"),
        }
    }
}

impl Listener for Tree {
    fn open(&mut self, kind: Container, _: u64) -> Result<(), JsonFault> {
        let container = match kind {
            Container::Object => Value::Object(Map::new()),
            Container::Array => Value::Array(Vec::new()),
        };
        self.open.push((container, std::mem::take(&mut self.key)));
        Ok(())
    }

    fn close(&mut self, _: u64) -> Result<(), JsonFault> {
        if let Some((container, key)) = self.open.pop() {
            self.key = key;
            self.put(container);
        }
        Ok(())
    }

    fn begin(&mut self, _: Told) -> bool {
        self.text.begin();
        self.fault.is_none()
    }

    fn bytes(&mut self, bytes: &[u8], at: u64) {
        self.text.push(bytes, at);
    }

    fn unit(&mut self, unit: u16, at: u64) {
        self.text.push_unit(unit, at);
    }

    fn end(&mut self, what: Told, at: u64) -> Result<(), JsonFault> {
        if self.fault.is_some() {
            return Ok(());
        }
        self.text.end(at);
        let text = self.text.text();
        match what {
            Told::Key => self.key = text.into_owned(),
            Told::Text => {
                let text = Value::String(text.into_owned());
                self.put(text);
            }
            Told::Number => match text.parse::<serde_json::Number>() {
                Ok(number) => self.put(Value::Number(number)),
                Err(_) => self.fault = Some(TreeFault::Number),
            },
        }
        Ok(())
    }

    fn word(&mut self, word: &'static [u8], _: u64) -> Result<(), JsonFault> {
        match word {
            b"true" => self.put(Value::Bool(true)),
            b"false" => self.put(Value::Bool(false)),
            b"null" => self.put(Value::Null),
            _ => self.fault = Some(TreeFault::Number),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::walker::Walker;
    use super::*;

    fn tree(text: &str, most: usize) -> Result<Value, TreeFault> {
        let mut walker = Walker::new(Tree::new(most));
        text.as_bytes().chunks(3).for_each(|piece| walker.feed(piece).unwrap());
        walker.finish().unwrap();
        walker.into_listener().into_value()
    }

    #[test]
    fn a_document_becomes_the_tree_that_serde_json_makes_of_it() {
        for text in [
            r#"{"a":[1,-2.5e3,{"b":null}],"c":{"d":true,"e":{}},"f":"\u00e9\ud83d\ude00\n","":[[],[false]]}"#,
            "[]",
            "12",
            "\"x\"",
        ] {
            assert_eq!(tree(text, 100).unwrap(), serde_json::from_str::<Value>(text).unwrap(), "{text}");
        }
        for (text, fault) in [
            (r#"{"a":1,"a":2}"#, TreeFault::Doubled("a".into())),
            (r#"[{"a":{"b":1,"\u0062":1}}]"#, TreeFault::Doubled("b".into())),
            ("[NaN]", TreeFault::Number),
            ("[1e999]", TreeFault::Number),
            ("[1,2,3]", TreeFault::TooMany),
        ] {
            assert_eq!(tree(text, 4), Err(fault), "{text}");
        }
    }
}
