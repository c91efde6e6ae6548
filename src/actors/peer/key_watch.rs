//! Which key generations the nodes open, as they tell each other with every heartbeat, and which one may seal.
//!
//! Invariants
//! - A generation seals only when all members have said lately that they open it: what is written through one node
//!   opens on all. Members are those of the member list, of both while it changes; without a list, all configured
//!   nodes.
//! - The generation that seals is never older than one that sealed before.
//! - Nothing here touches a key: the ring is asked for ids alone.

use crate::actors::status::KeyGeneration;
use crate::base::{Incarnation, KekId, NodeName};
use crate::register::Roster;
use crate::seal::keyring::Keyring;
use crate::wire::KeyNews;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A member besides this node, and what it said lately that it opens; `None` when it said nothing.
type Told<'a> = (NodeName, Option<&'a [(u32, KekId)]>);

/// What may seal, and what cannot yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The generation that seals from now on.
    pub seals: KekId,
    /// Newer ones that are held here, oldest first, and who has not said that it opens them.
    pub waiting: Vec<(KekId, Vec<NodeName>)>,
}

/// The newest generation that all open, and never one older than what seals now. `own`: in rising order.
pub fn choose(own: &[(u32, KekId)], now: KekId, members: &[Told<'_>]) -> Choice {
    let mut choice = Choice { seals: now, waiting: Vec::new() };
    for (_, id) in own.iter().skip_while(|(_, id)| *id != now).skip(1) {
        let opens = |told: &Option<&[(u32, KekId)]>| told.is_some_and(|told| told.iter().any(|(_, one)| one == id));
        let lacking = members.iter().filter(|(_, told)| !opens(told)).map(|(name, _)| name.clone());
        let lacking: Vec<NodeName> = lacking.collect();
        if lacking.is_empty() {
            choice = Choice { seals: *id, waiting: Vec::new() };
        } else {
            choice.waiting.push((*id, lacking));
        }
    }
    choice
}

/// What the peers said of their key rings, and the own one. Bounded by the configured peers.
#[derive(Debug)]
pub struct KeyWatch {
    ring: Arc<Keyring>,
    fresh: Duration,
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
        KeyWatch { ring, fresh, refused: AtomicBool::new(false), heard }
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
        KeyNews::of(self.ring.active(), self.ring.generations())
    }

    /// A heartbeat of that life of a peer, whoever sent it.
    pub fn heard(&self, peer: &NodeName, incarnation: Incarnation, news: KeyNews) {
        if let Some(heard) = self.table().get_mut(peer) {
            *heard = Some(Heard { at: Instant::now(), incarnation, news });
        }
    }

    /// What may seal, with this member list.
    pub fn choice(&self, roster: Option<&Roster>, me: Incarnation) -> Choice {
        let (table, now) = (self.table(), Instant::now());
        let told = |name: &NodeName, life: Option<Incarnation>| {
            let heard = table.get(name)?.as_ref()?;
            let counts = now.saturating_duration_since(heard.at) <= self.fresh;
            // Another life of the same name may have been given another key directory.
            (counts && life.is_none_or(|life| life == heard.incarnation)).then_some(&heard.news.opens[..])
        };
        let members: Vec<Told<'_>> = match roster {
            Some(list) => {
                let mut seats: Vec<_> = list.seats.iter().chain(&list.before).collect();
                seats.retain(|seat| seat.incarnation != me);
                seats.sort_by_key(|seat| (seat.name.clone(), seat.incarnation));
                seats.dedup();
                seats.into_iter().map(|seat| (seat.name.clone(), told(&seat.name, Some(seat.incarnation)))).collect()
            }
            None => table.keys().map(|name| (name.clone(), told(name, None))).collect(),
        };
        choose(&self.ring.generations(), self.ring.active(), &members)
    }

    /// A generation that this node needs and lacks, with its number as far as a peer has told it: something here is
    /// sealed under it, or a peer seals under it.
    pub fn missing(&self) -> Option<(Option<u32>, KekId)> {
        let table = self.table();
        let own = self.ring.generations();
        let news = || table.values().flatten().map(|heard| &heard.news);
        let lacks = |id: &KekId| !own.iter().any(|(_, one)| one == id);
        let missing = self.ring.missing().or_else(|| news().map(|news| news.seals).find(lacks))?;
        let number = news().flat_map(|news| &news.opens).find(|(_, id)| *id == missing).map(|(number, _)| *number);
        Some((number, missing))
    }

    /// The generations for people.
    pub fn show(&self, roster: Option<&Roster>, me: Incarnation) -> Vec<KeyGeneration> {
        let (active, mut waiting) = (self.ring.active(), self.choice(roster, me).waiting);
        let (table, now) = (self.table(), Instant::now());
        let show = |(number, id): (u32, KekId)| {
            let clashes = |heard: &Heard| heard.news.opens.iter().any(|(n, other)| *n == number && *other != id);
            let lately = |heard: &&Heard| now.saturating_duration_since(heard.at) <= self.fresh;
            let clashing = table.iter().filter(|(_, heard)| heard.as_ref().filter(lately).is_some_and(clashes));
            let clashes_with = clashing.map(|(name, _)| name.clone()).collect();
            let at = waiting.iter().position(|(waits, _)| *waits == id);
            let waits_for = at.map(|at| waiting.swap_remove(at).1).unwrap_or_default();
            KeyGeneration {
                number,
                id: format!("{id}"),
                active: id == active,
                waits: waits_for.len(),
                waits_for,
                clashes_with,
            }
        };
        self.ring.generations().into_iter().map(show).collect()
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<NodeName, Option<Heard>>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;
    use crate::register::Seat;

    fn id(n: u8) -> KekId {
        KekId([n; 16])
    }

    fn ring(generations: &[u8]) -> Vec<(u32, KekId)> {
        generations.iter().map(|n| (u32::from(*n), id(*n))).collect()
    }

    fn name(n: usize) -> NodeName {
        NodeName::parse(&format!("n{n}")).unwrap()
    }

    /// What seals, and who is waited for with which, when the members n2, n3 and so on open these.
    fn chosen(own: &[u8], now: u8, members: &[Option<&[u8]>]) -> (u8, Vec<(u8, Vec<String>)>) {
        let rings: Vec<_> = members.iter().map(|opens| opens.map(ring)).collect();
        let told: Vec<Told<'_>> = rings.iter().zip(2..).map(|(opens, n)| (name(n), opens.as_deref())).collect();
        let choice = choose(&ring(own), id(now), &told);
        let names = |names: Vec<NodeName>| names.iter().map(ToString::to_string).collect();
        (choice.seals.0[0], choice.waiting.into_iter().map(|(id, waits)| (id.0[0], names(waits))).collect())
    }

    #[test]
    fn a_generation_seals_when_all_have_said_that_they_open_it() {
        let waits = |n: u8, names: &[&str]| (n, names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(chosen(&[1, 2], 1, &[]), (2, vec![]), "a node alone waits for nobody");
        let (one, both): (&[u8], &[u8]) = (&[1], &[1, 2]);
        assert_eq!(chosen(&[1, 2], 1, &[Some(one), Some(both)]), (1, vec![waits(2, &["n2"])]));
        assert_eq!(chosen(&[1, 2], 1, &[Some(both), None]), (1, vec![waits(2, &["n3"])]), "silence is no yes");
        assert_eq!(chosen(&[1, 2], 1, &[Some(both), Some(both)]), (2, vec![]));
        assert_eq!(chosen(&[1], 1, &[Some(both), Some(both)]), (1, vec![]), "it lacks the generation itself");
    }

    #[test]
    fn the_newest_that_all_open_seals_and_never_an_older_one() {
        let (two, three): (&[u8], &[u8]) = (&[1, 2], &[1, 2, 3]);
        let waits = vec![(3, vec!["n2".to_owned()])];
        assert_eq!(chosen(&[1, 2, 3], 1, &[Some(two), Some(three)]), (2, waits.clone()));
        assert_eq!(chosen(&[1, 2, 3], 2, &[Some(two), None]), (2, vec![(3, vec!["n2".to_owned(), "n3".to_owned()])]));
        assert_eq!(chosen(&[1, 2, 3], 3, &[Some(&[1]), None]), (3, vec![]), "what seals goes on");
        assert_eq!(chosen(&[1, 3], 1, &[Some(&[1, 3]), Some(three)]), (3, vec![]), "a number may be left out");
        assert_eq!(chosen(&[1, 2, 3], 1, &[Some(&[1, 3])]), (3, vec![]), "what is older need not be everywhere");
    }

    fn watch(generations: &[u8], peers: &[usize]) -> KeyWatch {
        let keys = generations.iter().map(|n| (u32::from(*n), Secret::new([*n; 32]))).collect();
        let ring = Arc::new(Keyring::new(keys).unwrap());
        let first = ring.generations()[0].1;
        assert!(ring.seal_with(first));
        KeyWatch::new(ring, peers.iter().map(|n| name(*n)), Duration::from_secs(3600))
    }

    #[test]
    fn the_member_list_says_who_is_waited_for() {
        let own = watch(&[1, 2], &[2, 3]);
        let both = watch(&[1, 2], &[]).news();
        let newest = both.opens[1].1;
        let list = |lives: &[u64]| {
            let seat = |n: &u64| Seat { name: name(usize::try_from(*n).unwrap()), incarnation: Incarnation(*n) };
            Roster::founding(1, lives.iter().map(seat).collect())
        };
        let me = Incarnation(1);
        let waits = |list: Option<&Roster>| {
            own.choice(list, me).waiting.into_iter().flat_map(|(_, all)| all).collect::<Vec<_>>()
        };
        let none: Vec<NodeName> = Vec::new();
        assert_eq!(own.choice(Some(&list(&[1])), me).seals, newest, "a list of itself");
        own.heard(&name(2), Incarnation(2), both.clone());
        assert_eq!(waits(Some(&list(&[1, 2]))), none);
        assert_eq!(waits(Some(&list(&[1, 2, 3]))), [name(3)]);
        assert_eq!(waits(None), [name(3)], "without a list all configured nodes count");
        own.heard(&name(3), Incarnation(33), both.clone());
        assert_eq!(waits(Some(&list(&[1, 2, 3]))), [name(3)], "another life has the place");
        assert_eq!(waits(None), none);
        let changing = list(&[1, 3]).next(2, &[Seat { name: name(2), incarnation: Incarnation(2) }]);
        assert_eq!(waits(Some(&changing)), [name(3)], "both lists count");
        own.heard(&name(4), Incarnation(4), both);
        assert_eq!(own.table().len(), 2, "who is not configured is not remembered");
    }

    #[test]
    fn two_keys_of_one_number_clash() {
        let own = watch(&[1, 2], &[2, 3]);
        let key = |n: u8, byte: u8| (u32::from(n), Secret::new([byte; 32]));
        let other = Keyring::new(vec![key(1, 1), key(2, 22)]).unwrap();
        own.heard(&name(2), Incarnation(2), KeyNews::of(other.active(), other.generations()));
        own.heard(&name(3), Incarnation(3), watch(&[1, 2], &[]).news());
        let shown = own.show(None, Incarnation(1));
        assert_eq!(shown.iter().map(|key| &key.clashes_with[..]).collect::<Vec<_>>(), [&[][..], &[name(2)]]);
    }

    #[test]
    fn what_others_seal_under_is_missed() {
        let own = watch(&[1], &[2]);
        assert_eq!(own.missing(), None);
        let both = watch(&[1, 2], &[]).news();
        own.heard(&name(2), Incarnation(2), both.clone());
        assert_eq!(own.missing(), None, "it does not seal yet");
        let newest = both.opens[1];
        own.heard(&name(2), Incarnation(2), KeyNews { seals: newest.1, ..both });
        assert_eq!(own.missing(), Some((Some(2), newest.1)));
        own.ring.grow(vec![(1, Secret::new([1; 32])), (2, Secret::new([2; 32]))]).unwrap();
        assert_eq!(own.missing(), None);
        assert!(!own.ring.opens(id(9)));
        assert_eq!(own.missing(), Some((None, id(9))), "something here needs it");
    }
}
