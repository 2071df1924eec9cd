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
#[derive(Debug, Default)]
pub struct Opening {
    /// The first byte of what may be a mark.
    mark: Option<u8>,
    /// How many bytes of it were read.
    read: usize,
}

/// The marks by their bytes. UTF-32 has those of UTF-16 and NULs (The Unicode Standard, §23.8).
const MARKS: [&[u8]; 3] = [b"\xEF\xBB\xBF", b"\xFE\xFF", b"\xFF\xFE"];

impl Opening {
    /// Looks at the next bytes; none as long as they tell nothing. Not to be asked again once they did.
    pub fn feed(&mut self, bytes: &[u8]) -> Option<Start> {
        bytes.iter().find_map(|&byte| self.step(byte))
    }

    fn step(&mut self, byte: u8) -> Option<Start> {
        let Some(first) = self.mark else {
            return match byte {
                b'{' | b'[' => Some(Start::Json),
                b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C | 0 => None,
                _ if MARKS.iter().any(|mark| mark[0] == byte) => {
                    (self.mark, self.read) = (Some(byte), 1);
                    None
                }
                _ => Some(Start::Other),
            };
        };
        let mark = MARKS.iter().find(|mark| mark[0] == first)?;
        if mark[self.read] != byte {
            return Some(Start::Other);
        }
        self.read += 1;
        (self.read == mark.len()).then_some(Start::Json)
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
