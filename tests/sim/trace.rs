//! What happened in a run, as one number for each step, so that two runs of a seed can be held side by side.
//!
//! What the stores draw from the system (incarnations, names of staged files, sealed bytes) never comes in: it is
//! different each time. Whatever hangs on it does, and must not.

use super::clients::seen;
use super::world::World;
use boveda::base::Ballot;
use boveda::disk::crash::Rng;

/// The course of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Trace {
    /// Everything up to the end of each step.
    pub steps: Vec<u64>,
    now: u64,
    talks: bool,
}

impl Trace {
    /// Nothing happened yet. `talks`: everything is shown as it happens.
    pub fn new(talks: bool) -> Self {
        Trace { steps: Vec::new(), now: 0, talks }
    }

    /// Takes in what happened.
    pub fn say(&mut self, at: u64, what: &str, more: &[u64]) {
        if self.talks {
            println!("{at:5} {what} {more:?}");
        }
        what.bytes().for_each(|byte| self.mix(u64::from(byte)));
        more.iter().for_each(|word| self.mix(*word));
    }

    fn mix(&mut self, word: u64) {
        self.now = Rng::new(self.now ^ word).next();
    }

    /// The first step after which two runs are no longer the same; `None` where they are one.
    pub fn parts_from(&self, other: &Trace) -> Option<usize> {
        let differ = self.steps.iter().zip(&other.steps).position(|(one, other)| one != other);
        differ.or((self.steps.len() != other.steps.len()).then_some(self.steps.len().min(other.steps.len())))
    }
}

impl World {
    /// A step is over: what is on its way, and what was done on each disk.
    pub fn mark(&mut self) {
        let under_way = [self.now, self.net.len() as u64, self.coords.len() as u64];
        let disks: Vec<u64> = self.nodes.iter().map(|node| node.course()).collect();
        under_way.into_iter().chain(disks).for_each(|word| self.trace.mix(word));
        self.trace.steps.push(self.trace.now);
    }

    /// Everything that the nodes hold.
    pub fn mark_registers(&mut self) {
        for (at, node) in self.nodes.iter().enumerate() {
            let Some(store) = node.store() else { continue };
            for key in &self.keys {
                let Ok(held) = store.lookup(key) else { continue };
                let held = held.map(|held| {
                    let Ballot { stamp, node } = held.record.ballot;
                    let number = seen(Some(&held.record)).map_or(0, u64::from);
                    [stamp.0, self.index(node) as u64, u64::from(held.chosen), held.seq, number]
                });
                self.trace.say(self.now, "holds", &[&[at as u64], held.unwrap_or_default().as_slice()].concat());
            }
        }
        self.mark();
    }
}
