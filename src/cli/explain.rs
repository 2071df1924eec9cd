//! `corelane explain`: which route, cluster and endpoint a request would meet, and the head that would be sent.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::print::{complain, print};
use crate::base::ids::{Id, ListenerId};
use crate::codec::chunked::{write_chunk, write_last_chunk};
use crate::codec::forwarded::Sender;
use crate::config::units::show_share;
use crate::control::load::{Origin, Source, load};
use crate::plan::{Mirror, Plan};
use crate::proxy::explain::{Explained, Made, Outcome, explain};

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  corelane explain --config config/gateway.toml -H 'host: api.local' -d '{\"model\":\"llama-3\"}' /v1/chat/completions\n\nNothing is sent. Ids that are random in life are zero here."
)]
pub(super) struct Explain {
    /// The configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The method; POST where there is a body, else GET.
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<String>,
    /// A field, repeatable. Host is the first listener's address unless it is given.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", allow_hyphen_values = true)]
    headers: Vec<String>,
    /// The body, or the file that holds it.
    #[arg(short = 'd', long = "data", value_name = "BODY|@FILE", allow_hyphen_values = true)]
    body: Option<String>,
    /// The address that the request comes from; on the listener's `trusted` it may speak for others.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    from: IpAddr,
    /// One JSON document instead of text.
    #[arg(long)]
    json: bool,
    /// The target: path and query, or a whole URL.
    #[arg(value_name = "PATH")]
    path: String,
}

impl Explain {
    pub(super) fn run(self) -> u8 {
        let plan = match load(&Origin::new(Source::File(self.config.clone())), None) {
            Ok(plan) => plan,
            Err(problems) => {
                problems.iter().for_each(complain);
                return 2;
            }
        };
        let message = match self.message(&plan) {
            Ok(message) => message,
            Err(error) => {
                complain(error);
                return 2;
            }
        };
        let sender = Sender::new(Some(self.from), &plan.listeners[ListenerId::at(0)].trusted);
        let explained = explain(&plan, &message, &sender);
        match self.json {
            true => print(format_args!("{:#}\n", document(&plan, &explained))),
            false => print(text(&plan, &explained)),
        }
    }

    /// The request as it would arrive.
    fn message(&self, plan: &Plan) -> Result<Vec<u8>, String> {
        let body = match self.body.as_deref().map(|body| (body, body.strip_prefix('@'))) {
            Some((_, Some(file))) => std::fs::read(file).map_err(|error| {
                format!(
                    "{file} cannot be read\n  why: {error}\n  fix: name a file that exists and may be read"
                )
            })?,
            Some((body, None)) => body.as_bytes().to_vec(),
            None => Vec::new(),
        };
        let method = self.method.as_deref().unwrap_or(if self.body.is_some() { "POST" } else { "GET" });
        let mut head = format!("{method} {} HTTP/1.1\r\n", self.path);
        let has = |name: &str| {
            let given = |header: &String| header.split_once(':').map(|(given, _)| given.trim().to_owned());
            self.headers.iter().filter_map(given).any(|given| given.eq_ignore_ascii_case(name))
        };
        if !has("host") {
            head.push_str(&format!(
                "host: {}\r\n",
                plan.listeners[ListenerId::at(0)].address.value.authority()
            ));
        }
        for header in &self.headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        if self.body.is_some() && !has("content-length") && !has("transfer-encoding") {
            head.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut message = head.into_bytes();
        // The body goes as the head says: whoever sends chunks by hand means the bytes inside them.
        match has("transfer-encoding") {
            true => {
                write_chunk(&mut message, &body);
                write_last_chunk(&mut message);
            }
            false => message.extend_from_slice(&body),
        }
        Ok(message)
    }
}

fn document(plan: &Plan, explained: &Explained) -> Value {
    let route = explained.route.map(|id| plan.routes[id].name.as_str());
    let judged = explained.filters.iter();
    let filters: Vec<_> =
        judged.map(|(id, said)| json!({ "name": plan.filters[*id].0, "verdict": said.name() })).collect();
    match &explained.outcome {
        Outcome::Refused(refusal) => json!({
            "route": route, "filters": filters, "status": refusal.status, "code": refusal.code, "message": refusal.message,
        }),
        Outcome::Answered(status) => json!({ "route": route, "filters": filters, "status": status }),
        Outcome::Forwarded(targets) => {
            let targets: Vec<_> = targets
                .iter()
                .map(|target| {
                    let endpoint = |(id, head): &(_, bytes::Bytes)| {
                        let head = String::from_utf8_lossy(head);
                        json!({ "url": plan.endpoints[*id].url, "head": head })
                    };
                    json!({
                        "cluster": plan.clusters[target.cluster].name,
                        "share": f64::from(target.share) / target.shares as f64,
                        "balance": plan.clusters[target.cluster].settings.balancer.name(),
                        "endpoints": target.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
                    })
                })
                .collect();
            let edits: Vec<_> = explained.edits.iter().map(made).collect();
            let mut document = json!({ "route": route, "filters": filters, "to": targets, "edits": edits });
            if let Some(mirror) = mirror(plan, explained) {
                let cluster = &plan.clusters[mirror.cluster].name;
                document["mirror"] = json!({ "cluster": cluster, "share": mirror.share });
            }
            document
        }
    }
}

/// An edit as JSON; what was or is not there is left out.
fn made(edit: &Made) -> Value {
    match edit {
        Made::Member(path, from, to) => {
            let mut told = json!({ "member": path });
            for (name, said) in [("from", from), ("to", to)] {
                if let Some(said) = said {
                    told[name] = said.clone();
                }
            }
            told
        }
        Made::Field(name, said) => json!({ "header": name, "to": said }),
    }
}

/// Who may get a copy of the request.
fn mirror<'p>(plan: &'p Plan, explained: &Explained) -> Option<&'p Mirror> {
    plan.routes[explained.route?].action.mirror()
}

fn text(plan: &Plan, explained: &Explained) -> String {
    let mut out = String::new();
    let mut say = |name: &str, what: &str| out.push_str(&format!("{name:<9} {what}\n"));
    match explained.route {
        Some(id) => say("route", &plan.routes[id].name),
        None => say("route", "none"),
    }
    for (id, said) in &explained.filters {
        say("filter", &format!("{}: {}", plan.filters[*id].0, said.name()));
    }
    for edit in &explained.edits {
        match edit {
            Made::Member(path, from, to) => {
                let told = |said: &Option<Value>| said.as_ref().map_or("absent".to_owned(), Value::to_string);
                say("edit", &format!("{path}: {} becomes {}", told(from), told(to)));
            }
            Made::Field(name, said) => say("edit", &format!("{name}: {said}")),
        }
    }
    match &explained.outcome {
        Outcome::Refused(refusal) => {
            say("answer", &format!("{} {}", refusal.status, refusal.code));
            say("message", &refusal.message);
        }
        Outcome::Answered(status) => say("answer", &format!("{status}, by the gateway itself")),
        Outcome::Forwarded(targets) => {
            for target in targets {
                let cluster = &plan.clusters[target.cluster];
                match target.share {
                    0 => say("fallback", &cluster.name),
                    share => {
                        let percent = f64::from(share) / target.shares as f64 * 100.0;
                        say("cluster", &format!("{} ({percent:.0} % of the route's requests)", cluster.name));
                    }
                }
                let urls: Vec<_> =
                    target.endpoints.iter().map(|(id, _)| plan.endpoints[*id].url.as_str()).collect();
                say("endpoint", &format!("{} of: {}", cluster.settings.balancer.name(), urls.join(", ")));
            }
            if let Some(mirror) = mirror(plan, explained) {
                let (cluster, share) = (&plan.clusters[mirror.cluster].name, show_share(mirror.share));
                say("mirror", &format!("{cluster} ({share} of the route's requests are copied)"));
            }
            if let Some((id, head)) = targets.first().and_then(|target| target.endpoints.first()) {
                out.push_str(&format!(
                    "\nsent to {}:\n{}",
                    plan.endpoints[*id].url,
                    String::from_utf8_lossy(head)
                ));
            }
        }
    }
    out
}
