//! What a copy of a request is, and whether there is one: its fields, and its body as it passes; pure.

use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::held::Held;
use crate::base::limits::{BUFFERED_STEP_BYTES, MIRROR_BODY_BYTES_MAX, MIRROR_TIME};
use crate::board::buffered::{Budget, Reservation};
use crate::codec::edit::{EditRules, Edits};
use crate::codec::framing::Framing;

/// Whether a request of which `drawn`, from 0 up to 1, fell is among `share` of all.
pub(super) fn is_drawn(share: f64, drawn: f64) -> bool {
    drawn < share
}

/// How long a copy may take, by the `total` of its cluster.
pub(super) fn time(total: Option<Duration>) -> Duration {
    total.unwrap_or(MIRROR_TIME)
}

/// Whose credential went upstream with the request that is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credential {
    /// What the client showed, if that was not meant for the gateway.
    Clients,
    /// The cluster's own, which goes to nobody else; the client's did not go either.
    Clusters,
}

/// What is changed in the fields of a copy: what filters changed in the request, and what makes it a copy.
pub(super) fn fields(filtered: Vec<Edits>, credential: Credential) -> Vec<Edits> {
    static RULES: LazyLock<[Arc<EditRules>; 2]> = LazyLock::new(|| {
        let rules = |remove: &[&str]| {
            let remove = remove.iter().map(|name| (*name).to_owned()).collect();
            Arc::new(EditRules { remove, set: vec!["x-mirror".to_owned()], ..EditRules::default() })
        };
        [rules(&[]), rules(&["authorization", "x-api-key", "api-key"])]
    });
    let rules = match credential {
        Credential::Clients => &RULES[0],
        Credential::Clusters => &RULES[1],
    };
    let mark = Edits { rules: Arc::clone(rules), set: vec!["1".to_owned()], add: Vec::new() };
    filtered.into_iter().chain([mark]).collect()
}

/// The body of a copy, as far as it passed.
#[derive(Debug)]
pub(super) struct Gathered {
    held: Held,
    room: Option<Reservation>,
    budget: Arc<Budget>,
}

impl Gathered {
    /// Of a body that is delimited like this; none where it is too long, or there is no room to spare at once.
    pub(super) fn new(framing: Framing, budget: &Arc<Budget>) -> Option<Self> {
        let room = match framing {
            Framing::Empty => None,
            Framing::Length(length) if length > MIRROR_BODY_BYTES_MAX => return None,
            Framing::Length(length) => Some(budget.reserve_spare(length)?),
            Framing::Chunked | Framing::UntilClose => {
                Some(budget.reserve_spare(BUFFERED_STEP_BYTES.min(Budget::spare(budget.max())))?)
            }
        };
        Some(Self { held: Held::default(), room, budget: Arc::clone(budget) })
    }

    /// The next bytes. False where it has become too long, or others need the room.
    pub(super) fn push(&mut self, piece: &[u8]) -> bool {
        let length = self.held.length() + piece.len() as u64;
        let has_room = self.room.as_mut().is_some_and(|room| {
            length <= room.bytes() || room.grow_spare(length.max(2 * room.bytes())) || room.grow_spare(length)
        });
        let fits = length <= MIRROR_BODY_BYTES_MAX && has_room && !self.budget.is_waited_for();
        if fits {
            self.held.push_past(piece);
        }
        fits
    }

    /// All of it.
    pub(super) fn end(self) -> Body {
        let Self { held, mut room, .. } = self;
        if let Some(room) = &mut room {
            room.shrink(held.length());
        }
        let room = Arc::new(room);
        let owned = |bytes| Bytes::from_owner(Piece { bytes, _room: Arc::clone(&room) });
        let pieces = held.into_pieces().into_iter().map(owned).collect();
        Body { pieces, room: Arc::downgrade(&room) }
    }
}

/// The body of a copy, whole. Its room is given back with its last piece.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) pieces: Vec<Bytes>,
    /// Whether the room is still taken.
    pub(super) room: Weak<Option<Reservation>>,
}

/// A piece with its part in the room for all of them.
struct Piece {
    bytes: Bytes,
    _room: Arc<Option<Reservation>>,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::granted::Granted;

    const MIB: u64 = 1 << 20;

    fn budget(bytes: u64) -> Arc<Budget> {
        Arc::new(Budget::new(bytes))
    }

    #[test]
    fn a_share_is_what_it_says_at_its_ends_too() {
        assert!(!is_drawn(0.0, 0.0) && !is_drawn(0.01, 0.01) && is_drawn(0.01, 0.0));
        assert!(is_drawn(1.0, 0.0) && is_drawn(1.0, 1.0 - f64::EPSILON));
    }

    #[test]
    fn a_copy_takes_as_long_as_its_cluster_may_or_a_minute() {
        let ms = Duration::from_millis;
        assert_eq!((time(Some(ms(300))), time(None)), (ms(300), ms(60_000)));
    }

    #[test]
    fn a_copy_says_so_behind_all_else_and_shows_nobodys_other_credential() {
        let rules = EditRules { set: vec!["x-mirror".to_owned()], ..EditRules::default() };
        let filtered = Edits { rules: Arc::new(rules), set: vec!["0".to_owned()], add: Vec::new() };
        for (credential, removed) in [(Credential::Clients, 0), (Credential::Clusters, 3)] {
            let fields = fields(vec![filtered.clone()], credential);
            let [before, mark] = &fields[..] else { panic!("{fields:?}") };
            assert_eq!(before, &filtered);
            assert_eq!(
                (&mark.rules.set[..], &mark.set[..]),
                (&["x-mirror".to_owned()][..], &["1".to_owned()][..])
            );
            assert_eq!(mark.rules.remove.len(), removed);
        }
    }

    #[test]
    fn a_body_is_gathered_up_to_its_bound_however_it_is_delimited() {
        let room = budget(64 * MIB);
        for (framing, length, is_whole) in [
            (Framing::Length(MIB), MIB, true),
            (Framing::Chunked, MIB, true),
            (Framing::Chunked, MIB + 1, false),
            (Framing::Length(3), 3, true),
            (Framing::Chunked, 0, true),
        ] {
            let mut gathered = Gathered::new(framing, &room).unwrap();
            let body: Vec<u8> = (0..length).map(|at| at as u8).collect();
            assert_eq!(body.chunks(777).all(|piece| gathered.push(piece)), is_whole, "{framing:?} {length}");
            if is_whole {
                let Body { pieces, room: taken } = gathered.end();
                assert_eq!((pieces.concat(), room.used()), (body, length));
                assert_eq!(taken.strong_count(), pieces.len());
            }
        }
        assert!(Gathered::new(Framing::Length(MIB + 1), &room).is_none());
        assert_eq!(room.used(), 0);
        assert!(Gathered::new(Framing::Empty, &budget(0)).is_some());
    }

    #[test]
    fn a_copy_gives_way_to_bodies_that_need_the_room() {
        let lane = Granted::new(|| {});
        let tight = budget(4 * MIB);
        let mut gathered = Gathered::new(Framing::Length(MIB), &tight).unwrap();
        assert!(gathered.push(b"a"));
        assert!(Gathered::new(Framing::Length(1), &tight).is_none(), "a quarter is in use");
        let _waits = tight.reserve(3 * MIB, &lane).unwrap_err();
        assert!(!gathered.push(b"b"));
        // As much as there is to spare, where that is less than a step.
        assert!(Gathered::new(Framing::Chunked, &budget(100)).unwrap().push(&[0; 25]));
        assert!(!Gathered::new(Framing::Chunked, &budget(100)).unwrap().push(&[0; 26]));
    }
}
