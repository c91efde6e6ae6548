//! Uploads in parts beside the objects: begun, fed, completed, aborted, and what is left of them swept.

use super::{Node, Possible, Rng, name, register};
use boveda::base::names::RegisterName;
use boveda::base::record::ObjectRecord;
use boveda::base::{
    BodyAt, BucketName, Condition, Etag, ObjectHead, Part, PartOf, Parts, Record, RegisterKey, UploadId, Uploads,
};
use boveda::seal::digest::digest_of;
use boveda::store::StoreError;
use boveda::store::buckets::id_of_name;
use boveda::store::mutation::{Mutation, Target};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

/// Numbers of parts: few, so that some are stored again.
const NUMBERS: u64 = 4;

/// What is known of uploads within one life.
#[derive(Default)]
pub struct Known {
    /// What is open, by key.
    open: BTreeMap<String, BTreeSet<UploadId>>,
    /// Bytes of parts that were stored, by their registers.
    parts: BTreeMap<RegisterKey, Vec<u8>>,
}

impl Known {
    /// Nothing but what is open now.
    pub fn of(node: &Node) -> Result<Self, StoreError> {
        Ok(Known { open: node.open_uploads()?, parts: BTreeMap::new() })
    }

    /// What is open is what was begun and not ended, whatever became of the objects meanwhile.
    pub fn check(&self, node: &Node) -> Result<(), StoreError> {
        assert_eq!(node.open_uploads()?, self.open, "what is open");
        Ok(())
    }

    fn any(&self, rng: &mut Rng) -> Option<(String, UploadId)> {
        let all: Vec<_> = self.open.iter().flat_map(|(key, ids)| ids.iter().map(move |id| (key, *id))).collect();
        let (key, id) = all.get(rng.below(all.len().max(1) as u64) as usize)?;
        Some(((*key).clone(), *id))
    }

    fn ended(&mut self, key: &str, id: UploadId) {
        let left = self.open.get_mut(key).expect("it was open");
        left.remove(&id);
        if left.is_empty() {
            self.open.remove(key);
        }
    }
}

/// One thing that is done with uploads. `possible` is right at every moment.
pub fn step(node: &Node, rng: &mut Rng, known: &mut Known, possible: &mut Possible) -> Result<(), StoreError> {
    match rng.below(8) {
        0 | 1 => {
            let key = rng.key();
            let id = UploadId((u128::from(rng.below(u64::MAX)) << 64 | u128::from(rng.below(u64::MAX))).to_be_bytes());
            node.begin(&key, id)?;
            known.open.entry(key.clone()).or_default().insert(id);
            possible.entry(key).or_insert_with(|| BTreeSet::from([None]));
        }
        2..=4 => {
            let Some((key, id)) = known.any(rng) else { return Ok(()) };
            let (number, bytes) = (1 + rng.below(NUMBERS) as u16, rng.body());
            known.parts.insert(node.part(&key, id, number, &bytes)?, bytes);
        }
        5 => {
            let Some((key, id)) = known.any(rng) else { return Ok(()) };
            let parts = node.parts(&key, id)?;
            let skipped = rng.below(1 << NUMBERS);
            let some: Vec<_> = parts.iter().filter(|(number, ..)| skipped >> number & 1 == 0).collect();
            let taken = if some.is_empty() { parts.iter().collect() } else { some };
            if taken.is_empty() {
                return Ok(());
            }
            let mut bytes = Vec::new();
            for (_, register, record) in &taken {
                let part = node.read_record(register, record)?;
                assert!(known.parts.get(register).is_none_or(|stored| *stored == part), "another part than was stored");
                bytes.extend(part);
            }
            let object = node.whole(&key, id, &taken)?;
            possible.entry(key.clone()).or_insert_with(|| BTreeSet::from([None])).insert(Some(bytes.clone()));
            for _ in 0..=rng.below(2) {
                // It was open, or has become this object.
                node.complete(&key, id, object.clone())?;
            }
            known.ended(&key, id);
            possible.insert(key, BTreeSet::from([Some(bytes)]));
        }
        6 => {
            let Some((key, id)) = known.any(rng) else { return Ok(()) };
            node.abort(&key, id)?;
            known.ended(&key, id);
            match node.abort(&key, id) {
                Err(StoreError::NoSuchUpload) => {}
                other => other.map(|()| panic!("it ends once"))?,
            }
        }
        _ => node.sweep_uploads(rng.below(6))?,
    }
    Ok(())
}

impl Node {
    fn begin(&self, key: &str, id: UploadId) -> Result<(), StoreError> {
        let (at, now_ms) = (name(key), self.store.now_ms());
        let own = self.store.seal_upload(id, ObjectHead::default(), None)?;
        self.commit(Mutation::put_part(Target::Upload(at.clone(), id), own, now_ms))?;
        self.commit(Mutation::open_upload(&at, id, now_ms))
    }

    /// Stores a part; its register.
    fn part(&self, key: &str, upload: UploadId, number: u16, bytes: &[u8]) -> Result<RegisterKey, StoreError> {
        let wrap = self.own(key, upload)?.object().expect("an object").wrap.clone();
        let mut body = self.store.begin_part(name(key), PartOf { upload, number, wrap }, None, None)?;
        for piece in bytes.chunks(7_000) {
            body.append(&[Bytes::copy_from_slice(piece)], |_| {})?;
        }
        self.commit(body.land()?.mutation())?;
        Ok(RegisterKey::part(id_of_name(&BucketName::cargas()), &name(key).key, upload, number))
    }

    /// What is said of an upload: it is written before that is opened.
    fn own(&self, key: &str, upload: UploadId) -> Result<Arc<Record>, StoreError> {
        let at = RegisterKey::upload(id_of_name(&BucketName::cargas()), &name(key).key, upload);
        let held = self.store.lookup(&at)?.expect("what is open has its register");
        Ok(Arc::clone(&held.record))
    }

    /// The parts of an upload that are stored.
    fn parts(&self, key: &str, upload: UploadId) -> Result<Vec<(u16, RegisterKey, Arc<Record>)>, StoreError> {
        let own = RegisterKey::upload(id_of_name(&BucketName::cargas()), &name(key).key, upload);
        let found = self.left(&own, &own.parts_end())?.into_iter();
        Ok(found
            .filter_map(|(register, record)| match register.name() {
                Some(RegisterName::Part(.., number)) => Some((number, register, record)),
                _ => None,
            })
            .collect())
    }

    /// The object that an upload becomes of these parts.
    fn whole(
        &self,
        key: &str,
        upload: UploadId,
        taken: &[&(u16, RegisterKey, Arc<Record>)],
    ) -> Result<Box<ObjectRecord>, StoreError> {
        let part = |(number, _, record): &&(u16, RegisterKey, Arc<Record>)| {
            let object = record.object().expect("an object");
            Part { number: *number, offset: 0, len: object.len, blob: object.body_ref(), checksum: None }
        };
        let parts = Parts::new(None, taken.iter().map(part)).expect("a list");
        let own = self.own(key, upload)?;
        let own = own.object().expect("an object");
        Ok(Box::new(ObjectRecord {
            len: parts.len(),
            etag: Etag::Parts { md5: [7; 16], parts: parts.count() as u16 },
            sealed_len: parts.sealed_len(),
            digest: digest_of(parts.as_bytes()),
            at: BodyAt::Parts(parts),
            uploads: Uploads::NONE,
            ..own.clone()
        }))
    }

    fn complete(&self, key: &str, upload: UploadId, object: Box<ObjectRecord>) -> Result<(), StoreError> {
        let now_ms = self.store.now_ms();
        self.commit(Mutation::complete_upload(&name(key), upload, Condition::NONE, object, now_ms))
    }

    fn abort(&self, key: &str, upload: UploadId) -> Result<(), StoreError> {
        self.commit(Mutation::abort_upload(&name(key), upload, self.store.now_ms()))
    }

    /// Drops what is left of uploads that are not open; at most so many registers.
    pub fn sweep_uploads(&self, most: u64) -> Result<(), StoreError> {
        let open = self.open_uploads()?;
        let life = id_of_name(&BucketName::cargas());
        let left = self.left(&RegisterKey::uploads_of(life, ""), &RegisterKey::uploads_end(life))?;
        let is_open = |key: &str, id| open.get(key).is_some_and(|ids| ids.contains(&id));
        let mut dropped = 0;
        for (register, _) in left {
            let target = match register.name() {
                Some(RegisterName::Upload(_, key, id)) if !is_open(key.as_str(), id) => {
                    Target::Upload(name(key.as_str()), id)
                }
                Some(RegisterName::Part(_, key, id, number)) if !is_open(key.as_str(), id) => {
                    Target::Part(name(key.as_str()), id, number)
                }
                Some(_) => continue,
                None => panic!("{register:?}"),
            };
            if dropped < most {
                self.commit(Mutation::drop_part(target, self.store.now_ms()))?;
                dropped += 1;
            }
        }
        Ok(())
    }

    /// Ends all that is open, and drops what is left.
    pub fn end_uploads(&self) -> Result<(), StoreError> {
        for (key, ids) in self.open_uploads()? {
            ids.into_iter().try_for_each(|id| self.abort(&key, id))?;
        }
        self.sweep_uploads(u64::MAX)
    }

    /// Registers of uploads and parts that hold something.
    fn left(&self, from: &RegisterKey, to: &RegisterKey) -> Result<Vec<(RegisterKey, Arc<Record>)>, StoreError> {
        let page = self.store.scan_slots(Bound::Included(from), to, usize::MAX)?;
        let held = page.entries.into_iter().filter_map(|(key, slot)| Some((key, slot.state.value?)));
        Ok(held.filter(|(_, record)| record.object().is_some()).collect())
    }

    fn open_uploads(&self) -> Result<BTreeMap<String, BTreeSet<UploadId>>, StoreError> {
        let mut open = BTreeMap::new();
        for key in Rng::keys() {
            let held = self.store.lookup(&register(&key))?;
            let ids: BTreeSet<_> = held.iter().flat_map(|held| held.record.uploads().ids()).copied().collect();
            if !ids.is_empty() {
                open.insert(key, ids);
            }
        }
        Ok(open)
    }
}
