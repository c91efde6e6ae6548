//! The world: nodes, the scheduler, and the judgement of what clients saw.

use super::chores::BurialChore;
use super::coordinators::{Coordinator, Whom};
use super::lists::{ChangeChore, List, seat};
use super::net::Packet;
use super::node::{Disk, Node, Reg};
use super::rng::Rng;
use super::setup::{Weakened, Weather};
use super::value::{Plan, Val};
use crate::lin::{Call, Condition, Op, linearizable};
use boveda::base::{Ballot, Epoch, Incarnation};
use boveda::register::{Attempt, Roster, Rules};
use std::collections::BTreeMap;

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
    pub buried: u64,
    /// Changes of the list that came to their end, and those that seated a node anew that had lost its disk.
    pub changed: u64,
    pub seated: u64,
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
        self.buried += other.buried;
        self.changed += other.changed;
        self.seated += other.seated;
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
    /// All lists that anybody wanted, and by their epochs those that somebody has taken over.
    pub lists: Vec<List>,
    pub by_epoch: BTreeMap<Epoch, usize>,
    pub burial: Option<BurialChore>,
    pub change: Option<ChangeChore>,
    /// The node outside was to take somebody's place.
    pub exchanged: bool,
    /// Under which incarnations those are back that lost their disks.
    pub lost: Vec<Incarnation>,
    pub settles: usize,
    pub drawn: u64,
    pub now: u64,
    pub tally: Tally,
    pub broken: Option<String>,
    pub trace: bool,
    chosen: Vec<(Reg, Ballot, boveda::base::WriteId)>,
    pub slow: u32,
    /// How often a decision waits for others to be committed with it, per thousand.
    pub grouped: u32,
    pub calm: bool,
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
        let inc = |at: usize| Incarnation(at as u64 + 1);
        let first = List::new(Roster::founding(0, (0..replicas).map(|at| seat(at, inc(at))).collect()));
        let epoch = first.roster.epoch;
        let nodes = (0..count).map(|at| Node::new(inc(at), Disk::with_list(epoch, 0), step, weak.rules));
        let (fewest, most) = weather.clients;
        let clients = (0..fewest + rng.below(most - fewest + 1)).map(|at| client(&mut rng, &weather, at, most));
        World {
            clients: clients.collect(),
            nodes: nodes.collect(),
            replicas,
            net: Vec::new(),
            coords: Vec::new(),
            by_epoch: BTreeMap::from([(epoch, 0)]),
            lists: vec![first],
            burial: None,
            change: None,
            exchanged: false,
            lost: Vec::new(),
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
            // What is under way mostly comes to its end.
            let odds = if self.change.is_some() || self.burial.is_some() { 20 } else { 150 };
            if !busy && self.rng.odds(odds) {
                break;
            }
        }
        // The end: no more faults, but what is in the net may still arrive; readers look at the result.
        self.calm = true;
        self.coords.retain(|c| matches!(c.whom, Whom::CatchUp(_) | Whom::Move(_) | Whom::List));
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
            self.lose_disk();
        } else if falls(w.bury) {
            self.bury();
        } else if falls(w.change) {
            self.begin_change();
        } else if falls(w.list) {
            self.see_to_list();
        } else if falls(idle * w.call) {
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

    pub fn go_on_with_chores(&mut self) {
        if self.weather.list > 0 {
            self.see_to_list();
        }
        if self.weather.bury > 0 {
            self.bury();
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

    /// Two records at one ballot are never both chosen.
    pub fn look_at(&mut self, at: usize, reg: Reg) {
        let slot = self.nodes[at].slot(reg);
        if !slot.chosen {
            return;
        }
        let (ballot, id) = (slot.accepted, slot.state.id());
        match self.chosen.iter().find(|(r, b, _)| *r == reg && *b == ballot) {
            None => self.chosen.push((reg, ballot, id)),
            Some((_, _, other)) if *other == id => {}
            Some(_) => self.broken = Some(format!("two records chosen at {ballot:?}")),
        }
    }

    /// What a node has decided becomes durable, and its answers leave.
    pub fn commit(&mut self, at: usize) {
        self.net.extend(self.nodes[at].commit());
    }

    pub fn commit_all(&mut self) {
        (0..self.nodes.len()).for_each(|at| self.commit(at));
    }

    fn restart(&mut self) {
        let at = self.rng.below(self.nodes.len());
        self.note(|| format!("n{} restarts", at + 1));
        self.coords.retain(|c| c.node != at);
        self.nodes[at].restart();
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
