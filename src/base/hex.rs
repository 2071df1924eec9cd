//! Numbers as lower-case hex digits.

/// The digits of each byte.
const PAIRS: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Writes the 16 digits of `number`, of which `out` has room for as many or fewer: the last ones.
pub fn write_hex(out: &mut [u8], number: u64) {
    let bytes = number.to_be_bytes();
    let missing = bytes.len() - out.len() / 2;
    for (pair, byte) in out.chunks_exact_mut(2).zip(&bytes[missing..]) {
        pair.copy_from_slice(&PAIRS[usize::from(*byte)]);
    }
}

/// Reads lower-case hex digits, two for each byte of `out`; false where it is anything else.
pub fn read_hex(text: &[u8], out: &mut [u8]) -> bool {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let fits = text.len() == 2 * out.len();
    let mut pairs = text.chunks_exact(2).zip(out);
    fits && pairs.all(|(pair, out)| match (digit(pair[0]), digit(pair[1])) {
        (Some(high), Some(low)) => {
            *out = high << 4 | low;
            true
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_written() {
        let mut bytes = [0; 3];
        assert!(read_hex(b"00ff9a", &mut bytes) && bytes == [0, 0xff, 0x9a]);
        for wrong in ["", "00ff9", "00ff9a00", "00FF9a", "00ff9g", " 0ff9a"] {
            assert!(!read_hex(wrong.as_bytes(), &mut bytes), "{wrong}");
        }
    }

    #[test]
    fn all_digits_are_written_and_the_last_of_them_where_there_is_less_room() {
        let mut whole = [0; 16];
        write_hex(&mut whole, 0x0123_4567_89ab_cdef);
        assert_eq!(&whole, b"0123456789abcdef");
        let mut part = [0; 4];
        write_hex(&mut part, 0x0123_4567_89ab_cdef);
        assert_eq!(&part, b"cdef");
    }
}
