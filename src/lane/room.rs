//! A place for a client that found none: the one that has rested longest, on any lane, gives up its own.

use std::time::Instant;

use super::inbox::Command;
use super::running::Lane;
use crate::base::ids::Id;
use crate::base::limits::ROOM_REST_MIN;

impl Lane {
    /// The most connections there may be, over all lanes.
    pub(super) fn connections_max(&self) -> usize {
        self.state.plan().plan.limits.connections
    }

    /// Asks who has rested longest for its place; false where nobody has rested long enough.
    pub(super) fn make_room(&self, now: Instant) -> bool {
        self.say_who_rests();
        let own = self.state.lane;
        match self.loads.longest_rest() {
            Some((lane, _)) if lane == own => self.give_room(now),
            Some((lane, since)) if since + ROOM_REST_MIN <= now => {
                // Not asked twice for the same: that lane says anew who rests when it has heard.
                self.loads.rests_since(lane, None);
                self.lanes[lane.position()].tell(Command::MakeRoom).is_ok()
            }
            Some(_) | None => false,
        }
    }

    /// Ends the client of this lane that has rested longest; whether there was one.
    pub(super) fn give_room(&self, now: Instant) -> bool {
        let given = now.checked_sub(ROOM_REST_MIN).is_some_and(|by| self.state.resting.end_longest(by));
        self.say_who_rests();
        given
    }

    /// Tells the other lanes since when a client rests here, and its own clients whether others wait for places.
    pub(super) fn look_for_room(&self) {
        self.say_who_rests();
        self.state.crowded.set(self.loads.total() >= self.connections_max());
    }

    fn say_who_rests(&self) {
        self.loads.rests_since(self.state.lane, self.state.resting.longest());
    }
}
