//! `[[route]]`: what becomes of requests.

use std::time::Duration;

use super::edits::{self, ClampConfig, DefaultConfig, RemoveConfig, SetConfig};
use super::key::Kind;
use super::matching::MatchConfig;
use super::reader::{Setting, Table, Value};
use super::table::table;
use crate::base::choice::{Gathering, Words};
use crate::base::limits::{
    FANOUT_LEGS_MAX, MULTI_ELEMENTS_MAX, MULTI_IN_FLIGHT_MAX, MULTI_LINES_MAX, TUNNEL_IDLE,
};
use crate::base::problem::Placed;
use crate::codec::field::is_token;

table! {
    /// `[[route]]`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct RouteConfig {
        /// Its name in statistics; "route-N" without it.
        name: Option<Placed<String>> = key("name", Form(name), Absent),
        /// Which requests it takes; all without it. A path is whole ("/v1/models"), a prefix ("/v1/*") or has parameters
        /// ("/v2/models/{model}/infer"; a last "{model*}" takes one segment or more, as "/v1/models/{model*}" does); a
        /// value of a header or of the body is exact, a glob with "*", or an expression after "~", and any of a list may
        /// fit. A body that must be looked at is a JSON object, nested at most 512 deep, or a form, of which the part or
        /// field of that name counts; another kind fits no condition. One that begins as JSON, is JSON by its type or is
        /// not what its type says, and cannot be read, is refused with 400, a compressed one with 415: conditions do not
        /// fail open. Values are compared by their text: true and "true" are the same, 1 and 1.0 are not.
        matching: MatchConfig = key("match", Table(MatchConfig::KEYS), Is("{}")),
        /// Filters that its requests meet, in this order, behind those of the listener.
        filters: Vec<Placed<String>> = key("filters", List(&Text), Is("[]")),
        /// A cluster, or several with shares, as below.
        to: Option<Placed<Shares>> = key("to", OneOrMore(&Short("cluster", TargetConfig::KEYS)), Absent),
        /// Clusters that are asked, in this order, where there is no connection, no place or no endpoint in `to`, or it
        /// answers 429 or 5xx but 504; one try each, before the first byte of an answer only.
        fallback: Vec<Placed<String>> = key("fallback", List(&Text), Is("[]")),
        /// A share of what goes upstream is sent to a further cluster too, once, with `x-mirror: 1` and that cluster's own
        /// `auth`; what it answers is read and dropped, within its `total` or 60 s. No copy is made of a body over 1 MiB or
        /// of a change of protocol, past 64 copies of the route under way, or while a quarter of `limits.buffered` is in
        /// use.
        mirror: Option<Placed<MirrorConfig>> = key("mirror", Table(MirrorConfig::KEYS), Absent),
        /// An answer of the gateway's own, or "models" for the list of models that the clusters serve to which
        /// routes lead, refreshed each 10 s, with the exact names in `match.body.model`; of a key that is for some models
        /// only those. On a path with `{model}` it is that one, or 404.
        respond: Respond = key("respond", Or("models", &Table(RespondConfig::KEYS)), Absent),
        /// Several clusters that are asked at once. What is told: the answers of "all" as one object; the "first" that is
        /// good (2xx), streamed as it comes; or, as with "all", the first good ones that make a "quorum", of which there
        /// are `need`, more than half without it. A cluster that has not answered within `timeout`, or shown the
        /// beginning of an answer with "first", counts as 504.
        fanout: Option<Placed<FanoutConfig>> = key("fanout", Table(FanoutConfig::KEYS), Absent),
        /// Many requests in one: a JSON array of `{"id", "method", "path", "headers", "body"}`, of `max` at most, or a file
        /// of OpenAI's batch lines, of `lines` at most, by its type. Each takes its own way through routes and filters,
        /// `in_flight` of them at once; `answers` is what may be held of them, by those of an array together, by each line
        /// its share: past it one gets its own 502 `answer_too_large`.
        multi: Option<Placed<MultiConfig>> = key("multi", Table(MultiConfig::KEYS), Absent),
        /// The class of its requests in a cluster's queue; without it that of the key, else what a trusted sender says in
        /// `x-priority`, else "default".
        class: Option<String> = key("class", Form(name), Absent),
        /// The path that goes upstream, behind the endpoint's own base.
        rewrite: Option<Placed<RewriteConfig>> = key("rewrite", Table(RewriteConfig::KEYS), Absent),
        /// What requests say on their way upstream, whatever the client said: members of their JSON body, by name or by a path
        /// in quotes ("metadata.tier"), and fields. A list or table is a value as others are. A member that is not there is
        /// put in; a body that is no object is refused with 400, a compressed one with 415, here and in the three below.
        set: Option<Placed<SetConfig>> = key("set", Table(SetConfig::KEYS), Absent),
        /// What a member says where the client left it out, or null. A max_completion_tokens that is there counts as
        /// max_tokens.
        default: Option<Placed<DefaultConfig>> = key("default", Table(DefaultConfig::KEYS), Absent),
        /// What a number is lowered to where it is higher, in max_completion_tokens as in max_tokens; what is absent stays
        /// absent, and what is no number as it is. A body that is no object passes.
        clamp: Option<Placed<ClampConfig>> = key("clamp", Table(ClampConfig::KEYS), Absent),
        /// Members that go. A body that is no object passes.
        remove: Option<Placed<RemoveConfig>> = key("remove", Table(RemoveConfig::KEYS), Absent),
        /// Whether a client may go on as a WebSocket: true, or a table as below. Where the endpoint agrees (101), bytes
        /// pass both ways until both sides close; any other upgrade is left out of the request.
        upgrade: Option<Placed<UpgradeConfig>> = key("upgrade", Switch(&Table(UpgradeConfig::KEYS)), Is("false")),
        /// This route's limit; that of [limits] without it.
        body: Option<u64> = key("body", Size(0, SIZE_MAX), Absent),
    }
}

table! {
    /// One of `to`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct TargetConfig {
        /// The cluster's name.
        cluster: Placed<String> = key("cluster", Text, Required("its share of requests would go nowhere", "\"NAME\"")),
        /// Its share.
        weight: u32 = key("weight", Number(0, 65_535), Is("1")),
    }
}

table! {
    /// `mirror`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct MirrorConfig {
        /// Who gets the copies.
        cluster: Placed<String> = key("cluster", Text, Required("nobody would get a copy", "\"NAME\"")),
        /// How many of the route's requests are copied.
        share: f64 = key("share", Share, Is("'1%'")),
    }
}

table! {
    /// `upgrade`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct UpgradeConfig {
        /// A tunnel ends when no byte passes for so long, either way.
        idle: Duration = key(
            "idle",
            Finite(INSTANT, "a tunnel whose ends are both gone would never be noticed"),
            Lasts(TUNNEL_IDLE)
        ),
    }
}

table! {
    /// `respond`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct RespondConfig checked by check_respond {
        /// The status.
        status: u16 = key("status", Number(200, 599), Is("200")),
        /// The body.
        body: String = key("body", Text, Is("''")),
        /// Its media type.
        content_type: Placed<String> = key("content_type", Text, Is("'text/plain; charset=utf-8'")),
    }
}

table! {
    /// `fanout`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct FanoutConfig checked by check_fanout {
        /// The clusters.
        to: Vec<Placed<String>> = key(
            "to",
            NonEmpty(&Text, "nobody would be asked", "add the names of clusters"),
            Required("nobody would be asked", "[\"ONE\", \"OTHER\"]")
        ),
        /// Which answers are told.
        gather: Gathering = key("gather", Choice(Gathering::WORDS), Is("'all'")),
        /// How many make a quorum; more than half without it.
        need: Option<u64> = key("need", Number(1, FANOUT_LEGS_MAX as u64), Absent),
        /// How long each cluster may take.
        timeout: Option<Duration> = key("timeout", Or("none", &Time(INSTANT)), Is("'none'")),
    }
}

table! {
    /// `multi`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct MultiConfig {
        /// Most elements of an array.
        max: u64 = key("max", Number(1, MULTI_ELEMENTS_MAX), Is("64")),
        /// Most lines of a file.
        lines: u64 = key("lines", Number(1, MULTI_LINES_MAX), Is("50000")),
        /// Most at work at once.
        in_flight: u64 = key("in_flight", Number(1, MULTI_IN_FLIGHT_MAX), Is("16")),
        /// What may be held of their answers.
        answers: u64 = key("answers", Size(1024, SIZE_MAX), Is("'64MiB'")),
    }
}

table! {
    /// `rewrite`.
    #[derive(Debug, Clone, PartialEq)]
    pub struct RewriteConfig checked by check_rewrite {
        /// Taken off the beginning of the path.
        strip: Option<String> = key("strip", Form(path_prefix), Absent),
        /// Put in front of it.
        add: Option<String> = key("add", Form(path_prefix), Absent),
    }
}

/// `respond`: what a route says itself; none where it says nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Respond(pub Option<Says>);

/// What a route says.
#[derive(Debug, Clone, PartialEq)]
pub enum Says {
    /// Which models there are.
    Models,
    /// This.
    This(RespondConfig),
}

impl Setting for Respond {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::Or(word, table) = kind else { super::values::unfit::<Self>(kind) };
        let says = match value.text() == Some(word) {
            true => Says::Models,
            false => Says::This(RespondConfig::read(value.or(word), table)?),
        };
        Some(Self(Some(says)))
    }

    fn show(&self, kind: &'static Kind) -> serde_json::Value {
        let Kind::Or(word, table) = kind else { super::values::unfit::<Self>(kind) };
        match &self.0 {
            None => serde_json::Value::Null,
            Some(Says::Models) => serde_json::Value::from(*word),
            Some(Says::This(config)) => config.show(table),
        }
    }

    fn absent() -> Option<Self> {
        Some(Self(None))
    }
}

/// `to`: clusters and their shares, of which the sum is not zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares(pub Vec<TargetConfig>);

impl Setting for Shares {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let before = value.problems();
        let all: Vec<TargetConfig> = Setting::read(value, kind)?;
        // Where one of them was not understood it may be the one with the weight.
        if value.problems() == before && all.iter().all(|target| target.weight == 0) {
            value.complain(
                "`to` has no cluster with a weight",
                "no request could be sent anywhere",
                "give one a weight of 1",
            );
        }
        Some(Self(all))
    }

    fn show(&self, kind: &'static Kind) -> serde_json::Value {
        self.0.show(kind)
    }
}

/// A route with the name it was given, or `route-N`.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedRoute {
    /// Its name.
    pub name: Placed<String>,
    /// All else.
    pub settings: RouteConfig,
}

impl Setting for Vec<NamedRoute> {
    fn read(value: Value<'_, '_>, kind: &'static Kind) -> Option<Self> {
        let Kind::List(item) = kind else { super::values::unfit::<Self>(kind) };
        let mut all: Self = Vec::new();
        for (position, value) in value.array()?.into_iter().enumerate() {
            let Some(settings) = RouteConfig::read(value, item) else { continue };
            let given = settings.name.clone();
            let name = given.unwrap_or_else(|| value.placed(format!("route-{}", position + 1)));
            if let Some(twin) = all.iter().find(|known| known.name.value == name.value) {
                value.complain(
                    format!(
                        "two routes are named \"{}\" (the other at line {})",
                        name.value, twin.name.place.line
                    ),
                    "their statistics could not be told apart",
                    "give one of them another name",
                );
            }
            let route = NamedRoute { name, settings };
            if let Some(table) = value.table(item) {
                check(&table, &route);
            }
            all.push(route);
        }
        Some(all)
    }

    fn show(&self, kind: &'static Kind) -> serde_json::Value {
        let Kind::List(item) = kind else { super::values::unfit::<Self>(kind) };
        let named = |route: &NamedRoute| {
            RouteConfig { name: Some(route.name.clone()), ..route.settings.clone() }.show(item)
        };
        self.iter().map(named).collect()
    }

    fn absent() -> Option<Self> {
        Some(Vec::new())
    }
}

/// What a route does must be said, once.
fn check(table: &Table<'_, '_>, route: &NamedRoute) {
    let name = &route.name.value;
    let said: Vec<_> =
        ["to", "respond", "fanout", "multi"].into_iter().filter(|key| table.has(key)).collect();
    match said[..] {
        [_] => {}
        [one, other, ..] => table.complain(
            format!("route \"{name}\" has both `{one}` and `{other}`"),
            "a request can be forwarded, answered or sent to several, not both",
            "remove one of them",
        ),
        [] => table.complain(
            format!("route \"{name}\" has no action"),
            "nobody would answer its requests",
            "add to = \"CLUSTER\" or respond = { status = 200 }",
        ),
    }
    check_fallback(table, route);
    let RouteConfig { set, default, clamp, remove, .. } = &route.settings;
    edits::check(table, name, (set, default, clamp, remove));
    if let (Some(mirror), None) = (&route.settings.mirror, &route.settings.to) {
        table.tell(mirror.problem(
            format!("route \"{name}\" has `mirror` and no `to`"),
            "only what is sent on to one cluster is copied to another",
            "remove it",
        ));
    }
    if let (Some(upgrade), true) = (&route.settings.upgrade, table.has("fanout")) {
        table.tell(upgrade.problem(
            format!("route \"{name}\" asks several clusters, and has `upgrade`"),
            "a client cannot go on in another protocol with all of them",
            "remove it",
        ));
    }
    let answers_itself = (table.has("respond") || table.has("multi")) && !table.has("to");
    if let (Some(rewrite), true) = (&route.settings.rewrite, answers_itself) {
        table.tell(rewrite.problem(
            format!("route \"{name}\" answers by itself, and has `rewrite`"),
            "nothing is forwarded whose path could be rewritten",
            "remove it",
        ));
    }
    if let (Some(upgrade), true) = (&route.settings.upgrade, answers_itself) {
        table.tell(upgrade.problem(
            format!("route \"{name}\" answers by itself, and has `upgrade`"),
            "nobody is behind it to go on with in another protocol",
            "remove it",
        ));
    }
}

/// Who is asked instead must be somebody else.
fn check_fallback(table: &Table<'_, '_>, route: &NamedRoute) {
    let (name, fallback) = (&route.name.value, &route.settings.fallback);
    let Some(first) = fallback.first() else { return };
    let Some(to) = &route.settings.to else {
        table.tell(first.problem(
            format!("route \"{name}\" has `fallback` and no `to`"),
            "nothing is forwarded that could go elsewhere",
            "remove it, or add to = \"CLUSTER\"",
        ));
        return;
    };
    let is_only = |cluster: &str| to.value.0.iter().all(|target| target.cluster.value == cluster);
    for (position, cluster) in fallback.iter().enumerate() {
        let before = &fallback[..position];
        if is_only(&cluster.value) || before.iter().any(|other| other.value == cluster.value) {
            table.tell(cluster.problem(
                format!(
                    "route \"{name}\" falls back to cluster \"{}\", which was asked before",
                    cluster.value
                ),
                "it would be asked twice, and would fail twice",
                "remove it, or name another cluster",
            ));
        }
    }
}

/// Each cluster is asked once, and there are enough for a quorum.
fn check_fanout(table: &Table<'_, '_>, fanout: &FanoutConfig) {
    let legs = fanout.to.len();
    for (position, cluster) in fanout.to.iter().enumerate() {
        if fanout.to[..position].iter().any(|other| other.value == cluster.value) {
            table.tell(cluster.problem(
                format!("`fanout` asks cluster \"{}\" twice", cluster.value),
                "answers are told apart by the names of their clusters",
                "remove one of them",
            ));
        }
    }
    if legs > FANOUT_LEGS_MAX {
        table.complain(
            format!("`fanout` asks {legs} clusters"),
            format!("a request goes to {FANOUT_LEGS_MAX} at once at most"),
            "remove some",
        );
    }
}

/// What is written there must be able to stand in an answer.
fn check_respond(table: &Table<'_, '_>, respond: &RespondConfig) {
    if matches!(respond.status, 204 | 205 | 304) && !respond.body.is_empty() {
        table.complain(
            format!("`respond` has a body with status {}", respond.status),
            "an answer with this status ends with its head, and the body would not be sent",
            "remove the body, or write another status",
        );
    }
    let media_type = &respond.content_type;
    if !is_media_type(&media_type.value) {
        table.tell(media_type.problem(
            "`content_type` is not a media type",
            "it would break the answer's head",
            "write \"text/plain\"",
        ));
    }
}

/// Whether it is `type/subtype`, perhaps with parameters (RFC 9110 §8.3.1).
fn is_media_type(text: &str) -> bool {
    let (essence, parameters) = text.split_once(';').unwrap_or((text, ""));
    let is_token = |part: &str| is_token(part.as_bytes());
    essence.trim_end_matches(' ').split_once('/').is_some_and(|(kind, sub)| is_token(kind) && is_token(sub))
        && parameters.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
        && !text.ends_with([' ', ';'])
}

/// A rewrite that changes nothing is a mistake.
fn check_rewrite(table: &Table<'_, '_>, _: &RewriteConfig) {
    if !table.has("strip") && !table.has("add") {
        table.complain(
            "`rewrite` changes nothing",
            "it has neither `strip` nor `add`",
            "add one, or remove it",
        );
    }
}

/// A name in statistics, logs and messages.
pub fn name(text: &str) -> Result<String, String> {
    match text.trim().is_empty() || text.contains(char::is_control) {
        true => Err("write a name of visible characters, such as \"chat\"".into()),
        false => Ok(text.to_owned()),
    }
}

fn path_prefix(text: &str) -> Result<String, String> {
    let is_prefix = text.starts_with('/')
        && !text.ends_with('/')
        && !text.contains("//")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~!$&'()+,;=:@".contains(&b))
        && !text.split('/').any(|segment| matches!(segment, "." | ".."));
    match is_prefix {
        true => Ok(text.to_owned()),
        false => Err("write the beginning of a path without a slash at its end, such as \"/team-a\"".into()),
    }
}
