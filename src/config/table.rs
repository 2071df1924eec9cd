//! `table!`: a table of the configuration as a structure, and as the list of keys that it is read by.

/// Defines a table: a structure, and the list of keys that it is read by.
///
/// A field is `name: Type = key("name in the file", Kind, Without)` with a doc comment. `checked by function` names
/// what is told of several keys together; it gets the table and what was read of it.
macro_rules! table {
    (
        $(#[$meta:meta])*
        pub struct $table:ident $(checked by $check:path)? {
            $(
                $(#[doc = $about:literal])+
                $field:ident: $type:ty = key($name:literal, $kind:expr, $without:expr),
            )*
        }
    ) => {
        $(#[$meta])*
        #[allow(rustdoc::broken_intra_doc_links, reason = "operators read it: what is in brackets is a table")]
        pub struct $table {
            $(
                $(#[doc = $about])+
                pub $field: $type,
            )*
        }

        impl $table {
            /// Its keys.
            pub const KEYS: &'static [$crate::config::key::Key] = {
                #[allow(unused_imports, reason = "each table uses some of them")]
                use $crate::config::key::{INSTANT, Kind::*, SIZE_MAX, Without::*};
                &[$($crate::config::key::Key {
                    name: $name,
                    kind: $kind,
                    without: $without,
                    about: concat!($($about),+),
                }),*]
            };
        }

        impl $crate::config::reader::Setting for $table {
            fn read(
                value: $crate::config::reader::Value<'_, '_>,
                kind: &'static $crate::config::key::Kind,
            ) -> Option<Self> {
                let table = value.table(kind)?;
                // Each key is taken before any is found missing: all problems are told at once.
                $(let $field: Option<$type> = table.take($name);)*
                table.finish();
                let read = Self { $($field: $field?),* };
                $($check(&table, &read);)?
                Some(read)
            }

            fn show(&self, kind: &'static $crate::config::key::Kind) -> serde_json::Value {
                $crate::config::values::shown(kind, &[
                    $(($name, &|kind| $crate::config::reader::Setting::show(&self.$field, kind))),*
                ])
            }
        }

        impl serde::Serialize for $table {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                use $crate::config::{key::Kind, reader::Setting};
                self.show(&Kind::Table(Self::KEYS)).serialize(to)
            }
        }
    };
}
pub(crate) use table;
