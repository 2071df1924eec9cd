//! `kind = "headers"`: fields of requests and answers are set, added, renamed and removed.

use std::sync::Arc;

use crate::codec::edit::{EditRules, Edits, Side};
use crate::codec::forwarded::Client;

/// What is changed on both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct Headers {
    /// On the way to an endpoint.
    pub request: SideEdits,
    /// On the way to a client, on our own answers too.
    pub response: SideEdits,
}

/// What is changed on one side.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SideEdits {
    /// Which fields, and how.
    pub rules: Arc<EditRules>,
    /// What is said in those that are set.
    pub set: Vec<Template>,
    /// What is said in those that are added.
    pub add: Vec<Template>,
}

/// What may be said of a request in a field.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The name of whom its credential belongs to.
    pub key: Option<&'a str>,
    /// Who asks.
    pub client: Client,
    /// The name of its route.
    pub route: Option<&'a str>,
    /// The model that it asks for.
    pub model: Option<&'a str>,
    /// Its id.
    pub request_id: &'a str,
}

/// A value with variables in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// As it was written.
    pub text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(Variable),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Variable {
    Key,
    Client,
    Model,
    Route,
    RequestId,
}

/// The variables that there are.
const VARIABLES: [(&str, Variable); 5] = [
    ("key", Variable::Key),
    ("client", Variable::Client),
    ("model", Variable::Model),
    ("route", Variable::Route),
    ("request_id", Variable::RequestId),
];

impl Template {
    /// Reads a value: `{name}` is a variable, any other brace stands for itself.
    ///
    /// # Errors
    ///
    /// What to write instead, where a variable is not known or the text cannot stand in a field (RFC 9110 §5.5).
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.trim() != text || !text.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return Err("write printable ASCII without blanks around it".to_owned());
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        let mut plain = String::new();
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            let name = from[1..].split_once('}').map(|(name, _)| name);
            let is_name =
                |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            let Some(name) = name.filter(is_name) else {
                plain.push('{');
                rest = &from[1..];
                continue;
            };
            let Some((_, variable)) = VARIABLES.iter().find(|(known, _)| *known == name) else {
                let known = VARIABLES.map(|(known, _)| format!("{{{known}}}")).join(", ");
                return Err(format!("use one of these for {{{name}}}: {known}"));
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(Part::Variable(*variable));
            rest = &from[name.len() + 2..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// Whether it speaks of whose request it is.
    pub fn needs_key(&self) -> bool {
        self.parts.contains(&Part::Variable(Variable::Key))
    }

    /// Whether it speaks of the model that is asked for.
    pub fn needs_model(&self) -> bool {
        self.parts.contains(&Part::Variable(Variable::Model))
    }

    /// The value for one request; what is not known of it is left out.
    fn of(&self, known: &Known<'_>) -> String {
        let mut value = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Variable(Variable::Key) => value.push_str(known.key.unwrap_or_default()),
                Part::Variable(Variable::Client) => match known.client {
                    Client::Address(address) => value.push_str(&address.to_string()),
                    Client::Local | Client::Unknown => {}
                },
                Part::Variable(Variable::Model) => value.push_str(known.model.unwrap_or_default()),
                Part::Variable(Variable::Route) => value.push_str(known.route.unwrap_or_default()),
                Part::Variable(Variable::RequestId) => value.push_str(known.request_id),
            }
        }
        escaped(&value)
    }
}

/// A value that can stand in a field: names of routes and keys may have letters beyond ASCII, which are escaped as in a URL.
fn escaped(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.trim().bytes() {
        match byte {
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl SideEdits {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.names().next().is_none()
    }

    /// The values of one exchange.
    fn of(&self, known: &Known<'_>) -> Edits {
        let values = |templates: &[Template]| templates.iter().map(|template| template.of(known)).collect();
        Edits { rules: Arc::clone(&self.rules), set: values(&self.set), add: values(&self.add) }
    }
}

impl Headers {
    /// Whether it speaks of the model that is asked for.
    pub(super) fn says_model(&self) -> bool {
        let sides = [&self.request, &self.response];
        sides.iter().flat_map(|side| side.set.iter().chain(&side.add)).any(Template::needs_model)
    }

    /// What is done to a message on that side, if anything.
    pub(super) fn edits(&self, side: Side, known: &Known<'_>) -> Option<Edits> {
        let edits = match side {
            Side::Request => &self.request,
            Side::Response => &self.response,
        };
        (!edits.is_empty()).then(|| edits.of(known))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_say_what_is_known_of_a_request() {
        let known = Known {
            key: Some("team-ä"),
            client: Client::Address("10.0.0.1".parse().unwrap()),
            route: None,
            model: Some("m\r\nx: y"),
            request_id: "r1",
        };
        for (text, value) in [
            ("plain", Ok("plain")),
            ("{key}", Ok("team-%C3%A4")),
            ("a {client};{request_id}{request_id}", Ok("a 10.0.0.1;r1r1")),
            ("{route}", Ok("")),
            ("{model}", Ok("m%0D%0Ax: y")),
            ("x{route}", Ok("x")),
            ("{route} x", Ok("x")),
            ("{\"a\":{}}", Ok("{\"a\":{}}")),
            ("{key", Ok("{key")),
            ("{{key}}", Ok("{team-%C3%A4}")),
            ("{Key}", Ok("{Key}")),
            ("{kye}", Err("use one of these for {kye}: {key}, {client}, {model}, {route}, {request_id}")),
            ("", Err("write printable ASCII without blanks around it")),
            (" a", Err("write printable ASCII without blanks around it")),
            ("a\r\nb: c", Err("write printable ASCII without blanks around it")),
            ("\u{e4}", Err("write printable ASCII without blanks around it")),
        ] {
            let told = Template::parse(text).map(|template| template.of(&known));
            assert_eq!(told.as_deref().map_err(String::as_str), value, "{text}");
        }
    }
}
