//! `[cluster.NAME]`: named sets of interchangeable endpoints.

use std::time::Duration;

use super::key::Kind;
use super::pem::Pem;
use super::reader::{Setting, Table, Value};
use super::table::table;
use super::url::EndpointUrl;
use crate::balance::BalancerKind;
use crate::base::choice::{BatchProtocol, Discover, Engine, HostRule, Words};
use crate::base::limits::{
    ATTEMPTS_MAX, BETWEEN_BYTES_TIMEOUT, CONNECT_TIMEOUT, CONSECUTIVE_FAULTS, EJECTION_WINDOW,
    IDLE_PER_ENDPOINT_MAX, PROBE_INTERVAL, PROBE_TIMEOUT, QUEUE_CLASSES_MAX, QUEUE_MAX, REPLAY_BYTES_MAX,
    SLOW_START, TICK,
};
use crate::base::problem::Placed;
use crate::base::secret::Secret;
use crate::codec::edit::{Side, is_editable};
use crate::codec::field::is_token;
use crate::codec::json::Wanted;
use crate::discovery::engine;
use crate::pool::IdleLimit;
use crate::retry::RetryOn;

table! {
    /// `[cluster.NAME]`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct ClusterConfig checked by check {
        /// Which server the endpoints are, "vllm", "sglang", "tgi", "tei", "triton", "llamacpp", "ollama" or "openai", or
        /// "generic" for any other: it decides what is left out here, such as the path of `health`, where models are listed, and
        /// which metrics tell how busy an endpoint is, which are read each second where loads are compared.
        engine: Engine = key("engine", Choice(Engine::WORDS), Is("'generic'")),
        /// http://host:port[/base], https://… or unix:/path, each; as a table where it has a weight. Names are resolved at start and
        /// at each reload, all of them within 5 s.
        endpoints: Vec<Placed<EndpointConfig>> = key(
            "endpoints",
            NonEmpty(
                &Short("url", EndpointConfig::KEYS),
                "each request to the cluster would be answered with 503",
                "add at least one, such as \"http://127.0.0.1:8000\"",
            ),
            Required("each request to it would be answered with 503", "[\"http://127.0.0.1:8000\"]")
        ),
        /// Who picks an endpoint: the one with the least work for its weight, which is the bytes that its requests ask with and
        /// 4 KiB for each, until they end; or "round-robin", "random", "peak-ewma" (who is expected to answer first),
        /// "hash:header:NAME" and "hash:body:FIELD" (the same value to the same endpoint, while that has no more than 1.25 of
        /// the mean work), "prefix" (where the beginning of the prompt was sent before, within bounds of the load).
        balancer: BalancerKind = key("balance", Form(balance), Is("'least-work'")),
        /// The Host sent upstream: the endpoint's own (Unix: localhost), or "keep".
        host: HostRule = key("host", Choice(HostRule::WORDS), Is("'endpoint'")),
        /// Until a connection stands; from the last byte of the request to the first of the answer; silence inside the
        /// answer; the whole exchange.
        timeouts: TimeoutConfig = key("timeout", Table(TimeoutConfig::KEYS), Is("{}")),
        /// Idle upstream connections, per endpoint over all lanes; auto starts at 3 s and is learned from when the
        /// upstream closes.
        keep_alive: KeepAliveConfig = key("keep_alive", Table(KeepAliveConfig::KEYS), Is("{}")),
        /// Active probes: GET, where 2xx is healthy, 429 and 503 lower an endpoint's share, and anything else and silence are
        /// not; so many in a row take it out, and bring it back. A request that succeeds outweighs failed probes. The path is
        /// known of most engines. Without `health` only requests tell.
        health: Option<Placed<HealthConfig>> = key("health", Table(HealthConfig::KEYS), Absent),
        /// So many faults in a row within the window (no connection, a reset, nonsense, a clock that ran out, a 5xx but 503)
        /// take an endpoint out for the window, then for twice, three times, up to ten times that; one live request decides
        /// whether it is back. Only where another one stays, and up to a share of the cluster, rounded down, at least one.
        ejection: EjectionConfig = key("ejection", Table(EjectionConfig::KEYS), Is("{}")),
        /// An endpoint that comes back, or is new, grows to its share in this time.
        slow_start: Duration = key(
            "slow_start",
            Finite(Duration::ZERO, "an endpoint would never have its share"),
            Lasts(SLOW_START)
        ),
        /// What is tried again: attempts are all tries of a request, made where no connection was; where a pooled one had
        /// ended before the endpoint read a byte ("stale"); or for answers of "429" or "503". What may have been executed is
        /// sent again only where its method or an idempotency-key allows it. Up to replay of a body is kept for a further
        /// try, within limits.buffered; further tries are budget of all requests, beside a few in a second.
        retry: RetryConfig = key("retry", Table(RetryConfig::KEYS), Is("{}")),
        /// Requests wait here while the cluster is full: each admitted endpoint has as many as its `max_in_flight`, which all of
        /// them need then. Classes are served in this order, each eighth place goes to the longest waiter; inside a class
        /// keys take turns, clients by their addresses where they have none. At most `max` wait, and `max_wait` each; what
        /// would wait longer, by how fast requests end, is refused on arrival with 429 and told when to come back. Without it
        /// a full cluster answers 429 at once. With `comments`, such as "5s", one that asks for a stream is told each such
        /// time: its answer begins with 200 and ": waiting", and what fails then is an event with the error, and a break.
        queue: Option<Placed<QueueConfig>> = key("queue", Table(QueueConfig::KEYS), Absent),
        /// Requests of different clients travel as one call, each gets its own part back. While an endpoint has fewer than
        /// `in_flight` calls one goes at once; only while all are busy do others gather, up to `max_items`, `max_bytes` or
        /// `max_wait`. They agree in route, host, path, query, parameters, what goes upstream of credentials, type, `accept`,
        /// `openai-organization`, `openai-project` and `key_headers`. More than `max_items` in one request are cut, `pieces`
        /// at once. Protocols: "openai-embeddings", "openai-completions", "tei-embed", "tei-rerank", "cohere-rerank",
        /// "kserve-v2", or "json-array", whose lists are the members `request` and `answer`.
        batch: Option<Placed<BatchConfig>> = key("batch", Table(BatchConfig::KEYS), Absent),
        /// The same deterministic question (embeddings, rankings, completions of temperature zero, one choice, no tools) asked
        /// by the same client while it is under way is answered by one call.
        single_flight: bool = key("single_flight", Truth, Is("false")),
        /// Answers to deterministic questions are kept: whole ones of status 200, `max` bytes together, for `ttl` or less
        /// where the endpoint says so, for whoever asked; `shared` ones for all. `x-cache` says hit, miss or bypass.
        cache: Option<CacheConfig> = key("cache", Table(CacheConfig::KEYS), Absent),
        /// What the endpoints ask for: put on each request and each probe as `authorization: Bearer`, in the place of the
        /// client's own credential, which is removed; better "${NAME}" (an environment variable) or "file:/path" (a file's
        /// content).
        auth: Option<AuthConfig> = key("auth", Table(AuthConfig::KEYS), Absent),
        /// "models" has only those endpoints take part that list the request's model, by what they say they serve, which is
        /// asked each 10 s and where a connection was made; who does not answer keeps the last list. Where nobody lists it
        /// the answer is 404 `model_not_found`, where no list was read yet 503; a request without a model is not narrowed.
        discover: Option<Discover> = key("discover", Choice(Discover::WORDS), Absent),
        /// For endpoints at https://: whose certificates are believed, for which name they must be, and our own with its key,
        /// all of them files in PEM; without it those that this machine believes, for the host as written.
        tls: Option<Placed<TlsConfig>> = key("tls", Table(TlsConfig::KEYS), Absent),
    }
}

table! {
    /// `queue`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct QueueConfig checked by check_queue {
        /// Most that wait at once.
        max: u64 = key("max", Number(1, QUEUE_MAX), Is("256")),
        /// Classes in the order in which they are served.
        classes: Vec<String> = key(
            "classes",
            NonEmpty(
                &Form(class_name),
                "nobody could wait",
                "name at least one, such as \"default\""
            ),
            Is("['interactive', 'default', 'bulk']")
        ),
        /// How long one waits at most.
        max_wait: Duration = key("max_wait", Finite(INSTANT, "a request could wait for ever"), Is("'20s'")),
        /// How often one that asks for a stream is told that it waits.
        comments: Option<Duration> = key("comments", Or("none", &Time(TICK)), Is("'none'")),
    }
}

/// The name of a class.
fn class_name(text: &str) -> Result<String, String> {
    match is_token(text.as_bytes()) {
        true => Ok(text.to_owned()),
        false => Err("write a word such as \"interactive\"".to_owned()),
    }
}

/// Classes are told apart by their names, and there are few of them.
fn check_queue(table: &Table<'_, '_>, queue: &QueueConfig) {
    let classes = &queue.classes;
    if let Some((_, twice)) = classes.iter().enumerate().find(|(at, name)| classes[..*at].contains(name)) {
        table.complain(
            format!("class \"{twice}\" stands twice in `classes`"),
            "nobody could tell in which place it is served",
            "remove one of them",
        );
    }
    if classes.len() > QUEUE_CLASSES_MAX {
        table.complain(
            format!("`classes` has {} classes", classes.len()),
            format!("each is a series of the metrics, and {QUEUE_CLASSES_MAX} is the most"),
            "remove some",
        );
    }
}

table! {
    /// `batch`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct BatchConfig {
        /// How requests are written.
        protocol: BatchProtocol = key(
            "protocol",
            Choice(BatchProtocol::WORDS),
            Required("nobody would know what an item is", "\"openai-embeddings\"")
        ),
        /// Most items in one call.
        max_items: u64 = key("max_items", Number(1, 65_536), Is("32")),
        /// Most bytes of items in one call.
        max_bytes: u64 = key("max_bytes", Size(1, SIZE_MAX), Is("'1MiB'")),
        /// How long they gather at most.
        max_wait: Duration = key("max_wait", Finite(INSTANT, "they would wait for a place for ever"), Is("'2ms'")),
        /// Calls of an endpoint at once.
        in_flight: u64 = key("in_flight", Number(1, 1024), Is("1")),
        /// Pieces of one request at once.
        pieces: u64 = key("pieces", Number(1, 64), Is("4")),
        /// Further fields in which they must agree, and that travel with them.
        key_headers: Vec<String> = key("key_headers", List(&Form(field_name)), Is("[]")),
        /// The list of a request, for "json-array".
        request: Option<String> = key("request", Text, Absent),
        /// The list of an answer, for "json-array".
        answer: Option<String> = key("answer", Text, Absent),
    }
}

/// A field that is sent to endpoints.
fn field_name(text: &str) -> Result<String, String> {
    // What frames a message, or is written by the gateway itself, is no member's own.
    match is_token(text.as_bytes()) && is_editable(text.as_bytes(), Side::Request) {
        true => Ok(text.to_owned()),
        false => Err("write the name of a header field, such as \"x-team\"".to_owned()),
    }
}

table! {
    /// `cache`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct CacheConfig {
        /// What all of them take together.
        max: u64 = key("max", Size(4096, SIZE_MAX), Is("'64MiB'")),
        /// How long one holds.
        ttl: Duration = key("ttl", Finite(INSTANT, "an answer would hold for ever"), Is("'5m'")),
        /// Whether one client is told what another one asked for.
        shared: bool = key("shared", Truth, Is("false")),
    }
}

table! {
    /// `tls`: towards endpoints.
    #[derive(Debug, Clone, PartialEq)]
    pub struct TlsConfig checked by check_tls {
        /// Certificates that are believed, with those that they signed; only these.
        ca: Option<Pem> = key("ca", File, Absent),
        /// The name that the endpoints' certificates must be for, and that they are asked for.
        server_name: Option<String> = key("server_name", Text, Absent),
        /// Our own certificate, and those between it and its authority.
        cert: Option<Pem> = key("cert", File, Absent),
        /// Its private key.
        key: Option<Pem> = key("key", File, Absent),
    }
}

/// A certificate proves nothing without its key.
fn check_tls(table: &Table<'_, '_>, tls: &TlsConfig) {
    let (has, lacks) = match (&tls.cert, &tls.key) {
        (Some(_), None) => ("cert", "key"),
        (None, Some(_)) => ("key", "cert"),
        _ => return,
    };
    table.complain(
        format!("`tls` has `{has}` without `{lacks}`"),
        "neither proves anything without the other",
        format!("add {lacks}, the path of a file in PEM, or leave {has} out"),
    );
}

table! {
    /// `auth`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct AuthConfig {
        /// The token.
        bearer: Secret = key("bearer", Secret, Required("nothing would be sent", "\"${VLLM_API_KEY}\"")),
    }
}

table! {
    /// One of `endpoints`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct EndpointConfig {
        /// http://host:port[/base], https://… or unix:/path.
        url: EndpointUrl = key("url", Text, Required("nothing could be sent to it", "\"http://127.0.0.1:8000\"")),
        /// Its share relative to the others.
        weight: u32 = key("weight", Number(1, 65_535), Is("1")),
        /// Most requests at once, over all lanes; past it another one is asked, and with none left the answer is 429.
        max_in_flight: Option<u32> = key("max_in_flight", Number(1, 1_000_000), Absent),
    }
}

table! {
    /// `timeout`: the clocks of a cluster; none never runs out.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct TimeoutConfig {
        /// Until a connection stands.
        connect: Duration = key(
            "connect",
            Finite(INSTANT, "a request to a dead host would wait for minutes"),
            Lasts(CONNECT_TIMEOUT)
        ),
        /// From the last byte of the request to the first of the answer.
        first_byte: Option<Duration> = key("first_byte", Or("none", &Time(INSTANT)), Is("'none'")),
        /// Silence inside an answer.
        between_bytes: Option<Duration> = key(
            "between_bytes",
            Or("none", &Time(INSTANT)),
            Lasts(BETWEEN_BYTES_TIMEOUT)
        ),
        /// The whole exchange.
        total: Option<Duration> = key("total", Or("none", &Time(INSTANT)), Is("'none'")),
    }
}

table! {
    /// `keep_alive`.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct KeepAliveConfig {
        /// How long an idle connection is kept; auto is learned from when the upstream closes.
        idle: IdleLimit = key("idle", Or("auto", &Time(INSTANT)), Is("'auto'")),
        /// Idle connections per endpoint over all lanes.
        max_idle: usize = key("max_idle", Number(0, 65_535), Count(IDLE_PER_ENDPOINT_MAX)),
    }
}

table! {
    /// `health`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct HealthConfig {
        /// The target asked for, behind the endpoint's own base; where its engine has one, that without it.
        path: Option<String> = key("path", Form(target), Absent),
        /// From one probe of an endpoint to the next.
        interval: Duration = key(
            "interval",
            Finite(TICK, "an endpoint would be probed once"),
            Lasts(PROBE_INTERVAL)
        ),
        /// Until the head of the answer.
        timeout: Duration = key("timeout", Finite(INSTANT, "a probe would never end"), Lasts(PROBE_TIMEOUT)),
        /// Probes in a row that take an endpoint out.
        unhealthy_after: u32 = key("unhealthy_after", Number(1, 1000), Is("3")),
        /// Probes in a row that bring it back.
        healthy_after: u32 = key("healthy_after", Number(1, 1000), Is("2")),
    }
}

/// A path and perhaps a query, as they stand in a request line.
fn target(text: &str) -> Result<String, String> {
    let fits = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    if fits { Ok(text.to_owned()) } else { Err("write a path such as \"/health\"".to_owned()) }
}

table! {
    /// `ejection`.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct EjectionConfig {
        /// Faults in a row.
        consecutive_faults: u32 = key("consecutive_faults", Number(1, 1000), Count(CONSECUTIVE_FAULTS)),
        /// Within this time, for which it is out then.
        window: Duration = key(
            "window",
            Finite(INSTANT, "an endpoint would never come back"),
            Lasts(EJECTION_WINDOW)
        ),
        /// Most of a cluster's endpoints that are out.
        share: f64 = key("share", Share, Is("'50%'")),
    }
}

table! {
    /// `retry`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct RetryConfig {
        /// All tries of a request, the first included.
        attempts: u32 = key("attempts", Number(1, 10), Count(ATTEMPTS_MAX as usize)),
        /// What a further try is made for.
        on: Vec<RetryOn> = key("on", List(&Choice(RetryOn::WORDS)), Is("['connect', 'stale']")),
        /// Longest body that is kept for a further try, within limits.buffered.
        replay: u64 = key("replay", Size(0, SIZE_MAX), Bytes(REPLAY_BYTES_MAX as usize)),
        /// Further tries beside the first ones, over time; a few in a second may always be made, none with "0%".
        budget: f64 = key("budget", Share, Is("'10%'")),
    }
}

/// A way to pick, and the name that some of them need.
fn balance(text: &str) -> Result<String, String> {
    match BalancerKind::of(text) {
        Some(BalancerKind::HashHeader(name)) if !is_token(name.as_bytes()) => {
            Err("write the name of a header field behind it, such as \"hash:header:x-session\"".to_owned())
        }
        Some(BalancerKind::HashBody(path)) if Wanted::default().add(&path).is_none() => Err(
            "write the path of a member behind it, such as \"hash:body:user\" or \"hash:body:metadata.user\""
                .to_owned(),
        ),
        Some(kind) => Ok(kind.name()),
        None => {
            Err(format!("write one of {}", BalancerKind::WORDS.map(|word| format!("\"{word}\"")).join(", ")))
        }
    }
}

impl Setting for BalancerKind {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let has_name = value.text().is_some_and(|text| text.starts_with("hash:"));
        let word =
            if has_name { Setting::read(value, kind) } else { value.word(&Self::WORDS).map(str::to_owned) };
        word.and_then(|word: String| Self::of(&word))
    }

    fn show(&self, kind: &'static Kind) -> serde_json::Value {
        self.name().show(kind)
    }
}

impl ClusterConfig {
    /// What probes ask for; none where there are none.
    pub fn probe_path(&self) -> Option<&str> {
        let health = &self.health.as_ref()?.value;
        health.path.as_deref().or_else(|| engine::health_path(self.engine))
    }
}

impl Setting for IdleLimit {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let read: Option<Duration> = Setting::read(value, kind)?;
        Some(read.map_or(Self::Auto, Self::Fixed))
    }

    fn show(&self, kind: &'static Kind) -> serde_json::Value {
        match *self {
            Self::Fixed(limit) => Some(limit).show(kind),
            Self::Auto => None::<Duration>.show(kind),
        }
    }
}

/// Endpoints are told apart by their URLs.
fn check(table: &Table<'_, '_>, cluster: &ClusterConfig) {
    if let Some(tls) = &cluster.tls
        && !cluster.endpoints.iter().any(|endpoint| endpoint.value.url.is_tls)
    {
        table.tell(tls.problem(
            "`tls` is set, and no endpoint has a URL at https://",
            "it would be used by none",
            "write https:// where it is meant, or remove tls",
        ));
    }
    for (position, endpoint) in cluster.endpoints.iter().enumerate() {
        let url = &endpoint.value.url;
        if cluster.endpoints[..position].iter().any(|other| other.value.url.is_same(url)) {
            table.tell(endpoint.problem(
                format!("endpoint \"{}\" stands twice in this cluster", url.text),
                "its load and its statistics could not be told apart",
                "remove one, or give the other a weight",
            ));
        }
    }
}
