//! Access keys in memory: those that this store holds, what is made of them for whoever lets callers in, and what may
//! become of one.
//!
//! Invariants
//! - The table says what is durable. A register is in it for as long as it holds something, tombstones included: that
//!   there ever was a key is remembered (`tombstones` keeps those too).
//! - The sum is that of all registers in the table, each at its ballot; it changes in the same breath as they do.
//! - A key that this node cannot open lets nobody in here. It is tried again with each look, since a key ring grows.
//! - Whether a secret fits is found out in the same time whatever it is, and whether there is such a key or not.
//! - What was derived from secrets is remembered with the keys that callers are held against, and goes with them.

use super::access_secret::{AccessSecret, open_secret};
use super::access_signing::{SignatureCheck, SigningKey, SigningKeys};
use super::entry::Held;
use crate::base::access::AccessRecord;
use crate::base::credential::SECRET_LEN;
use crate::base::{AccessKeyId, Ballot, ClusterId, Grant, Record, RegisterKey, Secret, State, Sum};
use crate::register::{Choice, Holds};
use crate::seal::digest::constant_time_eq;
use crate::seal::{Keyring, MarkKey, random};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// An access key with its secrets opened.
#[derive(Debug)]
pub struct AccessKey {
    /// Its id.
    pub id: AccessKeyId,
    /// What people call it.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// From when on it lets nobody in, in milliseconds since 1970; 0: never.
    pub expires_ms: u64,
    /// Whether it lets nobody in until that is changed.
    pub disabled: bool,
    /// What it allows.
    pub grants: Vec<Grant>,
    /// The newest first.
    secrets: Vec<AccessSecret>,
    ballot: Ballot,
}

impl AccessKey {
    /// A key that no register holds, with these grants: for who is let in by other means, and for tests.
    pub fn unstored(id: AccessKeyId, secrets: Vec<AccessSecret>, grants: Vec<Grant>) -> Self {
        let name = String::new();
        AccessKey { id, name, created_ms: 0, expires_ms: 0, disabled: false, grants, secrets, ballot: Ballot::ZERO }
    }

    /// Opens what a register holds; `None` where it holds no key, or one that does not open here.
    fn open(id: AccessKeyId, record: &Record, ring: &Keyring, cluster: ClusterId) -> Option<Self> {
        let key = record.access_key()?;
        let opened = key.secrets.iter().map(|sealed| open_secret(ring, cluster, id, sealed));
        let secrets = opened.collect::<Option<Vec<_>>>()?;
        Some(AccessKey {
            id,
            name: key.name.clone(),
            created_ms: key.created_ms,
            expires_ms: key.expires_ms,
            disabled: key.disabled,
            grants: key.grants.clone(),
            secrets,
            ballot: record.ballot,
        })
    }

    /// Whether this is one of its secrets.
    pub fn accepts(&self, secret: &[u8]) -> bool {
        self.fitting(self.slots().map(|known| constant_time_eq(known, secret))).is_some()
    }

    /// Its secrets, the newest first. What stands where there is none fits nothing.
    fn slots(&self) -> [&[u8]; 2] {
        [0, 1].map(|at| self.secrets.get(at).map_or(&[0; SECRET_LEN][..], |secret| secret.expose()))
    }

    /// Which of its secrets does, where each was asked, and also what stands where there is none.
    fn fitting(&self, does: [bool; 2]) -> Option<usize> {
        let there = [!self.secrets.is_empty(), self.secrets.len() > 1];
        let [newest, older] = [does[0] & there[0], does[1] & there[1]];
        (newest | older).then_some(usize::from(!newest))
    }

    /// What has signed this, where one of its secrets has. Both are asked, whichever fits.
    fn signed_with(&self, check: &SignatureCheck<'_>, made: &SigningKeys) -> Option<Arc<SigningKey>> {
        let make = || self.slots().map(|secret| Arc::new((check.derive)(secret)));
        let pair = made.of(self.id, check.scope, make);
        let does = pair.each_ref().map(|key| constant_time_eq(&(check.sign)(key), check.signature));
        let fitting = self.fitting(does)?;
        pair.into_iter().nth(fitting)
    }

    /// The secret that its owner was told last; none of a key that no register holds.
    pub fn newest_secret(&self) -> Option<&AccessSecret> {
        self.secrets.first()
    }

    /// Whether it lets anybody in at that time.
    pub fn is_in_force(&self, now_ms: impl FnOnce() -> u64) -> bool {
        !self.disabled && (self.expires_ms == 0 || now_ms() < self.expires_ms)
    }

    /// Whether the secret before the last rotation is accepted too.
    pub fn is_rotating(&self) -> bool {
        self.secrets.len() > 1
    }
}

/// Access keys as they are held against callers. Never changed: a later one takes its place.
#[derive(Debug)]
pub struct AccessKeys {
    by_id: HashMap<AccessKeyId, Arc<AccessKey>>,
    /// Whether there is, or ever was, a key.
    any: bool,
    /// Compared with where there is no key of an id.
    nobody: AccessKey,
    /// What they sign with.
    made: SigningKeys,
}

impl Default for AccessKeys {
    fn default() -> Self {
        AccessKeys::new(HashMap::new(), false)
    }
}

impl AccessKeys {
    fn new(by_id: HashMap<AccessKeyId, Arc<AccessKey>>, any: bool) -> Self {
        let secrets = vec![Secret::new(random()), Secret::new(random())];
        let nobody = AccessKey::unstored(AccessKeyId::drawn(random()), secrets, Vec::new());
        AccessKeys { any: any || !by_id.is_empty(), by_id, nobody, made: SigningKeys::new() }
    }

    /// Keys that are nowhere stored: for tests.
    pub fn of(keys: impl IntoIterator<Item = AccessKey>) -> Self {
        Self::new(keys.into_iter().map(|key| (key.id, Arc::new(key))).collect(), false)
    }

    /// Whether there has never been a key.
    pub fn is_pristine(&self) -> bool {
        !self.any
    }

    /// The key of that id.
    pub fn get(&self, id: AccessKeyId) -> Option<&Arc<AccessKey>> {
        self.by_id.get(&id)
    }

    /// The key of that id, if this is a secret of it. Who asks for one that is not there waits as long as for a wrong
    /// secret.
    pub fn check(&self, id: AccessKeyId, secret: &[u8]) -> Option<&Arc<AccessKey>> {
        let (found, asked) = self.found(Some(id));
        let accepts = asked.accepts(secret);
        found.filter(|_| accepts)
    }

    /// The key of that id, and what it has signed with, if one of its secrets has made this signature. `None` is the id of
    /// no key, and it, and one that is not there, take the same work as a wrong signature.
    pub fn check_signature(
        &self,
        id: Option<AccessKeyId>,
        check: &SignatureCheck<'_>,
    ) -> Option<(&Arc<AccessKey>, Arc<SigningKey>)> {
        let (found, asked) = self.found(id);
        let with = asked.signed_with(check, &self.made);
        found.zip(with)
    }

    /// The key of that id, and who is asked: nobody in its place where there is none.
    fn found(&self, id: Option<AccessKeyId>) -> (Option<&Arc<AccessKey>>, &AccessKey) {
        let found = id.and_then(|id| self.by_id.get(&id));
        (found, found.map_or(&self.nobody, |key| key))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there is none by now.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// All keys, by their ids.
    pub fn all(&self) -> Vec<&Arc<AccessKey>> {
        let mut all: Vec<_> = self.by_id.values().collect();
        all.sort_by_key(|key| key.id);
        all
    }
}

/// The access keys that one store holds.
#[derive(Debug)]
pub(super) struct AccessTable {
    held: BTreeMap<AccessKeyId, Arc<Held>>,
    sum: Sum,
    marks: MarkKey,
    /// The same for callers, since the last change; none while one of them does not open.
    keys: Option<Arc<AccessKeys>>,
    /// What could be opened.
    opened: HashMap<AccessKeyId, Arc<AccessKey>>,
}

impl AccessTable {
    pub fn new(marks: MarkKey) -> Self {
        AccessTable { held: BTreeMap::new(), sum: Sum::default(), marks, keys: None, opened: HashMap::new() }
    }

    /// The register of that id holds this now; nothing where it was forgotten.
    pub fn set(&mut self, id: AccessKeyId, held: Option<&Arc<Held>>) {
        let key = RegisterKey::access_key(id);
        if let Some(before) = self.held.remove(&id) {
            self.sum ^= self.marks.mark(&key, before.record.ballot);
        }
        if let Some(held) = held.filter(|held| held.record.state != State::Nothing) {
            self.sum ^= self.marks.mark(&key, held.record.ballot);
            self.held.insert(id, Arc::clone(held));
        }
        self.keys = None;
    }

    /// No register holds anything any more.
    pub fn clear(&mut self) {
        (self.sum, self.keys) = (Sum::default(), None);
        self.held.clear();
        self.opened.clear();
    }

    /// What the node holds, as it is compared with others.
    pub fn holds(&self) -> Holds {
        Holds { sum: self.sum, settled: self.held.values().all(|held| held.chosen) }
    }

    /// The keys as they are held against callers.
    pub fn keys(&mut self, ring: &Keyring, cluster: ClusterId) -> Arc<AccessKeys> {
        if let Some(keys) = &self.keys {
            return Arc::clone(keys);
        }
        let records: Vec<_> = self.held.iter().map(|(id, held)| (*id, Arc::clone(&held.record))).collect();
        let keys = Arc::new(self.open(&records, ring, cluster));
        let present = self.held.values().filter(|held| held.record.is_present()).count();
        self.opened = keys.by_id.clone();
        self.keys = (keys.by_id.len() == present).then(|| Arc::clone(&keys));
        keys
    }

    /// The keys in these registers, which may be newer than those that are held here.
    pub fn open(&self, records: &[(AccessKeyId, Arc<Record>)], ring: &Keyring, cluster: ClusterId) -> AccessKeys {
        let by_id = records.iter().filter_map(|(id, record)| {
            // Most of them are as they were.
            let known = self.opened.get(id).filter(|key| key.ballot == record.ballot).map(Arc::clone);
            Some((*id, known.or_else(|| AccessKey::open(*id, record, ring, cluster).map(Arc::new))?))
        });
        AccessKeys::new(by_id.collect(), !self.held.is_empty() || !records.is_empty())
    }
}

/// What is wanted of the register of an access key.
#[derive(Clone, Debug)]
pub enum AccessChange {
    /// There is this key, if there never was one of its id.
    Create(Arc<AccessRecord>),
    /// It has a new secret; the one that was the newest is accepted still, none before it.
    Rotate(Box<[u8]>),
    /// The newest secret alone is accepted.
    DropOld,
    /// It lets nobody in, or does so again.
    Disable(bool),
    /// It is gone for good.
    Revoke,
}

impl AccessChange {
    /// What becomes of the key that was found; `None` in `Choice::Put` is a tombstone.
    pub fn decide(&self, found: Option<&Record>) -> Choice<Option<AccessRecord>> {
        let found = found.filter(|record| record.state != State::Nothing);
        if let AccessChange::Create(key) = self {
            return if found.is_some() { Choice::Refuse } else { Choice::Put(Some((**key).clone())) };
        }
        let Some(key) = found.and_then(|record| record.access_key()) else { return Choice::Refuse };
        let mut next = key.clone();
        match self {
            AccessChange::Create(_) => return Choice::Refuse,
            AccessChange::Revoke => return Choice::Put(None),
            AccessChange::Rotate(sealed) => {
                next.secrets.truncate(1);
                next.secrets.insert(0, sealed.clone());
            }
            AccessChange::DropOld => next.secrets.truncate(1),
            AccessChange::Disable(disabled) => next.disabled = *disabled,
        }
        if next == *key { Choice::Keep } else { Choice::Put(Some(next)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::credential::secret_of;
    use crate::base::{Incarnation, Lineage, Stamp};
    use crate::store::access_secret::seal_secret;
    use std::cell::Cell;

    fn ring() -> Keyring {
        Keyring::new(vec![(1, Secret::new([7; 32]))]).expect("a ring")
    }

    fn id(n: u8) -> AccessKeyId {
        AccessKeyId::drawn([n; AccessKeyId::LEN])
    }

    fn secret(n: u8) -> AccessSecret {
        Secret::new(secret_of([n; SECRET_LEN]))
    }

    fn key(ring: &Keyring, of: u8, secrets: &[u8]) -> AccessRecord {
        let seal = |n: &u8| seal_secret(ring, ring.origin().cluster, id(of), &secret(*n));
        AccessRecord {
            name: "n".to_owned(),
            created_ms: 1,
            expires_ms: 0,
            disabled: false,
            secrets: secrets.iter().map(seal).collect(),
            grants: vec![Grant::everything()],
        }
    }

    fn held(state: State, stamp: u64, chosen: bool) -> Arc<Held> {
        let ballot = Ballot { stamp: Stamp(stamp), node: Incarnation(1) };
        let record = Record { ballot, lineage: Lineage::NOTHING, written_ms: 1, state };
        Arc::new(Held::new(record, chosen, 1, None))
    }

    fn holding(key: AccessRecord, stamp: u64) -> Arc<Held> {
        held(State::AccessKey(Box::new(key)), stamp, true)
    }

    #[test]
    fn a_secret_opens_for_its_id_and_cluster_alone() {
        let (ring, other) = (ring(), Keyring::new(vec![(1, Secret::new([8; 32]))]).expect("a ring"));
        let sealed = seal_secret(&ring, ring.origin().cluster, id(1), &secret(3));
        let opens = |ring: &Keyring, cluster, id| open_secret(ring, cluster, id, &sealed).is_some();
        assert!(opens(&ring, ring.origin().cluster, id(1)));
        assert!(!opens(&ring, ring.origin().cluster, id(2)), "it was moved to another key");
        assert!(!opens(&ring, other.origin().cluster, id(1)));
        assert!(!opens(&other, ring.origin().cluster, id(1)));
        assert!(!sealed.windows(SECRET_LEN).any(|part| part == secret(3).expose()));
    }

    #[test]
    fn the_table_follows_its_registers_and_its_sum_tells_every_change() {
        let (ring, mut table) = (ring(), AccessTable::new(ring().origin().mark_key()));
        let cluster = ring.origin().cluster;
        assert!(table.keys(&ring, cluster).is_pristine() && table.holds().settled);
        let empty = table.holds().sum;
        table.set(id(1), Some(&holding(key(&ring, 1, &[1]), 1)));
        let first = table.holds().sum;
        assert_ne!(first, empty);
        let keys = table.keys(&ring, cluster);
        assert!(keys.check(id(1), secret(1).expose()).is_some() && !keys.is_pristine());
        assert!(keys.check(id(1), secret(2).expose()).is_none() && keys.check(id(2), secret(1).expose()).is_none());
        table.set(id(1), Some(&holding(key(&ring, 1, &[2, 1]), 2)));
        assert_ne!(table.holds().sum, first, "another state of the same key");
        let keys = table.keys(&ring, cluster);
        assert!([1, 2].into_iter().all(|n| keys.check(id(1), secret(n).expose()).is_some()));
        assert!(keys.get(id(1)).is_some_and(|key| key.is_rotating()));
        table.set(id(1), Some(&held(State::Deleted, 3, false)));
        assert!(!table.holds().settled, "what may not be chosen is said");
        let keys = table.keys(&ring, cluster);
        assert!(keys.check(id(1), secret(2).expose()).is_none() && !keys.is_pristine(), "there was a key once");
        table.set(id(1), None);
        assert_eq!(table.holds().sum, empty);
        table.set(id(1), Some(&holding(key(&ring, 1, &[1]), 1)));
        table.clear();
        assert!(table.holds().sum == empty && table.keys(&ring, cluster).is_pristine());
    }

    #[test]
    fn a_key_that_does_not_open_lets_nobody_in_until_it_does() {
        let ring = ring();
        let two = Keyring::new(vec![(1, Secret::new([7; 32])), (2, Secret::new([9; 32]))]).expect("a ring");
        let mut table = AccessTable::new(ring.origin().mark_key());
        table.set(id(1), Some(&holding(key(&two, 1, &[1]), 1)));
        let keys = table.keys(&ring, ring.origin().cluster);
        assert!(keys.check(id(1), secret(1).expose()).is_none() && !keys.is_pristine());
        ring.grow(vec![(1, Secret::new([7; 32])), (2, Secret::new([9; 32]))], &[]).expect("a second generation");
        assert!(table.keys(&ring, ring.origin().cluster).check(id(1), secret(1).expose()).is_some());
    }

    #[test]
    fn a_secret_has_to_fit_whole_and_an_empty_slot_fits_nothing() {
        let of = |secrets: &[u8]| AccessKey::unstored(id(1), secrets.iter().map(|n| secret(*n)).collect(), Vec::new());
        assert!(of(&[1]).accepts(secret(1).expose()) && of(&[2, 1]).accepts(secret(1).expose()));
        for wrong in [&b""[..], &secret(1).expose()[..39], &[0; SECRET_LEN], &[&secret(1).expose()[..], b"A"].concat()]
        {
            assert!(!of(&[1]).accepts(wrong) && !of(&[]).accepts(wrong), "{wrong:?}");
        }
    }

    /// A key with secrets that are told apart by their letters.
    fn with_secrets(n: u8, secrets: &[u8]) -> AccessKey {
        AccessKey::unstored(id(n), secrets.iter().map(|n| secret(*n)).collect(), Vec::new())
    }

    /// What a secret signs with in these tests: its first letters.
    fn first_letters(secret: &[u8]) -> SigningKey {
        Secret::new(std::array::from_fn(|at| secret[at]))
    }

    #[test]
    fn a_signature_takes_the_same_work_whoever_is_said_to_have_made_it() {
        let keys = AccessKeys::of([with_secrets(1, &[1]), with_secrets(2, &[4, 3]), with_secrets(3, &[])]);
        let (derived, signed) = (Cell::new(0), Cell::new(0));
        let made = |n: u8| *first_letters(secret(n).expose()).expose();
        let (first, old, new, wrong, none) = (made(1), made(3), made(4), made(9), [0; 32]);
        for (of, signature, known) in [
            (Some(id(1)), first, true),
            (Some(id(1)), wrong, false),
            (Some(id(1)), none, false),
            (Some(id(2)), old, true),
            (Some(id(2)), new, true),
            (Some(id(2)), first, false),
            (Some(id(3)), none, false),
            (Some(id(9)), first, false),
            (None, first, false),
        ] {
            // The first time for a scope, and again: the same for whoever is known and for nobody.
            let scope = format!("{of:?} {signature:?}");
            for work in [(2, 2), (0, 2)] {
                derived.set(0);
                signed.set(0);
                let count = |counter: &Cell<u32>| counter.set(counter.get() + 1);
                let check = SignatureCheck {
                    signature: &signature,
                    scope: &scope,
                    derive: &|secret| {
                        count(&derived);
                        first_letters(secret)
                    },
                    sign: &|key| {
                        count(&signed);
                        *key.expose()
                    },
                };
                let found = keys.check_signature(of, &check);
                assert!(found.as_ref().is_none_or(|(_, with)| *with.expose() == signature));
                assert_eq!((found.is_some(), (derived.get(), signed.get())), (known, work), "{of:?}");
            }
        }
    }

    /// Whether a secret's signature is good, as callers bring it day after day.
    fn lets_in(keys: &AccessKeys, secret: &AccessSecret) -> bool {
        let signature = *first_letters(secret.expose()).expose();
        let check = SignatureCheck {
            signature: &signature,
            scope: "20260524/us-east-1/s3/aws4_request",
            derive: &first_letters,
            sign: &|key| *key.expose(),
        };
        keys.check_signature(Some(id(1)), &check).is_some()
    }

    #[test]
    fn what_a_secret_signed_with_ends_with_it() {
        let (ring, mut table) = (ring(), AccessTable::new(ring().origin().mark_key()));
        let cluster = ring.origin().cluster;
        let mut let_in_by = |held: Arc<Held>| {
            table.set(id(1), Some(&held));
            let keys = table.keys(&ring, cluster);
            [1, 2, 3].map(|n| lets_in(&keys, &secret(n)))
        };
        let with = |secrets: &[u8], stamp| holding(key(&ring, 1, secrets), stamp);
        assert_eq!(let_in_by(with(&[1], 1)), [true, false, false]);
        assert_eq!(let_in_by(with(&[2, 1], 2)), [true, true, false], "rotated");
        assert_eq!(let_in_by(with(&[3, 2], 3)), [false, true, true], "rotated again: the first is gone at once");
        assert_eq!(let_in_by(with(&[3], 4)), [false, false, true], "and so is the older one, once it is dropped");
        assert_eq!(let_in_by(held(State::Deleted, 5, true)), [false; 3], "revoked");
    }

    #[test]
    fn both_secrets_are_compared_whoever_is_said_to_have_them() {
        let key = |secrets: &[u8]| with_secrets(1, secrets);
        for (key, does, fitting) in [
            (key(&[4, 3]), [true, false], Some(0)),
            (key(&[4, 3]), [false, true], Some(1)),
            (key(&[4, 3]), [true, true], Some(0)),
            (key(&[4, 3]), [false, false], None),
            (key(&[1]), [true, true], Some(0)),
            (key(&[1]), [false, true], None),
            (key(&[]), [true, true], None),
        ] {
            assert_eq!(key.fitting(does), fitting, "{does:?}");
        }
    }

    #[test]
    fn a_key_is_in_force_until_it_expires_or_is_disabled() {
        let key =
            |expires_ms, disabled| AccessKey { expires_ms, disabled, ..AccessKey::unstored(id(1), vec![], vec![]) };
        assert!(key(0, false).is_in_force(|| u64::MAX) && key(8, false).is_in_force(|| 7));
        assert!(!key(8, false).is_in_force(|| 8) && !key(0, true).is_in_force(|| 0));
    }

    #[test]
    fn what_becomes_of_a_key_rests_on_what_is_found() {
        use Choice::{Keep, Put, Refuse};
        let ring = ring();
        let (one, two) = (key(&ring, 1, &[1]), key(&ring, 1, &[2, 1]));
        let found = |key: &AccessRecord| holding(key.clone(), 1).record.clone();
        let (there, gone) = (found(&one), held(State::Deleted, 1, true).record.clone());
        let nothing = held(State::Nothing, 1, true).record.clone();
        let create = AccessChange::Create(Arc::new(one.clone()));
        assert_eq!(
            (create.decide(None), create.decide(Some(&nothing))),
            (Put(Some(one.clone())), Put(Some(one.clone())))
        );
        assert_eq!((create.decide(Some(&there)), create.decide(Some(&gone))), (Refuse, Refuse), "no id is used again");
        let new: Box<[u8]> = [9; 60].into();
        let Put(Some(rotated)) = AccessChange::Rotate(new.clone()).decide(Some(&there)) else { panic!("rotated") };
        assert_eq!(rotated.secrets, [new.clone(), one.secrets[0].clone()]);
        let Put(Some(again)) = AccessChange::Rotate(new.clone()).decide(Some(&found(&two))) else { panic!("rotated") };
        assert_eq!(again.secrets, [new, two.secrets[0].clone()], "never more than two");
        let Put(Some(dropped)) = AccessChange::DropOld.decide(Some(&found(&two))) else { panic!("dropped") };
        assert_eq!(dropped.secrets, two.secrets[..1]);
        assert_eq!(AccessChange::DropOld.decide(Some(&there)), Keep);
        assert_eq!(AccessChange::Disable(false).decide(Some(&there)), Keep);
        let disabled = AccessRecord { disabled: true, ..one.clone() };
        assert_eq!(AccessChange::Disable(true).decide(Some(&there)), Put(Some(disabled.clone())));
        assert_eq!(AccessChange::Disable(false).decide(Some(&found(&disabled))), Put(Some(one)));
        assert_eq!(AccessChange::Revoke.decide(Some(&there)), Put(None));
        for change in [AccessChange::Revoke, AccessChange::DropOld, AccessChange::Disable(true)] {
            assert_eq!((change.decide(None), change.decide(Some(&gone))), (Refuse, Refuse), "{change:?}");
        }
    }
}
