//! Whether bytes are UTF-8 (RFC 3629), in any split.

/// Looks at text as it comes.
#[derive(Debug, Default)]
pub struct Utf8 {
    /// The beginning of a character that is not whole yet.
    begun: [u8; 4],
    length: usize,
}

impl Utf8 {
    /// Looks at the next bytes; false where no text has them.
    pub fn feed(&mut self, mut bytes: &[u8]) -> bool {
        while self.length > 0 {
            let Some((first, rest)) = bytes.split_first() else { return true };
            self.begun[self.length] = *first;
            self.length += 1;
            bytes = rest;
            match std::str::from_utf8(&self.begun[..self.length]) {
                Ok(_) => self.length = 0,
                Err(error) if error.error_len().is_some() || self.length == self.begun.len() => return false,
                Err(_) => {}
            }
        }
        match std::str::from_utf8(bytes) {
            Ok(_) => true,
            Err(error) if error.error_len().is_some() => false,
            Err(error) => {
                let tail = &bytes[error.valid_up_to()..];
                self.begun[..tail.len()].copy_from_slice(tail);
                self.length = tail.len();
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_of_a_text_is_judged_as_the_whole() {
        for bytes in [
            &b"plain"[..],
            "aé€😀z".as_bytes(),
            b"\xC3",
            b"\xC3(",
            b"a\xE2\x82",
            b"\xE2\x82\xAC\xF0\x9F\x98",
            b"\xED\xA0\x80",
            b"\xF4\x90\x80\x80",
            b"\xC0\x80",
            b"\x80",
            b"\xFF",
            b"\xF0\x9F\x98\x80\xF0\x9F\x98",
        ] {
            let is_text = std::str::from_utf8(bytes).is_ok();
            for at in 0..=bytes.len() {
                let mut utf8 = Utf8::default();
                let fed = [&bytes[..at], &bytes[at..]].into_iter().all(|piece| utf8.feed(piece));
                assert_eq!(fed && utf8.length == 0, is_text, "{bytes:?} cut at {at}");
            }
            let mut utf8 = Utf8::default();
            assert_eq!(bytes.chunks(1).all(|byte| utf8.feed(byte)) && utf8.length == 0, is_text, "{bytes:?}");
        }
    }
}
