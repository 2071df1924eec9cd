//! `kind = "guard"`: what texts may not hold, must hold, and are relieved of.

use crate::codec::json::Selection;
use crate::config::reader::Table;
use crate::config::table::table;
use crate::filter::guard::{Patterns, Redact};

table! {
    /// `kind = "guard"`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct GuardConfig checked by check_guard {
        /// "guard": looks at the texts of bodies, JSON and forms, as they are meant: escapes hide nothing.
        kind: String = key("kind", Choice(&["guard"]), Required("nobody could know what it does", "\"guard\"")),
        /// Expressions that no text may hold.
        deny: Vec<String> = key("deny", List(&Form(expression)), Absent),
        /// Expressions that some text must hold, each.
        require: Vec<String> = key("require", List(&Form(expression)), Absent),
        /// Which texts: paths with "[*]" for each item, and all that stands inside; all texts without it.
        fields: Vec<String> = key("fields", List(&Form(field)), Absent),
        /// What becomes of who does not pass: "reject", or "flag" for going on, with `x-guard: flagged` on the answer and
        /// `guard` in the log.
        action: String = key("action", Choice(&["reject", "flag"]), Is("'reject'")),
        /// What is taken out before a request leaves: "email", "card" for numbers with a valid checksum, "key" for API keys,
        /// tokens and private keys.
        redact: Vec<String> = key("redact", List(&Choice(Redact::WORDS)), Absent),
    }
}

fn expression(text: &str) -> Result<String, String> {
    match Patterns::check(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(why) => {
            Err(format!("write an expression that holds, without look-around and back references: {why}"))
        }
    }
}

fn field(text: &str) -> Result<String, String> {
    Selection::default().add(text).map(|()| text.to_owned())
}

fn check_guard(table: &Table<'_, '_>, guard: &GuardConfig) {
    if guard.deny.is_empty() && guard.require.is_empty() && guard.redact.is_empty() {
        table.complain(
            "a guard has neither `deny` nor `require` nor `redact`",
            "it would let everything pass as it is",
            "add deny = ['(?i)ignore (all )?previous'], or remove it",
        );
    }
}
