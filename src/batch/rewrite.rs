//! An object written again with some of its JSON members changed, the others as they are.

use crate::codec::json::cursor::{Cursor, text_of};

/// What becomes of a JSON member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It stays.
    Kept,
    /// It goes.
    Dropped,
    /// Its value was written anew, and the cursor stands behind the old one.
    Written,
}

/// Writes the object that comes next. `change` is told the name of each JSON member, and may take its value.
pub(super) fn rewrite(
    cursor: &mut Cursor<'_>,
    out: &mut Vec<u8>,
    change: &mut dyn FnMut(&str, &mut Cursor<'_>, &mut Vec<u8>) -> Change,
) {
    cursor.enter();
    out.push(b'{');
    let mut is_first = true;
    while let Some(key) = cursor.next_key() {
        let before = out.len();
        if !is_first {
            out.push(b',');
        }
        let key = cursor.text(&key);
        out.extend_from_slice(key);
        out.push(b':');
        let name = text_of(key).unwrap_or_default();
        match change(&name, cursor, out) {
            Change::Kept => {
                let value = cursor.skip();
                out.extend_from_slice(cursor.text(&value));
            }
            Change::Written => {}
            Change::Dropped => {
                cursor.skip();
                out.truncate(before);
                continue;
            }
        }
        is_first = false;
    }
    out.push(b'}');
}
