//! What a lane lends to its exchanges: the plan, the balancers, the pools, the recorder.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};

use super::resting::Resting;
use super::service::Service;
use super::spans::{Attempts, Traced};
use super::turns::Turns;
use super::upstream::Upstream;
use super::watchdog::Watchdogs;
use crate::base::hex::write_hex;
use crate::base::ids::{ClusterId, EndpointId, FilterId, IdVec, LaneId};
use crate::base::limits::{REPLACED_PLANS_MAX, REQUEST_ID_BYTES_MAX};
use crate::base::rng::Rng;
use crate::base::time::{micros, whole_micros};
pub use crate::board::lines::LogSender;
use crate::board::loads::EndpointLoad;
use crate::board::published::Seen;
use crate::board::spans::SpanSender;
use crate::cluster::Cluster;
use crate::codec::field::FieldName;
use crate::codec::fields::Head;
use crate::codec::trace::TraceContext;
use crate::codec::usage_cut::Habits;
use crate::metrics::recorder::Recorder;
use crate::net::hangup::Hangups;
use crate::plan::{Catalog, Plan};
use crate::pool::Pool;

/// One lane's own part of a plan. An exchange holds it by a count that no other lane touches.
pub struct LanePlan {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Balancers.
    pub clusters: IdVec<ClusterId, Rc<Cluster>>,
    /// Pools and loads; an endpoint that stays through a reload keeps its own.
    pub endpoints: IdVec<EndpointId, Rc<EndpointOnLane>>,
    /// Which models clients are told of, where a route tells.
    pub catalog: Option<Seen<Catalog>>,
    /// Services that filters ask.
    pub services: HashMap<FilterId, Service>,
    /// What is counted under this plan.
    pub recorder: RefCell<Recorder>,
}

/// One endpoint as one lane carries it.
pub struct EndpointOnLane {
    /// Idle connections.
    pub pool: RefCell<Pool<Box<Upstream>>>,
    /// Its load over all lanes.
    pub load: Arc<EndpointLoad>,
    /// No plan has it any more: what comes back is closed.
    pub retired: Cell<bool>,
    /// Its active probes, where this lane makes them.
    pub probing: Probing,
    /// How it tells its usage, as far as its streams showed.
    pub habits: Cell<Habits>,
}

/// How far the probes of an endpoint are.
#[derive(Debug, Default)]
pub struct Probing {
    /// When the next one is due; at once where there was none.
    pub due: Cell<Option<Instant>>,
    /// One is under way.
    pub is_under_way: Cell<bool>,
}

/// What a lane lends to its exchanges.
pub struct LaneState {
    /// Which lane this is.
    pub lane: LaneId,
    /// Deadlines of all client connections.
    pub watchdogs: Rc<Watchdogs>,
    /// Clients that rest, for others may need their places.
    pub resting: Resting,
    /// Clients wait for a place: whoever ends an exchange rests at once.
    pub crowded: Cell<bool>,
    /// Clients that made one request, and are not at rest yet.
    pub untried: Cell<usize>,
    /// Copies under way for mirrors, which nobody waits for but the end of the lane.
    pub copies: Cell<usize>,
    /// The process is shutting down: answers carry `connection: close`, and whoever is idle may begin one more exchange until
    /// then.
    pub draining: Cell<Option<Instant>>,
    /// Chance: ids of exchanges, shares of clusters.
    pub rng: RefCell<Rng>,
    /// Lines of the access log go here.
    pub log: LogSender,
    /// What is told of traced exchanges goes here.
    pub spans: SpanSender<Traced>,
    /// The time as answers tell it (RFC 9110 §5.6.7), a tick old at most.
    pub date: Cell<[u8; 29]>,
    /// What a wall clock showed at some instant, a tick ago at most: microseconds since 1970.
    wall: Cell<(Instant, u64)>,
    /// Who waits for a turn that any lane may grant.
    pub turns: Turns,
    /// Tells of clients that leave while nothing of them is read.
    pub hangups: Rc<Hangups>,
    /// Where the first bytes of a client that wakes are received, until it is known how many they are.
    pub scratch: Cell<BytesMut>,
    current: RefCell<Rc<LanePlan>>,
    /// Plans that were replaced, and that exchanges may still hold; each at least until then, for requests wait to travel
    /// together that came under it.
    replaced: RefCell<Vec<(Rc<LanePlan>, Instant)>>,
    evictor: RefCell<Waker>,
}

/// Who tells a lane's tasks of what happens elsewhere.
pub struct Tellers {
    /// Turns that any lane grants.
    pub turns: Turns,
    /// Clients that leave while nothing of them is read.
    pub hangups: Rc<Hangups>,
}

impl LaneState {
    /// A lane that runs `plan`.
    pub fn new(
        lane: LaneId,
        plan: LanePlan,
        rng: Rng,
        (log, spans): (LogSender, SpanSender<Traced>),
        tellers: Tellers,
    ) -> Self {
        let Tellers { turns, hangups } = tellers;
        Self {
            lane,
            watchdogs: Rc::new(Watchdogs::new(Instant::now())),
            resting: Resting::default(),
            crowded: Cell::new(false),
            untried: Cell::new(0),
            copies: Cell::new(0),
            draining: Cell::new(None),
            rng: RefCell::new(rng),
            log,
            spans,
            date: Cell::new(date_of(SystemTime::now())),
            wall: Cell::new((Instant::now(), since_1970(SystemTime::now()))),
            turns,
            hangups,
            scratch: Cell::default(),
            current: RefCell::new(Rc::new(plan)),
            replaced: RefCell::default(),
            evictor: RefCell::new(Waker::noop().clone()),
        }
    }

    /// The plan in force on this lane.
    pub fn plan(&self) -> Rc<LanePlan> {
        Rc::clone(&self.current.borrow())
    }

    /// A tick has passed: what the clocks show.
    pub fn ticked(&self, now: Instant, wall: SystemTime) {
        self.date.set(date_of(wall));
        self.wall.set((now, since_1970(wall)));
    }

    /// What a wall clock showed at `now`: microseconds since 1970.
    pub fn wall_us(&self, now: Instant) -> u64 {
        let (then, wall) = self.wall.get();
        // What was over before the last tick is told now.
        (wall + micros(then, now)).saturating_sub(micros(now, then))
    }

    /// Puts a new plan in force. Exchanges may still hold the old one.
    pub fn replace(&self, plan: LanePlan, now: Instant) {
        let old = self.current.replace(Rc::new(plan));
        let until = now + old.plan.longest_gathering();
        self.replaced.borrow_mut().push((old, until));
    }

    /// Has `tell` look at each plan that was replaced, and lets those go that nobody holds any more: their last exchange is
    /// over, and told of.
    pub fn tell_replaced(&self, now: Instant, tell: impl Fn(&LanePlan)) {
        let mut replaced = self.replaced.borrow_mut();
        let mut newer = replaced.len();
        replaced.retain(|(old, until)| {
            newer -= 1;
            tell(old);
            Rc::strong_count(old) > 1 || (now < *until && newer < REPLACED_PLANS_MAX)
        });
    }

    /// The plan of that generation, where this lane has it still.
    pub fn plan_of(&self, generation: u64) -> Option<Rc<LanePlan>> {
        let current = self.plan();
        if current.plan.generation == generation {
            return Some(current);
        }
        let replaced = self.replaced.borrow();
        replaced.iter().find(|(old, _)| old.plan.generation == generation).map(|(old, _)| Rc::clone(old))
    }

    /// Drops pooled connections that their endpoint closed. Polled by one task for the life of the lane; reads of
    /// pooled connections wake it.
    pub fn evict_closed(&self, now: Instant, cx: &mut Context<'_>) {
        self.evictor.replace(cx.waker().clone());
        for endpoint in self.plan().endpoints.iter() {
            endpoint.pool.borrow_mut().evict(now, |idle| idle.poll_over(cx).is_ready());
        }
    }

    /// Keeps a connection for the next attempt, with a read posted that tells when the endpoint closes it.
    pub fn give_back(&self, endpoint: &EndpointOnLane, mut upstream: Box<Upstream>, now: Instant) {
        if endpoint.retired.get() || self.draining.get().is_some() {
            return;
        }
        let over = !upstream.settle() || {
            let waker = self.evictor.borrow();
            upstream.poll_over(&mut Context::from_waker(&waker)).is_ready()
        };
        if !over {
            let surplus = endpoint.pool.borrow_mut().put(upstream, now);
            drop(surplus);
        }
    }

    /// The id of an exchange: what a trusted sender gave it, else 128 bits in lower-case hex.
    pub fn request_id(&self, head: Option<&Head>, is_trusted: bool) -> RequestId {
        head.and_then(|head| RequestId::given(head, is_trusted)).unwrap_or_else(|| {
            let mut rng = self.rng.borrow_mut();
            RequestId::new(rng.next_u64(), rng.next_u64())
        })
    }

    /// The trace that a request belongs to.
    pub fn trace(&self, head: &Head, is_trusted: bool) -> TraceContext {
        let mut rng = self.rng.borrow_mut();
        TraceContext::of(head, is_trusted, [rng.next_u64(), rng.next_u64()], rng.next_u64())
    }

    /// The same of an exchange under `plan`, of which a share is recorded, or what its trusted sender says; and what is noted
    /// of its attempts, where it is.
    pub(super) fn traced(
        &self,
        head: &Head,
        is_trusted: bool,
        plan: &Plan,
    ) -> (TraceContext, Option<Box<Attempts>>) {
        let mut trace = self.trace(head, is_trusted);
        let Some(config) = &plan.observe.trace else { return (trace, None) };
        if !trace.is_continued && self.rng.borrow_mut().unit() < config.share {
            trace.sample();
        }
        (trace, trace.is_sampled().then(Box::default))
    }

    /// The trace of a call that is made for several: its own, of which a collector is told where it is told of one of them.
    pub(super) fn trace_apart(&self, is_traced: bool) -> TraceContext {
        let mut rng = self.rng.borrow_mut();
        let mut trace = TraceContext::new([rng.next_u64(), rng.next_u64()], rng.next_u64());
        if is_traced {
            trace.sample();
        }
        trace
    }

    /// The part of `trace` that a call has which is made for one alone.
    pub(super) fn trace_within(&self, trace: &TraceContext) -> TraceContext {
        trace.within(self.rng.borrow_mut().next_u64())
    }
}

impl EndpointOnLane {
    /// The newest pooled connection that is still open.
    pub fn checkout(&self, now: Instant) -> Option<Box<Upstream>> {
        loop {
            let mut upstream = self.pool.borrow_mut().take(now)?;
            // Its close may have been noticed already, with the evictor not run yet.
            if upstream.poll_over(&mut Context::from_waker(Waker::noop())).is_pending() {
                return Some(upstream);
            }
        }
    }
}

fn since_1970(wall: SystemTime) -> u64 {
    whole_micros(wall.duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// An HTTP date.
pub fn date_of(now: SystemTime) -> [u8; 29] {
    httpdate::fmt_http_date(now)
        .as_bytes()
        .try_into()
        .expect("an HTTP date has 29 characters until the year 9999")
}

/// The id of one exchange: printable ASCII.
#[derive(Debug, Clone)]
pub enum RequestId {
    /// 128 bits of chance in lower-case hex.
    Made([u8; 32]),
    /// What a trusted sender said, copied.
    Given(Bytes),
}

impl RequestId {
    /// 128 bits in lower-case hex.
    pub fn new(high: u64, low: u64) -> Self {
        let mut text = [0; 32];
        write_hex(&mut text[..16], high);
        write_hex(&mut text[16..], low);
        Self::Made(text)
    }

    /// The id that a trusted sender made, if it is short and plain.
    pub fn given(head: &Head, is_trusted: bool) -> Option<Self> {
        let id = head.value(FieldName::XRequestId).filter(|_| is_trusted)?;
        let is_plain = id.iter().all(u8::is_ascii_graphic);
        let fits = (1..=REQUEST_ID_BYTES_MAX).contains(&id.len());
        (is_plain && fits).then(|| Self::Given(Bytes::copy_from_slice(id)))
    }

    /// Its text.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Made(text) => text,
            Self::Given(text) => text,
        }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("both ways to make one take ASCII only")
    }
}
