//! What filters cost a request of 1 KiB: microseconds of one core, by chain; and how long 10,000 keys take to be read.
#![allow(clippy::print_stdout, reason = "a bench ends where nobody reads it")]

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use bytes::BytesMut;
use corelane::base::digest::Digest;
use corelane::base::ids::{Id, RouteId};
use corelane::codec::forwarded::Client;
use corelane::codec::head::RequestHead;
use corelane::codec::operation::Operation;
use corelane::codec::progress::Progress;
use corelane::codec::request::{RequestEvent, RequestReader};
use corelane::control::load::{Origin, Source, load};
use corelane::filter::{self, Examination, Findings, View};
use corelane::plan::Plan;

const KEYS: usize = 10_000;

/// A folder of its own, gone with the bench.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn keys() -> String {
    let key = |number| {
        let digest = Digest::of(format!("sk-{number}").as_bytes()).text();
        format!("[[key]]\nname = \"team-{number}\"\nsha256 = \"{digest}\"\nrpm = 1000000000\n")
    };
    (0..KEYS).map(key).collect()
}

fn plan(folder: &Path, chain: &str) -> Plan {
    let config = folder.join("gateway.toml");
    let text = format!(
        "[filter.keys]\nkind = \"keys\"\nfile = \"keys.toml\"\n[filter.limits]\nkind = \"rate-limit\"\nrequests = \"1000000000/sec\"\n\
         [filter.shape]\nkind = \"validate\"\nschema = \"openai\"\n[cluster.up]\nendpoints = [\"http://127.0.0.1:1\"]\n\
         [[route]]\nto = \"up\"\nfilters = [{chain}]\n[[route]]\nmatch = {{ path = \"/unused\" }}\nto = \"up\"\nfilters = [\"keys\", \"limits\", \"shape\"]\n"
    );
    std::fs::write(&config, text).expect("the folder can be written");
    load(&Origin::new(Source::File(config)), None).expect("the configuration holds")
}

fn head(body: &str) -> RequestHead {
    let text = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nuser-agent: bench\r\naccept: */*\r\ncontent-type: application/json\r\n\
         authorization: Bearer sk-{}\r\ncontent-length: {}\r\n\r\n",
        KEYS / 2,
        body.len()
    );
    match RequestReader::new(65_536).next(&mut BytesMut::from(text.as_str())) {
        Ok(Progress::Ready(RequestEvent::Head(head))) => head,
        other => panic!("{other:?}"),
    }
}

/// All that filters do for one request.
fn judge(plan: &Plan, head: &RequestHead, body: &[u8]) {
    let (id, now) = (RouteId::at(0), Instant::now());
    let route = &plan.routes[id];
    let view = View {
        head,
        client: Client::Unknown,
        route: Some((id, &route.name)),
        path_model: None,
        asks_model: false,
        edits: None,
        operation: Operation::Chat,
        now,
        today: SystemTime::now(),
    };
    let mut found = Findings::default();
    filter::begin(&route.chain, &view, &mut found);
    filter::walk(&plan.filters, &view, &mut found, |_| {}).expect("it passes");
    if let Some(mut examination) = Examination::new(&plan.filters, route.chain.iter(), &view, &found) {
        examination.feed(body);
        examination.judge(&plan.filters, &view, &mut found, |_| {}).expect("it passes");
    }
    filter::admit(&plan.filters, &mut found, now).expect("there is enough left");
    black_box(&found);
}

/// The least of nine rounds: what the work costs, not what disturbed it.
fn least_us(times: usize, work: impl Fn()) -> f64 {
    let round = || {
        let begun = Instant::now();
        (0..times).for_each(|_| work());
        begun.elapsed().as_secs_f64() * 1e6 / times as f64
    };
    (0..9).map(|_| round()).fold(f64::MAX, f64::min)
}

fn main() {
    let once = std::env::args().any(|argument| argument == "--once");
    let folder = Folder(std::env::temp_dir().join(format!("corelane-filters-{}", std::process::id())));
    std::fs::create_dir_all(&folder.0).expect("a folder can be made");
    std::fs::write(folder.0.join("keys.toml"), keys()).expect("the folder can be written");
    let (begun, times) = (Instant::now(), if once { 1 } else { 100_000 });
    drop(plan(&folder.0, "\"keys\""));
    println!("{KEYS} keys are read in {:.1} ms", begun.elapsed().as_secs_f64() * 1e3);
    let words = "lorem ipsum dolor sit amet, \\\"consectetur\\\" adipiscing\\n".repeat(16);
    let body = format!(
        r#"{{"model":"qwen3-32b","temperature":0.7,"max_tokens":512,"stream":true,"messages":[{{"role":"system","content":"Be short."}},{{"role":"user","content":"{words}"}}]}}"#
    );
    println!("{:<28} {:>8}   a request of {} bytes", "filters", "µs", body.len());
    for chain in ["", "\"keys\"", "\"keys\", \"limits\"", "\"shape\"", "\"keys\", \"limits\", \"shape\""] {
        let (plan, head) = (plan(&folder.0, chain), head(&body));
        let us = least_us(times, || judge(&plan, &head, body.as_bytes()));
        println!("{:<28} {us:>8.2}", if chain.is_empty() { "none" } else { chain });
    }
}
