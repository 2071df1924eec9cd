//! `/live`: what the dashboard shows, as events: the last minutes first, then what is new, once a second.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value, json};

use super::state::Control;
use crate::base::limits::{ADMIN_TIMEOUT, WINDOW_SLOT_S};
use crate::metrics::history::{HEAT_US, Point};
use crate::metrics::snapshot::{RouteTotals, Snapshot};
use crate::metrics::window::Quantiles;
use crate::net::stream::Stream;

/// How far one listener is.
#[derive(Debug, Default)]
struct Told {
    /// It was told the past.
    past: bool,
    /// Marks that it knows.
    marks: u64,
}

/// Tells events until the client leaves or a successor has the admin API.
pub(super) async fn tell(stream: &mut Stream, control: &Rc<Control>, is_head: bool) -> std::io::Result<()> {
    let head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\nconnection: close\r\n\r\n";
    write(stream, head.to_vec()).await?;
    // What lanes counted so far: the first second has not passed yet, maybe.
    control.collect().await;
    let mut told = Told::default();
    while !is_head && !control.replaced.is_set() {
        let event = control.event(&mut told);
        write(stream, event.into_bytes()).await?;
        monoio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

async fn write(stream: &mut Stream, bytes: Vec<u8>) -> std::io::Result<()> {
    match monoio::time::timeout(ADMIN_TIMEOUT, stream.writer.write(bytes)).await {
        Ok(written) => written,
        Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

impl Control {
    /// What is new since the last event.
    fn event(&self, told: &mut Told) -> String {
        let stats = self.stats();
        let snapshot = self.collected.snapshot.borrow();
        let marks = self.marks.borrow();
        let (new, count) = marks.behind(told.marks);
        let mut document = json!({
            "stats": stats,
            "slot": snapshot.slots(),
            "now": by_route(&snapshot, |totals| point(&totals.now())),
            "marks": new,
        });
        if !told.past {
            document["past"] = by_route(&snapshot, |totals| totals.past().map(point).collect());
            document["slot_s"] = json!(WINDOW_SLOT_S);
            document["heat_us"] = json!(HEAT_US.as_slice());
        }
        *told = Told { past: true, marks: count };
        // A browser that loses us asks again after a second.
        format!("retry: 1000\ndata: {document}\n\n")
    }

    /// Notes what happened since the last second.
    pub(super) fn mark(&self) {
        self.marks.borrow_mut().look(&self.plan(), Instant::now(), SystemTime::now());
    }
}

/// Something of all routes together, under the empty name, and of each.
fn by_route(snapshot: &Snapshot, of: impl Fn(&RouteTotals) -> Value) -> Value {
    let routes = snapshot.routes.iter().map(|(name, totals)| (name.clone(), of(totals)));
    Value::Object(std::iter::once((String::new(), of(&snapshot.all))).chain(routes).collect::<Map<_, _>>())
}

/// A point in short names: there are thousands of them.
fn point(point: &Point) -> Value {
    let both = |times: &Quantiles| json!([times.p50, times.p99]);
    // Most rows are empty, those at both ends mostly.
    let first = point.heat.iter().position(|count| *count > 0).unwrap_or(0);
    let last = point.heat.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    json!({
        "n": point.requests,
        "ok": point.success,
        "left": point.client_closed,
        "in": point.bytes_in,
        "out": point.bytes_out,
        "tok": point.tokens,
        "T": both(&point.total),
        "ttft": both(&point.ttft),
        "itl": both(&point.itl),
        "from": first,
        "heat": point.heat.get(first..last).unwrap_or_default(),
    })
}
