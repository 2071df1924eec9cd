//! HTTP/1.1 as bytes in, events out; knows no socket, no route and no clock.
//!
//! Invariants of a reader, each with a test of its name in `tests/codec`: *conserving* (every input byte is in an
//! event, counted as framing, or still in the input), *split-blind* (any division of the same bytes gives the same
//! events, adjacent data joined), *linear* (work is proportional to bytes, however they trickle in), *bounded*
//! (heads, trailers and chunk framing have limits of their own), *final* (after an error, or a body that runs until
//! close, the connection is never used again).
//!
//! Declared deviations from the standards. Towards strictness:
//!
//! | source | allows | corelane |
//! |---|---|---|
//! | RFC 9112 §2.2 | a lone LF may end a line | refused: two readers that differ here can be played against each other |
//! | RFC 9112 §6.1, §6.3 | Content-Length beside Transfer-Encoding may be accepted, and the connection then closed | refused with 400 and close; an answer with 502 |
//! | RFC 9112 §6.1 | a coding in HTTP/1.0 may be read, and the connection then closed | refused, in requests and answers |
//! | RFC 9112 §6.3 | a coding that does not end in chunked: 400 | 400 where chunked stands elsewhere; 501 where a coding is unknown, so that the client learns which |
//! | RFC 9110 §8.6 | repeated equal Content-Length may be merged | refused |
//! | RFC 9110 §8.6, RFC 9112 §7.1 | numbers of any number of digits | lengths up to 18 digits, chunk sizes up to 15: they cannot overflow |
//! | RFC 9112 §7.1.1 | unknown chunk extensions are ignored | ignored up to a limit, never forwarded; what breaks their grammar (`5;`, `5;a=`, `5;a="x`) is refused from a client |
//! | RFC 9110 §7.6.1 | any number of connection options | more than 64 in one head: 431; an answer with 502 |
//! | RFC 9112 §7.1.2 | trailers may be merged or forwarded | read, checked and dropped |
//! | RFC 9110 §5.5 | control characters in a value may be kept | refused |
//! | RFC 9110 §5.1 | unknown fields are forwarded | a request field that is, but for `_` in place of `-`, one that is set, read or judged here is dropped: CGI reads both as one |
//! | RFC 9112 §5.1 | white space before the colon of an answer's field is removed | refused with 502 |
//! | RFC 9110 §2.5, §15.6.6 | HTTP/1.2 is read as HTTP/1.1; other versions get 505 | refused with 400: nobody speaks it |
//! | RFC 9110 §15 | a status outside 100 to 599 is treated as 5xx | refused with 502 |
//! | RFC 9112 §3.2.2 | a query may follow the authority of an absolute target | refused: it would have to be rewritten to be forwarded |
//! | RFC 9112 §3.2 | Host is empty where the target has no authority | refused, but in HTTP/1.0 and beside an absolute target |
//! | RFC 9110 §4.1 | a host may hold a comma or be an IPvFuture literal | refused: others split a list of hosts at it; nobody has such an address |
//! | RFC 9110 §4.1 | a host may hold escapes | refused: some servers decode them, and routes are found by the name as it is |
//! | RFC 9110 §7.8, §9.3.6, §9.3.8 | Upgrade, CONNECT and TRACE may be offered | `websocket` passes where a route says so, and its 101 comes back; any other upgrade is removed; CONNECT and TRACE are answered 501 |
//! | RFC 9112 §9.3.2 | clients may pipeline | answered in order, one at a time; reading stops while busy |
//!
//! And towards tolerance:
//!
//! | source | requires | corelane |
//! |---|---|---|
//! | RFC 9112 §7.1 | nothing but extensions stands between a chunk size and its line end | from an upstream blanks (many servers pad sizes) and malformed extensions pass, within the limit of extensions: nobody but us reads them, the client's chunks are ours |
//! | RFC 9112 §3.2 | a target outside the grammar is refused | any visible ASCII but `#` passes as it is: clients send `{`, `|` and `"` |
//! | RFC 9110 §7.4 | an origin refuses https on a plain connection | accepted, the scheme is not used: the gateway often stands behind something that ends TLS |

pub mod body;
pub mod body_editor;
pub mod cache_control;
pub mod chunk_line;
pub mod chunked;
mod connection;
pub mod content;
pub mod declared;
pub mod edit;
pub mod enclosed;
pub mod encode;
pub mod error;
pub mod field;
pub mod fields;
pub mod form_texts;
pub mod forwarded;
pub mod framing;
pub mod head;
mod head_end;
pub mod json;
pub mod media_type;
pub mod method;
pub mod multipart;
mod number;
pub mod operation;
mod parameters;
mod part_head;
pub mod progress;
pub mod prompt;
pub mod proxy_protocol;
pub mod reply;
pub mod request;
pub mod response;
pub mod retry_after;
pub mod shared;
pub mod splice;
pub mod split;
pub mod sse;
mod target;
pub mod texts;
mod token;
pub mod trace;
mod twin;
pub mod unreadable;
pub mod urlencoded;
pub mod usage;
pub mod usage_cut;
mod usage_glance;
mod usage_members;
pub mod version;
pub mod write;
