//! Uploads in parts over the same nodes and the same net: begun, completed and aborted by several coordinators at once,
//! beside writes of the key. Each has one part; an expiry is an abort that nobody asked for.
//!
//! The judge has a register of an object and of the uploads that are open for it, with a rule of its own: so whatever a
//! history shows that no order of its calls can show is found, an upload that ends twice or comes back among it.

use super::clients::{Client, plaintext};
use super::node::{NOW_MS, ring};
use super::world::{World, name};
use crate::lin::{Call, Held, Op, Sequential, linearizable};
use boveda::base::{
    self, BlobRef, BodyAt, BodyId, Etag, ObjectHead, ObjectRecord, Part, Parts, Record, Tags, UploadId, Uploads,
};
use boveda::seal::body::{BodySealer, PartPlace};
use boveda::seal::digest::digest_of;
use boveda::store::mutation::Mutation;
use bytes::Bytes;
use std::collections::BTreeSet;

/// An upload that a client has begun.
pub struct Begun {
    /// The number of the client that has: what its object says of itself.
    number: u32,
    key: usize,
    id: UploadId,
    object: Box<ObjectRecord>,
    sealed: Bytes,
}

/// What is wanted of an upload, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Open(u32),
    /// Only where the key holds no object, if so.
    Complete(u32, bool),
    Abort(u32),
}

/// How that ended, and the object that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Written(Held),
    Kept(Held),
    Refused(Held),
}

/// What a call does to a key.
#[derive(Clone, Debug)]
pub enum Deed {
    /// What it does to the object; the uploads stay as they are.
    Object(Op),
    /// What it does to an upload; how that ended, where that is known.
    Upload(Wish, Option<Ended>),
    /// These are open, and no others.
    Shows(BTreeSet<u32>),
}

/// A key as the judge sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Key {
    object: Held,
    open: BTreeSet<u32>,
}

impl Wish {
    /// What becomes of a key: another state, the same, or a refusal.
    fn rule(self, key: &Key) -> Result<Option<Key>, ()> {
        let mut next = key.clone();
        match self {
            Wish::Open(upload) => Ok(next.open.insert(upload).then_some(next)),
            Wish::Abort(upload) if next.open.remove(&upload) => Ok(Some(next)),
            Wish::Complete(upload, _) if !key.open.contains(&upload) && key.object == Some(upload) => Ok(None),
            Wish::Complete(upload, absent) if next.open.remove(&upload) && !(absent && key.object.is_some()) => {
                next.object = Some(upload);
                Ok(Some(next))
            }
            Wish::Abort(_) | Wish::Complete(..) => Err(()),
        }
    }
}

impl Sequential for Deed {
    type State = Key;

    fn apply(&self, key: &Key) -> Option<Key> {
        match self {
            Deed::Object(op) => Some(Key { object: op.apply(&key.object)?, ..key.clone() }),
            Deed::Shows(open) => (*open == key.open).then(|| key.clone()),
            Deed::Upload(wish, ended) => match (wish.rule(key), ended) {
                (Ok(Some(next)), None) => Some(next),
                (Ok(Some(next)), Some(Ended::Written(found))) => (*found == key.object).then_some(next),
                (Ok(None), Some(Ended::Kept(found))) => (*found == key.object).then(|| key.clone()),
                (Err(()), Some(Ended::Refused(found))) => (*found == key.object).then(|| key.clone()),
                _ => None,
            },
        }
    }
}

impl World {
    /// A client begins an upload, or ends one.
    pub fn invoke_upload(&mut self, node: usize, key: usize, number: u32) {
        let of_key: Vec<_> = (0..self.uploads.len()).filter(|at| self.uploads[*at].key == key).collect();
        // Few, so that those who end them meet.
        let kind = if of_key.is_empty() { 0 } else { self.rng.below(8) };
        let mut etag = None;
        let (wish, mutation, sealed) = match kind {
            0 | 1 if !number.is_multiple_of(4) => {
                let begun = self.begun(key, number);
                let open = Mutation::open_upload(&name(key), begun.id, NOW_MS.get());
                etag = Some(begun.object.etag());
                self.uploads.push(begun);
                (Wish::Open(number), open, None)
            }
            0 | 1 => return,
            2 | 3 => {
                let Begun { number, id, .. } = self.uploads[self.rng.pick(&of_key)];
                (Wish::Abort(number), Mutation::abort_upload(&name(key), id, NOW_MS.get()), None)
            }
            kind => {
                let absent = kind == 4;
                let Begun { number, id, object, sealed, .. } = &self.uploads[self.rng.pick(&of_key)];
                let differs = absent.then_some(Tags::Any);
                let condition = base::Condition { matches: None, differs };
                let complete = Mutation::complete_upload(&name(key), *id, condition, object.clone(), NOW_MS.get());
                (Wish::Complete(*number, absent), complete, Some(sealed.clone()))
            }
        };
        let upload = Some(Deed::Upload(wish, None));
        self.tally.uploads += 1;
        self.clients.push(Client { key, begun: self.now, ended: None, op: None, etag, upload });
        self.spawn_write(node, key, mutation, sealed);
    }

    /// An upload with its one part, and the object that it may become. Its part goes by the id of the upload, so that what
    /// stands for all parts in votes is that of the only one.
    fn begun(&mut self, key: usize, number: u32) -> Begun {
        let (high, low) = (self.rng.next(), self.rng.next());
        let id = UploadId(((u128::from(high) << 64) | u128::from(low)).to_be_bytes());
        let ring = ring();
        let cluster = ring.origin().cluster;
        let (_, wrap) = BodySealer::new(&ring, cluster, id.as_body());
        let place = PartPlace { upload: id, number: 1 };
        let sealer = BodySealer::of_part(&ring, cluster, place, &wrap, id.as_body()).expect("its own wrap opens");
        let mut text = plaintext(number);
        let len = text.len() as u64;
        let tag = sealer.seal_chunk(0, &mut text);
        let sealed = Bytes::from([&sealer.header()[..], &text, &tag].concat());
        let blob = BlobRef { body: BodyId(id.0), sealed_len: sealed.len() as u64, digest: digest_of(&sealed) };
        let part = Part { number: 1, offset: 0, len, blob, checksum: None };
        let parts = Parts::new(None, [part]).expect("a list");
        let object = ObjectRecord {
            number: 1,
            len,
            etag: Etag::Parts { md5: [number.to_le_bytes()[0]; 16], parts: 1 },
            checksum: None,
            head: ObjectHead { content_type: number.to_string(), ..ObjectHead::default() },
            body: id.as_body(),
            sealed_len: parts.sealed_len(),
            digest: digest_of(parts.as_bytes()),
            wrap,
            at: BodyAt::Parts(parts),
            uploads: Uploads::NONE,
        };
        Begun { number, key, id, object: Box::new(object), sealed }
    }

    /// Which uploads a record says to be open, by their numbers.
    fn open_in(&self, record: Option<&Record>) -> BTreeSet<u32> {
        let number = |id: &UploadId| self.uploads.iter().find(|begun| begun.id == *id).map(|begun| begun.number);
        let ids = record.map(|record| record.uploads().ids().to_vec()).unwrap_or_default();
        ids.iter().map(|id| number(id).expect("somebody has begun it")).collect()
    }

    /// Whether the calls on each key can be put in an order, and it holds in the end what that says.
    pub fn judge_uploads(&self) -> Option<String> {
        let node = self.nodes.iter().find(|node| node.store().is_some())?;
        (0..self.keys.len()).find_map(|key| {
            let deed = |client: &Client| client.upload.clone().or(client.op.map(Deed::Object));
            let call = |client: &Client| Some(Call { op: deed(client)?, from: client.begun, to: client.ended });
            let mut calls: Vec<_> = self.clients.iter().filter(|c| c.key == key).filter_map(call).collect();
            let record = node.record(self.key(key)).map(|(_, record)| record);
            let shows = Deed::Shows(self.open_in(record.as_deref()));
            calls.push(Call { op: shows, from: self.now + 1, to: Some(self.now + 2) });
            (!linearizable(Key::default(), &calls)).then(|| format!("key {key} is not linearizable: {calls:#?}"))
        })
    }
}
