//! Every bound of the program, with its unit, its reason and the relations the compiler checks.

use std::time::Duration;

/// 1024 bytes.
pub const KIB: usize = 1024;
/// 1024 KiB.
pub const MIB: usize = 1024 * KIB;

/// Longest request or response head unless the operator sets another. Fits cookies and long bearer tokens;
/// servers in the field use 8 to 80 KiB.
pub const HEAD_BYTES_MAX: usize = 64 * KIB;
/// Most fields in one head. A browser sends about 20, a chain of proxies adds 10; the table lives on the stack
/// while a head is split, 32 bytes a field.
pub const FIELDS_MAX: usize = 256;
/// Most options in the Connection fields of one head, over all of them. Clients send one to four; each may nominate a field
/// that stays behind, and is looked up by all.
pub const CONNECTION_OPTIONS_MAX: usize = 64;
/// Empty lines tolerated before a request line (RFC 9112 §2.2 asks for at least one).
pub const LEADING_EMPTY_LINES_MAX: usize = 2;
/// Longest request target; nginx refuses at 8 KiB by default, browsers send up to 32.
pub const TARGET_BYTES_MAX: usize = 32 * KIB;
/// Longest chunk-size line with its extensions; no known client sends more than a few tens of bytes.
pub const CHUNK_LINE_BYTES_MAX: usize = 4 * KIB;
/// Chunk framing allowed above twice the data: stops a peer that sends 1-byte chunks with huge extensions.
pub const CHUNK_OVERHEAD_BYTES_MAX: u64 = 64 * KIB as u64;
/// Longest trailer section; it is read, checked and dropped.
pub const TRAILER_BYTES_MAX: usize = 16 * KIB;
/// A write that takes longer waits for its peer: one that the kernel takes at once takes some microseconds.
pub const WRITE_STALL: Duration = Duration::from_millis(1);
/// What may follow the fixed part of a PROXY header of version 2: addresses and a few facts of TLS.
pub const PROXY_HEADER_BYTES_MAX: usize = 2 * KIB;
/// Longest x-request-id that is taken over from a trusted sender; ids in the field have 16 to 64 bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 128;
/// Interim (1xx) answers before a final one, all their heads together. Servers tell the progress of an upload or of a long
/// task by them, some hundred of some tens of bytes; one that sends more is broken or hostile.
pub const INTERIM_BYTES_MAX: usize = MIB;

/// The first read of a client that woke, after the one that woke it: many ask once, and few of them at length.
pub const READ_BYTES_AWAKE: usize = KIB / 2;
/// The first reads of a connection: most heads and token events fit, and a thousand streams stay small.
pub const READ_BYTES_FIRST: usize = 4 * KIB;
/// A read that only tells whether the peer is still there, while its bytes lie unread.
pub const LISTEN_BYTES: usize = KIB;
/// One relay step. Large enough to amortise a system call, small enough to stay in L2 with its twin.
pub const RELAY_BYTES: usize = 16 * KIB;
/// A relay step once a body has shown to be large: fewer system calls, measured at about 40 % of the cost a MiB.
pub const RELAY_BYTES_LARGE: usize = 128 * KIB;
/// Least room that is worth a read; below it the buffer is renewed.
pub const READ_ROOM_MIN: usize = KIB;
/// Idle write buffers above this size are given back rather than kept with their connection.
pub const WRITE_BYTES_KEPT: usize = 2 * RELAY_BYTES;

const _: () = assert!(BUFFERED_BYTES_MAX >= BODY_BYTES_MAX, "the largest body must have room");
const _: () = assert!(RELAY_BYTES.is_power_of_two());
const _: () = assert!(INTERIM_BYTES_MAX >= HEAD_BYTES_MAX, "the longest interim answer must have room");
const _: () = assert!(HEAD_BYTES_MAX >= RELAY_BYTES, "a head buffer doubles as the first relay buffer");
const _: () = assert!(READ_ROOM_MIN < READ_BYTES_FIRST, "a fresh buffer must have room for a read");
const _: () = assert!(READ_ROOM_MIN <= LISTEN_BYTES, "a fresh buffer must have room for a read");
const _: () = assert!(READ_BYTES_AWAKE < READ_BYTES_FIRST && READ_BYTES_FIRST < RELAY_BYTES, "steps grow");

/// Longest request body unless the operator sets another: an image in base64, a long document.
pub const BODY_BYTES_MAX: u64 = 64 * MIB as u64;
/// Request bodies held at once, over all lanes, unless the operator sets another: four of the largest.
pub const BUFFERED_BYTES_MAX: u64 = 256 * MIB as u64;
/// What may still be held of a body that is sent on before its end: what decided, and what is kept for a repeat.
pub const PASSING_BYTES: u64 = 256 * KIB as u64;
/// What of a body at hand is read without waiting, once it has decided: a small one is then whole before anybody is asked.
pub const PASSING_AT_HAND_BYTES: u64 = BUFFERED_SMALL_BYTES;
/// How long more of a body is waited for while what its route changes in it is not settled: a length that is known when the
/// head leaves can be said there, and what follows a head comes within a round trip.
pub const PASSING_PAUSE: Duration = Duration::from_millis(100);
/// What may wait in an editor for what follows, such as a comma for a key, without a place in the room for all.
pub const PASSING_WAIT_BYTES: u64 = 16 * KIB as u64;
/// What a body of unknown length reserves first; it doubles as the body grows.
pub const BUFFERED_STEP_BYTES: u64 = 64 * KIB as u64;
/// Bodies up to this size are small: an ordinary prompt.
pub const BUFFERED_SMALL_BYTES: u64 = 64 * KIB as u64;
/// One part in so many of the room is kept for small bodies, so that they never wait behind large ones.
pub const BUFFERED_SMALL_PART: u64 = 16;
/// One part in so many of the room may be in use where a copy for a mirror takes some: as many copies of the largest as one
/// route has under way fit there, and bodies that somebody waits for have the rest.
pub const BUFFERED_SPARE_PART: u64 = 4;
/// While others wait for room, a body that is held must arrive at such an average that what it reserved is used in
/// this time; else four clients that drip could keep all others out for hours.
pub const BUFFERED_USED_WITHIN: Duration = Duration::from_secs(30);
/// One piece of a body that is held. Small enough that a short body wastes little.
pub const HELD_PIECE_BYTES: usize = 64 * KIB;
/// How long a body waits for its turn to be held.
pub const BUFFERED_WAIT: Duration = Duration::from_secs(10);
/// Slowest average, in bytes a second, that a client may send a body at, unless the operator sets another.
pub const BODY_RATE: u64 = KIB as u64;
/// Silence that a client may keep inside a body before its average counts: a mobile network's hand-over.
pub const BODY_RATE_GRACE: Duration = Duration::from_secs(5);
/// How often one request may pass the gateway: chains of gateways in the field have two or three. One that passes more
/// often runs in a circle, and would until descriptors are gone.
pub const PASSES_MAX: usize = 8;
/// How long bytes of a request that was answered are read and dropped before the connection is closed, so that the
/// client sees the answer instead of a reset (RFC 9112 §9.6).
pub const LINGER_TIME: Duration = Duration::from_secs(30);
/// How long it may pause in that time; nginx waits as long.
pub const LINGER_PAUSE: Duration = Duration::from_secs(5);

/// Longest file that holds a secret: a token has tens of bytes, a chain of certificates some KiB.
pub const SECRET_BYTES_MAX: u64 = 64 * KIB as u64;

/// Buckets of one limit: clients that it tells apart at once. Some megabytes, whoever asks.
pub const LIMIT_BUCKETS_MAX: usize = 65_536;

/// Longest key that is looked up: hashing more would be work that anybody may ask for. Those in use have some hundred bytes.
pub const KEY_BYTES_MAX: usize = 4 * KIB;

/// Refused credentials that are told in one second, over all lanes: enough to see who guesses, too few to fill a disk.
pub const AUDIT_LINES_PER_SECOND: u64 = 10;

/// Longest file that a configuration names: some hundred thousand keys, and far beyond any schema or key set.
pub const NAMED_FILE_BYTES_MAX: u64 = 64 * MIB as u64;

/// Most that a service which is asked is told of a body.
pub const ASK_BODY_TOLD_MAX: usize = 16 * MIB;
/// Longest head and body of its answer; a decision is short.
pub const ASK_HEAD_BYTES_MAX: usize = 16 * KIB;
/// See above.
pub const ASK_BODY_BYTES_MAX: usize = 64 * KIB;
/// Questions under way at once, each lane and service: those above wait within their time.
pub const ASK_IN_FLIGHT_MAX: usize = 64;
/// How often it is told at most that an endpoint is not trusted.
pub const UNTRUSTED_TOLD_PERIOD: Duration = Duration::from_secs(10);
/// Idle connections to a service that a lane keeps.
pub const ASK_IDLE_MAX: usize = 16;
/// Answers of a service that a lane remembers.
pub const ASK_CACHE_MAX: usize = 4096;
/// Most of a prompt that a line of the access log tells.
pub const LOG_PROMPT_BYTES_MAX: usize = 16 * KIB;
/// So much more of it is listened to: what is taken out of it is longer rarely.
pub const LOG_PROMPT_MARGIN_BYTES: usize = 4 * KIB;
/// Longest token of an issuer that is looked at; real ones have one or two thousand bytes, and heads are bounded anyway.
pub const JWT_BYTES_MAX: usize = 16 * KIB;
/// Keys of one set that are tried for a token that names none; each costs a signature's check.
pub const JWT_KEYS_TRIED_MAX: usize = 8;
/// Keys of one set; issuers have two or three.
pub const JWK_SET_KEYS_MAX: usize = 1024;
/// Tokens of one set whose signatures are remembered, those up to a length: 16 MiB at most, mostly some hundred KiB.
pub const JWT_VERIFIED_MAX: usize = 1024;
/// See above.
pub const JWT_VERIFIED_BYTES_MAX: usize = 4 * KIB;
/// Longest key set that is fetched.
pub const JWK_SET_BYTES_MAX: u64 = MIB as u64;

/// Most places of a body at which something is taken out: each costs some hundred bytes beside the body.
pub const SPLICES_MAX: usize = 65_536;

/// Longest that an answer to a batch may be beside its items: each of its members is told all of that. What engines say there is
/// a model, an id, a date and the usage.
pub const BATCH_COMMON_BYTES_MAX: usize = 64 * KIB;
/// Longest that a request may be beside its items to be cut into pieces: each of them says all of that. What clients say there is
/// a model, a query and some parameters.
pub const PIECE_COMMON_BYTES_MAX: usize = 64 * KIB;
/// Most pieces of one request: twice as many as OpenAI takes inputs at once.
pub const PIECES_MAX: usize = 4096;
/// Most numbers of a usage that are shared among the members of a batch, each by a look at all of them; engines tell about ten.
pub const BATCH_USAGE_NUMBERS_MAX: usize = 64;
/// Most plans that were replaced and that are kept though no exchange holds them, for requests that gather to travel together:
/// whoever reloads faster than they travel has the oldest of them refused, and tried again.
pub const REPLACED_PLANS_MAX: usize = 8;

/// Longest line of a stream that is kept to be read for its usage; one that is longer is read as it comes.
pub const USAGE_LINE_BYTES_MAX: usize = 64 * KIB;
/// How much of the beginning of an answer is kept where its model is told to a collector.
pub const MODEL_FIRST_BYTES: usize = KIB;
/// Longest member that is found though it came in two pieces: a name and a number.
pub const USAGE_BEGUN_BYTES: usize = 64;
/// Longest object of it that is read though it came in pieces; engines need some hundred bytes.
pub const USAGE_OBJECT_BYTES_MAX: usize = KIB;
/// How much of the beginning and of the end of each piece of an answer is looked at for what it says of tokens: some events, or what
/// stands behind the choices of a document.
pub const USAGE_LAST_BYTES: usize = 8 * KIB;
/// Most tokens that one answer is believed to have used: a slip of an engine must not close a limit for good.
pub const TOKENS_USED_MAX: u64 = 100_000_000;
/// Longest event of a stream that is held until it is whole, where the usage that only we asked for is taken out of it.
pub const USAGE_EVENT_BYTES_MAX: usize = 16 * KIB;

/// Values in a body that is held against a schema: it becomes a tree of about 100 bytes each, and a lane stands still while it
/// is looked at.
pub const JSON_TREE_VALUES_MAX: usize = 100_000;
/// Longest name of a member that is told back to who wrote it.
pub const PARAM_BYTES_MAX: usize = 256;

/// How often endpoints are asked for the models that they serve.
pub const MODELS_PERIOD: Duration = Duration::from_secs(10);
/// How soon they are asked again at most: after a connection that was made, or after a failure, which doubles it.
pub const MODELS_PAUSE: Duration = Duration::from_secs(1);
/// Longest list of models that is read: an engine with a thousand adapters writes some hundred KiB.
pub const MODEL_LIST_BYTES_MAX: usize = 4 * MIB;
/// Names of models of one endpoint; hubs list some hundred.
pub const MODELS_MAX: usize = 10_000;
/// Longest name of a model that counts: a request's own could be no longer.
pub const MODEL_NAME_BYTES_MAX: usize = BODY_VALUE_BYTES_MAX;
/// Longest answer of an endpoint that is told as an error in a stream that has begun.
pub const REFUSAL_BYTES_MAX: u64 = 64 * 1024;
/// How often engines are asked for what tells of their load.
pub const SIGNAL_PERIOD: Duration = Duration::from_secs(1);
/// When it is too old to count for anything; it counts for less from one period on.
pub const SIGNAL_LASTS: Duration = Duration::from_secs(3);
const _: () = assert!(SIGNAL_LASTS.as_millis() > SIGNAL_PERIOD.as_millis(), "it fades in between");
/// How long after a failure they are left alone at most: the pause doubles from one period on.
pub const SIGNAL_PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long one has to tell: what comes later hardly counts.
pub const SIGNAL_TIME: Duration = Duration::from_secs(2);
/// Longest text of metrics that is read; vLLM's with its histograms has some tens of KiB for each model.
pub const METRICS_BYTES_MAX: usize = 2 * MIB;

/// How long an endpoint has for such an answer, from the connection on.
pub const LOOKUP_TIME: Duration = Duration::from_secs(5);
/// Endpoints that are asked at once; others wait.
pub const LOOKUPS_MAX: usize = 64;

/// Members of a body that routes may ask for, over all routes; a scan keeps one bit for each.
pub const BODY_FIELDS_MAX: usize = 64;
/// Segments of such a member's path: `a.b.c` has three.
pub const BODY_PATH_SEGMENTS_MAX: usize = 8;
/// Longest body that is copied for a mirror: prompts fit, and it is held until the other cluster has taken it.
pub const MIRROR_BODY_BYTES_MAX: u64 = MIB as u64;
/// Copies of one route under way at once, over all lanes; each is a connection.
pub const MIRROR_IN_FLIGHT_MAX: u64 = 64;
/// Until a copy must be over where its cluster has no `total`.
pub const MIRROR_TIME: Duration = Duration::from_secs(60);
/// So much of an answer to a copy is read at a stretch, and then comes a pause: whatever that cluster sends, and however
/// fast, others on the lane have their turns. It bounds what is dropped to 250 MiB a second each.
pub const MIRROR_STRETCH_BYTES: usize = 256 * KIB;
/// The pause.
pub const MIRROR_PAUSE: Duration = Duration::from_millis(1);
const _: () = assert!(
    MIRROR_IN_FLIGHT_MAX * MIRROR_BODY_BYTES_MAX <= BUFFERED_BYTES_MAX / BUFFERED_SPARE_PART,
    "all copies of one route must have room"
);
/// Clusters that one request is sent to at once; each is a connection, and its answer is held.
pub const FANOUT_LEGS_MAX: usize = 16;
/// Elements of one array that may be asked for: each is a hundred bytes of places and more.
pub const MULTI_ELEMENTS_MAX: u64 = 100_000;
/// Lines of one file that may be asked for; OpenAI takes 50,000.
pub const MULTI_LINES_MAX: u64 = 10_000_000;
/// Elements at work at once that may be asked for; each is a connection.
pub const MULTI_IN_FLIGHT_MAX: u64 = 10_000;
/// How long the others of a shared answer wait for one that is behind.
pub const FLIGHT_PATIENCE: Duration = Duration::from_millis(500);
/// How much of an engine's own words an error repeats.
pub const PIECE_MESSAGE_CHARS_MAX: usize = 500;
/// What one kept answer takes beside its bytes: its place, its counts, its allocations.
pub const CACHE_ENTRY_OVERHEAD: u64 = 256;
/// How far behind the fastest another client of a shared answer may be, and how much of one is kept for who comes later.
pub const FLIGHT_BYTES_MAX: usize = MIB;
/// What is held of an answer until it is known whether it is the first that shows something; a token has tens of bytes.
pub const FIRST_BYTES_MAX: usize = 64 * KIB;
/// Longest answer that is gathered with others; lists of vectors have megabytes.
pub const GATHERED_BYTES_MAX: u64 = 64 * MIB as u64;
/// Longest value that a condition is held against; model names have tens of bytes, paths to them hundreds.
pub const BODY_VALUE_BYTES_MAX: usize = 4 * KIB;
/// Memory of one compiled regular expression; one that needs more is a mistake, or an attack on the operator.
pub const PATTERN_BYTES_MAX: usize = MIB;
/// Rows that one route may make of the lists in its conditions: each choice of values is one.
pub const ROUTE_ROWS_MAX: usize = 4096;
/// Choices of one value for each routed field that comes more than once. A route is looked up for each, in each of a
/// path's eight readings: a request that needs more is refused.
pub const HEADER_READINGS_MAX: usize = 16;
/// Parameters behind one field's value, which are compared with each other; a part of a form has two or three.
pub const FIELD_PARAMETERS_MAX: usize = 16;
/// Longest head of one part of a form; browsers send about 200 bytes.
pub const FORM_PART_HEAD_BYTES_MAX: usize = 8 * KIB;
/// Containers inside each other in a body that is looked at. Real requests nest about ten; some parsers fall over at
/// thousands.
pub const BODY_NESTING_MAX: usize = 512;

/// Open client connections over all lanes unless the operator sets another; past it who has rested longest makes room.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Descriptors of a process that serves nobody: standard streams, event loop, signals, reports, the log, some to spare.
pub const DESCRIPTORS_OWN: usize = 32;
/// Descriptors of a lane beside its listeners: its ring or poll, its doorbell, some to spare.
pub const DESCRIPTORS_A_LANE: usize = 8;
/// The admin API, connections that are kept to endpoints, and those of copies, may each take one part in so many of all descriptors.
pub const DESCRIPTORS_SHARE: u64 = 8;
/// The limit of open files where the system does not tell it: the usual soft one.
pub const OPEN_FILES_UNKNOWN: u64 = 1024;
/// Backlog of each listening socket; the kernel caps it at net.core.somaxconn.
pub const BACKLOG: i32 = 4096;
/// Until names of endpoints have to be resolved, all of them together: a resolver that is there answers in milliseconds.
pub const RESOLVE_TIME: Duration = Duration::from_secs(5);
/// Names that are asked for at once.
pub const RESOLVERS_MAX: usize = 32;
/// How often it is tried to listen on an address that is in use, and the pause between two tries: the kernel was seen to
/// hold the sockets of a killed process for half a second, as its rings are taken down in the background.
pub const LISTEN_TRIES: u32 = 40;
/// The pause between two tries.
pub const LISTEN_PAUSE: Duration = Duration::from_millis(50);
/// A client that rests for less keeps its place though others wait for one: its request may be on its way.
pub const ROOM_REST_MIN: Duration = Duration::from_millis(500);
/// The pause in which a client that was asked to gives up its place.
pub const ROOM_PAUSE: Duration = Duration::from_millis(2);
/// Connections accepted in one turn before other tasks run.
pub const ACCEPT_BURST_MAX: usize = 64;
/// Hang-ups that one call takes from the kernel; the room for them lies on the stack.
pub const HANGUP_BURST_MAX: usize = 64;
/// Commands waiting for one lane. Connections are handed over here: a full inbox means "keep it yourself".
pub const INBOX_MAX: usize = 1024;
/// Reports waiting for the control thread.
pub const REPORTS_MAX: usize = 1024;
/// Lines of the access log on their way to the writer; past them, or past their bytes, a line is dropped and counted.
pub const LOG_LINES_MAX: usize = 16 * 1024;
/// Memory that these lines may take: as many of 2 KiB each, or fewer of clients that ask for long paths.
pub const LOG_BYTES_MAX: usize = 32 * MIB;
/// Longest text of a client's own in a line (method, host, path); what is longer is cut there.
pub const LOG_TEXT_BYTES_MAX: usize = 2 * KIB;
/// How often it is tried to open a log that could not be opened.
pub const LOG_REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// How often trouble with the log is told.
pub const LOG_TOLD_PAUSE: Duration = Duration::from_secs(60);
/// How often the writer looks for lines.
pub const LOG_PAUSE: Duration = Duration::from_millis(50);
/// Longest path of a Unix socket: the kernel's field has 108 bytes, of which the last ends it (unix(7)).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Most lanes that may be asked for: above it somebody meant something else.
pub const LANES_MAX: u64 = 256;
/// Messages on their way to stderr; past them a message is lost and counted.
pub const SAID_MAX: usize = 256;
/// Longest message; a backtrace has some tens of KiB at most.
pub const SAID_BYTES_MAX: usize = 16 * KIB;
/// How long the end of the process waits for a reader of stderr.
pub const SAID_TIME: Duration = Duration::from_secs(1);
/// How often it looks.
pub const SAID_PAUSE: Duration = Duration::from_millis(5);
/// Panics on the control thread, each of which costs what it was about; past them the process ends, for a supervisor to
/// start it anew.
pub const CONTROL_PANICS_MAX: u64 = 100;
/// How often the end looks for lanes that end when told to, and the pause between two looks: a lane ends its connections
/// first, within [`STOP_TIME`]. One that hangs ends with the process.
pub const LANE_END_LOOKS: u32 = 200;
/// The pause between two looks.
pub const LANE_END_PAUSE: Duration = Duration::from_millis(10);
/// Most lanes that `auto` chooses: a sidecar shares its machine with the engine.
pub const LANES_AUTO_MAX: usize = 4;

/// Idle upstream connections per endpoint over all lanes unless the operator sets another.
pub const IDLE_PER_ENDPOINT_MAX: usize = 128;
/// Where a learned idle limit starts: below uvicorn's 5 s, which vLLM and SGLang use.
pub const IDLE_UPSTREAM_START: Duration = Duration::from_secs(3);
/// Longest wait for the reset by which an endpoint that was gone refuses a request: a round trip and some.
pub const STALE_PROOF_WAIT: Duration = Duration::from_millis(100);
/// Longest time that an endpoint is left alone because it asked for it.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// From one probe of an endpoint to the next.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(2);
/// Until the head of a probe's answer.
pub const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Faults in a row that eject an endpoint.
pub const CONSECUTIVE_FAULTS: usize = 5;
/// Within this time, for which it is out then.
pub const EJECTION_WINDOW: Duration = Duration::from_secs(30);
/// How long an endpoint that comes back takes to grow to its share.
pub const SLOW_START: Duration = Duration::from_secs(10);
/// Attempts of one exchange, all endpoints counted.
pub const ATTEMPTS_MAX: u32 = 2;
/// Longest body kept for another attempt: longer prompts are rare, and their clients are told to repeat.
pub const REPLAY_BYTES_MAX: u64 = 256 * KIB as u64;

/// Most requests that wait for one cluster: each holds its client's connection, and may hold a body; and whoever comes is told
/// how many keys are before its own.
pub const QUEUE_MAX: u64 = 8_192;
/// Most classes of a queue: each is a series of the metrics.
pub const QUEUE_CLASSES_MAX: usize = 16;
/// What an open exchange is worth beside the bytes it asks with, in bytes: a stream of answers holds an engine as long as
/// about a thousand tokens of prompt do.
pub const EXCHANGE_WORK_BYTES: u32 = 4 * KIB as u32;
/// Most bytes of a body that count as work: a longer one is mostly an image or sound, whose bytes say little.
pub const BODY_WORK_BYTES_MAX: u32 = MIB as u32;
/// Points of an endpoint on a ring, for each weight of 1: enough that shares differ by some percent only, and the same for
/// all gateways, or they would not agree.
pub const RING_POINTS: u32 = 160;
/// Most points of a ring, which takes 16 bytes each and is searched in 20 steps.
pub const RING_POINTS_MAX: u64 = 1 << 20;
/// What an endpoint of a ring may carry of the mean before the next one is asked (Mirrokni, Thorup, Zadimoghaddam 2018).
pub const RING_LOAD_MAX: f64 = 1.25;
/// Bytes of a block of a prompt: some sixteen blocks of an engine, so that few lookups tell much.
pub const PROMPT_BLOCK_BYTES: usize = KIB;
/// Blocks of a prompt that are looked at: what is alike behind 64 KiB is alike before.
pub const PROMPT_BLOCKS_MAX: usize = 64;
/// Blocks that are remembered for a cluster, in 5 MiB.
pub const CLUSTER_BLOCKS_MAX: usize = 65_536;
/// Bytes of a body that are read for the first blocks of its prompt, which may stand far behind in it; past it the request
/// is placed by what came.
pub const PROMPT_READ_BYTES_MAX: u64 = 128 * KIB as u64;

/// From the first byte of a head to its end.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// A client connection between exchanges.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// A client that takes no byte of its answer for this long is cut, unless the operator sets another: nginx's
/// `send_timeout`. Below it a phone that changes networks comes back.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Until a connection to an endpoint stands.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Silence in the middle of an answer.
pub const BETWEEN_BYTES_TIMEOUT: Duration = Duration::from_secs(300);
/// How long a new process may take until it accepts, before the one that it replaces gives it up.
pub const REPLACE_TIME: Duration = Duration::from_secs(30);
/// A tunnel through which no byte goes either way, unless the operator sets another: what HAProxy's documents advise.
pub const TUNNEL_IDLE: Duration = Duration::from_secs(3600);
/// How long a drain may take.
pub const DRAIN_TIME: Duration = Duration::from_secs(120);
/// Grace of idle connections in a drain: a request already on the wire still arrives.
pub const DRAIN_IDLE_GRACE: Duration = Duration::from_secs(1);
/// How long the tasks of connections that were cut at the end of a drain may take to end.
pub const STOP_TIME: Duration = Duration::from_secs(1);
const _: () = assert!(
    LANE_END_PAUSE.as_millis() * LANE_END_LOOKS as u128 > STOP_TIME.as_millis(),
    "a lane must have time to stop"
);
/// How often it is looked whether they have.
pub const STOP_PAUSE: Duration = Duration::from_millis(2);
/// The lane's slow pulse: coarse deadlines are met to within this.
pub const TICK: Duration = Duration::from_millis(100);
/// After this a client connection that sent requests is idle, and lets go all but its socket: a client that works sends
/// its next request sooner.
pub const REST_AFTER: Duration = Duration::from_secs(2);
/// The same after one request, to the next tick: many a client sends just that one, and many of them must not add up.
pub const REST_AFTER_ONE: Duration = Duration::ZERO;
/// How many such clients a lane keeps awake until the next tick; past it they rest at once. Each holds some 9 KiB, which
/// the allocator keeps: a burst of thousands of new connections would leave that much behind for each.
pub const UNTRIED_MAX: usize = 128;

/// Bytes of one event that are looked at to judge whether it carries a token.
pub const EVENT_WINDOW_BYTES: usize = 2 * KIB;
/// Seconds over which B (throughput) is averaged.
pub const RATE_WINDOW_S: usize = 10;
/// Seconds of one slot of the window of which percentiles are told.
pub const WINDOW_SLOT_S: u64 = 5;
/// Entries of a flight recorder that get their memory at once.
pub const RING_BLOCK_ENTRIES: usize = 512;
/// Slots of the history that the dashboard draws: ten minutes, in which an operator who was called sees the beginning.
pub const HISTORY_SLOTS: usize = 120;
/// Marks on the time line that are kept.
pub const MARKS_MAX: usize = 256;
/// Plans whose names are kept for what the flight recorder has of them.
pub const NAMED_PLANS_MAX: usize = 16;
/// Most exchanges that `/slow` tells of in one answer.
pub const SLOW_MAX: usize = 1000;
/// How far back a dump of the flight recorder reaches: as far as the p99 that caused it.
pub const DUMP_SPAN: Duration = Duration::from_secs(60);
/// Time between two of them: a route that stays slow is told of often enough, and a disk does not fill.
pub const DUMP_PAUSE: Duration = Duration::from_secs(600);
/// After one that could not be written: its folder may be made meanwhile.
pub const DUMP_RETRY_PAUSE: Duration = Duration::from_secs(60);
/// Most of them in their folder.
pub const DUMPS_MAX: usize = 10;
/// Most spans that wait to be told to a collector: some seconds of a busy gateway that traces a hundredth.
pub const SPANS_MAX: usize = 2048;
/// Longest text of a client's that a span says: what waits is bounded in bytes too.
pub const SPAN_TEXT_BYTES_MAX: usize = 512;
/// Longest state of a trace that a span says: what everybody should be able to pass (W3C Trace Context §3.3.1.5).
pub const TRACE_STATE_BYTES: usize = 512;
/// About as many are told at once.
pub const SPANS_A_CALL: usize = 512;
/// How long the first one waits for others.
pub const SPANS_PAUSE: Duration = Duration::from_millis(200);
/// How long a collector may take.
pub const SPANS_TIMEOUT: Duration = Duration::from_secs(5);
/// Most pairs of a key and a model that are counted apart, nine series each; beyond that all are `other`.
pub const KEY_SERIES_MAX: usize = 10_000;
/// Most exchanges that a lane's flight recorder keeps: 200 MB of them.
pub const RECORDER_MAX: u64 = 1 << 20;
/// Slots of that window: a minute, as people read percentiles, which then are at most five seconds short of it.
pub const WINDOW_SLOTS: usize = 12;
/// Longest request to the admin API, head and body.
pub const ADMIN_REQUEST_BYTES_MAX: usize = 64 * KIB;
/// Open connections to the admin API; past it the one that has waited longest for a request is closed to make room.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Longest time an admin connection may lie idle, and take for a body or an answer.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);
/// From the first byte of a head to its end on the admin API: whoever uses it is near.
pub const ADMIN_HEAD_TIME: Duration = Duration::from_secs(2);
