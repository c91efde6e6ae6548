//! What must hold when all is healed: no fault is left, everything arrives, and all nodes hold the same.

use super::clients::{Client, plaintext, seen};
use super::node::Node;
use super::world::World;
use crate::lin::{Call, linearizable};
use boveda::base::{KekId, Record, State, Wrap};
use std::collections::BTreeSet;
use std::sync::Arc;

const CALM_ROUNDS_MAX: usize = 500;

impl World {
    /// No more faults: everything arrives, everything is settled, and a disk that was lost is filled again.
    pub fn heal(&mut self) -> Result<(), String> {
        self.calm = true;
        self.cut = None;
        let roster = Arc::clone(&self.roster);
        self.disks_are_good();
        (0..self.nodes.len()).for_each(|at| self.start(at));
        self.introduce_all();
        for at in 0..self.nodes.len() {
            if self.nodes[at].retired {
                // It begins with nothing in another life, has no vote, and is filled.
                self.nodes[at] = Node::new(self.rng.next());
                self.nodes[at].seat(&roster);
                self.nodes[at].reborn = true;
            }
        }
        self.introduce_all();
        self.all_goes_on()?;
        for key in 0..self.keys.len() {
            self.spawn_read(self.voter(key), key, None);
            self.rest();
        }
        self.drain_feeds()?;
        self.mark_registers();
        self.same_everywhere()?;
        // Every node is asked once more: what it says is part of the history.
        for node in (0..self.nodes.len()).filter(|node| !self.nodes[*node].reborn).collect::<Vec<_>>() {
            for key in 0..self.keys.len() {
                self.now += 1;
                self.clients.push(Client { key, begun: self.now, ended: None, op: None, etag: None, upload: None });
                self.spawn_read(node, key, Some(self.clients.len() - 1));
                self.rest();
                self.now += 1;
            }
        }
        let lost = self.rng.below(self.nodes.len());
        self.nodes[lost] = Node::new(self.rng.next());
        self.nodes[lost].seat(&roster);
        self.net.clear();
        self.drain_feeds()?;
        self.mark_registers();
        self.same_everywhere()
    }

    /// What clients have called for ends, and whoever calls now has an answer that says what became of it.
    fn all_goes_on(&mut self) -> Result<(), String> {
        self.rest();
        if !self.coords.is_empty() {
            return Err(format!("{} calls never end", self.coords.len()));
        }
        for node in (0..self.nodes.len()).filter(|node| !self.nodes[*node].reborn).collect::<Vec<_>>() {
            for key in 0..self.keys.len() {
                self.now += 1;
                let client = self.overwrite(node, key);
                self.rest();
                self.now += 1;
                if self.clients[client].ended.is_none() {
                    return Err(format!("node {node} cannot write key {key} after healing"));
                }
            }
        }
        Ok(())
    }

    /// Every node is told by every other one how that stands, and what it remembers.
    fn introduce_all(&mut self) {
        for one in 0..self.nodes.len() {
            (0..one).for_each(|other| self.introduce(one, other));
        }
    }

    /// A node with a vote, this one if it has.
    fn voter(&self, at: usize) -> usize {
        let all = (0..self.nodes.len()).map(|more| (at + more) % self.nodes.len());
        all.into_iter().find(|at| !self.nodes[*at].reborn).expect("one is retired at most")
    }

    /// Until nothing is under way.
    fn rest(&mut self) {
        for _ in 0..CALM_ROUNDS_MAX {
            while !self.net.is_empty() {
                self.now += 1;
                self.deliver();
            }
            (0..self.nodes.len()).for_each(|at| self.turn(at));
            if self.net.is_empty() && !self.nodes.iter().any(Node::waits) && !self.wake() {
                if self.coords.is_empty() {
                    return;
                }
                // One that waits for a voter which is no more.
                self.time_out(false);
            }
        }
    }

    fn drain_feeds(&mut self) -> Result<(), String> {
        for _ in 0..CALM_ROUNDS_MAX {
            let mut some = false;
            for from in 0..self.nodes.len() {
                for to in (0..self.nodes.len()).filter(|to| *to != from) {
                    some |= self.offer(from, to);
                }
            }
            if !some {
                return Ok(());
            }
            self.rest();
        }
        Err("the change feeds never come to rest".to_owned())
    }

    fn same_everywhere(&mut self) -> Result<(), String> {
        for at in 0..self.keys.len() {
            let key = self.key(at);
            let mut copies = BTreeSet::new();
            for node in &self.nodes {
                let store = node.store().expect("it is up");
                let held = store.lookup(&key).map_err(|error| format!("{key:?}: {error}"))?;
                let Some(held) = held else {
                    copies.insert(None);
                    continue;
                };
                if !held.chosen {
                    return Err(format!("key {at} is tentative after healing"));
                }
                let blobs: Vec<_> = held.record.bodies().map(|blob| node.blob(blob.body)).collect();
                if blobs.contains(&None) {
                    return Err(format!("key {at}: a node lacks the body"));
                }
                if let Some(number) = seen(Some(&held.record))
                    && node.plaintext(&key, &held.record) != Some(plaintext(number))
                {
                    return Err(format!("key {at}: other bytes than client {number} wrote"));
                }
                copies.insert(Some((without_wraps(&held.record), blobs)));
            }
            if copies.len() != 1 {
                return Err(format!("key {at}: {} different copies after healing", copies.len()));
            }
        }
        for node in &mut self.nodes {
            node.settled()?;
        }
        Ok(())
    }

    pub fn judge(&self) -> Option<String> {
        if self.weather.uploads {
            return self.judge_uploads();
        }
        (0..self.keys.len()).find_map(|key| {
            let call = |c: &Client| Some(Call { op: c.op?, from: c.begun, to: c.ended });
            let calls: Vec<_> = self.clients.iter().filter(|c| c.key == key).filter_map(call).collect();
            (!linearizable(None, &calls)).then(|| format!("key {key} is not linearizable: {calls:#?}"))
        })
    }
}

/// A record as all nodes hold it: each seals the key in it under a generation and a nonce of its own.
fn without_wraps(record: &Record) -> Vec<u8> {
    let mut record = record.clone();
    if let State::Object(object) = &mut record.state {
        object.wrap = Wrap { kek: KekId([0; 16]), nonce: [0; 12], sealed: [0; 48] };
    }
    record.encode()
}
