//! Which key generations the nodes open, as they tell each other with every heartbeat; which one may be made the one that
//! seals, which one has been, and which ones nobody needs any more.
//!
//! Invariants
//! - A generation may begin to seal only when all members have said lately that they open it: what is written through
//!   one node opens on all. Members are those of the member list, of both while it changes; without a list, all configured
//!   nodes.
//! - The generation that seals here is one that the nodes have decided on, or that one of them says it seals under. It is
//!   never older than one that sealed before.
//! - A generation may go only when all members have said lately that nothing there needs it.
//! - Nothing here touches a key: the ring is asked for ids alone.

use crate::actors::messages::Unready;
use crate::actors::status::KeyGeneration;
use crate::base::{ActiveKey, Incarnation, KekId, NodeName};
use crate::register::Roster;
use crate::seal::keyring::Keyring;
use crate::store::resealing::KeyUse;
use crate::wire::KeyNews;
use crate::wire::keys::Generation;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A member besides this node, and what it said lately; `None` when it said nothing.
type Told<'a> = (NodeName, Option<&'a KeyNews>);

/// What the peers said of their key rings, and the own one. Bounded by the configured peers.
pub struct KeyWatch {
    ring: Arc<Keyring>,
    fresh: Duration,
    /// Tells what lies here under each generation.
    uses: Box<dyn Fn() -> Vec<KeyUse> + Send + Sync>,
    /// How long something that was sealed before another generation began to seal may still be on its way.
    settles: Duration,
    /// The one that seals, and since when.
    sealing: Mutex<(KekId, Instant)>,
    /// Whether the key directory, as it is now, would not be taken by the next start.
    refused: AtomicBool,
    heard: Mutex<BTreeMap<NodeName, Option<Heard>>>,
}

#[derive(Debug)]
struct Heard {
    at: Instant,
    incarnation: Incarnation,
    news: KeyNews,
}

impl KeyWatch {
    /// Watches these peers. What one has said counts for `fresh`.
    pub fn new(ring: Arc<Keyring>, peers: impl IntoIterator<Item = NodeName>, fresh: Duration) -> Self {
        let heard = Mutex::new(peers.into_iter().map(|name| (name, None)).collect());
        let sealing = Mutex::new((ring.active(), Instant::now()));
        let (uses, settles) = (Box::new(Vec::new), Duration::ZERO);
        KeyWatch { ring, fresh, uses, settles, sealing, refused: AtomicBool::new(false), heard }
    }

    /// It, telling also what lies here under each generation. What was sealed under an older one may be on its way to
    /// other nodes for so long.
    pub fn with_uses(self, uses: impl Fn() -> Vec<KeyUse> + Send + Sync + 'static, settles: Duration) -> Self {
        KeyWatch { uses: Box::new(uses), settles, ..self }
    }

    /// Says whether the key directory, as it is now, is refused: the ring stays as it is, and the next start would fail.
    pub fn refuse_directory(&self, refused: bool) {
        self.refused.store(refused, Ordering::Relaxed);
    }

    /// Whether the key directory was refused when it was read last.
    pub fn is_directory_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// What this node tells.
    pub fn news(&self) -> KeyNews {
        let (uses, is_settled) = ((self.uses)(), self.is_settled());
        let of = |(number, id): (u32, KekId)| {
            let used = uses.iter().find(|used| used.kek == id);
            let is_free = is_settled && used.is_some_and(|used| used.is_free);
            Generation { number, id, references: used.map_or(0, |used| used.references), is_free }
        };
        let opens: Vec<_> = self.ring.generations().into_iter().map(of).collect();
        // Its file went too early: it is not to go from the other nodes too.
        let lacks = uses.iter().filter(|used| !used.is_free && !opens.iter().any(|one| one.id == used.kek));
        let lacks =
            lacks.map(|used| Generation { number: 0, id: used.kek, references: used.references, is_free: false });
        KeyNews::of(self.ring.active(), lacks.chain(opens.iter().copied()).collect())
    }

    /// Whether nothing that was sealed before the generation that seals is on its way any more.
    fn is_settled(&self) -> bool {
        let active = self.ring.active();
        let mut sealing = self.sealing.lock().unwrap_or_else(PoisonError::into_inner);
        if sealing.0 != active {
            *sealing = (active, Instant::now());
        }
        sealing.1.elapsed() >= self.settles
    }

    /// Generations that nothing here needs any more: their files may be gone.
    pub fn free(&self) -> Vec<KekId> {
        self.news().opens.into_iter().filter(|one| one.is_free).map(|one| one.id).collect()
    }

    /// A heartbeat of that life of a peer, whoever sent it.
    pub fn heard(&self, peer: &NodeName, incarnation: Incarnation, news: KeyNews) {
        if let Some(heard) = self.table().get_mut(peer) {
            *heard = Some(Heard { at: Instant::now(), incarnation, news });
        }
    }

    /// The members besides this node, with what they said lately.
    fn members<'a>(
        &self,
        table: &'a BTreeMap<NodeName, Option<Heard>>,
        roster: Option<&Roster>,
        me: Incarnation,
    ) -> Vec<Told<'a>> {
        let now = Instant::now();
        let told = |name: &NodeName, life: Option<Incarnation>| {
            let heard = table.get(name)?.as_ref()?;
            let counts = now.saturating_duration_since(heard.at) <= self.fresh;
            // Another life of the same name may have been given another key directory.
            (counts && life.is_none_or(|life| life == heard.incarnation)).then_some(&heard.news)
        };
        match roster {
            Some(list) => {
                let mut seats: Vec<_> = list.seats.iter().chain(&list.before).collect();
                seats.retain(|seat| seat.incarnation != me);
                seats.sort_by_key(|seat| (seat.name.clone(), seat.incarnation));
                seats.dedup();
                seats.into_iter().map(|seat| (seat.name.clone(), told(&seat.name, Some(seat.incarnation)))).collect()
            }
            None => table.keys().map(|name| (name.clone(), told(name, None))).collect(),
        }
    }

    /// The generation that may be made the one that seals: that of the number, or the newest that is held here. Refused
    /// where not all members have said lately that they open it.
    pub fn ready(&self, number: Option<u32>, roster: Option<&Roster>, me: Incarnation) -> Result<ActiveKey, Unready> {
        let own = self.ring.generations();
        let now = self.ring.active();
        let found = match number {
            Some(number) => own.iter().find(|(n, _)| *n == number).ok_or(Unready::Unknown(number))?,
            None => own.last().ok_or(Unready::Unknown(1))?,
        };
        let (number, kek) = *found;
        if let Some((active, _)) = own.iter().find(|(n, id)| *id == now && *n > number) {
            return Err(Unready::Older { number, active: *active });
        }
        let table = self.table();
        let members = self.members(&table, roster, me);
        let is_other = |news: &&KeyNews| news.opens.iter().any(|one| one.number == number && one.id != kek);
        let clashes = members.iter().filter(|(_, told)| told.as_ref().is_some_and(is_other));
        let clashes: Vec<_> = clashes.map(|(name, _)| name.clone()).collect();
        if !clashes.is_empty() {
            return Err(Unready::Clashes { number, clashes });
        }
        let (mut lacks, mut silent) = (Vec::new(), Vec::new());
        for (name, told) in members {
            match told {
                None => silent.push(name),
                Some(news) if news.of_generation(kek).is_none() => lacks.push(name),
                Some(_) => {}
            }
        }
        match lacks.is_empty() && silent.is_empty() {
            true => Ok(ActiveKey { number, kek }),
            false => Err(Unready::Lacking { number, lacks, silent }),
        }
    }

    /// The generation that is to seal here: the newest of what the nodes have decided on, as this one holds it, and of what
    /// others say that they seal under. None where none is newer than the one that seals, or held here.
    pub fn next(&self, decided: Option<ActiveKey>) -> Option<KekId> {
        let own = self.ring.generations();
        let table = self.table();
        let told = table.values().flatten().map(|heard| heard.news.seals);
        let wanted: Vec<KekId> = decided.map(|active| active.kek).into_iter().chain(told).collect();
        let newer = own.iter().skip_while(|(_, id)| *id != self.ring.active()).skip(1);
        newer.filter(|(_, id)| wanted.contains(id)).last().map(|(_, id)| *id)
    }

    /// A generation that this node needs and lacks, with its number as far as a peer has told it: something here is
    /// sealed under it, or a peer seals under it.
    pub fn missing(&self) -> Option<(Option<u32>, KekId)> {
        let table = self.table();
        let own = self.ring.generations();
        let news = || table.values().flatten().map(|heard| &heard.news);
        let lacks = |id: &KekId| !own.iter().any(|(_, one)| one == id);
        let missing = self.ring.missing().or_else(|| news().map(|news| news.seals).find(lacks))?;
        let number = news().find_map(|news| news.of_generation(missing)).map(|one| one.number);
        Some((number, missing))
    }

    /// The generations for people. `name`: of this node.
    pub fn show(&self, name: &NodeName, roster: Option<&Roster>, me: Incarnation) -> Vec<KeyGeneration> {
        let own = self.news();
        let (table, now) = (self.table(), Instant::now());
        let members = self.members(&table, roster, me);
        let active = own.of_generation(own.seals).map_or(0, |one| one.number);
        let show = |one: &Generation| {
            let clashes =
                |heard: &Heard| heard.news.opens.iter().any(|other| other.number == one.number && other.id != one.id);
            let lately = |heard: &&Heard| now.saturating_duration_since(heard.at) <= self.fresh;
            let clashing = table.iter().filter(|(_, heard)| heard.as_ref().filter(lately).is_some_and(clashes));
            let those = |lack: &dyn Fn(&KeyNews) -> bool| {
                let lacking = members.iter().filter(|(_, told)| told.is_none_or(lack));
                lacking.map(|(name, _)| name.clone()).collect::<Vec<_>>()
            };
            let waits_for = match one.number > active {
                true => those(&|news| news.of_generation(one.id).is_none()),
                false => Vec::new(),
            };
            let mut needed_by = match one.number < active {
                true => those(&|news| news.needs(one.id)),
                false => Vec::new(),
            };
            if one.number < active && !one.is_free {
                needed_by.insert(0, name.clone());
            }
            KeyGeneration {
                number: one.number,
                id: format!("{}", one.id),
                active: one.id == own.seals,
                waits: waits_for.len(),
                waits_for,
                references: one.references,
                free: one.is_free,
                needed: needed_by.len(),
                removable: one.number < active && needed_by.is_empty(),
                needed_by,
                clashes_with: clashing.map(|(name, _)| name.clone()).collect(),
            }
        };
        own.opens.iter().filter(|one| one.number != 0).map(show).collect()
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<NodeName, Option<Heard>>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for KeyWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyWatch").field("heard", &self.heard).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
