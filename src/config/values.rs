//! Plain values that keys can have: each reads what an operator wrote as its key says, and shows itself in that form.

use std::time::Duration;

use serde_json::{Map, Value as Json, json};

use super::key::{Key, Kind};
use super::reader::{Setting, Value, nothing};
use super::units;
use crate::base::choice::Words;
use crate::base::problem::Placed;

/// A table as JSON, field by field; what is absent is left out.
pub(crate) fn shown(kind: &'static Kind, fields: &[(&str, &dyn Fn(&'static Kind) -> Json)]) -> Json {
    let (Kind::Table(keys) | Kind::Short(_, keys)) = kind else { unfit::<Json>(kind) };
    let field = |key: &'static Key| {
        let (_, show) = fields.iter().find(|(name, _)| *name == key.name)?;
        let value = show(&key.kind);
        (!value.is_null()).then(|| (key.name.to_owned(), value))
    };
    Json::Object(keys.iter().filter_map(field).collect())
}

/// A type and a kind that do not belong together; no key has both, and a test reads them all.
pub(super) fn unfit<T>(kind: &Kind) -> ! {
    panic!("{} cannot be {kind:?}", std::any::type_name::<T>())
}

macro_rules! whole {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
                let number = match *kind {
                    Kind::Number(least, most) => value.number(least, most),
                    Kind::Size(least, most) => value.size(least, most),
                    _ => unfit::<Self>(kind),
                };
                number.map(|number| <$type>::try_from(number).expect("bounds of a key fit its type"))
            }

            fn show(&self, kind: &'static Kind) -> Json {
                match kind {
                    Kind::Size(..) => json!(units::show_size(*self as u64)),
                    _ => json!(self),
                }
            }
        }
    )*};
}
whole!(u16, u32, u64, usize);

impl Setting for bool {
    fn read(value: Value<'_, '_>, _: &'static Kind) -> Option<Self> {
        value.truth()
    }

    fn show(&self, _: &'static Kind) -> Json {
        json!(self)
    }
}

/// A share from 0 to 1.
impl Setting for f64 {
    fn read(value: Value<'_, '_>, _: &'static Kind) -> Option<Self> {
        value.parsed(units::share)
    }

    fn show(&self, _: &'static Kind) -> Json {
        json!(units::show_share(*self))
    }
}

impl Setting for Duration {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let least = match (kind, value.text()) {
            (Kind::Finite(_, why), Some("none")) => {
                let name = value.name();
                value.complain(
                    format!("`{name}` cannot be \"none\""),
                    *why,
                    "write a duration such as \"2s\"",
                );
                return None;
            }
            (Kind::Time(least) | Kind::Finite(least, _), _) => *least,
            _ => unfit::<Self>(kind),
        };
        value.parsed(|text| match units::duration(text)? {
            short if short < least => Err(format!("write at least \"{}\"", units::show_duration(least))),
            duration => Ok(duration),
        })
    }

    fn show(&self, _: &'static Kind) -> Json {
        json!(units::show_duration(*self))
    }
}

impl Setting for String {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        match kind {
            Kind::Form(form) => value.parsed(form),
            Kind::Text => value.string(),
            Kind::Choice(words) => value.word(words).map(str::to_owned),
            _ => unfit::<Self>(kind),
        }
    }

    fn show(&self, _: &'static Kind) -> Json {
        json!(self)
    }
}

impl<T: Words> Setting for T {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::Choice(words) = kind else { unfit::<Self>(kind) };
        value.word(words).map(|word| Self::of(word).expect("a choice is made of the words of its type"))
    }

    fn show(&self, _: &'static Kind) -> Json {
        json!(self.word())
    }
}

/// Absent, or a word that stands for none.
impl<T: Setting> Setting for Option<T> {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        match kind {
            Kind::Or(word, _) if value.text() == Some(word) => Some(None),
            Kind::Or(word, kind) => T::read(value.or(word), kind).map(Some),
            Kind::Switch(kind) => match value.is_true() {
                Some(false) => Some(None),
                Some(true) => nothing(value.placed(()).place, kind).map(Some),
                None if value.is_table() => T::read(value, kind).map(Some),
                None => {
                    value.wrong_type("true, false or { … }");
                    None
                }
            },
            _ => T::read(value, kind).map(Some),
        }
    }

    fn show(&self, kind: &'static Kind) -> Json {
        match (self, kind) {
            (None, Kind::Or(word, _)) => json!(word),
            (None, Kind::Switch(_)) => json!(false),
            (None, _) => Json::Null,
            (Some(value), Kind::Or(_, kind) | Kind::Switch(kind)) => value.show(kind),
            (Some(value), _) => value.show(kind),
        }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl<T: Setting> Setting for Placed<T> {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        T::read(value, kind).map(|read| value.placed(read))
    }

    fn show(&self, kind: &'static Kind) -> Json {
        self.value.show(kind)
    }

    fn absent() -> Option<Self> {
        None
    }
}

/// A list; what is wrong in it is left out.
impl<T: Setting> Setting for Vec<T> {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let item = item::<Self>(kind);
        if let (Kind::OneOrMore(_), false) = (kind, value.is_array()) {
            return T::read(value, item).map(|one| vec![one]);
        }
        let items = value.array()?;
        if let (Kind::NonEmpty(_, why, fix), true) = (kind, items.is_empty()) {
            value.complain(format!("`{}` is empty", value.name()), *why, *fix);
        }
        Some(items.into_iter().filter_map(|value| T::read(value, item)).collect())
    }

    fn show(&self, kind: &'static Kind) -> Json {
        let item = item::<Self>(kind);
        match (kind, &self[..]) {
            (Kind::OneOrMore(Kind::Scalar), [one]) => one.show(item),
            (_, all) => all.iter().map(|one| one.show(item)).collect(),
        }
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }
}

/// What the items of a list are.
fn item<T>(kind: &'static Kind) -> &'static Kind {
    let (Kind::List(item) | Kind::NonEmpty(item, ..) | Kind::OneOrMore(item)) = kind else {
        unfit::<T>(kind)
    };
    item
}

/// Values by name, each with the place of its name; a table whose keys are names. And the names of those that were not
/// understood: what speaks of them has no mistake of its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ByName<T>(pub Vec<(Placed<String>, T)>, pub Vec<String>);

impl<T: Setting> Setting for ByName<T> {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::Named(kind) = kind else { unfit::<Self>(kind) };
        let mut read = Self(Vec::new(), Vec::new());
        for (name, value) in value.entries()? {
            match T::read(value, kind) {
                Some(value) => read.0.push((name, value)),
                None => read.1.push(name.value),
            }
        }
        Some(read)
    }

    fn show(&self, kind: &'static Kind) -> Json {
        let Kind::Named(kind) = kind else { unfit::<Self>(kind) };
        self.0
            .iter()
            .map(|(name, value)| (name.value.clone(), value.show(kind)))
            .collect::<Map<_, _>>()
            .into()
    }

    fn absent() -> Option<Self> {
        Some(Self(Vec::new(), Vec::new()))
    }
}

/// Makes a `Setting` of a type that is written as text of a form of its own.
macro_rules! text_setting {
    ($type:ty, read by $read:expr, shown by $show:expr) => {
        impl $crate::config::reader::Setting for $type {
            fn read(
                value: $crate::config::reader::Value<'_, '_>,
                _: &'static $crate::config::key::Kind,
            ) -> Option<Self> {
                let read: fn($crate::config::reader::Value<'_, '_>) -> Option<Self> = $read;
                read(value)
            }

            fn show(&self, _: &'static $crate::config::key::Kind) -> serde_json::Value {
                let show: fn(&Self) -> String = $show;
                serde_json::Value::from(show(self))
            }
        }
    };
}
pub(crate) use text_setting;
