//! One answer that several wait for, on any lane: whoever makes it pushes what comes, and each takes it at its own pace.
//!
//! What was taken by all is kept too, from the first byte on, while all of it is short: so whoever comes later joins from
//! the beginning. Past that nobody joins any more, and the slowest is waited for, but only so long: then the oldest bytes go,
//! as far as the fastest has taken them, and whoever is behind that has lost bytes, and is told so.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::granted::Granted;
use crate::base::digest::Digest;
use crate::base::limits::FLIGHT_BYTES_MAX;
use crate::base::link::Link;

/// Where a lane is told, and of which place.
type Bell = (Arc<Granted>, u64);

/// An answer under way: `H` is its head, `E` why it ended before its end.
#[derive(Debug)]
pub struct Flight<H, E>(Mutex<State<H, E>>);

#[derive(Debug)]
struct State<H, E> {
    head: Option<Arc<H>>,
    pieces: VecDeque<Bytes>,
    /// Pieces that went, and bytes of those that are kept.
    gone: u64,
    kept: usize,
    end: Option<Result<(), E>>,
    /// Somebody is asked for it: it waits in no line any more.
    is_started: bool,
    /// The calls in which it is made of which a collector is told: one, and where that failed for all its members another.
    calls: Vec<Link>,
    /// How many followers have taken so many pieces.
    followers: BTreeMap<u64, usize>,
    /// Whether there was any: one that all left is over.
    is_joined: bool,
    waiting: Vec<Bell>,
    /// Whoever makes it, and whoever has it made among others; each by a number of its own.
    makers: Vec<(u64, Bell)>,
}

/// What a follower takes next.
#[derive(Debug)]
pub enum Next<H, E> {
    /// The head.
    Head(Arc<H>),
    /// A piece of the body.
    Piece(Bytes),
    /// It ended.
    End(Result<(), E>),
    /// It is so far behind that bytes are lost.
    Behind,
    /// The place to wait for.
    Wait(u64),
}

/// Whoever waits for it, at his place.
#[derive(Debug)]
pub struct Follower<H, E> {
    flight: Arc<Flight<H, E>>,
    has_head: bool,
    at: u64,
}

impl<H, E: Clone> Flight<H, E> {
    /// Nothing came yet, and nobody waits.
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            head: None,
            pieces: VecDeque::new(),
            gone: 0,
            kept: 0,
            end: None,
            is_started: false,
            calls: Vec::new(),
            followers: BTreeMap::new(),
            is_joined: false,
            waiting: Vec::new(),
            makers: Vec::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, State<H, E>> {
        // A panic under the lock leaves it as it was before or after one step, which is sound either way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more waits for it, from the first byte on; none where that is gone, or everybody left.
    pub fn join(self: &Arc<Self>) -> Option<Follower<H, E>> {
        let mut state = self.lock();
        if state.is_left() || state.gone > 0 {
            return None;
        }
        state.is_joined = true;
        *state.followers.entry(0).or_default() += 1;
        Some(Follower { flight: Arc::clone(self), has_head: false, at: 0 })
    }

    /// The head came.
    pub fn head(&self, head: Arc<H>) {
        let mut state = self.lock();
        state.head = Some(head);
        state.wake();
    }

    /// Somebody is asked for it.
    pub fn start(&self) {
        self.lock().is_started = true;
    }

    /// It is made in this call, of which a collector is told.
    pub fn made_in(&self, call: Link) {
        self.lock().calls.push(call);
    }

    /// A piece came.
    pub fn push(&self, piece: Bytes) {
        let mut state = self.lock();
        state.kept += piece.len();
        state.pieces.push_back(piece);
        state.drop_taken_by_all();
        state.wake();
    }

    /// It ended.
    pub fn end(&self, how: Result<(), E>) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(how);
        }
        state.wake();
    }

    /// Whether there is so much that its followers must take some first.
    pub fn is_full(&self) -> bool {
        self.lock().kept > FLIGHT_BYTES_MAX
    }

    /// That maker is told at that place when followers have taken some of what is too much, or all have left. Whether there is
    /// room already.
    pub fn has_room(&self, maker: u64, bell: Bell) -> bool {
        let mut state = self.lock();
        state.makers.retain(|(known, _)| *known != maker);
        state.makers.push((maker, bell));
        state.kept <= FLIGHT_BYTES_MAX
    }

    /// Those who are behind were waited for long enough: what the fastest has taken goes.
    pub fn leave_behind(&self) {
        let mut state = self.lock();
        let fastest = state.followers.last_key_value().map_or(0, |(taken, _)| *taken);
        state.drop_until(fastest);
        // Who has lost bytes is waited for no more.
        let gone = state.gone;
        state.followers = state.followers.split_off(&gone);
        state.wake();
    }

    /// Whether all have left: then nobody wants it any more.
    pub fn is_left(&self) -> bool {
        self.lock().is_left()
    }
}

impl<H, E> State<H, E> {
    fn is_left(&self) -> bool {
        self.is_joined && self.followers.is_empty()
    }

    /// Of what is too much goes what nobody needs any more.
    fn drop_taken_by_all(&mut self) {
        let slowest = self.followers.first_key_value().map_or(0, |(taken, _)| *taken);
        self.drop_until(slowest);
    }

    fn drop_until(&mut self, taken: u64) {
        while self.kept > FLIGHT_BYTES_MAX && self.gone < taken {
            let Some(piece) = self.pieces.pop_front() else { return };
            self.kept -= piece.len();
            self.gone += 1;
        }
    }

    /// One of the followers goes on, or leaves.
    fn moves(&mut self, from: u64, to: Option<u64>) {
        if from < self.gone {
            return;
        }
        if let Entry::Occupied(mut place) = self.followers.entry(from) {
            *place.get_mut() -= 1;
            if *place.get() == 0 {
                place.remove();
            }
        }
        if let Some(to) = to {
            *self.followers.entry(to).or_default() += 1;
        }
        let was_full = self.kept > FLIGHT_BYTES_MAX;
        self.drop_taken_by_all();
        if (was_full && self.kept <= FLIGHT_BYTES_MAX) || self.is_left() {
            self.wake_maker();
        }
    }

    fn wake(&mut self) {
        for (lane, place) in self.waiting.drain(..) {
            lane.tell(place);
        }
    }

    fn wake_maker(&mut self) {
        for (_, (lane, place)) in self.makers.drain(..) {
            lane.tell(place);
        }
    }
}

impl<H, E: Clone> Follower<H, E> {
    /// What comes next; where nothing came yet, `lane` is told when it did.
    pub fn next(&mut self, lane: &Arc<Granted>) -> Next<H, E> {
        let mut state = self.flight.lock();
        if let (false, Some(head)) = (self.has_head, &state.head) {
            self.has_head = true;
            return Next::Head(Arc::clone(head));
        }
        if self.at < state.gone {
            return Next::Behind;
        }
        let next = usize::try_from(self.at - state.gone).ok().and_then(|at| state.pieces.get(at).cloned());
        if let Some(piece) = next.filter(|_| self.has_head) {
            state.moves(self.at, Some(self.at + 1));
            self.at += 1;
            return Next::Piece(piece);
        }
        if let Some(end) = &state.end {
            return Next::End(end.clone());
        }
        let place = Granted::place();
        state.waiting.push((Arc::clone(lane), place));
        Next::Wait(place)
    }
}

impl<H, E> Follower<H, E> {
    /// Whether somebody is asked for it: it waits in no line any more.
    pub fn is_started(&self) -> bool {
        self.flight.0.lock().unwrap_or_else(PoisonError::into_inner).is_started
    }

    /// The calls in which it was made of which a collector is told.
    pub fn calls(&self) -> Vec<Link> {
        self.flight.0.lock().unwrap_or_else(PoisonError::into_inner).calls.clone()
    }
}

impl<H, E> Drop for Follower<H, E> {
    fn drop(&mut self) {
        let mut state = self.flight.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.moves(self.at, None);
    }
}

/// An answer that whoever asked first has to make.
pub type Made<H, E> = Arc<Flight<H, E>>;

/// The answers under way, by what was asked.
#[derive(Debug)]
pub struct Flights<H, E>(Mutex<HashMap<Digest, Arc<Flight<H, E>>>>);

impl<H, E> Default for Flights<H, E> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<H, E: Clone> Flights<H, E> {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Flight<H, E>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the answer to `asked`. Who finds none under way is given the new one to make.
    pub fn join(&self, asked: Digest) -> (Follower<H, E>, Option<Made<H, E>>) {
        let mut flights = self.lock();
        if let Some(follower) = flights.get(&asked).and_then(|flight| flight.join()) {
            return (follower, None);
        }
        let flight = Flight::new();
        let follower = flight.join().expect("nobody left it yet");
        flights.insert(asked, Arc::clone(&flight));
        (follower, Some(flight))
    }

    /// It ended, or nobody waits for it: who asks the same from here on asks anew.
    pub fn remove(&self, asked: &Digest, flight: &Arc<Flight<H, E>>) {
        let mut flights = self.lock();
        if flights.get(asked).is_some_and(|known| Arc::ptr_eq(known, flight)) {
            flights.remove(asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Told = Next<u8, u8>;

    fn bell() -> Arc<Granted> {
        Granted::new(|| {})
    }

    fn piece(next: Told) -> Bytes {
        let Next::Piece(piece) = next else { panic!("{next:?}") };
        piece
    }

    #[test]
    fn all_take_the_same_from_the_first_byte_on_and_the_same_end() {
        let (flights, lane) = (Flights::<u8, u8>::default(), bell());
        let asked = Digest::of(b"a");
        let (mut one, flight) = flights.join(asked);
        let flight = flight.expect("the first one makes it");
        let Next::Wait(place) = one.next(&lane) else { panic!("nothing came") };
        flight.head(Arc::new(7));
        flight.push(Bytes::from_static(b"a"));
        assert_eq!(lane.take(), [place]);
        assert!(matches!(one.next(&lane), Next::Head(head) if *head == 7));
        assert_eq!(piece(one.next(&lane)), "a");
        let (mut two, other) = flights.join(asked);
        assert!(other.is_none(), "it is under way");
        assert!(flights.join(Digest::of(b"b")).1.is_some(), "another question is another answer");
        flight.push(Bytes::from_static(b"b"));
        flight.end(Err(9));
        for (follower, pieces) in [(&mut one, &["b"][..]), (&mut two, &["a", "b"])] {
            let mut got = Vec::new();
            loop {
                match follower.next(&lane) {
                    Next::Head(_) => {}
                    Next::Piece(piece) => got.push(piece),
                    Next::End(end) => break assert_eq!(end, Err(9)),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(got, pieces);
        }
        flights.remove(&asked, &flight);
        assert!(flights.join(asked).1.is_some(), "who asks later asks anew");
    }

    #[test]
    fn the_maker_waits_for_the_slowest_until_it_is_left_behind() {
        let (flight, lane) = (Flight::<u8, u8>::new(), bell());
        let (mut fast, mut slow) = (flight.join().unwrap(), flight.join().unwrap());
        flight.head(Arc::new(1));
        assert!(matches!((fast.next(&lane), slow.next(&lane)), (Next::Head(_), Next::Head(_))));
        let large = Bytes::from(vec![0; FLIGHT_BYTES_MAX]);
        flight.push(large.clone());
        assert!(flight.has_room(0, (bell(), 1)));
        let late = flight.join();
        assert!(late.is_some(), "all of it is still there");
        drop(late);
        flight.push(large.clone());
        let maker = bell();
        assert!(!flight.has_room(0, (Arc::clone(&maker), 5)), "nobody took any");
        piece(fast.next(&lane));
        assert!(maker.take().is_empty(), "one of them did");
        piece(slow.next(&lane));
        assert_eq!(maker.take(), [5]);
        assert!(flight.has_room(0, (Arc::clone(&maker), 6)));
        assert!(flight.join().is_none(), "its beginning is gone");
        flight.push(large.clone());
        flight.leave_behind();
        assert!(flight.is_full(), "the fastest is not left behind");
        piece(fast.next(&lane));
        flight.leave_behind();
        assert!(!flight.is_full());
        assert!(matches!(slow.next(&lane), Next::Behind));
        piece(fast.next(&lane));
    }

    #[test]
    fn what_all_left_is_over_and_its_maker_told() {
        let (flights, lane) = (Flights::<u8, u8>::default(), bell());
        let asked = Digest::of(b"a");
        let (one, flight) = flights.join(asked);
        let flight = flight.unwrap();
        let (two, _) = flights.join(asked);
        assert!(flight.has_room(0, (Arc::clone(&lane), 3)));
        drop(one);
        assert!(!flight.is_left() && lane.take().is_empty());
        drop(two);
        assert!(flight.is_left());
        assert_eq!(lane.take(), [3]);
        assert!(flights.join(asked).1.is_some(), "nobody joins what is being cancelled");
    }
}
