//! Which peers have another member list than this node, as far as heartbeats and votes show.
//!
//! Invariants
//! - A list of the same epoch with another digest will not go away by itself: it is told at once. One that is only
//!   behind or ahead is about to be taken over: it is told when both lists stay as they are for a while.
//! - Each change is logged once. Both nodes see it: the one that called by the answer, the one that was called by
//!   the heartbeat, so that a link that works one way only is enough.

use crate::actors::status::{ListIs, PeerList};
use crate::base::{Incarnation, NodeName};
use crate::register::{ListMark, Standing, Start};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What is known of the peers' lists; shared by all who talk to a peer. Bounded by the configured peers.
#[derive(Debug)]
pub struct ListWatch {
    lasting: Duration,
    peers: Mutex<BTreeMap<NodeName, Seen>>,
}

/// What is known of one peer's list.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    theirs: Option<ListMark>,
    /// The two lists that differ, this node's first, and since when.
    differing: Option<(ListMark, ListMark, Instant)>,
    told: Option<ListIs>,
    /// The start that has forgotten something, as it was told last.
    forgot: Option<(Incarnation, Start)>,
    refused_here: u64,
    refused_there: u64,
}

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Differs(ListIs),
    Agrees,
}

impl ListWatch {
    /// Watches these peers. A difference in epochs is none before it lasts so long.
    pub fn new(peers: impl IntoIterator<Item = NodeName>, lasting: Duration) -> Self {
        let peers = peers.into_iter().map(|name| (name, Seen::default())).collect();
        ListWatch { lasting, peers: Mutex::new(peers) }
    }

    /// A heartbeat of a peer, whoever sent it, says which list it has.
    pub fn heard(&self, peer: &NodeName, own: ListMark, theirs: ListMark) {
        let turn = self.peers().get_mut(peer).and_then(|seen| seen.heard(Instant::now(), own, theirs, self.lasting));
        let (own_epoch, their_epoch) = (own.epoch.0, theirs.epoch.0);
        match turn {
            None => {}
            Some(Turn::Differs(is)) => {
                let (own_digest, their_digest) = (format!("{:016x}", own.digest), format!("{:016x}", theirs.digest));
                log::warn!(
                    peer:%, is:?, own_epoch, their_epoch, own_digest, their_digest;
                    "peer has another member list: no votes between the two"
                );
            }
            Some(Turn::Agrees) => log::info!(peer:%, own_epoch; "peer has the same member list again"),
        }
    }

    /// A peer says less of itself than is remembered: its data directory is an older copy of itself, or its disk
    /// forgot.
    pub fn forgot(&self, peer: &NodeName, life: Incarnation, remembered: Standing, said: Standing) {
        let new = self
            .peers()
            .get_mut(peer)
            .is_some_and(|seen| seen.forgot.replace((life, said.start)) != Some((life, said.start)));
        if new {
            log::warn!(
                peer:%, incarnation:% = life, start_remembered = remembered.start.number, start = said.start.number,
                change_remembered = remembered.head, change = said.head,
                reserved_remembered = remembered.reserved.0, reserved = said.reserved.0;
                "peer has forgotten what it had said: an older copy of its data directory; no votes with it until it has its place anew"
            );
        }
    }

    /// A peer says of itself at least what is remembered.
    pub fn met(&self, peer: &NodeName) {
        if let Some(seen) = self.peers().get_mut(peer) {
            seen.forgot = None;
        }
    }

    /// Whether a peer has forgotten what it had said.
    pub fn has_forgotten(&self, peer: &NodeName) -> bool {
        self.peers().get(peer).is_some_and(|seen| seen.forgot.is_some())
    }

    /// This node refused votes of a peer, or a scan, because of the list that came with them.
    pub fn refused_here(&self, peer: &NodeName) {
        if let Some(seen) = self.peers().get_mut(peer) {
            seen.refused_here += 1;
        }
    }

    /// A peer refused votes of this node, or a scan, because of the list that came with them.
    pub fn refused_there(&self, peer: &NodeName) {
        if let Some(seen) = self.peers().get_mut(peer) {
            seen.refused_there += 1;
        }
    }

    /// How a peer's list stands to this node's, as it was heard last.
    pub fn of(&self, peer: &NodeName, own: ListMark) -> PeerList {
        self.peers().get(peer).map(|seen| seen.show(own)).unwrap_or_default()
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<NodeName, Seen>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn heard(&mut self, now: Instant, own: ListMark, theirs: ListMark, lasting: Duration) -> Option<Turn> {
        self.theirs = Some(theirs);
        let is = relation(own, theirs);
        if is == ListIs::Same {
            self.differing = None;
            return self.told.take().map(|_| Turn::Agrees);
        }
        // Each change of the list makes two nodes differ for a moment: that alone is not worth a line.
        let since = match self.differing {
            Some((before, of, since)) if (before, of) == (own, theirs) => since,
            _ => now,
        };
        self.differing = Some((own, theirs, since));
        let lasts = now.saturating_duration_since(since) >= lasting;
        if (is == ListIs::Other || lasts) && self.told != Some(is) {
            self.told = Some(is);
            return Some(Turn::Differs(is));
        }
        None
    }

    fn show(&self, own: ListMark) -> PeerList {
        let is = self.theirs.map_or(ListIs::Unknown, |theirs| relation(own, theirs));
        PeerList {
            mark: self.theirs.unwrap_or_default(),
            is,
            differs: self.told == Some(is),
            refused_here: self.refused_here,
            refused_there: self.refused_there,
        }
    }
}

fn relation(own: ListMark, theirs: ListMark) -> ListIs {
    if own == theirs {
        return ListIs::Same;
    }
    match theirs.epoch.cmp(&own.epoch) {
        std::cmp::Ordering::Less => ListIs::Behind,
        std::cmp::Ordering::Equal => ListIs::Other,
        std::cmp::Ordering::Greater => ListIs::Ahead,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Epoch;

    const LASTING: Duration = Duration::from_secs(5);

    fn mark(epoch: u64, digest: u64) -> ListMark {
        ListMark { epoch: Epoch(epoch), digest }
    }

    #[test]
    fn another_list_of_the_same_epoch_is_told_at_once_and_once() {
        let (mut seen, now) = (Seen::default(), Instant::now());
        assert_eq!(seen.show(mark(1, 7)).is, ListIs::Unknown);
        assert_eq!(seen.heard(now, mark(1, 7), mark(1, 8), LASTING), Some(Turn::Differs(ListIs::Other)));
        for later in 1..100 {
            assert_eq!(seen.heard(now + LASTING * later, mark(1, 7), mark(1, 8), LASTING), None, "once");
        }
        let shown = seen.show(mark(1, 7));
        assert_eq!((shown.is, shown.differs, shown.mark), (ListIs::Other, true, mark(1, 8)));
        assert_eq!(seen.heard(now, mark(1, 7), mark(1, 7), LASTING), Some(Turn::Agrees));
        assert_eq!(seen.heard(now, mark(1, 7), mark(1, 7), LASTING), None);
        assert!(!seen.show(mark(1, 7)).differs);
        assert_eq!(seen.heard(now, mark(1, 7), mark(1, 8), LASTING), Some(Turn::Differs(ListIs::Other)), "again");
    }

    #[test]
    fn a_list_that_is_about_to_be_taken_over_is_no_difference_before_it_stays() {
        let (mut seen, now) = (Seen::default(), Instant::now());
        assert_eq!(seen.heard(now, mark(3, 1), mark(2, 2), LASTING), None);
        assert_eq!((seen.show(mark(3, 1)).is, seen.show(mark(3, 1)).differs), (ListIs::Behind, false));
        // Both go on: a change takes several lists.
        assert_eq!(seen.heard(now + LASTING, mark(4, 3), mark(3, 1), LASTING), None);
        let now = now + LASTING;
        assert_eq!(seen.heard(now + LASTING / 2, mark(4, 3), mark(3, 1), LASTING), None);
        let turn = seen.heard(now + LASTING, mark(4, 3), mark(3, 1), LASTING);
        assert_eq!(turn, Some(Turn::Differs(ListIs::Behind)), "nobody takes it over");
        assert!(seen.show(mark(4, 3)).differs);
        assert_eq!(seen.heard(now + LASTING * 2, mark(4, 3), mark(3, 1), LASTING), None);
        // This node took over a list that the peer does not have: another difference.
        assert_eq!(seen.heard(now + LASTING * 2, mark(4, 3), mark(5, 9), LASTING), None);
        assert!(!seen.show(mark(4, 3)).differs, "that one has not lasted");
        let turn = seen.heard(now + LASTING * 3, mark(4, 3), mark(5, 9), LASTING);
        assert_eq!(turn, Some(Turn::Differs(ListIs::Ahead)));
    }

    #[test]
    fn only_configured_peers_are_watched_and_refusals_are_counted() {
        let name = |text| NodeName::parse(text).expect("a name");
        let watch = ListWatch::new([name("n2")], LASTING);
        watch.heard(&name("n9"), mark(1, 1), mark(1, 2));
        watch.refused_here(&name("n9"));
        assert_eq!(watch.of(&name("n9"), mark(1, 1)), PeerList::default());
        watch.refused_here(&name("n2"));
        watch.refused_here(&name("n2"));
        watch.refused_there(&name("n2"));
        let shown = watch.of(&name("n2"), mark(1, 1));
        assert_eq!((shown.refused_here, shown.refused_there, shown.is), (2, 1, ListIs::Unknown));
    }
}
