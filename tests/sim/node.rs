//! A node: its store on a disk that loses power, and the answers that wait for its next commit.

use super::disks::Bad;
use super::world::{Ask, Packet};
use boveda::base::{BlobRef, BodyId, Epoch, Incarnation, KekId, Record, RegisterKey, Secret};
use boveda::disk::CrashDisk;
use boveda::register::{Attempt, Heard, Remembered, Roster, Slot, Standing};
use boveda::seal::keyring::Keyring;
use boveda::store::Answer;
use boveda::store::incoming::Purpose;
use boveda::store::removal::BodyHold;
use boveda::store::types::{Change, Offer, Want};
use boveda::store::voting::{Reply, Seating, Vote, Votes};
use boveda::store::{Clockwork, Options, Store, StoreError};
use boveda::wire;
use boveda::wire::votes::Voted;
use bytes::Bytes;
use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

/// Bodies up to this many bytes come with their records.
pub const INLINE_MAX: usize = 600;

thread_local! {
    /// The wall clock of all nodes; it jumps.
    pub static NOW_MS: Cell<u64> = const { Cell::new(1 << 40) };
    /// Draws the words of starts: no two are the same.
    pub static STARTS: Cell<u64> = const { Cell::new(0) };
}

/// What is told when the commit that it rests on is durable.
enum Waiting {
    Votes { asked: Asked, answer: Votes },
    Then { answer: Answer, packet: Option<Box<Packet>> },
}

/// Whom an answer goes to, and what he holds.
struct Asked {
    to: usize,
    key: usize,
    attempt: Attempt,
    have: Option<Slot<Arc<Record>>>,
}

impl Asked {
    /// The answer as it travels.
    fn answered(self, from: Incarnation, reply: Option<Reply>) -> Packet {
        let Asked { to, key, attempt, have } = self;
        let voted = reply.map(|reply| Voted::of(reply, have.as_ref().map(|slot| slot.accepted)));
        // Small bodies stay behind.
        let sent = wire::Answer::Voted(vec![voted]).encode();
        let Ok(wire::Answer::Voted(mut came)) = wire::Answer::decode(&sent) else { unreachable!("it was just made") };
        Packet::Answer { to, from, key, attempt, voted: came.remove(0), have }
    }
}

/// One node. Without a store it is down.
pub struct Node {
    pub inc: Incarnation,
    disk: CrashDisk,
    /// The disk as it was when the node had its list and nothing else.
    first: CrashDisk,
    open: Option<(Store, Clockwork)>,
    waiting: Vec<Waiting>,
    /// Whether it has given up its place: it stays down until all is healed.
    pub retired: bool,
    /// Whether it is another life of one that has: others vote.
    pub reborn: bool,
    /// What is known of its disk, if that is bad.
    pub bad: Option<Bad>,
    /// Whether the committer may have something left, marks that wait for a commit included.
    busy: bool,
}

/// The keys of every node. The first generation seals at first; when another one does is each node's affair here.
pub fn ring() -> Arc<Keyring> {
    let ring = Keyring::new(vec![(1, Secret::new([9; 32])), (2, Secret::new([8; 32]))]).expect("a ring");
    ring.seal_with(ring.generations()[0].1);
    Arc::new(ring)
}

fn second() -> KekId {
    ring().generations()[1].1
}

fn open(disk: &CrashDisk) -> Result<(Store, Clockwork), StoreError> {
    let options = Options {
        inline_max: INLINE_MAX,
        log_bytes: 256 * 1024,
        cache_bytes: 64 * 1024,
        index_cache_bytes: 256 * 1024,
        reserve_bytes: 0,
        // Short enough to be gone through now and then.
        segment_bytes: 64 * 1024,
        first_bucket: false,
        now_ms: || NOW_MS.get(),
        ..Options::default()
    };
    boveda::store::open(Arc::new(disk.clone()), Path::new("/data"), ring(), None, options)
}

/// A store that was opened, with the number of this start.
fn begun(disk: &CrashDisk) -> Result<(Store, Clockwork), StoreError> {
    let (store, work) = open(disk)?;
    STARTS.set(STARTS.get() + 1);
    let mut answer = store.begin(STARTS.get(), None);
    work.committer.turn();
    answer.try_recv().expect("an answer")?;
    Ok((store, work))
}

/// A disk as it was once.
pub struct Copy {
    disk: CrashDisk,
    standing: Standing,
}

/// What a node tells another one of itself and of all.
pub struct Word(Incarnation, Epoch, Standing, Remembered);

impl Word {
    /// Without what it remembers of others.
    pub fn of_itself(self) -> Self {
        Word(self.0, self.1, self.2, Remembered::new())
    }
}

impl Node {
    /// A copy of the disk. The node is down.
    pub fn copy(&mut self) -> Copy {
        let (store, _) = open(&self.disk).expect("a store opens after any crash");
        Copy { standing: store.standing(), disk: self.disk.copy() }
    }

    /// The copy is put in the place of the disk. The node is down.
    pub fn put_back(&mut self, copy: &Copy) {
        self.disk = copy.disk.copy();
    }

    /// Whether this node remembers a later start of that one than the copy holds.
    pub fn has_met_since(&self, of: Incarnation, copy: &Copy) -> bool {
        let later = |standing: &Standing| standing.start.number > copy.standing.start.number;
        let met = |standing: &Standing| self.store().is_some_and(|store| store.is_met(of, standing.start));
        let all = self.store().map(|store| store.remembered()).unwrap_or_default();
        all.iter().any(|(node, standing)| *node == of && later(standing) && met(standing))
    }

    /// What it tells the others, if it does.
    pub fn says(&self) -> Option<Word> {
        let store = self.store()?;
        Some(Word(self.inc, store.voting().list.epoch, store.standing(), store.remembered()))
    }

    /// Another node tells it how it stands, and what it remembers.
    pub fn hears(&mut self, Word(from, epoch, standing, told): &Word) {
        let Some((store, _)) = &self.open else { return };
        if store.hear(*from, *epoch, *standing, told) == Heard::New {
            let answer = store.remember();
            self.waiting.push(Waiting::Then { answer, packet: None });
            self.busy = true;
        }
    }

    /// Whether votes may pass to and from the present start of that node.
    pub fn has_met(&self, other: &Node) -> bool {
        let start = other.store().map(|store| store.standing().start);
        self.store().zip(start).is_some_and(|(store, start)| store.is_met(other.inc, start))
    }

    /// Whether it has reason to doubt its memory.
    pub fn doubts(&self) -> bool {
        self.store().is_some_and(|store| store.doubts())
    }

    /// A node on an empty disk.
    pub fn new(seed: u64) -> Self {
        let disk = CrashDisk::new(seed);
        let opened = begun(&disk).expect("a store is made");
        let (inc, first) = (opened.0.incarnation(), disk.clone());
        let (open, waiting) = (Some(opened), Vec::new());
        Node { inc, disk, first, open, waiting, retired: false, reborn: false, bad: None, busy: false }
    }

    /// Its disk.
    pub fn disk(&self) -> &CrashDisk {
        &self.disk
    }

    /// Whether its disk is bad, or was and is given up.
    pub fn is_bad(&self) -> bool {
        self.bad.is_some() || self.retired
    }

    /// What a store answers whose disk is good; another one may fail.
    fn good<T>(&self, answer: Result<T, StoreError>) -> Option<T> {
        answer.map_err(|error| assert!(self.bad.is_some(), "a good disk: {error}")).ok()
    }

    /// Whether all that it holds opens.
    pub fn is_whole(&self) -> bool {
        let sum = self.store().map(|store| store.verify(&mut |_| {}));
        matches!(sum, Some(Ok(sum)) if sum.damaged == 0)
    }

    /// The store; `None` while the node is down.
    pub fn store(&self) -> Option<&Store> {
        self.open.as_ref().map(|(store, _)| store)
    }

    /// Takes over a member list.
    pub fn seat(&mut self, roster: &Arc<Roster>) {
        let (store, work) = self.open.as_ref().expect("it is up");
        let mut answer = store.seat(Seating::Adopt(Arc::clone(roster)));
        work.committer.turn();
        answer.try_recv().expect("an answer").expect("the list is taken over");
        self.first = self.disk.copy();
    }

    /// The process dies; what it wrote is still seen by the next one.
    pub fn kill(&mut self) {
        self.open = None;
        self.waiting.clear();
        self.busy = false;
    }

    /// The machine dies; what was not synced survives as chance has it.
    pub fn lose_power(&mut self) {
        // Before the store is dropped: on its way out it writes.
        let after = self.disk.after_power_loss();
        self.kill();
        self.disk = after;
    }

    /// A disk that lied about its syncs is back where it was at the start.
    pub fn forget(&mut self) {
        self.kill();
        self.disk = self.first.copy();
    }

    /// What survives power losses from now on.
    pub fn set_seed(&self, seed: u64) {
        self.disk.set_seed(seed);
    }

    /// Names all that was done on the disk.
    pub fn course(&self) -> u64 {
        self.disk.course()
    }

    /// The power will go at one of the next syncs.
    pub fn cut_power_after(&self, syncs: u64) {
        self.disk.set_power_budget(Some(syncs));
    }

    /// A store that could not write, or a disk without power, is a machine that died.
    pub fn dies_if_broken(&mut self) -> bool {
        let broken = self.disk.is_dead() || self.store().is_some_and(|store| store.is_poisoned());
        if broken {
            self.lose_power();
        }
        self.disk.set_power_budget(None);
        broken
    }

    /// Starts again. The first try may meet what is wrong with the disk.
    pub fn start(&mut self) {
        if self.open.is_none() && !self.retired {
            self.open = self.good(begun(&self.disk).or_else(|_| begun(&self.disk)));
        }
    }

    /// A message to the replica. What is answered at once.
    pub fn vote(&mut self, ask: Ask, key: RegisterKey, by_reader: bool) -> Option<Packet> {
        let store = self.store()?;
        let asked = Asked { to: ask.from, key: ask.key, attempt: ask.message.attempt, have: ask.have };
        let vote = Vote { key, message: ask.message };
        if vote.is_query() && by_reader {
            let reply = self.good(store.query(&vote, false)).flatten();
            return Some(asked.answered(self.inc, reply));
        }
        if vote.is_mark() {
            store.mark(vec![vote]);
            self.busy = true;
            return None;
        }
        let answer = store.vote(vec![vote]);
        self.waiting.push(Waiting::Votes { asked, answer });
        None
    }

    /// Records of a peer, and what is told once they are durable.
    pub fn learn(&mut self, records: Vec<(RegisterKey, Record)>, from: Incarnation, packet: Packet) {
        let Some(store) = self.store() else { return };
        // A record that came before its blob is offered again.
        if let Ok(answer) = store.learn(records, from, Epoch(1)) {
            self.waiting.push(Waiting::Then { answer, packet: Some(Box::new(packet)) });
        }
    }

    /// A peer has everything up to this.
    pub fn acknowledged(&mut self, peer: Incarnation, seq: u64) {
        let Some(store) = self.store() else { return };
        if self.good(store.cursor(peer)).is_some_and(|cursor| cursor < seq) {
            let answer = store.save_cursor(peer, seq, Epoch(1));
            self.waiting.push(Waiting::Then { answer, packet: None });
        }
    }

    /// Whether answers, or marks, wait for a commit.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty() || self.busy
    }

    /// Commits what waits; the answers that may leave.
    pub fn turn(&mut self) -> Vec<Packet> {
        let Some((_, work)) = &self.open else { return Vec::new() };
        self.busy = work.committer.turn();
        let mut out = Vec::new();
        for waiting in self.waiting.drain(..) {
            match waiting {
                Waiting::Votes { asked, mut answer } => {
                    let replies = answer.try_recv().ok().and_then(Result::ok).unwrap_or_default();
                    out.push(asked.answered(self.inc, replies.into_iter().next().flatten()));
                }
                Waiting::Then { mut answer, packet } => {
                    if matches!(answer.try_recv(), Ok(Ok(_))) {
                        out.extend(packet.map(|packet| *packet));
                    }
                }
            }
        }
        out
    }

    /// What an idle moment is used for.
    pub fn housekeeping(&mut self, what: usize) {
        let Some((store, work)) = &self.open else { return };
        // A power cut may strike in here; `dies_if_broken` sees it.
        match what {
            0 => {
                drop(store.checkpoint());
                // Now and then, on each node at another time.
                if (*store.head().borrow()).is_multiple_of(7) {
                    drop(store.seal_under(second()));
                }
            }
            1 => {
                work.reaper.turn();
                self.busy |= work.resealer.turn().unwrap_or(false);
                // What it asks of the committer waits there with the rest.
                self.busy |= work.mover.turn().unwrap_or(false);
            }
            _ => drop(store.sweep_orphans()),
        }
    }

    /// Does all that time would bring, and looks whether something was counted wrong or left behind then.
    pub fn settled(&mut self) -> Result<(), String> {
        let Some((store, work)) = &self.open else { return Ok(()) };
        let settle = || {
            loop {
                work.reaper.turn();
                let resealed = work.resealer.turn()?;
                let moved = work.mover.turn()? || resealed;
                if !work.committer.turn() && !moved {
                    store.checkpoint()?;
                    if !(work.mover.turn()? | work.resealer.turn()?) {
                        return store.sweep_orphans().and_then(|_| store.verify(&mut |_| {}));
                    }
                }
            }
        };
        let sum = settle().map_err(|error: StoreError| error.to_string())?;
        let miscounted = sum.miscounted + store.status().references.miscounted;
        let uses = store.key_uses();
        if !uses.iter().all(|used| used.references == 0 || used.kek == store.sealing()) {
            return Err(format!("{uses:?} after healing: all is to be sealed under one generation"));
        }
        match (sum.damaged, sum.orphans, miscounted) {
            (0, 0, 0) => Ok(()),
            found => Err(format!("{found:?} damaged, left behind, counted wrong after healing")),
        }
    }

    /// Receives a blob; whether it is here, durable and checked.
    pub fn receive(&self, head: BlobRef, sealed: &Bytes) -> bool {
        let Some(store) = self.store() else { return false };
        let received = || {
            let mut incoming = store.begin_incoming(head.body, Some(head.sealed_len), Purpose::Copy)?;
            incoming.append(std::slice::from_ref(sealed))?;
            incoming.finish(head)
        };
        received().is_ok()
    }

    /// The sealed bytes of a blob, if it is here.
    pub fn blob(&self, body: BodyId) -> Option<Bytes> {
        let mut outgoing = self.store()?.open_outgoing(body).ok()?;
        let mut sealed = Vec::new();
        loop {
            let piece = outgoing.read().ok()?;
            if piece.is_empty() {
                return Some(sealed.into());
            }
            sealed.extend_from_slice(&piece);
        }
    }

    /// Holds a body that is here.
    pub fn hold(&self, blob: BlobRef) -> Option<BodyHold> {
        // A disk that is full, or has failed, takes no records.
        self.store()?.hold_body(blob).ok().flatten()
    }

    /// The next changes that a peer has not acknowledged.
    pub fn changes_for(&self, peer: Incarnation, limit: usize) -> Vec<Change> {
        let Some(store) = self.store() else { return Vec::new() };
        let changes = store.cursor(peer).and_then(|cursor| store.changes_after(cursor, limit));
        self.good(changes).unwrap_or_default()
    }

    /// Which of these it wants; none where that cannot be told.
    pub fn wants(&self, offers: &[Offer]) -> Option<Vec<Want>> {
        self.good(self.store()?.compare_offers(offers))
    }

    /// The record of a key.
    pub fn record(&self, key: RegisterKey) -> Option<(RegisterKey, Arc<Record>)> {
        self.good(self.store()?.fetch_records(vec![key], usize::MAX))?.pop()
    }

    /// The plaintext of what this node holds under a name.
    pub fn plaintext(&self, key: &RegisterKey, record: &Arc<Record>) -> Option<Vec<u8>> {
        let (_, mut download) = self.store()?.open_record(key.clone(), Arc::clone(record)).ok()?;
        let mut bytes = Vec::new();
        loop {
            let pieces = download.read().ok()?;
            if pieces.is_empty() {
                return Some(bytes);
            }
            pieces.iter().for_each(|piece| bytes.extend_from_slice(piece));
        }
    }
}
