//! What goes on step by step: lists, the look whether a bucket is empty, member changes, burials.

use super::world::{Reader, World, bucket};
use boveda::actors::blocks;
use boveda::actors::coordinator::pages::{self, Merged, Own};
use boveda::actors::coordinator::shown::{self, Folded, Span};
use boveda::actors::messages::RegisterSlot;
use boveda::base::{Complete, Epoch, Folds, Page, RegisterKey};
use boveda::register::{Answer, Attempt, Burial, Change, Message, Request, Roster, Step};
use boveda::store::Store;
use boveda::store::types::Grave;
use boveda::store::voting::mark_of;
use boveda::store::wait_blocking;
use boveda::wire::{ENTRIES_MAX, Item, Scanned};
use std::collections::BTreeSet;
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
    /// What is listed; nothing is folded by the other walks.
    folds: Folds,
    /// Registers of a step.
    limit: usize,
    /// Each by the edge of what it is shown as.
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
        let shown = |keys: &BTreeSet<RegisterKey>| keys.iter().map(|key| self.folds.edge(key)).collect::<BTreeSet<_>>();
        let missed = shown(&self.always).difference(&self.found).count();
        let invented = self.found.difference(&shown(&self.ever)).count();
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
            5..9 => self.begin_at(at, Aim::Emptiness, Folds::objects(bucket(), "", None)),
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
                    self.begin_at(at, aim, Folds::new(RegisterKey::first(), None));
                }
            }
            _ => {}
        }
    }

    pub fn begin_list(&mut self, at: usize) {
        let (prefix, delimiter) =
            self.rng.pick(&[("", None), ("k0", None), ("", Some("/")), ("", Some("/")), ("k", Some("/1"))]);
        self.begin_at(at, Aim::List, Folds::objects(bucket(), prefix, delimiter));
    }

    fn begin_at(&mut self, node: usize, aim: Aim, folds: Folds) {
        let limit = self.rng.pick(&[1, 3, 9, 30, 200]);
        let of_it = |key: &&RegisterKey| folds.covers(key);
        let always = self.there.iter().filter(|key| !self.unsure.contains_key(*key)).filter(of_it).cloned().collect();
        let ever = self.there.iter().chain(self.unsure.keys()).filter(of_it).cloned().collect();
        let (first, end) = match aim {
            Aim::Change(..) => (RegisterKey::first(), RegisterKey::end()),
            _ => (folds.prefix().clone(), folds.prefix().successor()),
        };
        let (next, found) = (Some(Bound::Included(first)), BTreeSet::new());
        self.walks.push(Walk { node, aim, next, end, folds, limit, found, always, ever });
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
                if let Some(step) = self.step_of(&walk, &from) {
                    assert!(step.complete.is_behind(&from), "a walk has to get on");
                    self.take(&mut walk, &from, step);
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

    fn take(&mut self, walk: &mut Walk, from: &Bound<RegisterKey>, step: Merged) {
        if walk.is_change() {
            // What cannot be stored again now is tried again with its whole step.
            if !step.found.keys().all(|key| self.read(walk.node, key, true).is_some()) {
                return;
            }
        }
        let present = step.found.iter().filter(|(_, slot)| is_object(slot)).map(|(key, _)| key);
        let shown: BTreeSet<_> = present.clone().map(|key| walk.folds.edge(key)).collect();
        if !walk.is_change() {
            let (span, present) = (Span { from: from.clone(), to: walk.end.clone() }, present.collect::<BTreeSet<_>>());
            // What stands under a common prefix beside its witness was not looked at.
            let looked_at = |key: &RegisterKey| {
                let told = present.contains(key) || !shown.contains(&walk.folds.edge(key));
                told && walk.folds.covers(key) && span.holds(key) && step.complete.covers(key)
            };
            self.seen(&present, looked_at);
        }
        walk.found.extend(shown);
        walk.next = step.complete.next();
        if walk.aim == Aim::Emptiness && !walk.found.is_empty() {
            walk.next = None;
        }
    }

    /// A write whose outcome nobody knew has taken effect, if a reader has seen what it leaves: nobody may see the state
    /// before it any more.
    fn seen(&mut self, present: &BTreeSet<&RegisterKey>, looked_at: impl Fn(&RegisterKey) -> bool) {
        let (there, decided) = (&mut self.there, &mut self.tally.decided_by_readers);
        self.unsure.retain(|key, becomes| {
            let seen = present.contains(key);
            if !looked_at(key) || *becomes != Some(seen) {
                return true;
            }
            *decided += 1;
            match seen {
                true => there.insert(key.clone()),
                false => there.remove(key),
            };
            false
        });
    }

    /// What the reader takes a page for.
    fn as_read(&self, mut page: Own, asked: usize) -> Own {
        if self.reader == Reader::TakesShortForLast && page.entries.len() < asked {
            page.complete = Complete::End;
        }
        if self.reader == Reader::PassesOverTombstones {
            page.entries.retain(|(_, slot)| slot.chosen || blocks::is_present(slot));
        }
        page
    }

    /// A step, as coordinators take it.
    fn step_of(&mut self, walk: &Walk, from: &Bound<RegisterKey>) -> Option<Merged> {
        let (me, to, limit) = (walk.node, &walk.end, walk.limit);
        match (&walk.aim, walk.folds.delimiter()) {
            (Aim::Change(..), _) => {
                let mut merged = self.gather(me, from, to, limit)?;
                self.read_unsure(me, &mut merged)?;
                Some(merged)
            }
            (_, None) => self.unfolded(me, &walk.folds, from, to, limit),
            (_, Some(_)) => self.folded(me, &walk.folds, from, to, limit),
        }
    }

    /// Pages of this node and of others that make a majority with it. Whether this node's counts as one of them.
    fn pages(&mut self, me: usize, asked: usize, page: impl Fn(&Store) -> Own) -> Option<(Own, bool, Vec<Own>)> {
        let store = self.nodes[me].store()?;
        let (voting, inc) = (store.voting(), self.nodes[me].seat.incarnation);
        let members = Arc::clone(voting.placement.as_ref()?.all());
        let own = self.as_read(page(store), asked);
        let mut votes = members.only(inc);
        let counts = votes.count() > 0;
        let mut order: Vec<usize> = (0..self.nodes.len()).filter(|at| *at != me).collect();
        let turn = self.rng.below(order.len());
        order.rotate_left(turn);
        let mut pages = Vec::new();
        for to in order {
            let vote = members.only(self.nodes[to].seat.incarnation);
            if members.majority(votes) || vote.count() == 0 {
                continue;
            }
            let Some(peer) = self.voter(me, to) else { continue };
            pages.push(self.as_read(page(peer), asked));
            votes = votes.with(vote);
        }
        members.majority(votes).then_some((own, counts, pages))
    }

    /// All registers of a range.
    fn gather(&mut self, me: usize, from: &Bound<RegisterKey>, to: &RegisterKey, limit: usize) -> Option<Merged> {
        let place = self.nodes[me].store()?.voting().placement.as_ref()?.all().only(self.nodes[me].seat.incarnation);
        let scan = |store: &Store| store.scan_slots(from.as_ref(), to, limit).expect("a healthy disk");
        let (mut own, _, peers) = self.pages(me, limit, scan)?;
        let scanned =
            |(key, slot): (_, RegisterSlot)| Some(Scanned { key, ballot: slot.accepted, chosen: slot.chosen });
        let pages: Vec<_> = peers.into_iter().map(|page| page.map(scanned)).collect();
        if place.count() == 0 {
            pages::confirmed(&mut own, &pages);
        }
        Some(pages::merge(own, &pages))
    }

    fn unfolded(
        &mut self,
        me: usize,
        folds: &Folds,
        from: &Bound<RegisterKey>,
        to: &RegisterKey,
        limit: usize,
    ) -> Option<Merged> {
        let show = |store: &Store| store.show_slots(folds, from.as_ref(), to, limit).expect("a healthy disk");
        let (own, counts, peers) = self.pages(me, limit, show)?;
        let peers: Vec<_> = peers.iter().map(|page| blocks::of(&items(page))).collect();
        let (mut merged, differ) = match counts {
            true => shown::compare(own, from, &peers),
            false => (Merged::default(), vec![Span { from: from.clone(), to: to.clone() }]),
        };
        self.tally.spans += differ.len() as u64;
        for span in differ {
            merged.add(self.gather(me, &span.from, &span.to, ENTRIES_MAX)?);
        }
        self.read_unsure(me, &mut merged)?;
        Some(merged)
    }

    fn folded(
        &mut self,
        me: usize,
        folds: &Folds,
        from: &Bound<RegisterKey>,
        to: &RegisterKey,
        limit: usize,
    ) -> Option<Merged> {
        let show = |store: &Store| store.show_slots(folds, from.as_ref(), to, limit).expect("a healthy disk");
        let (own, counts, peers) = self.pages(me, limit, show)?;
        let peers: Vec<_> = peers.iter().map(items).collect();
        let Folded { mut merged, witnesses, mut within } = shown::merge_folded(folds, counts.then_some(&own), &peers);
        merged.unsure.extend(witnesses.keys().cloned());
        self.read_unsure(me, &mut merged)?;
        for (witness, common) in witnesses {
            if !merged.found.get(&witness).is_some_and(blocks::is_present) {
                within.insert(common);
            }
        }
        self.tally.within += within.len() as u64;
        for common in within {
            let (inside, to) = (Folds::new(common.clone(), None), common.successor());
            let mut next = Some(Bound::Included(common));
            while let Some(from) = next {
                let step = self.unfolded(me, &inside, &from, &to, 2)?;
                let first = step.found.into_iter().find(|(_, slot)| blocks::is_present(slot));
                next = if first.is_some() { None } else { step.complete.next() };
                merged.found.extend(first);
            }
        }
        Some(merged)
    }

    fn read_unsure(&mut self, me: usize, merged: &mut Merged) -> Option<()> {
        for key in std::mem::take(&mut merged.unsure) {
            let (accepted, state) = self.read(me, &key, false)?;
            merged.found.insert(key, RegisterSlot { accepted, chosen: true, state });
        }
        Some(())
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

fn items(page: &Own) -> Page<Item> {
    page.clone().map(|(key, slot)| Some(blocks::item(key, &slot)))
}

fn is_object(slot: &RegisterSlot) -> bool {
    slot.state.value.as_ref().is_some_and(|record| record.object().is_some())
}
