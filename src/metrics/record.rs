//! What is measured of one exchange, in a few words of fixed size: what the flight recorder keeps and a line of the
//! access log tells.

use std::sync::LazyLock;

use crate::base::ids::{EndpointId, Id, RouteId};
use crate::base::summary::Ended;

/// What is measured of one exchange. Times are microseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// The route, if one was found.
    pub route: Option<RouteId>,
    /// The endpoint that answered, or was tried last.
    pub endpoint: Option<EndpointId>,
    /// Status sent; 499 where the client left early.
    pub status: u16,
    /// How it ended.
    pub ended: Ended,
    /// The code of an answer of our own.
    pub code: Option<&'static str>,
    /// What went wrong.
    pub fault: Option<&'static str>,
    /// Where.
    pub stage: Option<&'static str>,
    /// Attempts made.
    pub attempts: u32,
    /// Whether the last one found a pooled connection.
    pub reused: bool,
    /// Request body bytes.
    pub bytes_in: u64,
    /// Response body bytes.
    pub bytes_out: u64,
    /// Token-bearing events.
    pub tokens: u64,
    /// Tokens of the prompt, as the answer says.
    pub input_tokens: Option<u64>,
    /// Tokens that the model wrote, as the answer says.
    pub output_tokens: Option<u64>,
    /// Tokens of the prompt that the engine had read before, as the answer says.
    pub cached_tokens: Option<u64>,
    /// T: first byte of the head to last byte of the answer.
    pub total_us: u64,
    /// Reading the head.
    pub head_us: u64,
    /// Holding the body until the route was known.
    pub hold_us: u64,
    /// Waiting for a place in a full cluster.
    pub queue_us: u64,
    /// Connecting, over all attempts.
    pub connect_us: u64,
    /// Sending the request, waiting for the client's body included.
    pub send_us: u64,
    /// From the last byte sent to the head of the answer.
    pub wait_us: u64,
    /// From the head of the answer to its last byte.
    pub relay_us: u64,
    /// Head complete to first token.
    pub ttft_us: Option<u64>,
    /// Between tokens: the middle of all times, within an eighth.
    pub itl_p50_us: Option<u64>,
    /// The longest of them.
    pub itl_max_us: Option<u64>,
}

/// Where nothing was measured.
impl Default for &Record {
    fn default() -> Self {
        static NOTHING: LazyLock<Record> = LazyLock::new(Record::default);
        &NOTHING
    }
}

/// Words of a record in the ring.
pub const RECORD_WORDS: usize = 23;
/// Longest id of an exchange that is kept: a UUID is, and what we make; of a longer one its first bytes.
pub const RECORD_ID_BYTES: usize = 40;

/// A record as it lies in a ring, with what is not measured: when the exchange ended and what it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What was measured; names are those of the table that it was packed with.
    pub record: Record,
    /// When the exchange ended, microseconds since 1970.
    pub at_us: u64,
    /// The plan that its route and endpoint are positions in.
    pub generation: u64,
    /// Its id.
    pub request_id: Vec<u8>,
    /// Its trace, 32 hex digits.
    pub trace_id: [u8; 32],
}

/// Two numbers in one word, each cut to 32 bits.
fn two(high: u64, low: u64) -> u64 {
    let narrow = |number: u64| number.min(u64::from(u32::MAX));
    narrow(high) << 32 | narrow(low)
}

fn parted(word: u64) -> (u64, u64) {
    (word >> 32, word & u64::from(u32::MAX))
}

/// A number that may be absent: one more than it is, so that zero stands for none.
fn or_none(number: Option<u64>) -> u64 {
    number.map_or(0, |number| number.saturating_add(1))
}

fn some(number: u64) -> Option<u64> {
    number.checked_sub(1)
}

const ENDED: [Ended; 3] = [Ended::Well, Ended::ClientLeft, Ended::Badly];

/// Packs a record. `number` gives a name its number, from 1 to 255; 0 stands for none.
#[inline]
pub fn pack(
    record: &Record,
    (at_us, generation): (u64, u64),
    (request_id, trace_id): (&[u8], &[u8; 32]),
    mut number: impl FnMut(&'static str) -> u8,
) -> [u64; RECORD_WORDS] {
    let mut name = |name: Option<&'static str>| name.map_or(0, |name| u64::from(number(name)));
    let position = |position: Option<usize>| or_none(position.map(|position| position as u64));
    let id = &request_id[..request_id.len().min(RECORD_ID_BYTES)];
    let ended = match record.ended {
        Ended::Well => 0,
        Ended::ClientLeft => 1,
        Ended::Badly => 2,
    };
    let names = name(record.code) << 16 | name(record.fault) << 8 | name(record.stage);
    let mut words = [0; RECORD_WORDS];
    words[0] = at_us;
    words[1] = generation;
    words[2] = two(position(record.route.map(Id::position)), position(record.endpoint.map(Id::position)));
    words[3] = names << 40 | ended << 32 | u64::from(record.reused) << 24 | (id.len() as u64) << 16;
    words[3] |= u64::from(record.status);
    words[4] = record.bytes_in;
    words[5] = record.bytes_out;
    words[6] = two(record.tokens, or_none(record.input_tokens));
    words[7] = two(or_none(record.output_tokens), or_none(record.cached_tokens));
    words[8] = two(record.total_us, record.head_us);
    words[9] = two(record.hold_us, record.queue_us);
    words[10] = two(record.connect_us, record.send_us);
    words[11] = two(record.wait_us, record.relay_us);
    words[12] = two(or_none(record.ttft_us), or_none(record.itl_p50_us));
    words[13] = two(or_none(record.itl_max_us), u64::from(record.attempts));
    write_bytes(id, &mut words[14..19]);
    write_bytes(trace_id, &mut words[19..23]);
    words
}

/// Reads what [`pack`] wrote. `name` tells the name behind a number.
pub fn unpack(words: &[u64; RECORD_WORDS], name: impl Fn(u8) -> Option<&'static str>) -> Kept {
    let numbered = |shift: u32| name((words[3] >> shift) as u8);
    let (route, endpoint) = parted(words[2]);
    let [(tokens, input), (output, cached)] = [parted(words[6]), parted(words[7])];
    let [(total_us, head_us), (hold_us, queue_us)] = [parted(words[8]), parted(words[9])];
    let [(connect_us, send_us), (wait_us, relay_us)] = [parted(words[10]), parted(words[11])];
    let [(ttft, itl_p50), (itl_max, attempts)] = [parted(words[12]), parted(words[13])];
    let record = Record {
        route: some(route).map(|position| RouteId::at(position as usize)),
        endpoint: some(endpoint).map(|position| EndpointId::at(position as usize)),
        status: words[3] as u16,
        ended: ENDED[((words[3] >> 32) as u8 as usize).min(ENDED.len() - 1)],
        code: numbered(56),
        fault: numbered(48),
        stage: numbered(40),
        attempts: attempts as u32,
        reused: words[3] >> 24 & 1 == 1,
        bytes_in: words[4],
        bytes_out: words[5],
        tokens,
        input_tokens: some(input),
        output_tokens: some(output),
        cached_tokens: some(cached),
        total_us,
        head_us,
        hold_us,
        queue_us,
        connect_us,
        send_us,
        wait_us,
        relay_us,
        ttft_us: some(ttft),
        itl_p50_us: some(itl_p50),
        itl_max_us: some(itl_max),
    };
    let mut request_id = read_bytes(&words[14..19]);
    request_id.truncate((words[3] >> 16) as u8 as usize);
    let mut trace_id = [0; 32];
    trace_id.copy_from_slice(&read_bytes(&words[19..23]));
    Kept { record, at_us: words[0], generation: words[1], request_id, trace_id }
}

fn write_bytes(bytes: &[u8], words: &mut [u64]) {
    let (eights, rest) = bytes.as_chunks::<8>();
    for (word, eight) in words.iter_mut().zip(eights) {
        *word = u64::from_le_bytes(*eight);
    }
    if let Some(word) = words.get_mut(eights.len()) {
        for (at, byte) in rest.iter().enumerate() {
            *word |= u64::from(*byte) << (8 * at);
        }
    }
}

fn read_bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["upstream_reset", "reset", "wait"];

    fn there_and_back(record: &Record, id: &[u8]) -> Kept {
        let number = |name| NAMES.iter().position(|known| *known == name).unwrap() as u8 + 1;
        let words = pack(record, (77, 1 << 40), (id, &[b'a'; 32]), number);
        unpack(&words, |number| NAMES.get(usize::from(number).checked_sub(1)?).copied())
    }

    #[test]
    fn what_is_packed_is_what_is_read() {
        let id = b"0123456789abcdef0123456789abcdef";
        let kept = there_and_back(&Record::default(), id);
        let expected = Kept {
            record: Record::default(),
            at_us: 77,
            generation: 1 << 40,
            request_id: id.to_vec(),
            trace_id: [b'a'; 32],
        };
        assert_eq!(kept, expected);
        let full = Record {
            route: Some(RouteId::at(0)),
            endpoint: Some(EndpointId::at(70_000)),
            status: 502,
            ended: Ended::Badly,
            code: Some(NAMES[0]),
            fault: Some(NAMES[1]),
            stage: Some(NAMES[2]),
            attempts: 3,
            reused: true,
            bytes_in: 1 << 40,
            bytes_out: 1 << 41,
            tokens: 5,
            input_tokens: Some(0),
            output_tokens: Some(7),
            cached_tokens: None,
            total_us: 1,
            head_us: 2,
            hold_us: 3,
            queue_us: 4,
            connect_us: 5,
            send_us: 6,
            wait_us: 7,
            relay_us: 8,
            ttft_us: Some(0),
            itl_p50_us: None,
            itl_max_us: Some(11),
        };
        assert_eq!(there_and_back(&full, b"").record, full);
        assert!(there_and_back(&full, b"").request_id.is_empty());
        let left = Record { ended: Ended::ClientLeft, status: 499, ..Record::default() };
        assert_eq!(there_and_back(&left, &[b'x'; 90]).record, left);
        assert_eq!(there_and_back(&left, &[b'x'; 90]).request_id, [b'x'; RECORD_ID_BYTES]);
    }

    #[test]
    fn what_is_too_large_is_told_as_the_largest() {
        let long =
            Record { total_us: u64::MAX, ttft_us: Some(u64::MAX), tokens: u64::MAX, ..Record::default() };
        let told = there_and_back(&long, b"x").record;
        assert_eq!((told.total_us, told.tokens), (u64::from(u32::MAX), u64::from(u32::MAX)));
        assert_eq!(told.ttft_us, Some(u64::from(u32::MAX) - 1));
        assert_eq!((told.head_us, told.itl_p50_us), (0, None));
    }
}
