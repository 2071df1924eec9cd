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

#[cfg(test)]
mod tests {
    use super::*;

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
