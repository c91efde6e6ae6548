//! The nodes, what is there, and the register's machines run to their end at once.

use super::rng::Rng;
use super::small_store;
use super::walks::{Burying, Walk};
use boveda::base::{
    Ballot, BucketId, BucketName, Incarnation, Lineage, NodeName, ObjectHead, ObjectKey, Record, RegisterKey, State,
    WriteId,
};
use boveda::disk::CrashDisk;
use boveda::register::fence::remedy;
use boveda::register::{
    Attempt, Choice, Do, Drive, Event, Fresh, Intent, Known, Machine, Read, ReadOutcome, Remedy, Request, Roster, Seat,
    Succession, Traced, Write, WriteOutcome,
};
use boveda::store::buckets::id_of_name;
use boveda::store::types::{Offer, Want};
use boveda::store::voting::{Message, Reply, Seating, Vote};
use boveda::store::wait_blocking;
use boveda::store::{Clockwork, Options, Store, StoreError};
use bytes::Bytes;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Keys of the bucket.
const KEYS: usize = 160;
/// Nodes, of which three or four have a place.
const NODES: usize = 4;
const RETRIES_MAX: u32 = 6;

pub type Value = Arc<Record>;

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(1 << 40) };
}

/// How pages are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// As they say what they are complete to.
    Sound,
    /// As if one with fewer registers than were asked for were the last: to see that the judge sees it.
    TakesShortForLast,
    /// As if a tombstone that nobody knows to be chosen were one that is: to see that the judge sees that too.
    PassesOverTombstones,
}

/// What happened in a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub written: u64,
    pub lists: u64,
    pub empty: u64,
    pub not_empty: u64,
    pub changes: u64,
    pub buried: u64,
    pub power_losses: u64,
    /// Writes without a known outcome that a list has shown to have taken effect.
    pub decided_by_readers: u64,
    /// Parts of a list that were looked at register by register, and common prefixes that were looked through.
    pub spans: u64,
    pub within: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.written += other.written;
        self.lists += other.lists;
        self.empty += other.empty;
        self.not_empty += other.not_empty;
        self.changes += other.changes;
        self.buried += other.buried;
        self.power_losses += other.power_losses;
        self.decided_by_readers += other.decided_by_readers;
        self.spans += other.spans;
        self.within += other.within;
    }
}

pub struct Node {
    disk: CrashDisk,
    open: Option<(Store, Clockwork)>,
    pub seat: Seat,
}

fn open(disk: &CrashDisk) -> (Store, Clockwork) {
    let small = small_store::small();
    small_store::open(disk, Options { log_bytes: 1 << 20, looks_max: 20, now_ms: || NOW_MS.get(), ..small })
}

impl Node {
    fn new(at: usize, seed: u64) -> Self {
        let disk = CrashDisk::new(seed);
        let open = open(&disk);
        let seat =
            Seat { name: NodeName::parse(&format!("n{at}")).expect("a name"), incarnation: open.0.incarnation() };
        Node { disk, open: Some(open), seat }
    }

    /// The store; none while the node is away.
    pub fn store(&self) -> Option<&Store> {
        self.open.as_ref().map(|(store, _)| store)
    }

    /// Commits what waits.
    pub fn turn(&self) {
        if let Some((_, work)) = &self.open {
            work.committer.turn();
        }
    }
}

pub struct World {
    pub rng: Rng,
    pub nodes: Vec<Node>,
    pub reader: Reader,
    /// The latest member list. Who does not have it yet exchanges no votes with those who do.
    pub roster: Arc<Roster>,
    pub there: BTreeSet<RegisterKey>,
    /// What writes without a known outcome may have changed, and whether it is there once the first of them has taken
    /// effect; nobody can say where some put and others delete.
    pub unsure: BTreeMap<RegisterKey, Option<bool>>,
    pub walks: Vec<Walk>,
    pub burying: Option<Burying>,
    /// So many messages that have something stored still arrive, of a write whose coordinator ends in the middle.
    stores_left: Option<usize>,
    pub tally: Tally,
}

/// What a client wants to become of a register.
#[derive(Clone)]
struct Wish(Option<State>);

impl Intent<Value> for Wish {
    fn decide(&self, found: Option<&Value>) -> Choice<Value> {
        match (&self.0, found.is_some_and(|record| record.is_present())) {
            (None, false) => Choice::Keep,
            (state, _) => Choice::Put(record(state.clone().unwrap_or(State::Deleted))),
        }
    }
}

fn record(state: State) -> Value {
    Arc::new(Record { ballot: Ballot::ZERO, lineage: Lineage::NOTHING, written_ms: NOW_MS.get(), state })
}

/// The bucket that the first list brings along.
pub fn bucket() -> BucketId {
    id_of_name(&BucketName::cargas())
}

fn key(n: usize) -> RegisterKey {
    let key = ObjectKey::parse(&format!("k{:02}/{}", n / 10, n % 10)).expect("a key");
    RegisterKey::object(bucket(), &key)
}

impl World {
    pub fn new(seed: u64, reader: Reader) -> Self {
        NOW_MS.set(1 << 40);
        let mut rng = Rng::new(seed);
        let nodes: Vec<Node> = (0..NODES).map(|at| Node::new(at, rng.next())).collect();
        let seats = nodes[..3].iter().map(|node| node.seat.clone()).collect();
        let roster = Arc::new(Roster::founding(1, seats));
        let (there, walks, tally) = (BTreeSet::new(), Vec::new(), Tally::default());
        let mut world = World {
            rng,
            nodes,
            reader,
            roster,
            there,
            unsure: BTreeMap::new(),
            walks,
            burying: None,
            stores_left: None,
            tally,
        };
        (0..NODES).for_each(|at| world.tell_list(at));
        (0..KEYS).for_each(|n| world.write(n, true));
        world
    }

    pub fn step(&mut self) -> Result<(), String> {
        NOW_MS.set(NOW_MS.get() + 1);
        let at = self.rng.below(NODES);
        match self.rng.below(1000) {
            0..250 => {
                let (n, puts) = (self.rng.below(KEYS), self.rng.odds(400));
                // Now and then its coordinator ends behind the first node that has stored it.
                self.stores_left = self.rng.odds(60).then_some(1);
                self.write(n, puts);
                self.stores_left = None;
            }
            // A stretch of neighbours goes, as when a prefix is cleared; at times all that there is.
            250..256 => {
                let (from, count) = (self.rng.below(KEYS), self.rng.below(60));
                (from..(from + count).min(KEYS)).for_each(|n| self.write(n, false));
            }
            256..258 => (0..KEYS).for_each(|n| self.write(n, false)),
            258..300 => self.begin_walk(at),
            300..650 => self.go_on()?,
            650..750 => self.tell_list(at),
            750..760 => self.begin_burying(at),
            760..830 => self.bury_on(at),
            830..930 => self.feed(at),
            930..935 => drop(self.nodes[at].store().map(|store| store.checkpoint())),
            935..950 => self.lose_power(at),
            _ => self.start(at),
        }
        Ok(())
    }

    /// Everybody is there again: all that was begun ends, and every list is right.
    pub fn settle(&mut self) -> Result<(), String> {
        (0..NODES).for_each(|at| self.start(at));
        (0..NODES).for_each(|at| self.tell_list(at));
        for _ in 0..100_000 {
            if self.walks.is_empty() {
                break;
            }
            self.go_on()?;
            (0..NODES).for_each(|at| self.tell_list(at));
        }
        if !self.walks.is_empty() {
            return Err("a walk does not end".to_owned());
        }
        for at in 0..NODES {
            self.begin_list(at);
            while !self.walks.is_empty() {
                self.go_on()?;
            }
        }
        Ok(())
    }

    fn lose_power(&mut self, at: usize) {
        // Of three at most one is away; of a list that changes too, since every two of its nodes may be needed.
        if self.nodes.iter().all(|node| node.open.is_some()) {
            self.tally.power_losses += 1;
            self.nodes[at].open = None;
            self.nodes[at].disk = self.nodes[at].disk.after_power_loss();
            self.walks.retain(|walk| walk.node != at || walk.is_change());
        }
    }

    fn start(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if node.open.is_none() {
            node.open = Some(open(&node.disk));
        }
    }

    fn tell_list(&mut self, at: usize) {
        let Some(store) = self.nodes[at].store() else { return };
        if store.voting().node.state.epoch < self.roster.epoch {
            let mut answer = store.seat(Seating::Adopt(Arc::clone(&self.roster)));
            self.nodes[at].turn();
            answer.try_recv().expect("an answer").expect("the list is taken over");
        }
    }

    /// What a node has of the feed, offered to all others: as records lanes do, and refused as they are.
    fn feed(&mut self, from: usize) {
        let Some(store) = self.nodes[from].store() else { return };
        let epoch = store.voting().node.state.epoch;
        let changes = store.changes_after(0, 10_000).expect("a healthy disk");
        let offers: Vec<_> =
            changes.iter().map(|c| Offer { key: c.key.clone(), ballot: c.ballot, blob: None }).collect();
        for to in (0..NODES).filter(|to| *to != from) {
            let Some(other) = self.nodes[to].store() else { continue };
            let wants = other.compare_offers(&offers).expect("a healthy disk");
            let wanted = offers.iter().zip(wants).filter(|(_, want)| *want != Want::Nothing);
            let keys: Vec<_> = wanted.map(|(offer, _)| offer.key.clone()).collect();
            for some in keys.chunks(32) {
                let records = store.fetch_records(some.to_vec(), usize::MAX).expect("a healthy disk");
                let records = records.into_iter().map(|(key, record)| (key, (*record).clone())).collect();
                let answer = other.learn(records, store.incarnation(), epoch).expect("a batch");
                self.nodes[to].turn();
                match wait_blocking(answer) {
                    Ok(_) | Err(StoreError::OtherList) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// A client writes or deletes, by way of some node.
    fn write(&mut self, n: usize, puts: bool) {
        let Some(at) = self.coordinator() else { return };
        let Some(store) = self.nodes[at].store() else { return };
        let object = puts.then(|| store.seal_small(ObjectHead::default(), &[Bytes::from(n.to_string())]));
        let state = object.map(|object| State::Object(object.expect("sealed")));
        let (voting, key) = (store.voting(), key(n));
        let Some(members) = voting.placement.as_ref().map(|placed| Arc::clone(placed.voters(&key))) else { return };
        match self.run(at, &key, Write::new(members, Wish(state))) {
            ended @ (WriteOutcome::Written { .. } | WriteOutcome::Kept(_)) => {
                self.tally.written += 1;
                // Who found nothing to delete has stored nothing: what an earlier write has left may still be adopted.
                if matches!(ended, WriteOutcome::Written { .. }) {
                    self.unsure.remove(&key);
                }
                match puts {
                    true => drop(self.there.insert(key.clone())),
                    false => drop(self.there.remove(&key)),
                }
                self.walks.iter_mut().for_each(|walk| walk.changed(&key, puts));
            }
            // It may be there or not until the next write of it that stores something.
            WriteOutcome::Unknown => {
                let becomes = self.unsure.get(&key).is_none_or(|known| *known == Some(puts)).then_some(puts);
                self.unsure.insert(key.clone(), becomes);
                for walk in &mut self.walks {
                    walk.changed(&key, true);
                    walk.changed(&key, false);
                }
            }
            WriteOutcome::NoMajority | WriteOutcome::Contended | WriteOutcome::Gone => {}
            WriteOutcome::Refused(_) => unreachable!("without a condition"),
        }
    }

    /// Some node that is there.
    fn coordinator(&mut self) -> Option<usize> {
        let at = self.rng.below(NODES);
        self.nodes[at].store().is_some().then_some(at)
    }

    /// Puts a list in the place of the present one. Whether it is decided.
    pub fn decide(&mut self, at: usize, next: Roster) -> bool {
        let Some(store) = self.nodes[at].store() else { return false };
        let voting = store.voting();
        let Some(placed) = voting.placement.as_ref().filter(|_| voting.node.state.epoch == self.roster.epoch) else {
            return false;
        };
        let members = Arc::clone(placed.voters(&RegisterKey::members()));
        let list = record(State::Members(next.encode().into()));
        let write = Write::new(members, Succession::new(self.roster.epoch, list));
        let decided = matches!(self.run(at, &RegisterKey::members(), write), WriteOutcome::Written { .. });
        if decided {
            self.roster = Arc::new(next);
        }
        decided
    }

    /// Reads a register. None without a majority.
    pub fn read(&mut self, at: usize, key: &RegisterKey, settles: bool) -> Option<(Ballot, Traced<Value>)> {
        let members = Arc::clone(self.nodes[at].store()?.voting().placement.as_ref()?.voters(key));
        let prefer = [self.nodes[at].seat.incarnation];
        let read = if settles { Read::settle(members) } else { Read::new(members, &prefer) };
        match self.run(at, key, read) {
            ReadOutcome::Found { ballot, state } => Some((ballot, state)),
            ReadOutcome::NoMajority | ReadOutcome::Contended | ReadOutcome::Gone => None,
        }
    }

    pub fn place(&self, node: Incarnation) -> Option<usize> {
        self.nodes.iter().position(|other| other.seat.incarnation == node)
    }

    /// The store of a node under the same list.
    pub fn voter(&self, from: usize, to: usize) -> Option<&Store> {
        let (mine, store) = (self.nodes[from].store()?, self.nodes[to].store()?);
        (store.voting().list == mine.voting().list).then_some(store)
    }

    /// What a node answers to a message of a coordinator; none when it does not.
    pub fn ask(&self, from: usize, to: usize, key: &RegisterKey, message: Message) -> Option<Reply> {
        let store = self.voter(from, to)?;
        let vote = Vote { key: key.clone(), message };
        if vote.is_mark() {
            store.mark(vec![vote]);
            return None;
        }
        let mut answer = store.vote(vec![vote]);
        self.nodes[to].turn();
        answer.try_recv().ok()?.ok()?.into_iter().next().flatten()
    }

    /// Drives a decision to its end: every message is answered at once, or never.
    fn run<M: Machine<Value>>(&mut self, at: usize, key: &RegisterKey, machine: M) -> M::End {
        let mut drive = Drive::new(self.nodes[at].seat.incarnation, machine, Duration::MAX);
        let (mut now, mut rounds) = (Duration::ZERO, 0);
        loop {
            match drive.step() {
                Do::Begin if rounds > RETRIES_MAX => drive.tick(now, now),
                Do::Begin => {
                    rounds += 1;
                    self.begin(at, key, &mut drive, now);
                }
                Do::Send { to, message } => {
                    let (attempt, is_answered) = (message.attempt, message.request.is_answered());
                    let stores = matches!(message.request, Request::Store(..));
                    let arrives = !stores || self.stores_left != Some(0);
                    self.stores_left = self.stores_left.map(|left| left.saturating_sub(usize::from(stores)));
                    let reply = self.place(to).filter(|_| arrives).and_then(|to| self.ask(at, to, key, message));
                    match (reply, self.nodes[at].store()) {
                        (Some(reply), Some(store)) => {
                            store.observe(reply.stamp());
                            drive.on(Event::Reply(reply));
                        }
                        _ if is_answered => drive.on(Event::Silent { from: to, attempt }),
                        _ => {}
                    }
                }
                Do::Lost => drive.retry(now, false),
                Do::Pause { until } => {
                    now = until;
                    drive.tick(now, Duration::MAX);
                }
                Do::Renew { .. } => {
                    self.tell_list(at);
                    let voting = self.nodes[at].store().map(|store| store.voting());
                    let placed = voting.as_ref().and_then(|voting| voting.placement.as_ref());
                    if !placed.is_some_and(|placed| drive.renew(Arc::clone(placed.voters(key)))) {
                        drive.tick(now, now);
                    }
                }
                Do::Wait { .. } => drive.tick(now, now),
                Do::Teach { to, known, attempt } => drive.on(match self.teach(at, to, known) {
                    true => Event::Taught { node: to, attempt },
                    false => Event::Fenced { node: to, attempt },
                }),
                Do::Ship { to, body, record } => drive.on(match self.ship(at, to, &record) {
                    true => Event::Holds { node: to, body },
                    false => Event::Lacks { node: to, body },
                }),
                Do::Done(end) => return end,
            }
        }
    }

    /// Who has come into the list since may not have the bucket yet.
    fn teach(&mut self, at: usize, to: Incarnation, known: Known) -> bool {
        let name = BucketName::cargas();
        let Some(store) = self.nodes[at].store() else { return false };
        let (epoch, slot) = (store.voting().list.epoch, store.bucket_slot(&name).filter(|slot| slot.chosen));
        let behind = slot.filter(|slot| remedy(slot.accepted, known) == Remedy::Teach);
        let (Some(slot), Some(to)) = (behind, self.place(to)) else { return false };
        let request = Request::Learn(slot.accepted, slot.state);
        self.ask(at, to, &RegisterKey::bucket(&name), Message { epoch, attempt: Attempt(0), request });
        true
    }

    fn begin<M: Machine<Value>>(&mut self, at: usize, key: &RegisterKey, drive: &mut Drive<Value, M>, now: Duration) {
        let (attempt, write) = (Attempt(self.rng.next()), WriteId::drawn(self.rng.next().to_be_bytes()));
        let Some(store) = self.nodes[at].store() else { return drive.tick(now, now) };
        let have = store.lookup_cached(key).map(|held| held.slot());
        drive.begin(Fresh { ballot: store.fresh_ballot(), attempt, write, generation: 1 }, have, now);
    }
}
