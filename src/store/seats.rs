//! Seats: how the node's part in its cluster changes.
//!
//! Invariants
//! - Nobody votes without a member list, or in an epoch whose list is not kept here.
//! - A list sets back the cursors of the nodes that it gives a place.
//! - A list is taken over once, in the order of epochs, and in one life of the cluster only.

use super::batch::Batch;
use super::buckets::id_of_name;
use super::decider::Decider;
use super::entry::{NodeRecord, Op};
use super::error::StoreError;
use super::mutation::proposed;
use super::voting::Seating;
use crate::base::record::written_after;
use crate::base::{
    Ballot, BucketName, BucketRecord, Epoch, Incarnation, Lineage, Record, RegisterKey, Stamp, State, WriteId,
};
use crate::register::{Roster, Seat, Start};
use std::sync::Arc;

/// The id of the write that makes the first bucket, the same on all nodes.
const FIRST_BUCKET: WriteId = WriteId(*b"cargas/1");

impl Decider {
    /// Changes the node's part in its cluster.
    pub(super) fn seat(&self, batch: &mut Batch, seating: Seating) -> Result<(), StoreError> {
        let mut acceptor = self.acceptor.borrow_mut();
        match seating {
            Seating::Adopt(roster) => {
                let known = self.roster(batch);
                let ours = acceptor.node().epoch;
                if known.as_ref().is_some_and(|known| *known == roster) {
                    return Ok(());
                }
                // Lists of two lives of a cluster never follow each other, whatever their epochs.
                if known.as_ref().is_some_and(|known| known.life != roster.life) {
                    return Err(StoreError::OtherList);
                }
                if roster.epoch <= ours || roster.members().is_none() {
                    return Err(StoreError::Mismatch("a member list of an epoch that has one"));
                }
                let begins_anew = roster.begins_anew(self.core.incarnation, ours);
                if begins_anew {
                    self.clear(batch, roster.epoch)?;
                }
                // Whoever is given a place begins with nothing: in one commit with the list, since its cursor would
                // skip, after a crash, what it has dropped.
                for peer in roster.seats.iter().map(|seat| seat.incarnation) {
                    if peer != self.core.incarnation && roster.begins_anew(peer, ours) {
                        batch.push(Op::Cursor { peer, seq: 0 });
                    }
                }
                batch.outgrows = roster.outgrows().then_some(roster.epoch).or(batch.outgrows);
                let state = acceptor.enter(roster.epoch);
                if roster.epoch == Epoch(1) {
                    let first = roster.seats.first().map_or(Incarnation(0), |seat| seat.incarnation);
                    self.first_bucket(batch, first, FIRST_BUCKET, roster.made_ms)?;
                }
                let node = self.node(batch);
                // What it was told before was of what it held then.
                let keyless = node.keyless && !begins_anew;
                batch.node = Some(NodeRecord { state, roster: Some(roster), keyless, ..node });
            }
            Seating::Begin { draw, name } => {
                let node = self.node(batch);
                let start = Start { number: node.start.number.saturating_add(1), draw };
                batch.node = Some(NodeRecord { start, name: name.or(node.name), ..node });
            }
            Seating::Keyless => {
                let node = self.node(batch);
                if !node.keyless {
                    batch.node = Some(NodeRecord { keyless: true, ..node });
                }
            }
            Seating::Leave { life, name } => {
                let me = Seat { name: name.clone(), incarnation: self.core.incarnation };
                let roster = Roster::alone(acceptor.node().epoch, life, (self.core.options.now_ms)(), me);
                let state = acceptor.enter(roster.epoch);
                drop(acceptor);
                // The list is a register too: what follows it is decided upon it.
                let key = RegisterKey::members();
                let old = self.current(batch, &key)?;
                let written_ms = written_after(old.as_ref().map(|held| held.record.written_ms), roster.made_ms);
                self.write(batch, key, old, proposed(State::Members(roster.encode().into()), written_ms));
                let roster = Some(Arc::new(roster));
                batch.node = Some(NodeRecord { state, roster, name: Some(name), ..self.node(batch) });
            }
        }
        Ok(())
    }

    /// A member list that was chosen is taken over with the commit that says so.
    pub(super) fn adopt_chosen(&self, batch: &mut Batch, key: &RegisterKey) -> Result<(), StoreError> {
        if *key != RegisterKey::members() {
            return Ok(());
        }
        let Some(held) = self.current(batch, key)?.filter(|held| held.chosen) else { return Ok(()) };
        let State::Members(list) = &held.record.state else { return Ok(()) };
        let roster = Roster::decode(list).map_err(|_| StoreError::Corrupt { what: "member list" })?;
        if roster.epoch > self.acceptor.borrow().node().epoch {
            self.seat(batch, Seating::Adopt(Arc::new(roster)))?;
        }
        Ok(())
    }

    /// The bucket that everybody has from the start. In a cluster it is the same record on every founder, so that it is
    /// chosen as soon as the list is. Its ballot is the lowest: a bucket that the cluster has deleted must not come
    /// back because a wiped node starts afresh.
    pub(super) fn first_bucket(
        &self,
        batch: &mut Batch,
        of: Incarnation,
        id: WriteId,
        written_ms: u64,
    ) -> Result<(), StoreError> {
        let key = RegisterKey::bucket(&BucketName::cargas());
        if self.current(batch, &key)?.is_some() {
            return Ok(());
        }
        let ballot = Ballot { stamp: Stamp(1), node: of };
        let lineage = Lineage::NOTHING.then(id, Lineage::IDS_MAX);
        // Of its name, so that it is the same on all.
        let id = id_of_name(&BucketName::cargas());
        let state = State::Bucket(BucketRecord::made(id, written_ms));
        let record = Record { ballot, lineage, written_ms, state };
        batch.store(key, None, record, true, None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{NodeName, Secret};
    use crate::disk::CrashDisk;
    use crate::seal::keyring::Keyring;
    use crate::store::{Answer, Clockwork, Options, Store, open, wait_blocking};
    use std::path::Path;

    fn start(disk: &CrashDisk) -> (Store, Clockwork) {
        let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
        open(Arc::new(disk.clone()), Path::new("/data"), ring, None, Options::default()).expect("it opens")
    }

    #[test]
    fn that_there_is_no_key_is_remembered_over_lists_and_power_loss_until_the_node_begins_anew() {
        let disk = CrashDisk::new(2);
        let (mut store, mut work) = start(&disk);
        let done = |work: &Clockwork, answer: Answer| {
            work.committer.turn();
            wait_blocking(answer).expect("it is done");
        };
        let seat = |name: &str, incarnation| Seat { name: NodeName::parse(name).expect("a name"), incarnation };
        let (me, other) = (seat("n1", store.incarnation()), seat("n2", Incarnation(77)));
        let both = Roster::founding(1, vec![me.clone(), other.clone()]);
        done(&work, store.seat(Seating::Adopt(Arc::new(both.clone()))));
        assert!(!store.voting().node.keyless);
        done(&work, store.seat(Seating::Keyless));
        let without = both.next(2, std::slice::from_ref(&other)).next(3, std::slice::from_ref(&other));
        for _ in 0..2 {
            assert!(store.voting().node.keyless);
            drop((store, work));
            (store, work) = start(&disk.after_power_loss());
        }
        done(&work, store.seat(Seating::Adopt(Arc::new(without.clone()))));
        assert!(store.voting().node.keyless, "it holds what it held");
        done(&work, store.seat(Seating::Adopt(Arc::new(without.next(4, &[other, me])))));
        assert!(!store.voting().node.keyless, "it begins with nothing");
    }

    #[test]
    fn a_list_sets_the_cursor_of_whom_it_gives_a_place_back_and_none_is_kept_until_that_one_is_there() {
        let disk = CrashDisk::new(1);
        let (mut store, mut work) = start(&disk);
        let done = |work: &Clockwork, answer: Answer| {
            work.committer.turn();
            wait_blocking(answer).expect("it is done");
        };
        let seat = |incarnation: Incarnation| Seat {
            name: NodeName::parse(&format!("n{}", incarnation.0)).expect("a name"),
            incarnation,
        };
        let (member, newcomer) = (Incarnation(77), Incarnation(78));
        let two = Roster::founding(1, vec![seat(store.incarnation()), seat(member)]);
        let three: Vec<_> = two.seats.iter().cloned().chain([seat(newcomer)]).collect();
        let joint = Arc::new(two.next(2, &three));
        done(&work, store.seat(Seating::Adopt(Arc::new(two))));
        done(&work, store.save_cursor(member, 5, Epoch(1)));
        // It took what it was sent as a node without a place.
        done(&work, store.save_cursor(newcomer, 4, Epoch(0)));
        done(&work, store.seat(Seating::Adopt(joint)));
        // What it had acknowledged by then comes late.
        done(&work, store.save_cursor(newcomer, 9, Epoch(1)));
        for _ in 0..2 {
            assert_eq!((store.cursor(member).expect("read"), store.cursor(newcomer).expect("read")), (5, 0));
            drop((store, work));
            (store, work) = start(&disk.after_power_loss());
        }
        done(&work, store.save_cursor(newcomer, 9, Epoch(2)));
        assert_eq!(store.cursor(newcomer).expect("read"), 9, "it is there");
    }
}
