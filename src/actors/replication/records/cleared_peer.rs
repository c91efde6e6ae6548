//! A cleared peer: whether the peer still has what it took, by where it stood at first (`ClearedPeer`).
//!
//! Invariants
//! - A node that enters the epoch in which it was given a place drops all that it held (`Roster::begins_anew`). Whoever
//!   fed it before learns of that from its heartbeats, however late the own list or the heartbeat comes.

use crate::base::{Epoch, Incarnation};
use crate::register::Roster;

/// Where a peer stood when it was first heard of, or this node, if that was before.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClearedPeer(Option<Epoch>);

impl ClearedPeer {
    /// Whether what the peer took since it was first heard of is gone: it is now in epoch `now_in`, and `list` is the
    /// own member list.
    pub fn is_lost(&mut self, peer: Incarnation, now_in: Epoch, list: Option<&Roster>) -> bool {
        // Behind the own list: a cursor that was saved under that says nothing of what came with later ones.
        let own = list.map_or(Epoch(0), |list| list.epoch);
        let was_in = *self.0.get_or_insert(now_in.min(own));
        list.is_some_and(|list| {
            let entered = list.since(peer).is_some_and(|since| since <= now_in);
            entered && list.begins_anew(peer, was_in)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeName;
    use crate::register::Seat;

    const OLD: Incarnation = Incarnation(1);
    const NEW: Incarnation = Incarnation(2);

    fn seat(incarnation: Incarnation) -> Seat {
        Seat { name: NodeName::parse("n1").expect("a name"), incarnation }
    }

    /// Founded with `OLD`; `NEW` is given its place in epoch 2, and keeps it in epoch 3.
    fn lists() -> [Roster; 3] {
        let founded = Roster::founding(10, vec![seat(OLD)]);
        let joint = founded.next(11, &[seat(NEW)]);
        let last = joint.next(12, &[seat(NEW)]);
        [founded, joint, last]
    }

    #[test]
    fn it_is_lost_once_the_peer_is_in_the_epoch_of_its_place_and_the_list_says_so() {
        let [founded, joint, last] = lists();
        let mut cleared_peer = ClearedPeer::default();
        assert!(!cleared_peer.is_lost(NEW, Epoch(1), Some(&founded)), "no place yet");
        assert!(!cleared_peer.is_lost(NEW, Epoch(1), Some(&joint)), "it has yet to enter");
        let mut late = cleared_peer;
        assert!(cleared_peer.is_lost(NEW, Epoch(2), Some(&joint)));
        // The own list comes later than the heartbeat, and the peer is farther by then.
        assert!(!late.is_lost(NEW, Epoch(3), Some(&founded)));
        assert!(late.is_lost(NEW, Epoch(3), Some(&last)));
        assert!(ClearedPeer(Some(Epoch(0))).is_lost(NEW, Epoch(2), Some(&joint)), "it had no list at all");
        // It was there before this node had heard of that.
        let mut unheard = ClearedPeer::default();
        assert!(!unheard.is_lost(NEW, Epoch(3), Some(&founded)) && unheard.is_lost(NEW, Epoch(3), Some(&last)));
    }

    #[test]
    fn it_stays_for_founders_and_for_who_was_first_heard_of_there() {
        let [founded, joint, last] = lists();
        let mut founder = ClearedPeer(Some(Epoch(0)));
        assert!(!founder.is_lost(OLD, Epoch(0), None), "nobody has a list");
        assert!(!founder.is_lost(OLD, Epoch(1), Some(&founded)));
        let mut seated = ClearedPeer::default();
        assert!(!seated.is_lost(NEW, Epoch(2), Some(&joint)));
        assert!(!seated.is_lost(NEW, Epoch(3), Some(&last)));
    }
}
