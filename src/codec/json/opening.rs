//! Whether a body begins as a JSON document does, whatever its type says.

/// What a body begins as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// As an object or an array, or with a byte order mark: some reader takes it for JSON, in UTF-8, UTF-16 or UTF-32.
    Json,
    /// As anything else.
    Other,
}

/// Looks at the first bytes of a body until they tell.
///
/// White space and NULs are left out: in UTF-16 and UTF-32 a NUL stands beside each letter, and Python finds out the
/// encoding by them. White space is more here than in JSON (the form feed, the vertical tab): some readers strip a body first.
/// A mark counts at the very beginning only, where readers look for it: behind silence, two bytes of sound may look like one.
#[derive(Debug, Default)]
pub struct Opening {
    /// How many bytes were left out, and whether they are two NULs so far: the mark of UTF-32 may begin with them.
    skipped: usize,
    has_only_nuls: bool,
    /// The mark that may have begun, and how many bytes of it were read.
    mark: Option<(&'static [u8], usize)>,
}

/// The marks that may stand at the beginning (The Unicode Standard, §23.8). UTF-32 has those of UTF-16 and NULs; in the order
/// of networks the NULs come first.
const MARKS: [&[u8]; 3] = [b"\xEF\xBB\xBF", b"\xFE\xFF", b"\xFF\xFE"];

impl Opening {
    /// Looks at the next bytes; none as long as they tell nothing. Not to be asked again once they did.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Start> {
        bytes.iter().find_map(|&byte| self.step(byte))
    }

    fn step(&mut self, byte: u8) -> Option<Start> {
        match (self.mark, byte) {
            (Some((mark, read)), _) if mark[read] != byte => Some(Start::Other),
            (Some((mark, read)), _) => {
                self.mark = Some((mark, read + 1));
                (read + 1 == mark.len()).then_some(Start::Json)
            }
            (None, b'{' | b'[') => Some(Start::Json),
            (None, b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C | 0) => {
                self.has_only_nuls = byte == 0 && (self.skipped == 0 || self.has_only_nuls);
                self.skipped = self.skipped.saturating_add(1);
                None
            }
            (None, _) => {
                let is_start = self.skipped == 0 || (self.skipped == 2 && self.has_only_nuls && byte == 0xFE);
                let mark = MARKS.iter().find(|mark| is_start && mark[0] == byte);
                self.mark = mark.map(|mark| (*mark, 1));
                self.mark.is_none().then_some(Start::Other)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_some_reader_takes_for_json_begins_as_json() {
        for (bytes, start) in [
            (&b"{"[..], Some(Start::Json)),
            (b" \t\r\n[", Some(Start::Json)),
            (b"\x0B\x0C{", Some(Start::Json)),
            (b"\0\0\0{", Some(Start::Json)),
            (b"\0 \0{", Some(Start::Json)),
            (b"\xEF\xBB\xBFx", Some(Start::Json)),
            (b"\xFE\xFF", Some(Start::Json)),
            (b"\xFF\xFE\0\0{", Some(Start::Json)),
            (b"\0\0\xFE\xFF", Some(Start::Json)),
            (b" \0", None),
            (b"\xEF\xBB", None),
            (b"\xEF\xBB{", Some(Start::Other)),
            (b" \xEF\xBB\xBF{", Some(Start::Other)),
            (b" \0\xFE\xFF", Some(Start::Other)),
            (b"\0\0\xFF\xFE", Some(Start::Other)),
            // Sound that begins silently, in samples of two bytes.
            (b"\0\0\0\0\xFE\xFF", Some(Start::Other)),
            (b"\xFF\xFB\x90", Some(Start::Other)),
            (b"\0\0\0\x20ftypisom", Some(Start::Other)),
            (b"RIFF", Some(Start::Other)),
            (b"--b", Some(Start::Other)),
            (b"", None),
        ] {
            assert_eq!(Opening::default().feed(bytes), start, "{bytes:?}");
            let mut opening = Opening::default();
            assert_eq!(bytes.chunks(1).find_map(|byte| opening.feed(byte)), start, "byte by byte: {bytes:?}");
        }
    }
}
