//! `corelane explain` and `POST /explain`: what would become of a request, in words and as a document.

use serde_json::{Map, Value, json};

use crate::base::ids::EndpointId;
use crate::config::units::show_share;
use crate::plan::{ClusterPlan, Mirror, Plan};
use crate::proxy::explain::{Explained, Made, Outcome, Placement, Target};

/// One JSON document. Of several clusters the first one, with the largest claim to be asked, is told at the top; `to` has all.
pub fn document(plan: &Plan, explained: &Explained) -> Value {
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
            let edits: Vec<_> = explained.edits.iter().map(made).collect();
            let told: Vec<_> = targets.iter().map(|target| of_target(plan, target)).collect();
            let first = targets.first();
            let endpoints = first.map(|target| placements(plan, &target.placements));
            let mut document = json!({
                "route": route,
                "filters": filters,
                "cluster": first.map(|target| plan.clusters[target.cluster].name.as_str()),
                "endpoints": endpoints,
                "edits": edits,
                "head": targets.iter().find_map(sent).map(|(_, head)| head),
                "to": told,
            });
            if let Some(mirror) = mirror(plan, explained) {
                let cluster = &plan.clusters[mirror.cluster].name;
                document["mirror"] = json!({ "cluster": cluster, "share": mirror.share });
            }
            document
        }
    }
}

/// A cluster that the request may go to.
fn of_target(plan: &Plan, target: &Target) -> Value {
    let cluster = &plan.clusters[target.cluster];
    let mut endpoints = placements(plan, &target.placements);
    for (told, (_, head)) in endpoints.iter_mut().zip(&target.endpoints) {
        told["head"] = json!(String::from_utf8_lossy(head));
    }
    let mut told = json!({
        "cluster": cluster.name,
        "share": f64::from(target.share) / target.shares as f64,
        "balance": cluster.settings.balancer.name(),
        "endpoints": endpoints,
    });
    let together = together(cluster);
    if !together.is_empty() {
        told["together"] = json!(together);
    }
    if waits(cluster, target) {
        told["waits"] = json!(true);
    }
    told
}

fn placements(plan: &Plan, placements: &[Placement]) -> Vec<Value> {
    let told = placements.iter().map(|placement| {
        let terms: Map<_, _> =
            placement.terms.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({
            "url": plan.endpoints[placement.endpoint].url,
            "admitted": placement.is_admitted,
            "score": placement.score,
            "terms": terms,
            "picked": placement.is_picked,
            "why": placement.why,
        })
    });
    told.collect()
}

/// Who may get a copy of the request.
fn mirror<'p>(plan: &'p Plan, explained: &Explained) -> Option<&'p Mirror> {
    plan.routes[explained.route?].action.mirror()
}

/// What requests of a cluster share with others.
fn together(cluster: &ClusterPlan) -> Vec<String> {
    let settings = &cluster.settings;
    let kept = settings.cache.as_ref().map(|_| "answers are kept".to_owned());
    let single = settings.single_flight.then(|| "the same question is asked once at a time".to_owned());
    let batch = settings.batch.as_ref().map(|_| "requests travel together".to_owned());
    kept.into_iter().chain(single).chain(batch).collect()
}

/// The endpoint that is asked first, and what it is sent; none where nobody is.
fn sent(target: &Target) -> Option<(EndpointId, String)> {
    let at = target.placements.iter().position(|placement| placement.is_picked)?;
    let (id, head) = target.endpoints.get(at)?;
    Some((*id, String::from_utf8_lossy(head).into_owned()))
}

/// Whether a request would wait there: somebody is admitted who could serve it, and all of those are full.
fn waits(cluster: &ClusterPlan, target: &Target) -> bool {
    let is_picked = target.placements.iter().any(|placement| placement.is_picked);
    cluster.settings.queue.is_some()
        && !is_picked
        && target.placements.iter().any(|placement| placement.is_full)
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

/// In words, line by line, with the head that is sent to the endpoint that is asked first.
pub fn text(plan: &Plan, explained: &Explained) -> String {
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
            targets.iter().for_each(|target| say_target(plan, target, &mut say));
            if let Some(mirror) = mirror(plan, explained) {
                let (cluster, share) = (&plan.clusters[mirror.cluster].name, show_share(mirror.share));
                say("mirror", &format!("{cluster} ({share} of the route's requests are copied)"));
            }
            // Where it waits it goes nowhere else meanwhile.
            let waits = targets.first().is_some_and(|target| waits(&plan.clusters[target.cluster], target));
            out.push_str(&match targets.iter().find_map(sent) {
                _ if waits => "\nsent to whoever has a place first\n".to_owned(),
                Some((id, head)) => format!("\nsent to {}:\n{head}", plan.endpoints[id].url),
                None => "\nsent to nobody\n".to_owned(),
            });
        }
    }
    out
}

fn say_target(plan: &Plan, target: &Target, say: &mut impl FnMut(&str, &str)) {
    let cluster = &plan.clusters[target.cluster];
    match target.share {
        0 => say("fallback", &cluster.name),
        share => {
            let percent = f64::from(share) / target.shares as f64 * 100.0;
            say("cluster", &format!("{} ({percent:.0} % of the route's requests)", cluster.name));
        }
    }
    together(cluster).iter().for_each(|what| say("together", what));
    say("balance", &cluster.settings.balancer.name());
    for placement in &target.placements {
        let url = &plan.endpoints[placement.endpoint].url;
        let mark = if placement.is_picked { "->" } else { "  " };
        let score = placement.score.map_or("no part".to_owned(), |score| format!("score {score:.3}"));
        let terms: Vec<_> =
            placement.terms.iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
        let terms = if terms.is_empty() { String::new() } else { format!(" ({})", terms.join(", ")) };
        say("endpoint", &format!("{mark} {url}: {score}{terms}: {}", placement.why));
    }
    if waits(cluster, target) {
        say("queue", &format!("it waits for a place; {} wait already", cluster.queue.waiting()));
    }
}
