//! The world: replicas of one bucket and its object, the net between them, and the scheduler. One seed, one history.
//!
//! Messages come in any order, late or never, and answers may come twice. What the replicas are: `replica`.

use super::flow::{Flow, Wish};
use super::judge::Op;
use super::replica::Node;
use super::value::{Key, Val, bucket_of, object_of};
use crate::lin::{Call, linearizable};
use crate::rng::Rng;
use crate::runner::Sum;
use boveda::base::{Ballot, Epoch, Incarnation};
use boveda::register::{Answer, Attempt, Fence, Members, Message, Refusal, Reply, Request, Rules, Slot};
use std::sync::Arc;

/// There is one member list.
pub const EPOCH: Epoch = Epoch(1);
/// Steps in which everything ends once nothing goes wrong any more.
const CALM_STEPS: usize = 6000;

/// How often things happen, per thousand steps of the scheduler.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Cluster sizes to draw from.
    pub replicas: &'static [usize],
    /// Client calls.
    pub calls: usize,
    pub steps: usize,
    /// A packet is lost; of the packets taken up.
    pub loss: u32,
    /// An answer stays in the net after it was delivered; of those taken up.
    pub double: u32,
    pub restart: u32,
    /// A coordinator dies, with what it coordinates.
    pub kill: u32,
    /// A client's patience ends.
    pub deadline: u32,
    pub expire: u32,
    pub feed: u32,
    pub settle: u32,
    /// Somebody goes on with a deletion that was left behind.
    pub resume: u32,
    /// Somebody puts tombstones under ids without a bucket.
    pub clear: u32,
    /// The set of nodes that hear late changes.
    pub slow: u32,
    /// Reads, puts, puts if absent, deletes, bucket creations, bucket deletions, changes: shares of calls.
    pub kinds: [u32; 7],
}

impl Weather {
    pub const MIXED: Weather = Weather {
        replicas: &[3, 3, 3, 2, 5],
        calls: 9,
        steps: 420,
        loss: 40,
        double: 40,
        restart: 8,
        kill: 8,
        deadline: 4,
        expire: 15,
        feed: 20,
        settle: 12,
        resume: 8,
        clear: 8,
        slow: 30,
        kinds: [4, 5, 2, 3, 4, 5, 1],
    };
    /// Nodes are far behind each other, and nobody tells them.
    pub const BEHIND: Weather =
        Weather { replicas: &[3], loss: 160, feed: 2, slow: 60, expire: 40, kill: 14, ..Weather::MIXED };
    /// Nothing goes wrong, and everybody is in everybody's way.
    pub const QUIET: Weather =
        Weather { loss: 0, double: 0, restart: 0, kill: 0, deadline: 0, expire: 0, steps: 2000, ..Weather::MIXED };
    /// Little but buckets that come and go under writes.
    pub const LIVES: Weather = Weather { replicas: &[3], kinds: [3, 6, 0, 2, 5, 6, 0], ..Weather::BEHIND };
    /// A few calls, whose messages come in any order.
    pub const FEW: Weather = Weather {
        replicas: &[3],
        calls: 5,
        steps: 130,
        loss: 5,
        double: 0,
        restart: 0,
        kill: 4,
        deadline: 0,
        expire: 6,
        feed: 0,
        settle: 8,
        resume: 12,
        clear: 0,
        slow: 0,
        kinds: [4, 5, 0, 1, 0, 6, 0],
    };
    /// Little but writes and a deletion that counts while somebody hears late.
    pub const COUNTED: Weather = Weather { calls: 4, slow: 60, kinds: [0, 6, 0, 0, 1, 6, 0], ..Weather::FEW };
    pub const EVERY: [Weather; 5] = [Weather::MIXED, Weather::BEHIND, Weather::LIVES, Weather::FEW, Weather::COUNTED];
}

/// What is left out on purpose.
#[derive(Clone, Copy, Debug)]
pub struct Weakened {
    /// The sentences of the register.
    pub rules: Rules,
    /// The fence of the replicas, and what a deletion counts behind it.
    pub fence: Fence,
    /// The next life of a bucket has the id of the one before.
    pub same_id: bool,
    /// The bucket is removed however it is found.
    pub removes_anyhow: bool,
    /// A bucket is deleted as soon as its list is empty, without being closed.
    pub never_closes: bool,
    /// What is not there under the id that a node knows is not there.
    pub absence_unconfirmed: bool,
    /// An object is deleted under the id that a node knows.
    pub deletes_unconfirmed: bool,
}

impl Weakened {
    pub const NOT: Weakened = Weakened {
        rules: Rules::CONTRACT,
        fence: Fence::CONTRACT,
        same_id: false,
        removes_anyhow: false,
        never_closes: false,
        absence_unconfirmed: false,
        deletes_unconfirmed: false,
    };
}

/// What histories have come across.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub histories: u64,
    pub steps: u64,
    pub called: u64,
    pub answered: u64,
    pub unknown: u64,
    pub refused_by_fence: u64,
    pub taught: u64,
    pub deleted: u64,
    pub not_empty: u64,
    pub reopened: u64,
    pub lives: u64,
    pub gone: u64,
}

impl Sum for Tally {
    fn add(&mut self, other: &Tally) {
        let all = [
            (&mut self.histories, other.histories),
            (&mut self.steps, other.steps),
            (&mut self.called, other.called),
            (&mut self.answered, other.answered),
            (&mut self.unknown, other.unknown),
            (&mut self.refused_by_fence, other.refused_by_fence),
            (&mut self.taught, other.taught),
            (&mut self.deleted, other.deleted),
            (&mut self.not_empty, other.not_empty),
            (&mut self.reopened, other.reopened),
            (&mut self.lives, other.lives),
            (&mut self.gone, other.gone),
        ];
        for (sum, one) in all {
            *sum += one;
        }
    }
}

/// What travels.
#[derive(Clone, Debug)]
pub enum Packet {
    Ask {
        to: Incarnation,
        from: Incarnation,
        key: Key,
        message: Message<Val>,
    },
    Answer {
        to: Incarnation,
        key: Key,
        reply: Reply<Val>,
    },
    /// What lies under this id? Asked by a deletion that closed the bucket under this generation.
    List {
        to: Incarnation,
        flow: u64,
        id: u8,
        generation: u64,
    },
    /// None where the replica does not hold the bucket so.
    Listed {
        flow: u64,
        from: Incarnation,
        slot: Option<Slot<Val>>,
    },
}

/// A client's call.
pub struct Client {
    pub wish: Wish,
    pub begun: Option<u64>,
    pub ended: Option<u64>,
    pub op: Option<Op>,
    /// It has no effect, by its own answer.
    pub void: bool,
}

pub struct World {
    pub rng: Rng,
    pub weak: Weakened,
    weather: Weather,
    pub trace: bool,
    pub now: u64,
    pub nodes: Vec<Node>,
    pub members: Arc<Members>,
    pub net: Vec<Packet>,
    pub clients: Vec<Client>,
    pub flows: Vec<Flow>,
    drawn: u64,
    /// Ids of buckets given so far.
    pub ids: u8,
    slow: u32,
    calm: bool,
    /// Changes of a life's generation that were answered, and when.
    pub configured: Vec<(u8, u64, u64)>,
    pub broken: Option<String>,
    pub tally: Tally,
}

impl World {
    pub fn new(seed: u64, weather: Weather, weak: Weakened, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let replicas = rng.pick(weather.replicas);
        let nodes = Node::some(replicas);
        let incs: Vec<_> = nodes.iter().map(|node| node.inc).collect();
        let members = Arc::new(Members::new(EPOCH, &incs).expect("a list"));
        let clients = (0..weather.calls).map(|at| client(&mut rng, &weather, at)).collect();
        World {
            rng,
            weak,
            weather,
            trace,
            now: 0,
            nodes,
            members,
            net: Vec::new(),
            clients,
            flows: Vec::new(),
            drawn: 0,
            ids: 0,
            slow: 0,
            calm: false,
            configured: Vec::new(),
            broken: None,
            tally: Tally { histories: 1, ..Tally::default() },
        }
    }

    /// Goes through a history; what is wrong with it.
    pub fn run(&mut self) -> Option<String> {
        // Most histories have a bucket from the start.
        if self.rng.odds(950) {
            self.clients[0].wish = Wish::Create;
            self.clients[0].begun = Some(0);
            self.spawn(0, Some(0), Wish::Create);
        }
        for _ in 0..self.weather.steps {
            self.step();
            if self.broken.is_some() {
                return self.broken.take();
            }
        }
        self.calm_down();
        self.broken.take().or_else(|| self.judge())
    }

    /// Nothing goes wrong any more: everything ends, and then all nodes are asked.
    fn calm_down(&mut self) {
        self.calm = true;
        for at in 0..self.nodes.len() {
            if !self.finish_all() {
                return;
            }
            self.clients.push(Client { wish: Wish::Get, begun: Some(self.now), ended: None, op: None, void: false });
            self.tally.called += 1;
            self.spawn(at, Some(self.clients.len() - 1), Wish::Get);
        }
        if self.finish_all() && self.clients.last().is_some_and(|last| last.op.is_none()) {
            self.broken = Some("nobody hinders it, and a read has no answer".into());
        }
    }

    fn finish_all(&mut self) -> bool {
        for step in 0..CALM_STEPS {
            if self.flows.is_empty() || self.broken.is_some() {
                return self.broken.is_none();
            }
            self.now += 1;
            if step % 200 == 199 {
                self.resume();
            }
            self.deliver();
        }
        self.broken = Some(format!("{} calls do not end", self.flows.len()));
        false
    }

    fn step(&mut self) {
        self.now += 1;
        self.tally.steps += 1;
        let w = self.weather;
        let idle = self.clients.iter().filter(|c| c.begun.is_none()).count() as u32;
        let mut dice = self.rng.below(1000) as u32;
        let mut falls = |odds: u32| {
            let hit = dice < odds;
            dice = dice.wrapping_sub(if hit { 0 } else { odds });
            hit
        };
        if falls(w.restart) {
            self.restart();
        } else if falls(w.kill) {
            self.kill();
        } else if falls(w.deadline) {
            self.deadline();
        } else if falls(w.expire) {
            self.expire();
        } else if falls(w.feed) {
            self.feed();
        } else if falls(w.settle) {
            self.settle();
        } else if falls(w.resume) {
            self.resume();
        } else if falls(w.clear) {
            self.clear();
        } else if falls(w.slow) {
            self.slow = self.rng.below(1 << self.nodes.len()) as u32 & self.rng.below(1 << self.nodes.len()) as u32;
        } else if falls(idle * 6) {
            self.invoke();
        } else if falls(60) {
            self.wake();
        } else {
            self.deliver();
        }
    }

    pub fn note(&self, what: impl Fn() -> String) {
        if self.trace {
            println!("{:4} {}", self.now, what());
        }
    }

    pub fn index(&self, inc: Incarnation) -> usize {
        self.nodes.iter().position(|n| n.inc == inc).expect("one of the nodes")
    }

    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    pub fn fresh_ballot(&self, node: usize) -> Ballot {
        self.nodes[node].fresh_ballot()
    }

    /// Takes a packet out of the net, mostly one that does not go to a slow node.
    fn take(&mut self) -> Option<Packet> {
        if self.net.is_empty() {
            return None;
        }
        let mut at = self.rng.below(self.net.len());
        for _ in 0..3 {
            let (Packet::Ask { to, .. } | Packet::Answer { to, .. } | Packet::List { to, .. }) = &self.net[at] else {
                break;
            };
            if self.calm || self.slow & (1 << self.index(*to)) == 0 {
                break;
            }
            at = self.rng.below(self.net.len());
        }
        let is_answer = matches!(self.net[at], Packet::Answer { .. } | Packet::Listed { .. });
        if is_answer && !self.calm && self.rng.odds(self.weather.double) {
            return Some(self.net[at].clone());
        }
        Some(self.net.swap_remove(at))
    }

    fn deliver(&mut self) {
        let Some(packet) = self.take() else {
            // Silence: timers run out.
            if !self.wake() && (self.calm || !self.invoke()) {
                self.expire();
            }
            return;
        };
        if !self.calm && self.rng.odds(self.weather.loss) {
            self.note(|| format!("LOST {packet:?}"));
            return self.lose(packet);
        }
        self.note(|| format!("{packet:?}"));
        match packet {
            Packet::Ask { to, from, key, message } => {
                let (at, fence) = (self.index(to), self.weak.fence);
                let reply = self.nodes[at].handle(key, &message, fence);
                if matches!(reply.answer, Answer::Refused(Refusal::Bucket(_))) {
                    self.tally.refused_by_fence += 1;
                }
                if message.request.is_answered() {
                    self.net.push(Packet::Answer { to: from, key, reply });
                }
            }
            Packet::Answer { to, key, reply } => {
                let node = self.index(to);
                self.nodes[node].observe(reply.stamp());
                self.hear(node, key, reply);
            }
            Packet::List { to, flow, id, generation } => {
                let node = &self.nodes[self.index(to)];
                let counts = node.holds_closed(id, generation, self.weak.fence);
                let slot = (counts || self.weak.never_closes).then(|| node.slot(Key::Object(id)));
                self.net.push(Packet::Listed { flow, from: to, slot });
            }
            Packet::Listed { flow, from, slot } => self.listed(flow, from, slot),
        }
    }

    /// A packet does not arrive; of a message that is known, perhaps.
    fn lose(&mut self, packet: Packet) {
        if let Packet::Ask { to, from, key, message } = packet
            && self.rng.odds(500)
        {
            self.silent(self.index(from), key, to, message.attempt);
        }
    }

    /// A client that has not begun yet calls a node.
    fn invoke(&mut self) -> bool {
        let idle: Vec<_> = (0..self.clients.len()).filter(|c| self.clients[*c].begun.is_none()).collect();
        if idle.is_empty() {
            return false;
        }
        let (client, node) = (self.rng.pick(&idle), self.rng.below(self.nodes.len()));
        self.clients[client].begun = Some(self.now);
        self.tally.called += 1;
        let wish = self.clients[client].wish;
        self.note(|| format!("client {client} calls n{}: {wish:?}", node + 1));
        self.spawn(node, Some(client), wish);
        true
    }

    fn restart(&mut self) {
        let at = self.rng.below(self.nodes.len());
        self.note(|| format!("n{} restarts", at + 1));
        self.flows.retain(|flow| flow.node != at);
        self.nodes[at].restart();
    }

    fn kill(&mut self) {
        if !self.flows.is_empty() {
            let at = self.rng.below(self.flows.len());
            let flow = self.flows.swap_remove(at);
            self.note(|| format!("the coordinator of {:?} at n{} dies", flow.wish, flow.node + 1));
        }
    }

    /// A node teaches another one what it holds as chosen.
    fn feed(&mut self) {
        let (at, to) = (self.rng.below(self.nodes.len()), self.rng.below(self.nodes.len()));
        let keys: Vec<_> = self.nodes[at].slots().into_iter().map(|(key, _)| key).collect();
        if keys.is_empty() {
            return;
        }
        let (key, from, to) = (self.rng.pick(&keys), self.nodes[at].inc, self.nodes[to].inc);
        let slot = self.nodes[at].slot(key);
        if slot.chosen && slot.accepted > Ballot::ZERO {
            let request = Request::Learn(slot.accepted, slot.state);
            let message = Message { epoch: EPOCH, attempt: Attempt(0), request };
            self.net.push(Packet::Ask { to, from, key, message });
        }
    }

    fn settle(&mut self) {
        let at = self.rng.below(self.nodes.len());
        let tentative = self.nodes[at].slots().into_iter().filter(|(_, slot)| !slot.chosen);
        let keys: Vec<_> = tentative.map(|(key, _)| key).collect();
        if !keys.is_empty() {
            let key = self.rng.pick(&keys);
            self.spawn(at, None, Wish::Settle(key));
        }
    }

    /// A node that holds a bucket as closing goes on with its deletion.
    fn resume(&mut self) {
        let at = self.rng.below(self.nodes.len());
        let slot = self.nodes[at].slot(Key::Bucket);
        if bucket_of(slot.state.value.as_ref()).is_some_and(|(_, bucket)| !bucket.is_open) {
            self.spawn(at, None, Wish::Resume);
        }
    }

    /// Tombstones for what lies under the ids of buckets that are gone.
    fn clear(&mut self) {
        let at = self.rng.below(self.nodes.len());
        let node = &self.nodes[at];
        let bucket = node.slot(Key::Bucket);
        let known = bucket_of(bucket.state.value.as_ref()).map(|(id, _)| id).filter(|_| bucket.chosen);
        // An id is dead where its bucket was, and is chosen to be another one or none.
        let dead = node.slots().into_iter().find_map(|(key, slot)| match key {
            Key::Object(id) if bucket.chosen && bucket.accepted > slot.accepted && known != Some(id) => {
                object_of(slot.state.value.as_ref()).map(|_| id)
            }
            _ => None,
        });
        if let Some(id) = dead {
            self.spawn(at, None, Wish::Clear(id));
        }
    }

    fn judge(&self) -> Option<String> {
        let calls = self.clients.iter().filter(|c| !c.void).filter_map(|c| {
            let op = c.op.or_else(|| c.wish.unanswered())?;
            Some(Call { op, from: c.begun?, to: c.op.and(c.ended) })
        });
        let calls: Vec<_> = calls.collect();
        (!linearizable(None, &calls)).then(|| format!("not linearizable: {calls:#?}"))
    }
}

fn client(rng: &mut Rng, weather: &Weather, at: usize) -> Client {
    let value = u8::try_from(at + 1).expect("few clients");
    let kinds = [
        Wish::Get,
        Wish::Put { value, only_new: false },
        Wish::Put { value, only_new: true },
        Wish::Delete,
        Wish::Create,
        Wish::DeleteBucket,
        Wish::Configure,
    ];
    let mut share = rng.below(weather.kinds.iter().sum::<u32>() as usize) as u32;
    let mut wish = Wish::Get;
    for (kind, odds) in kinds.into_iter().zip(weather.kinds) {
        if share < odds {
            wish = kind;
            break;
        }
        share -= odds;
    }
    Client { wish, begun: None, ended: None, op: None, void: false }
}
