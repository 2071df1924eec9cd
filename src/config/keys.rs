//! Every key there is, once, as data: for the JSON Schema that editors read, and for the tests that keep the reader and
//! the annotated example true.

/// A key of a table.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What holds without it.
    pub without: Without,
    /// What it does, in a sentence.
    pub about: &'static str,
}

/// What holds without a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// Nothing: the feature is off.
    Absent,
    /// It must be there.
    Required,
    /// This value, as JSON.
    Is(&'static str),
}

/// What a value is.
#[derive(Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number within bounds.
    Number(u64, u64),
    /// A number with a unit of time.
    Duration,
    /// That, or this word.
    DurationOr(&'static str),
    /// A number with a unit of bytes.
    Size,
    /// A number with a percent sign.
    Share,
    /// `true` or `false`.
    Truth,
    /// A list.
    List(&'static Kind),
    /// A table with these keys.
    Table(&'static [Key]),
    /// A table whose keys are names.
    Named(&'static Kind),
    /// One of these.
    Either(&'static [Kind]),
}

use Kind::{Choice, Duration, DurationOr, Either, List, Named, Number, Share, Size, Table, Text, Truth};
use Without::{Absent, Is, Required};

const fn key(name: &'static str, kind: Kind, without: Without, about: &'static str) -> Key {
    Key { name, kind, without, about }
}

/// The keys of a whole configuration.
pub const ROOT: &[Key] = &[
    key("server", Table(SERVER), Absent, "The process: lanes, cores, admin API, drain."),
    key("listener", List(&Table(LISTENER)), Absent, "Addresses that clients connect to."),
    key("limits", Table(LIMITS), Absent, "Bounds on clients."),
    key("cluster", Named(&Table(CLUSTER)), Absent, "Named sets of interchangeable endpoints."),
    key("route", List(&Table(ROUTE)), Required, "What becomes of requests; the most specific route wins."),
    key("observe", Table(OBSERVE), Absent, "What is told of exchanges besides metrics."),
];

const SERVER: &[Key] = &[
    key("cores", Text, Absent, "Pins one lane to each of these cores, such as \"0-3,6\"."),
    key(
        "lanes",
        Either(&[Choice(&["auto"]), Number(1, 256)]),
        Is("\"auto\""),
        "How many lanes; auto is one per core that may be used, at most 4.",
    ),
    key(
        "io",
        Choice(&["auto", "io_uring", "epoll"]),
        Is("\"auto\""),
        "The I/O driver; auto is io_uring where it may be used.",
    ),
    key("admin", Text, Is("\"127.0.0.1:9901\""), "Where the admin API listens, or \"off\"."),
    key("drain", Duration, Is("\"120s\""), "How long exchanges may go on after SIGTERM."),
    key("drain_delay", Duration, Is("\"0s\""), "How long accepting goes on after SIGTERM."),
];

const LISTENER: &[Key] = &[
    key("address", Text, Required, "ip:port, or unix:/path."),
    key(
        "trusted",
        List(&Text),
        Is("[]"),
        "Networks whose x-forwarded-*, x-request-id and traceparent are believed; \"unix:\" for clients over Unix sockets.",
    ),
    key(
        "proxy_protocol",
        Choice(&["off", "v1", "v2"]),
        Is("\"off\""),
        "What every connection must begin with.",
    ),
    key(
        "on_half_close",
        Choice(&["cancel", "finish"]),
        Is("\"cancel\""),
        "What a client means that closes its sending side after a request.",
    ),
];

const LIMITS: &[Key] = &[
    key(
        "connections",
        Number(1, 1_000_000),
        Is("10000"),
        "Open client connections; further ones wait in the backlog.",
    ),
    key("head", Size, Is("\"64KiB\""), "Longest request head."),
    key("body", Size, Is("\"64MiB\""), "Longest request body, on bytes received."),
    key("buffered", Size, Is("\"256MiB\""), "Request bodies held at once, over all lanes."),
    key("head_timeout", DurationOr("none"), Is("\"10s\""), "From the first byte of a head to its end."),
    key("idle_timeout", DurationOr("none"), Is("\"75s\""), "A client connection between exchanges."),
    key(
        "body_rate",
        Size,
        Is("\"1KiB\""),
        "Slowest average a second that a client may send a body at; 0B for any.",
    ),
];

const CLUSTER: &[Key] = &[
    key(
        "endpoints",
        List(&Either(&[Text, Table(ENDPOINT)])),
        Required,
        "http://host:port[/base] or unix:/path, each.",
    ),
    key(
        "balance",
        Choice(&["round-robin", "random", "least-work"]),
        Is("\"least-work\""),
        "Who picks an endpoint.",
    ),
    key("host", Choice(&["endpoint", "keep"]), Is("\"endpoint\""), "The Host sent upstream."),
    key("timeout", Table(TIMEOUT), Absent, "Clocks of an exchange."),
    key("keep_alive", Table(KEEP_ALIVE), Absent, "Idle upstream connections."),
];

const ENDPOINT: &[Key] = &[
    key("url", Text, Required, "http://host:port[/base] or unix:/path."),
    key("weight", Number(1, 65_535), Is("1"), "Its share relative to the others."),
];

const TIMEOUT: &[Key] = &[
    key("connect", Duration, Is("\"2s\""), "Until a connection stands."),
    key(
        "first_byte",
        DurationOr("none"),
        Is("\"none\""),
        "From the last byte of the request to the first of the answer.",
    ),
    key("between_bytes", DurationOr("none"), Is("\"300s\""), "Silence inside an answer."),
    key("total", DurationOr("none"), Is("\"none\""), "The whole exchange."),
];

const KEEP_ALIVE: &[Key] = &[
    key(
        "idle",
        DurationOr("auto"),
        Is("\"auto\""),
        "How long an idle connection is kept; auto is learned from when the upstream closes.",
    ),
    key("max_idle", Number(0, 65_535), Is("128"), "Idle connections per endpoint over all lanes."),
];

const VALUE: Kind = Either(&[Text, Truth, Number(0, u64::MAX >> 1)]);

const ROUTE: &[Key] = &[
    key("name", Text, Absent, "Its name in statistics; \"route-N\" without it."),
    key("match", Table(MATCH), Absent, "Which requests it takes; all without it."),
    key(
        "to",
        Either(&[Text, List(&Table(TO))]),
        Absent,
        "The cluster it forwards to, or several with their shares.",
    ),
    key("respond", Table(RESPOND), Absent, "An answer of the gateway's own."),
    key("rewrite", Table(REWRITE), Absent, "What becomes of the path on its way upstream."),
    key("body", Size, Absent, "Longest request body on this route; that of [limits] without it."),
];

const MATCH: &[Key] = &[
    key("host", Text, Absent, "Host without port, or a glob such as \"*.local\"."),
    key(
        "path",
        Text,
        Absent,
        "\"/v1/models\", \"/v1/*\", \"/v2/models/{model}/infer\" or \"/v1/models/{model*}\".",
    ),
    key("method", Text, Absent, "A method; GET takes HEAD too."),
    key(
        "header",
        Named(&Either(&[VALUE, List(&VALUE)])),
        Absent,
        "Fields and their values: exact, a glob with \"*\", or an expression after \"~\"; any of a list.",
    ),
    key(
        "body",
        Named(&Either(&[VALUE, List(&VALUE), Named(&Either(&[VALUE, List(&VALUE)]))])),
        Absent,
        "Members of a JSON body or parts of a form, by path, and their values.",
    ),
];

const TO: &[Key] = &[
    key("cluster", Text, Required, "The cluster's name."),
    key("weight", Number(0, 65_535), Is("1"), "Its share."),
];

const RESPOND: &[Key] = &[
    key("status", Number(200, 599), Is("200"), "The status."),
    key("body", Text, Is("\"\""), "The body."),
    key("content_type", Text, Is("\"text/plain; charset=utf-8\""), "Its media type."),
];

const REWRITE: &[Key] = &[
    key("strip", Text, Absent, "Taken off the beginning of the path."),
    key("add", Text, Absent, "Put in front of it."),
];

const OBSERVE: &[Key] = &[
    key(
        "access_log",
        Either(&[Choice(&["off"]), Table(ACCESS_LOG)]),
        Is("\"off\""),
        "One line for each exchange.",
    ),
    key("server_timing", Truth, Is("false"), "Whether answers say where their time went."),
];

const ACCESS_LOG: &[Key] = &[
    key("to", Text, Required, "\"stdout\", \"stderr\", or the path of a file."),
    key(
        "format",
        Text,
        Is("\"json\""),
        "\"json\", or a template such as \"{client} {method} {path} {status}\".",
    ),
    key("sample", Share, Is("\"100%\""), "The share of exchanges that are logged."),
];
