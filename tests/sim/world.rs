//! The world: nodes, the net between them, and the scheduler. All of it follows from the seed.

use super::clients::{Client, Coordinator};
use super::node::{Copy, NOW_MS, Node, STARTS};
use super::trace::Trace;
use super::uploads::Begun;
use crate::rng::Rng;
use boveda::base::{BlobRef, BodyId, BucketName, Incarnation, NodeName, ObjectKey, ObjectName, ObjectRecord, Record};
use boveda::base::{RegisterKey, Stamp};
use boveda::register::{Attempt, Event, Members, Roster, Seat, Slot};
use boveda::store::buckets::register_by_name;
use boveda::store::types::{Change, Offer, Want};
use boveda::store::voting::Message;
use boveda::wire::votes::Voted;
use bytes::Bytes;
use std::sync::Arc;

const KEYS: usize = 3;
/// Changes of one batch of the feed.
const BATCH: usize = 8;

type Held = Slot<Arc<Record>>;

/// A message to a replica, from a coordinator that holds `have`.
#[derive(Clone)]
pub struct Ask {
    pub from: usize,
    pub key: usize,
    pub message: Message,
    pub have: Option<Held>,
}

/// What travels.
#[derive(Clone)]
pub enum Packet {
    Ask {
        to: usize,
        ask: Ask,
    },
    /// Without an answer the replica could not carry it out. What the asker holds is not sent back: see `wire::votes`.
    Answer {
        to: usize,
        from: Incarnation,
        key: usize,
        attempt: Attempt,
        voted: Option<Voted>,
        have: Option<Held>,
    },
    Body {
        to: usize,
        from: usize,
        /// What whoever votes waits for: of an object in parts, what stands for all of them.
        of: BodyId,
        head: BlobRef,
        sealed: Bytes,
    },
    Held {
        to: usize,
        from: usize,
        of: BodyId,
    },
    Offer {
        to: usize,
        from: usize,
        changes: Vec<Change>,
    },
    Wants {
        to: usize,
        from: usize,
        changes: Vec<Change>,
        wants: Vec<Want>,
    },
    Learn {
        to: usize,
        from: usize,
        records: Vec<(RegisterKey, Record)>,
        upto: u64,
    },
    Ack {
        to: usize,
        from: usize,
        upto: u64,
    },
}

impl Packet {
    pub fn to(&self) -> usize {
        match self {
            Packet::Ask { to, .. } | Packet::Answer { to, .. } | Packet::Body { to, .. } | Packet::Held { to, .. } => {
                *to
            }
            Packet::Offer { to, .. } | Packet::Wants { to, .. } | Packet::Learn { to, .. } | Packet::Ack { to, .. } => {
                *to
            }
        }
    }

    fn kind(&self) -> u64 {
        match self {
            Packet::Ask { .. } => 0,
            Packet::Answer { .. } => 1,
            Packet::Body { .. } => 2,
            Packet::Held { .. } => 3,
            Packet::Offer { .. } => 4,
            Packet::Wants { .. } => 5,
            Packet::Learn { .. } => 6,
            Packet::Ack { .. } => 7,
        }
    }
}

/// How often what goes wrong, per thousand steps (and per thousand packets for `loss` and `double`).
#[derive(Clone, Copy)]
pub struct Weather {
    pub steps: usize,
    pub calls: usize,
    pub loss: u32,
    pub double: u32,
    pub kill: u32,
    pub power: u32,
    pub cut: u32,
    pub part: u32,
    pub clock: u32,
    /// How often two nodes tell each other how they stand, besides at their first meeting.
    pub beat: u32,
    /// How often a disk is copied, and an older copy put in its place: once in a schedule.
    pub copy: u32,
    /// How often a disk goes bad, and how often the operator looks at a node.
    pub disk: u32,
    pub operator: u32,
    /// Whether all disks may be bad at once, not those of a minority.
    pub all_disks: bool,
    /// Whether a sync that fails says that all is well.
    pub silent: bool,
    /// Whether nodes vote with each other without asking what the other one remembers.
    pub trusting: bool,
    /// Whether clients begin uploads in parts, and end them.
    pub uploads: bool,
    /// A disk that says "synced" and forgets: the power loss takes it back to where it stood at the start.
    pub disks_lie: bool,
}

impl Weather {
    pub const ROUGH: Weather = Weather {
        steps: 1500,
        calls: 45,
        loss: 30,
        double: 40,
        kill: 2,
        power: 2,
        cut: 2,
        part: 4,
        clock: 4,
        beat: 10,
        copy: 4,
        disk: 0,
        operator: 0,
        all_disks: false,
        silent: false,
        trusting: false,
        uploads: false,
        disks_lie: false,
    };

    /// Uploads in parts beside writes, and more of them than of these.
    #[allow(dead_code, reason = "one of the programs that share this")]
    pub const UPLOADS: Weather = Weather { uploads: true, ..Weather::ROUGH };

    /// Disks that go bad at a minority, and an operator who sees to them.
    pub const DISKS: Weather = Weather { copy: 0, disk: 12, operator: 12, ..Weather::ROUGH };
}

/// What happened, over many schedules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub schedules: u64,
    pub steps: u64,
    pub called: u64,
    pub written: u64,
    pub refused: u64,
    pub read: u64,
    pub unknown: u64,
    pub kills: u64,
    pub power_losses: u64,
    pub partitions: u64,
    pub put_back: u64,
    pub retired: u64,
    pub went_bad: u64,
    pub struck: u64,
    pub put_right: u64,
    /// Writes that had a key refer to the body of another one.
    pub copied: u64,
    /// Calls on uploads in parts.
    pub uploads: u64,
    /// Uploads that became an object, and calls that were told so again.
    pub completed: u64,
    pub again: u64,
    /// Uploads that were aborted.
    pub aborted: u64,
    /// Who came to end an upload that was over.
    pub late: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.schedules += other.schedules;
        self.steps += other.steps;
        self.called += other.called;
        self.written += other.written;
        self.refused += other.refused;
        self.read += other.read;
        self.unknown += other.unknown;
        self.kills += other.kills;
        self.power_losses += other.power_losses;
        self.partitions += other.partitions;
        self.put_back += other.put_back;
        self.retired += other.retired;
        self.went_bad += other.went_bad;
        self.struck += other.struck;
        self.put_right += other.put_right;
        self.copied += other.copied;
        self.uploads += other.uploads;
        self.completed += other.completed;
        self.again += other.again;
        self.aborted += other.aborted;
        self.late += other.late;
    }
}

pub struct World {
    pub rng: Rng,
    pub nodes: Vec<Node>,
    pub keys: Vec<RegisterKey>,
    pub members: Arc<Members>,
    pub net: Vec<Packet>,
    pub coords: Vec<Coordinator>,
    pub clients: Vec<Client>,
    pub uploads: Vec<Begun>,
    pub now: u64,
    pub tally: Tally,
    pub weather: Weather,
    pub trace: Trace,
    pub roster: Arc<Roster>,
    pub cut: Option<usize>,
    pub calm: bool,
    /// Which node's disk was copied, and the copy.
    copied: Option<(usize, Copy)>,
}

/// What became of a schedule.
pub struct Ran {
    pub tally: Tally,
    pub wrong: Option<String>,
    pub trace: Trace,
}

/// Runs the schedule of a seed to its end.
pub fn run(seed: u64, nodes: usize, weather: Weather) -> Ran {
    let mut world = World::new(seed, nodes, weather);
    world.live();
    let wrong = world.heal().err().or_else(|| world.judge());
    Ran { tally: world.tally, wrong, trace: world.trace }
}

/// The object behind a key's number.
pub fn name(at: usize) -> ObjectName {
    ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(&format!("k{at}")).expect("a key") }
}

impl World {
    fn new(seed: u64, count: usize, weather: Weather) -> Self {
        let mut rng = Rng::new(seed);
        NOW_MS.set(1 << 40);
        STARTS.set(0);
        let mut nodes: Vec<Node> = (0..count).map(|_| Node::new(0)).collect();
        // Incarnations are drawn by the stores and break ties: the nodes stand in their order, and only then has
        // each a chance of its own.
        nodes.sort_by_key(|node| node.inc);
        nodes.iter().for_each(|node| node.set_seed(rng.next()));
        let seat = |(at, node): (usize, &Node)| Seat {
            name: NodeName::parse(&format!("n{at}")).expect("a name"),
            incarnation: node.inc,
        };
        let roster = Arc::new(Roster::founding(1, nodes.iter().enumerate().map(seat).collect()));
        nodes.iter_mut().for_each(|node| node.seat(&roster));
        World {
            rng,
            nodes,
            keys: (0..KEYS).map(|at| register_by_name(&name(at))).collect(),
            members: Arc::new(roster.members().expect("a list")),
            net: Vec::new(),
            coords: Vec::new(),
            clients: Vec::new(),
            uploads: Vec::new(),
            now: 0,
            tally: Tally { schedules: 1, ..Tally::default() },
            weather,
            roster,
            cut: None,
            calm: false,
            copied: None,
            trace: Trace::new(std::env::var_os("BOVEDA_SIM_TRACE").is_some()),
        }
    }

    /// Something happens: it becomes part of the trace.
    pub fn say(&mut self, what: &str, more: &[u64]) {
        self.trace.say(self.now, what, more);
    }

    /// The place of a node; what goes to an earlier life of one goes nowhere.
    pub fn index(&self, inc: Incarnation) -> usize {
        self.nodes.iter().position(|node| node.inc == inc).unwrap_or(usize::MAX)
    }

    fn live(&mut self) {
        for _ in 0..self.weather.steps {
            self.step();
            self.tally.steps += 1;
            self.mark();
        }
    }

    fn step(&mut self) {
        self.now += 1;
        let w = self.weather;
        let mut dice = self.rng.below(1000) as u32;
        let mut falls = |odds: u32| {
            let hit = dice < odds;
            dice = dice.wrapping_sub(if hit { 0 } else { odds });
            hit
        };
        let at = self.rng.below(self.nodes.len());
        if falls(w.kill) {
            self.tally.kills += 1;
            self.end(at, Node::kill);
        } else if falls(w.power) {
            self.lose_power(at);
        } else if falls(w.cut) {
            let syncs = self.rng.below(3) as u64;
            self.say("power goes after", &[at as u64, syncs]);
            self.nodes[at].cut_power_after(syncs);
            self.busy(at);
        } else if falls(w.part) {
            self.tally.partitions += 1;
            self.cut = self.cut.is_none().then_some(at);
            self.say("parted", &[at as u64, u64::from(self.cut.is_some())]);
        } else if falls(w.clock) {
            NOW_MS.set(NOW_MS.get() + self.rng.below(2_000_000) as u64 - 1_000_000);
            self.say("clock", &[NOW_MS.get()]);
        } else if falls(w.beat) {
            let other = self.rng.below(self.nodes.len());
            self.introduce(at, other);
        } else if falls(w.copy) {
            self.older_copy(at);
        } else if falls(w.disk) {
            self.disk_goes_bad(at);
        } else if falls(w.operator) {
            self.operate(at);
        } else if falls(60) {
            self.start(at);
        } else if falls(30) {
            if self.clients.len() < w.calls {
                self.invoke();
            }
        } else if falls(4) {
            let key = self.rng.below(self.keys.len());
            if self.nodes[at].store().is_some() {
                self.spawn_read(at, key, None);
            }
        } else if falls(20) {
            self.feed(at);
        } else if falls(10) {
            let what = self.rng.below(3);
            self.nodes[at].housekeeping(what);
        } else if falls(6) {
            self.time_out(false);
        } else if falls(3) {
            self.time_out(true);
        } else if falls(40) {
            self.wake();
        } else if falls(250) {
            self.turn(at);
        } else {
            self.deliver();
        }
    }

    /// The power goes while the node is at work, or it does not.
    fn busy(&mut self, at: usize) {
        self.turn(at);
        let what = self.rng.below(3);
        self.nodes[at].housekeeping(what);
        if self.nodes[at].dies_if_broken() {
            self.tally.power_losses += 1;
            self.end(at, |_| ());
        }
    }

    fn lose_power(&mut self, at: usize) {
        self.tally.power_losses += 1;
        if self.weather.disks_lie {
            return self.end(at, Node::forget);
        }
        self.end(at, Node::lose_power);
    }

    pub fn end(&mut self, at: usize, how: impl FnOnce(&mut Node)) {
        self.say("down", &[at as u64]);
        self.coords.retain(|coord| coord.node != at);
        // A disk after a power loss counts anew.
        let before = self.nodes[at].disk().struck();
        how(&mut self.nodes[at]);
        self.tally.struck += before - self.nodes[at].disk().struck().min(before);
    }

    pub fn turn(&mut self, at: usize) {
        let out = self.nodes[at].turn();
        self.say("commits", &[at as u64, out.len() as u64]);
        self.net.extend(out);
    }

    pub fn deliver(&mut self) {
        if self.net.is_empty() {
            return;
        }
        let at = self.rng.below(self.net.len());
        let doubled = !self.calm && self.rng.odds(self.weather.double);
        let packet = if doubled { self.net[at].clone() } else { self.net.swap_remove(at) };
        let local = matches!(&packet, Packet::Ask { to, ask } if *to == ask.from)
            || matches!(&packet, Packet::Answer { to, from, .. } if self.index(*from) == *to);
        let parted = self.cut.is_some_and(|cut| (packet.to() == cut) != (self.sender(&packet) == cut));
        let lost = !self.calm && !local && (parted || self.rng.odds(self.weather.loss));
        let to = packet.to();
        self.say("on its way", &[to as u64, packet.kind(), u64::from(doubled), u64::from(lost)]);
        if lost || to >= self.nodes.len() || self.nodes[to].store().is_none() {
            return self.lose(packet);
        }
        let counts = matches!(&packet, Packet::Ask { .. } | Packet::Answer { .. });
        let from = self.sender(&packet);
        if counts && !self.have_met(from, to) {
            return;
        }
        self.arrive(packet);
    }

    /// A packet does not arrive. Of a body that is known some time; of a vote it may never be.
    fn lose(&mut self, packet: Packet) {
        let (to, node, body) = match packet {
            Packet::Body { to, from, of, .. } => (from, to, of),
            Packet::Held { to, from, of } => (to, from, of),
            _ => return,
        };
        if let Some(node) = self.nodes.get(node).map(|node| node.inc) {
            self.hear(to, None, &Event::Lacks { node, body });
        }
    }

    /// Whether votes pass between two nodes: both have told each other, in their present starts, what they remember.
    /// What an earlier start had sent is still let in.
    fn have_met(&mut self, from: usize, to: usize) -> bool {
        let is_up = |at: usize| self.nodes.get(at).is_some_and(|node| node.store().is_some());
        if from == to || !is_up(from) {
            return true;
        }
        let met = |nodes: &[Node]| nodes[from].has_met(&nodes[to]) && nodes[to].has_met(&nodes[from]);
        if !met(&self.nodes) {
            self.introduce(from, to);
        }
        self.weather.trusting || met(&self.nodes)
    }

    /// Two nodes tell each other how they stand and what they remember. Who has reason to doubt its memory then gives up
    /// its place.
    pub fn introduce(&mut self, one: usize, other: usize) {
        if one == other {
            return;
        }
        for (from, to) in [(one, other), (other, one)] {
            let word = self.nodes[from].says().map(|word| if self.weather.trusting { word.of_itself() } else { word });
            if let Some(word) = word.filter(|_| self.nodes[to].store().is_some()) {
                self.nodes[to].hears(&word);
                self.turn(to);
            }
        }
        for at in [one, other] {
            if self.nodes[at].doubts() {
                self.give_up(at);
            }
        }
    }

    /// A disk is copied; or the copy is put in its place, once all others have met the node in a later start. (What
    /// nobody has heard nobody can tell: see `register::memory`.)
    fn older_copy(&mut self, at: usize) {
        let Some((of, copy)) = &self.copied else {
            self.end(at, Node::kill);
            let copy = self.nodes[at].copy();
            self.copied = Some((at, copy));
            return;
        };
        let of = *of;
        let others = || self.nodes.iter().enumerate().filter(|(other, _)| *other != of).map(|(_, node)| node);
        if self.tally.put_back > 0 || !others().all(|node| node.has_met_since(self.nodes[of].inc, copy)) {
            return;
        }
        self.tally.put_back += 1;
        self.end(of, Node::kill);
        let Some((_, copy)) = self.copied.take() else { return };
        self.nodes[of].put_back(&copy);
        self.copied = Some((of, copy));
        self.start(of);
        // Somebody hears of this very start: who starts again before that may pass for the later one that they have met.
        let others: Vec<_> = (0..self.nodes.len()).filter(|other| *other != of).collect();
        let other = self.rng.pick(&others);
        self.introduce(of, other);
    }

    fn sender(&self, packet: &Packet) -> usize {
        match packet {
            Packet::Answer { from, .. } => self.index(*from),
            Packet::Ask { ask, .. } => ask.from,
            Packet::Body { from, .. } | Packet::Held { from, .. } => *from,
            Packet::Offer { from, .. } | Packet::Wants { from, .. } => *from,
            Packet::Learn { from, .. } | Packet::Ack { from, .. } => *from,
        }
    }

    fn arrive(&mut self, packet: Packet) {
        match packet {
            Packet::Ask { to, ask } => {
                let by_reader = self.rng.odds(500);
                let key = self.key(ask.key);
                let answer = self.nodes[to].vote(ask, key, by_reader);
                self.net.extend(answer);
            }
            Packet::Answer { to, from, key, attempt, voted, have } => {
                let reply = voted.and_then(|voted| voted.reply(from, have.as_ref()));
                let stamp = reply.as_ref().map_or(Stamp(0), |reply| reply.stamp());
                if let Some(store) = self.nodes[to].store() {
                    store.observe(stamp);
                }
                self.say("reply of stamp", &[to as u64, stamp.0]);
                self.hear(to, Some(key), &reply.map_or(Event::Silent { from, attempt }, Event::Reply));
            }
            Packet::Body { to, from, of, head, sealed } => {
                if self.nodes[to].receive(head, &sealed) {
                    return self.net.push(Packet::Held { to: from, from: to, of });
                }
                let node = self.nodes[to].inc;
                self.hear(from, None, &Event::Lacks { node, body: of });
            }
            Packet::Held { to, from, of } => {
                let node = self.nodes[from].inc;
                self.hear(to, None, &Event::Holds { node, body: of });
            }
            Packet::Offer { to, from, changes } => {
                let offer = |c: &Change| Offer { key: c.key.clone(), ballot: c.ballot, blob: c.blob.map(|b| b.body) };
                let offers: Vec<_> = changes.iter().map(offer).collect();
                if let Some(wants) = self.nodes[to].wants(&offers) {
                    self.net.push(Packet::Wants { to: from, from: to, changes, wants });
                }
            }
            Packet::Wants { to, from, changes, wants } => self.send_wanted(to, from, changes, &wants),
            Packet::Learn { to, from, records, upto } => {
                let source = self.nodes[from].inc;
                self.nodes[to].learn(records, source, Packet::Ack { to: from, from: to, upto });
            }
            Packet::Ack { to, from, upto } => {
                let peer = self.nodes[from].inc;
                self.nodes[to].acknowledged(peer, upto);
            }
        }
    }

    /// A batch of the change feed to some peer.
    fn feed(&mut self, from: usize) {
        let to = self.rng.below(self.nodes.len());
        if to != from {
            self.offer(from, to);
        }
    }

    pub fn offer(&mut self, from: usize, to: usize) -> bool {
        let changes = self.nodes[from].changes_for(self.nodes[to].inc, BATCH);
        let some = !changes.is_empty();
        if some {
            self.net.push(Packet::Offer { to, from, changes });
        }
        some
    }

    /// The body of a change: of an object in parts, of which each has one here, that of its part.
    fn body_of(&self, me: usize, change: &Change) -> Option<BlobRef> {
        if !change.in_parts {
            return change.blob;
        }
        let (_, record) = self.nodes[me].record(change.key.clone())?;
        record.bodies().next().filter(|_| record.ballot == change.ballot)
    }

    /// Blobs first; the cursor moves over what came before the first change that is not settled.
    fn send_wanted(&mut self, me: usize, peer: usize, changes: Vec<Change>, wants: &[Want]) {
        let mut records = Vec::new();
        let (mut upto, mut unsettled) = (0, false);
        for (change, want) in changes.iter().zip(wants) {
            match want {
                Want::Nothing => {}
                Want::BlobAndRecord => {
                    unsettled = true;
                    if let Some(head) = self.body_of(me, change)
                        && let Some(sealed) = self.nodes[me].blob(head.body)
                    {
                        let of = change.blob.map_or(head.body, |blob| blob.body);
                        self.net.push(Packet::Body { to: peer, from: me, of, head, sealed });
                    }
                }
                Want::Record => {
                    let found = self.nodes[me].record(change.key.clone());
                    // One that refers to another blob by now has a later number in the feed.
                    let blob = |record: &Record| record.object().and_then(ObjectRecord::blob);
                    let fits = |record: &Record| blob(record) == change.blob;
                    let found = found.into_iter().filter(|(_, record)| fits(record));
                    records.extend(found.map(|(key, record)| (key, (*record).clone())));
                }
            }
            if !unsettled {
                upto = change.seq;
            }
        }
        if records.is_empty() {
            let inc = self.nodes[peer].inc;
            return self.nodes[me].acknowledged(inc, upto);
        }
        self.net.push(Packet::Learn { to: peer, from: me, records, upto });
    }
}
