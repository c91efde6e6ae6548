//! What goes on step by step: lists, the look whether a bucket is empty, member changes, burials.

use super::world::{Reader, World, bucket};
use boveda::actors::coordinator::pages::{self, Stride};
use boveda::base::{Complete, Epoch, Page, RegisterKey};
use boveda::register::{Answer, Attempt, Burial, Change, Message, Request, Roster, Slot, Step};
use boveda::store::types::Grave;
use boveda::store::voting::mark_of;
use boveda::store::wait_blocking;
use boveda::wire::Scanned;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// What a walk is for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Aim {
    List,
    Emptiness,
    /// Storing everything again in that epoch of both lists; behind it the old list ends.
    Change(Change, Epoch),
}

/// A walk on its way.
pub struct Walk {
    pub node: usize,
    aim: Aim,
    next: Option<Bound<RegisterKey>>,
    end: RegisterKey,
    stride: Stride,
    found: BTreeSet<RegisterKey>,
    /// What was there all the while, and what was there at some time.
    always: BTreeSet<RegisterKey>,
    ever: BTreeSet<RegisterKey>,
}

impl Walk {
    pub fn is_change(&self) -> bool {
        matches!(self.aim, Aim::Change(..))
    }

    /// A key has become there, or gone.
    pub fn changed(&mut self, key: &RegisterKey, there: bool) {
        match there {
            true => drop(self.ever.insert(key.clone())),
            false => drop(self.always.remove(key)),
        }
    }

    fn judge(&self) -> Result<(), String> {
        let missed = self.always.difference(&self.found).count();
        let invented = self.found.difference(&self.ever).count();
        match self.aim {
            Aim::Emptiness if !self.found.is_empty() && invented == 0 => Ok(()),
            Aim::Change(..) => Ok(()),
            _ if missed + invented == 0 => Ok(()),
            _ => Err(format!("{:?}: {missed} missed, {invented} invented, {} found", self.aim, self.found.len())),
        }
    }
}

/// Tombstones on their way out.
pub struct Burying {
    coming: Roster,
    leaving: Vec<(RegisterKey, Burial, Grave)>,
    untold: Vec<usize>,
}

impl World {
    /// Some walk begins, or a member change.
    pub fn begin_walk(&mut self, at: usize) {
        if self.nodes[at].store().is_none() || self.walks.len() > 6 {
            return;
        }
        match self.rng.below(10) {
            0..5 => self.begin_list(at),
            5..9 => {
                let range = (RegisterKey::object_prefix(&bucket(), ""), RegisterKey::objects_end(&bucket()));
                self.begin_at(at, Aim::Emptiness, range);
            }
            _ if self.roster.before.is_empty() && self.burying.is_none() => {
                // One comes or goes, or one takes the place of another.
                let out = self.rng.below(self.nodes.len());
                let all = self.nodes.iter().enumerate();
                let seats: Vec<_> = all.filter(|(n, _)| *n != out).map(|(_, node)| node.seat.clone()).collect();
                let (change, made_ms) = (Change::new(&seats, None), self.roster.made_ms + 1);
                if let Step::Decide(both) = change.step(&self.roster, None, made_ms)
                    && self.decide(at, both)
                {
                    let aim = Aim::Change(change, self.roster.epoch);
                    self.begin_at(at, aim, (RegisterKey::first(), RegisterKey::end()));
                }
            }
            _ => {}
        }
    }

    pub fn begin_list(&mut self, at: usize) {
        let range = (RegisterKey::object_prefix(&bucket(), ""), RegisterKey::objects_end(&bucket()));
        self.begin_at(at, Aim::List, range);
    }

    fn begin_at(&mut self, node: usize, aim: Aim, (first, end): (RegisterKey, RegisterKey)) {
        let stride = Stride::new(self.rng.pick(&[1, 3, 9, 30]));
        let always = self.there.difference(&self.unsure).cloned().collect();
        let ever = self.there.union(&self.unsure).cloned().collect();
        let (next, found) = (Some(Bound::Included(first)), BTreeSet::new());
        self.walks.push(Walk { node, aim, next, end, stride, found, always, ever });
    }

    /// Some walk takes a step.
    pub fn go_on(&mut self) -> Result<(), String> {
        if self.walks.is_empty() {
            return Ok(());
        }
        let at = self.rng.below(self.walks.len());
        let mut walk = self.walks.swap_remove(at);
        match walk.next.clone() {
            Some(from) => {
                if let Some((found, complete)) = self.merged(&walk, &from) {
                    self.take(&mut walk, found, complete);
                }
            }
            // Everything is stored again: the epoch of both lists ends.
            None => {
                if let Aim::Change(change, stored) = &walk.aim
                    && let Step::Decide(next) = change.step(&self.roster, Some(*stored), self.roster.made_ms + 1)
                    && self.decide(walk.node, next)
                {
                    self.tally.changes += 1;
                    return Ok(());
                }
            }
        }
        if walk.next.is_some() || walk.is_change() {
            self.walks.push(walk);
            return Ok(());
        }
        match (&walk.aim, walk.found.is_empty()) {
            (Aim::Emptiness, true) => self.tally.empty += 1,
            (Aim::Emptiness, false) => self.tally.not_empty += 1,
            _ => self.tally.lists += 1,
        }
        walk.judge()
    }

    fn take(&mut self, walk: &mut Walk, found: BTreeMap<RegisterKey, bool>, complete: Complete) {
        if walk.is_change() {
            // What cannot be stored again now is tried again with its whole step.
            if !found.keys().all(|key| self.read(walk.node, key, true).is_some()) {
                return;
            }
        }
        let before = walk.found.len();
        walk.found.extend(found.into_iter().filter(|(_, there)| *there).map(|(key, _)| key));
        walk.next = complete.next();
        walk.stride.stepped(walk.found.len() > before);
        if walk.aim == Aim::Emptiness && !walk.found.is_empty() {
            walk.next = None;
        }
    }

    /// What the reader takes a page for.
    fn as_read<T>(&self, mut page: Page<T>, asked: usize) -> Page<T> {
        if self.reader == Reader::TakesShortForLast && page.entries.len() < asked {
            page.complete = Complete::End;
        }
        page
    }

    /// A step, as coordinators take it: which registers there are, and whether they hold an object.
    fn merged(&mut self, walk: &Walk, from: &Bound<RegisterKey>) -> Option<(BTreeMap<RegisterKey, bool>, Complete)> {
        let (me, limit) = (walk.node, walk.stride.registers());
        let store = self.nodes[me].store()?;
        let (voting, inc) = (store.voting(), self.nodes[me].seat.incarnation);
        let members = Arc::clone(voting.placement.as_ref()?.all());
        let own = store.scan_slots(from.as_ref(), &walk.end, limit).expect("a healthy disk");
        let mut own = self.as_read(own, limit);
        let mut votes = members.only(inc);
        let mut order: Vec<usize> = (0..self.nodes.len()).filter(|at| *at != me).collect();
        let turn = self.rng.below(order.len());
        order.rotate_left(turn);
        let mut pages: Vec<Page<Scanned>> = Vec::new();
        for to in order {
            let vote = members.only(self.nodes[to].seat.incarnation);
            if members.majority(votes) || vote.count() == 0 {
                continue;
            }
            let Some(peer) = self.voter(me, to) else { continue };
            let page = peer.scan_slots(from.as_ref(), &walk.end, limit).expect("a healthy disk");
            assert!(page.complete.is_behind(from), "a walk has to get on");
            let scanned = |(key, slot): (_, Slot<_>)| Some(Scanned { key, ballot: slot.accepted, chosen: slot.chosen });
            pages.push(self.as_read(page.map(scanned), limit));
            votes = votes.with(vote);
        }
        if !members.majority(votes) {
            return None;
        }
        if members.only(inc).count() == 0 {
            pages::confirmed(&mut own, &pages);
        }
        let merged = pages::merge(own, &pages);
        let there = |value: Option<&super::world::Value>| value.is_some_and(|record| record.object().is_some());
        let mut found: BTreeMap<_, _> =
            merged.found.iter().map(|(key, slot)| (key.clone(), there(slot.state.value.as_ref()))).collect();
        for key in merged.unsure {
            let (_, state) = self.read(me, &key, false)?;
            found.insert(key, there(state.value.as_ref()));
        }
        Some((found, merged.complete))
    }

    /// Tombstones that all members hold are on their way out, as soon as the epoch for it is decided.
    pub fn begin_burying(&mut self, at: usize) {
        let Some(store) = self.nodes[at].store() else { return };
        let (list, epoch) = (store.voting().list, self.roster.epoch);
        if self.burying.is_some() || !self.roster.before.is_empty() || list.epoch != epoch {
            return;
        }
        let (mut graves, mut after) = (Vec::new(), None);
        loop {
            let page = store.due_tombstones(after.as_ref(), Duration::ZERO, 25).expect("a healthy disk");
            graves.extend(page.entries);
            match page.complete {
                Complete::Through(last) => after = Some(last),
                Complete::End => break,
            }
        }
        let coming = self.roster.next(self.roster.made_ms + 1, &self.roster.seats);
        let Some(members) = coming.members().map(Arc::new) else { return };
        let mut leaving: Vec<_> = graves
            .into_iter()
            .map(|grave| (grave.0.clone(), Burial::new(Arc::clone(&members), grave.1), grave))
            .collect();
        for (key, burial, _) in &mut leaving {
            for to in (0..self.nodes.len()).filter(|to| members.voters().contains(&self.nodes[*to].seat.incarnation)) {
                let message = Message { epoch, attempt: Attempt(1), request: Request::Query };
                let Some(reply) = self.ask(at, to, key, message) else { continue };
                if let Answer::Held(slot, _) = &reply.answer {
                    burial.held(reply.from, reply.epoch, slot);
                }
            }
        }
        leaving.retain(|(_, burial, _)| burial.may_begin());
        if !leaving.is_empty() && self.decide(at, coming.clone()) {
            let untold = members.voters().iter().filter_map(|node| self.place(*node)).collect();
            self.burying = Some(Burying { coming, leaving, untold });
        }
    }

    /// A member is told to drop them, once all are in the epoch.
    pub fn bury_on(&mut self, at: usize) {
        let Some(mut burying) = self.burying.take() else { return };
        let list = mark_of(&burying.coming);
        if self.roster.epoch != burying.coming.epoch {
            return;
        }
        for node in &self.nodes {
            let Some(store) = node.store() else { continue };
            let entered = store.voting().node.state.epoch;
            burying.leaving.iter_mut().for_each(|(_, burial, _)| burial.entered(node.seat.incarnation, entered));
        }
        if burying.leaving.iter().all(|(_, burial, _)| burial.may_drop())
            && let Some(told) = burying.untold.iter().position(|to| *to == at)
            && let Some(store) = self.nodes[at].store()
        {
            let graves = burying.leaving.iter().map(|(_, _, grave)| grave.clone()).collect();
            for answer in store.bury(list, graves) {
                self.nodes[at].turn();
                wait_blocking(answer).expect("they are dropped");
            }
            self.tally.buried += burying.leaving.len() as u64;
            burying.untold.swap_remove(told);
        }
        if !burying.untold.is_empty() {
            self.burying = Some(burying);
        }
    }
}
