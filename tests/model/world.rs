//! The world: nodes, the net between them, the scheduler, and the judgement of what clients saw.

use super::chores::{BurialChore, ChangeChore, JoinChore};
use super::coordinators::{Coordinator, Whom};
use super::node::Node;
use super::rng::Rng;
use super::setup::{Weakened, Weather};
use super::value::{Plan, Val};
use crate::lin::{Call, Condition, Op, linearizable};
use boveda::base::{Ballot, BodyId, Epoch, Incarnation, Stamp};
use boveda::register::{Answer, Attempt, Event, Members, Message, NodeState, Reply, Request, Rules, Slot};
use std::sync::Arc;

/// What travels.
#[derive(Clone, Debug)]
pub enum Packet {
    /// From somebody who holds `have`: a record at the same ballot is not sent back.
    Ask {
        to: Incarnation,
        from: Incarnation,
        message: Message<Val>,
        have: Option<Slot<Val>>,
    },
    Answer {
        to: Incarnation,
        reply: Reply<Val>,
    },
    Blob {
        to: Incarnation,
        from: Incarnation,
        body: BodyId,
    },
    BlobHeld {
        to: Incarnation,
        node: Incarnation,
        body: BodyId,
    },
    Enter {
        to: Incarnation,
        epoch: Epoch,
    },
    Entered {
        from: Incarnation,
        epoch: Epoch,
        highest: Stamp,
    },
    Bury {
        to: Incarnation,
        epoch: Epoch,
        ballot: Ballot,
    },
}

/// What a client called and how it ended.
pub struct Client {
    pub plan: Option<Plan>,
    pub begun: Option<u64>,
    pub ended: Option<u64>,
    /// The call as the judge sees it; `None` while it has no answer that says something.
    pub op: Option<Op>,
    /// It had no effect, by its own answer.
    pub void: bool,
}

/// How many calls ended how, over many histories.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub histories: u64,
    pub steps: u64,
    pub called: u64,
    pub written: u64,
    pub by_lineage: u64,
    pub refused: u64,
    pub kept: u64,
    pub unknown: u64,
    pub no_majority: u64,
    pub read: u64,
    pub settled: u64,
    pub joined: u64,
    pub buried: u64,
    pub changed: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.histories += other.histories;
        self.steps += other.steps;
        self.called += other.called;
        self.written += other.written;
        self.by_lineage += other.by_lineage;
        self.refused += other.refused;
        self.kept += other.kept;
        self.unknown += other.unknown;
        self.no_majority += other.no_majority;
        self.read += other.read;
        self.settled += other.settled;
        self.joined += other.joined;
        self.buried += other.buried;
        self.changed += other.changed;
    }
}

pub struct World {
    pub rng: Rng,
    pub weather: Weather,
    pub weak: Weakened,
    pub nodes: Vec<Node>,
    pub replicas: usize,
    pub net: Vec<Packet>,
    pub coords: Vec<Coordinator>,
    pub clients: Vec<Client>,
    pub epochs: Vec<Arc<Members>>,
    pub join: Option<JoinChore>,
    pub burial: Option<BurialChore>,
    pub change: Option<ChangeChore>,
    pub wipes: usize,
    pub settles: usize,
    pub drawn: u64,
    pub now: u64,
    pub tally: Tally,
    pub broken: Option<String>,
    pub trace: bool,
    chosen: Vec<(Ballot, boveda::base::WriteId)>,
    slow: u32,
    /// How often a decision waits for others to be committed with it, per thousand.
    grouped: u32,
    calm: bool,
}

/// Runs the history of a seed. What it did that the contract forbids, if anything.
pub fn run(seed: u64, weather: Weather, weak: Weakened, trace: bool) -> (Tally, Option<String>) {
    let mut world = World::new(seed, weather, weak, trace);
    world.live();
    let what = world.broken.take().or_else(|| world.judge());
    (world.tally, what)
}

impl World {
    fn new(seed: u64, weather: Weather, weak: Weakened, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let replicas = rng.pick(weather.replicas);
        let lineage_ids = rng.pick(weather.lineage);
        let weak = Weakened { rules: Rules { lineage_ids, ..weak.rules }, ..weak };
        // Sometimes a node without a replica coordinates too.
        let count = replicas + usize::from(rng.odds(weather.outsider));
        let grouped = rng.pick(&[0, 0, 700]);
        let step = rng.below(4) as u64;
        let node = |at: usize| Node::new(Incarnation(at as u64 + 1), NodeState::FOUNDER, step, weak.rules);
        let nodes: Vec<_> = (0..count).map(node).collect();
        let voters: Vec<_> = nodes[..replicas].iter().map(|n| n.inc).collect();
        let members = Members::new(Epoch(0), &voters).expect("a list");
        let (fewest, most) = weather.clients;
        let clients = (0..fewest + rng.below(most - fewest + 1)).map(|at| client(&mut rng, &weather, at, most));
        World {
            clients: clients.collect(),
            nodes,
            replicas,
            net: Vec::new(),
            coords: Vec::new(),
            epochs: vec![Arc::new(members)],
            join: None,
            burial: None,
            change: None,
            wipes: 0,
            settles: 0,
            drawn: 0,
            now: 0,
            tally: Tally { histories: 1, ..Tally::default() },
            broken: None,
            chosen: Vec::new(),
            slow: 0,
            grouped,
            calm: false,
            rng,
            weather,
            weak,
            trace,
        }
    }

    fn live(&mut self) {
        for _ in 0..self.weather.steps {
            self.step();
            let busy = self.clients.iter().any(|c| c.begun.is_none())
                || self.coords.iter().any(|c| matches!(c.whom, Whom::Client(_)));
            if !busy && self.rng.odds(150) {
                break;
            }
        }
        // The end: no more faults, but what is in the net may still arrive; readers look at the result.
        self.calm = true;
        self.coords.retain(|c| matches!(c.whom, Whom::CatchUp | Whom::Move));
        for _ in 0..2 {
            self.clients.push(Client { plan: None, begun: None, ended: None, op: None, void: false });
            self.invoke();
            let reader = self.clients.len() - 1;
            for _ in 0..300 {
                if self.clients[reader].ended.is_some() || self.broken.is_some() {
                    break;
                }
                self.step();
            }
            self.coords.clear();
        }
    }

    fn step(&mut self) {
        self.now += 1;
        self.tally.steps += 1;
        if self.calm {
            return self.deliver();
        }
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
        } else if falls(w.forget) {
            let at = self.rng.below(self.nodes.len());
            self.note(|| format!("n{} forgets its promises", at + 1));
            self.nodes[at].acceptor.forget_promises();
        } else if falls(w.feed) {
            self.feed();
        } else if falls(w.settle) {
            self.settle();
        } else if falls(w.slow) {
            self.slow = self.rng.below(1 << self.nodes.len()) as u32 & self.rng.below(1 << self.nodes.len()) as u32;
        } else if falls(w.wipe) {
            self.wipe();
        } else if falls(w.bury) {
            self.bury();
        } else if falls(w.change) {
            self.change();
        } else if falls(idle * 25) {
            self.invoke();
        } else if falls(self.grouped / 10) {
            let at = self.rng.below(self.nodes.len());
            self.commit(at);
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

    pub fn index(&self, inc: Incarnation) -> Option<usize> {
        self.nodes.iter().position(|n| n.inc == inc)
    }

    pub fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }

    /// The newest list.
    pub fn latest(&self) -> Arc<Members> {
        Arc::clone(self.epochs.last().expect("epochs"))
    }

    /// Takes a packet out of the net, mostly one that does not go to a slow node.
    fn take(&mut self) -> Option<Packet> {
        if self.net.is_empty() {
            return None;
        }
        let mut at = self.rng.below(self.net.len());
        for _ in 0..3 {
            let to = match &self.net[at] {
                Packet::Ask { to, .. } | Packet::Answer { to, .. } => *to,
                Packet::Blob { to, .. } | Packet::BlobHeld { to, .. } => *to,
                Packet::Enter { to, .. } | Packet::Bury { to, .. } => *to,
                Packet::Entered { from, .. } => *from,
            };
            if self.calm || self.index(to).is_none_or(|to| self.slow & (1 << to) == 0) {
                break;
            }
            at = self.rng.below(self.net.len());
        }
        if !self.calm && self.rng.odds(self.weather.double) {
            return Some(self.net[at].clone());
        }
        Some(self.net.swap_remove(at))
    }

    fn deliver(&mut self) {
        if self.net.is_empty() || self.calm {
            self.commit_all();
        }
        let Some(packet) = self.take() else {
            // Silence: timers run out.
            if !self.wake() && !self.invoke() {
                self.expire();
            }
            return;
        };
        let lost = !self.calm && self.rng.odds(self.weather.loss);
        if lost {
            self.note(|| format!("LOST {packet:?}"));
            return self.lose(packet);
        }
        self.note(|| format!("{packet:?}"));
        match packet {
            Packet::Ask { to, from, message, have } => self.ask(to, from, &message, have),
            Packet::Answer { to, reply } => {
                if let Some(at) = self.index(to) {
                    self.nodes[at].clock.observe(reply.stamp());
                    self.burial_hears(&reply);
                    self.hear(to, &Event::Reply(reply));
                }
            }
            Packet::Blob { to, from, body } => {
                if let Some(at) = self.index(to) {
                    self.nodes[at].blobs |= 1 << body.0[0];
                    self.net.push(Packet::BlobHeld { to: from, node: to, body });
                }
            }
            Packet::BlobHeld { to, node, body } => self.hear(to, &Event::Holds { node, body }),
            Packet::Enter { to, epoch } => self.enter(to, epoch),
            Packet::Entered { from, epoch, highest } => self.entered(from, epoch, highest),
            Packet::Bury { to, epoch, ballot } => self.drop_tombstone(to, epoch, ballot),
        }
    }

    /// A packet does not arrive. Of a blob that is known some time, of a message only perhaps.
    fn lose(&mut self, packet: Packet) {
        match packet {
            Packet::Ask { to, from, message, .. } if self.rng.odds(500) => {
                self.hear(from, &Event::Silent { from: to, attempt: message.attempt });
            }
            Packet::Blob { to: node, from: to, body } | Packet::BlobHeld { to, node, body } => {
                self.hear(to, &Event::Lacks { node, body });
            }
            _ => {}
        }
    }

    fn ask(&mut self, to: Incarnation, from: Incarnation, message: &Message<Val>, have: Option<Slot<Val>>) {
        let Some(at) = self.index(to) else { return };
        let blob = match &message.request {
            Request::Store(_, state) => state.blob(),
            _ => None,
        };
        let list = usize::try_from(self.nodes[at].state.epoch.0).ok().and_then(|epoch| self.epochs.get(epoch));
        let stranger = list.is_some_and(|list| list.only(to).count() > 0 && list.only(from).count() == 0);
        if stranger && matches!(message.request, Request::Learn(..)) && !self.weak.strangers_teach {
            return;
        }
        let node = &mut self.nodes[at];
        let has_blob = self.weak.grants_without_blob || blob.is_none_or(|body| node.blobs & (1 << body.0[0]) != 0);
        let mut reply = node.handle(message, has_blob);
        if let (Answer::Held(slot, _) | Answer::Promised(_, slot), Some(have)) = (&mut reply.answer, have)
            && slot.accepted == have.accepted
        {
            slot.state = have.state;
        }
        if !matches!(reply.answer, Answer::Learned) {
            let answer = Packet::Answer { to: from, reply };
            if self.weak.answers_early {
                self.net.push(answer);
            } else {
                node.answer(answer);
            }
        }
        self.look_at(at);
        if !self.rng.odds(self.grouped) {
            self.commit(at);
        }
    }

    /// Two records at one ballot are never both chosen.
    pub fn look_at(&mut self, at: usize) {
        let slot = &self.nodes[at].slot;
        if !slot.chosen {
            return;
        }
        let (ballot, id) = (slot.accepted, slot.state.id());
        match self.chosen.iter().find(|(b, _)| *b == ballot) {
            None => self.chosen.push((ballot, id)),
            Some((_, other)) if *other == id => {}
            Some(_) => self.broken = Some(format!("two records chosen at {ballot:?}")),
        }
    }

    /// What a node has decided becomes durable, and its answers leave.
    pub fn commit(&mut self, at: usize) {
        self.net.extend(self.nodes[at].commit());
    }

    fn commit_all(&mut self) {
        (0..self.nodes.len()).for_each(|at| self.commit(at));
    }

    fn restart(&mut self) {
        let at = self.rng.below(self.nodes.len());
        self.note(|| format!("n{} restarts", at + 1));
        self.coords.retain(|c| c.node != at);
        self.nodes[at].restart();
        self.join_restarts(at);
    }

    fn judge(&self) -> Option<String> {
        let calls = self.clients.iter().filter(|c| !c.void).filter_map(|c| {
            let unanswered = c.plan.map(|plan| Op::Write {
                to: super::value::seen(Some(&plan.value)),
                condition: plan.condition,
                replaced: None,
            });
            let op = c.op.or(unanswered)?;
            Some(Call { op, from: c.begun?, to: c.op.and(c.ended) })
        });
        let calls: Vec<_> = calls.collect();
        (!linearizable(None, &calls)).then(|| format!("not linearizable: {calls:#?}"))
    }
}

fn client(rng: &mut Rng, weather: &Weather, at: usize, most: usize) -> Client {
    let id = u8::try_from(at + 1).expect("few clients");
    let blob = rng.odds(weather.blobs);
    let value = Val::Here { id, blob };
    let mut share = rng.below(weather.kinds.iter().sum::<u32>() as usize) as u32;
    let mut falls = |kind: usize| {
        let hit = share < weather.kinds[kind];
        share = share.wrapping_sub(if hit { 0 } else { weather.kinds[kind] });
        hit
    };
    let plan = if falls(0) {
        Some(Plan { value, condition: Condition::Any })
    } else if falls(1) {
        Some(Plan { value, condition: Condition::Absent })
    } else if falls(2) {
        let other = rng.below(most) as u32 + 1;
        Some(Plan { value, condition: Condition::Is(other) })
    } else if falls(3) {
        Some(Plan { value: Val::Gone, condition: Condition::Any })
    } else {
        None
    };
    Client { plan, begun: None, ended: None, op: None, void: false }
}

/// The attempt of something that is no coordinator.
pub fn attempt(drawn: u64) -> Attempt {
    Attempt(drawn << 8)
}
