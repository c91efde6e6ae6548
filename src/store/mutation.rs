//! A mutation: what a client wants of one register, and what must hold beside it. The one rule for every write of an
//! object, of an upload in parts, of a bucket, of an access key or of the cluster's settings, whoever decides it: a node
//! alone in its committer, a coordinator by vote.
//!
//! Invariants
//! - What becomes of the register rests on the state that was found in it and on nothing else, so that it may be asked
//!   anew in every round of a vote.
//! - The register of a key says which uploads in parts are open for it, whatever else it holds: so whether an upload was
//!   completed, aborted, or neither is decided there, once (docs/adr/0048-uploads.md). Writes of the object keep them.
//! - A bucket that goes must be empty. A node alone asks for that in the order of its commits; others close the bucket
//!   first, and each replica keeps out of it what comes then (`register::fence`).

use super::access_keys::AccessChange;
use super::bucket_setting::BucketSetting;
use super::cluster_settings::SettingsChange;
use super::error::StoreError;
use crate::base::record::{VERSION_MAX, written_after};
use crate::base::{
    AccessKeyId, Ballot, BucketId, BucketName, BucketRecord, Checksum, Condition, Lineage, ObjectName, ObjectRecord,
    Record, RegisterKey, State, UploadId, Uploads, Wrap,
};
use crate::register::fence::Change;
use crate::register::{Bucket, Choice, Intent};
use std::sync::Arc;

/// What a mutation is about, by name. Under which id the objects of a bucket lie is for whoever decides to find out: a
/// node alone in its committer, a coordinator by its bucket's register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// An object, and the uploads that are open for its key.
    Object(ObjectName),
    /// What is said of an upload in parts when it is begun: an object of its own, without a byte.
    Upload(ObjectName, UploadId),
    /// A part of an upload.
    Part(ObjectName, UploadId, u16),
    /// Whatever register lies under a life of a bucket that is gone.
    Left(RegisterKey),
    /// A bucket.
    Bucket(BucketName),
    /// An access key.
    AccessKey(AccessKeyId),
    /// The settings of the cluster.
    Settings,
}

impl Target {
    /// The bucket that its register lies under, where it lies under one, and the register in a life of that bucket.
    pub fn under(&self) -> Option<(&BucketName, impl Fn(BucketId) -> RegisterKey)> {
        let (Target::Object(at) | Target::Upload(at, _) | Target::Part(at, ..)) = self else { return None };
        let register = move |life| match self {
            Target::Upload(at, upload) => RegisterKey::upload(life, &at.key, *upload),
            Target::Part(at, upload, number) => RegisterKey::part(life, &at.key, *upload, *number),
            _ => RegisterKey::object(life, &at.key),
        };
        Some((&at.bucket, register))
    }
}

/// What is wanted of it.
#[derive(Clone, Debug)]
enum Wish {
    /// This state.
    Put(Arc<Record>),
    /// Nothing there.
    Delete,
    /// Nothing there, and no upload open for it either.
    Clear,
    /// An upload in parts is open for the key.
    Open(UploadId),
    /// It is open no more, and nothing became of it.
    Abort(UploadId),
    /// This object, which an open upload became; it is open no more.
    Complete(UploadId, Arc<Record>),
    /// A change of a bucket.
    Bucket(Change<BucketId>),
    /// Another setting of a bucket.
    Configure(BucketSetting),
    /// A change of an access key.
    AccessKey(AccessChange),
    /// A change of the cluster's settings.
    Settings(SettingsChange),
    /// No bucket, if nothing is in it: of a node alone, which decides both in one commit.
    Empty {
        /// Only as the end of a deletion that was begun.
        begun: bool,
    },
}

/// What a client wants of one register. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mutation {
    target: Target,
    condition: Condition,
    wish: Wish,
    /// When it was asked for, in milliseconds since 1970.
    asked_ms: u64,
}

impl Mutation {
    /// An object with this body, small and at hand or durable on this node; its bucket must be there.
    pub fn put(at: &ObjectName, condition: Condition, object: Box<ObjectRecord>, now_ms: u64) -> Self {
        let wish = Wish::Put(proposed(State::Object(object), now_ms));
        Mutation { target: Target::Object(at.clone()), condition, wish, asked_ms: now_ms }
    }

    /// No object of that name; its bucket must be there.
    pub fn delete(at: &ObjectName, condition: Condition, now_ms: u64) -> Self {
        Mutation { target: Target::Object(at.clone()), condition, wish: Wish::Delete, asked_ms: now_ms }
    }

    /// The same of an upload's own register, or of a part of it. No condition applies.
    pub fn put_part(target: Target, object: Box<ObjectRecord>, now_ms: u64) -> Self {
        let wish = Wish::Put(proposed(State::Object(object), now_ms));
        Mutation { target, condition: Condition::NONE, wish, asked_ms: now_ms }
    }

    /// Nothing is there any more of an upload's own register, or of a part of it.
    pub fn drop_part(target: Target, now_ms: u64) -> Self {
        Mutation { target, condition: Condition::NONE, wish: Wish::Delete, asked_ms: now_ms }
    }

    /// An upload is open for a key. Its own register is written before this is asked.
    pub fn open_upload(at: &ObjectName, upload: UploadId, now_ms: u64) -> Self {
        let (target, wish) = (Target::Object(at.clone()), Wish::Open(upload));
        Mutation { target, condition: Condition::NONE, wish, asked_ms: now_ms }
    }

    /// An upload is not open any more, and became nothing. Refused where it is not open.
    pub fn abort_upload(at: &ObjectName, upload: UploadId, now_ms: u64) -> Self {
        let (target, wish) = (Target::Object(at.clone()), Wish::Abort(upload));
        Mutation { target, condition: Condition::NONE, wish, asked_ms: now_ms }
    }

    /// An open upload becomes this object, whose bodies are its parts. Refused where the upload is not open; where it has
    /// become the object that is there, nothing is written.
    pub fn complete_upload(
        at: &ObjectName,
        upload: UploadId,
        condition: Condition,
        object: Box<ObjectRecord>,
        now_ms: u64,
    ) -> Self {
        let wish = Wish::Complete(upload, proposed(State::Object(object), now_ms));
        Mutation { target: Target::Object(at.clone()), condition, wish, asked_ms: now_ms }
    }

    /// Nothing is left in a register under a life of a bucket that is gone. For a node alone.
    pub fn clear(key: RegisterKey, now_ms: u64) -> Self {
        let (target, wish) = (Target::Left(key), Wish::Clear);
        Mutation { target, condition: Condition::NONE, wish, asked_ms: now_ms }
    }

    /// A bucket; one that is there is left as it is, and one that is being deleted is opened again. `id`: of the life
    /// that begins where there is none.
    pub fn create_bucket(bucket: &BucketName, id: BucketId, now_ms: u64) -> Self {
        Self::change_bucket(bucket, Change::Create { id }, now_ms)
    }

    /// A change of a bucket.
    pub fn change_bucket(bucket: &BucketName, change: Change<BucketId>, now_ms: u64) -> Self {
        Self::of_bucket(bucket, Wish::Bucket(change), now_ms)
    }

    /// Another setting of a bucket, which must be there.
    pub fn configure_bucket(bucket: &BucketName, setting: BucketSetting, now_ms: u64) -> Self {
        Self::of_bucket(bucket, Wish::Configure(setting), now_ms)
    }

    /// No bucket of that name; it must be there, and empty. For a node alone: see `Decided`.
    pub fn delete_bucket(bucket: &BucketName, now_ms: u64) -> Self {
        Self::of_bucket(bucket, Wish::Empty { begun: false }, now_ms)
    }

    /// The end of a deletion of a bucket that was left behind: gone if it is empty, and otherwise open again. For a node
    /// alone.
    pub fn end_deletion(bucket: &BucketName, now_ms: u64) -> Self {
        Self::of_bucket(bucket, Wish::Empty { begun: true }, now_ms)
    }

    /// A change of an access key.
    pub fn change_access_key(id: AccessKeyId, change: AccessChange, asked_ms: u64) -> Self {
        let wish = Wish::AccessKey(change);
        Mutation { target: Target::AccessKey(id), condition: Condition::NONE, wish, asked_ms }
    }

    /// A change of the cluster's settings.
    pub fn change_settings(change: SettingsChange, asked_ms: u64) -> Self {
        let wish = Wish::Settings(change);
        Mutation { target: Target::Settings, condition: Condition::NONE, wish, asked_ms }
    }

    fn of_bucket(bucket: &BucketName, wish: Wish, asked_ms: u64) -> Self {
        Mutation { target: Target::Bucket(bucket.clone()), condition: Condition::NONE, wish, asked_ms }
    }

    /// What it is about.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What clients are told of the bytes of the object that is wanted: its ETag, without quotes, and the sum that is kept
    /// with it. Nothing where none is wanted.
    pub fn sums(&self) -> (String, Option<Checksum>) {
        self.object().map(|object| (object.etag(), object.checksum)).unwrap_or_default()
    }

    /// The object that is to be stored.
    pub fn object(&self) -> Option<&ObjectRecord> {
        if let Wish::Put(record) | Wish::Complete(_, record) = &self.wish { record.object() } else { None }
    }

    /// The same with its key sealed anew.
    pub fn with_wrap(mut self, wrap: Wrap) -> Self {
        if let Wish::Put(record) | Wish::Complete(_, record) = &mut self.wish
            && let State::Object(object) = &mut Arc::make_mut(record).state
        {
            object.wrap = wrap;
        }
        self
    }

    /// Whether a bucket is to go that is empty, and that as the end of a deletion alone.
    pub(super) fn empties(&self) -> Option<bool> {
        if let Wish::Empty { begun } = self.wish { Some(begun) } else { None }
    }

    /// Whether something is put into the bucket: then it has to be open.
    pub fn puts(&self) -> bool {
        matches!(self.wish, Wish::Put(_) | Wish::Open(_) | Wish::Complete(..))
    }

    /// What becomes of a register that holds this, without the record that is put: see `into_record`.
    pub fn choose(&self, found: Option<&Arc<Record>>) -> Choice<()> {
        let open = found.map_or(&Uploads::NONE, |record| record.uploads());
        // What an upload has become counts whatever was asked beside: it is there.
        if let Wish::Complete(upload, _) = &self.wish
            && !open.has(*upload)
        {
            let became = found.and_then(|record| record.object()).is_some_and(|object| object.is_made_of(*upload));
            return if became { Choice::Keep } else { Choice::Refuse };
        }
        if !holds(&self.condition, found) {
            return Choice::Refuse;
        }
        match &self.wish {
            Wish::Complete(..) => Choice::Put(()),
            Wish::Open(upload) if open.has(*upload) => Choice::Keep,
            Wish::Open(upload) if open.with(*upload).is_some() => Choice::Put(()),
            Wish::Abort(upload) if open.has(*upload) => Choice::Put(()),
            Wish::Open(_) | Wish::Abort(_) => Choice::Refuse,
            Wish::Put(_) => Choice::Put(()),
            Wish::Delete if found.is_some_and(|record| record.is_present()) => Choice::Put(()),
            Wish::Delete => Choice::Keep,
            Wish::Clear if found.is_some_and(|record| record.state != State::Deleted) => Choice::Put(()),
            Wish::Clear => Choice::Keep,
            Wish::Bucket(change) => match change.decide(bucket_of(found)) {
                Choice::Put(_) => Choice::Put(()),
                Choice::Keep => Choice::Keep,
                Choice::Refuse => Choice::Refuse,
            },
            Wish::Configure(setting) => match setting.decide(found.and_then(|record| record.bucket())) {
                Choice::Put(_) => Choice::Put(()),
                Choice::Keep => Choice::Keep,
                Choice::Refuse => Choice::Refuse,
            },
            Wish::AccessKey(change) => match change.decide(found.map(|record| &**record)) {
                Choice::Put(_) => Choice::Put(()),
                Choice::Keep => Choice::Keep,
                Choice::Refuse => Choice::Refuse,
            },
            Wish::Settings(change) => match change.decide(found.map(|record| &**record)) {
                Choice::Put(_) => Choice::Put(()),
                Choice::Keep => Choice::Keep,
                Choice::Refuse => Choice::Refuse,
            },
            // Whether it is empty is not in the register.
            Wish::Empty { .. } => Choice::Refuse,
        }
    }

    /// What is put into a register that holds this, for whoever decides once: where nobody else holds the mutation,
    /// nobody else holds the record, and its ballot is set without a copy.
    pub fn into_record(self, found: Option<&Arc<Record>>) -> Arc<Record> {
        let open = found.map_or(&Uploads::NONE, |record| record.uploads());
        let new = match self.wish {
            // The object stays as it is, and so does the time when it was written.
            Wish::Open(upload) => return with_uploads(found, open.with(upload).unwrap_or_default(), self.asked_ms),
            Wish::Abort(upload) => return with_uploads(found, open.without(upload), self.asked_ms),
            Wish::Complete(upload, record) => {
                let left = open.without(upload);
                return keeping(put_upon(found, Some(record), self.asked_ms), left);
            }
            Wish::Clear => return put_upon(found, None, self.asked_ms),
            Wish::Put(record) => Some(record),
            Wish::Bucket(change) => match change.decide(bucket_of(found)) {
                Choice::Put(Some((id, bucket))) => Some(changed(found, id, bucket, self.asked_ms)),
                Choice::Put(None) | Choice::Keep | Choice::Refuse => None,
            },
            Wish::Configure(setting) => match setting.decide(found.and_then(|record| record.bucket())) {
                Choice::Put(bucket) => Some(proposed(State::Bucket(bucket), self.asked_ms)),
                Choice::Keep | Choice::Refuse => None,
            },
            Wish::AccessKey(change) => match change.decide(found.map(|record| &**record)) {
                Choice::Put(Some(key)) => Some(proposed(State::AccessKey(Box::new(key)), self.asked_ms)),
                Choice::Put(None) | Choice::Keep | Choice::Refuse => None,
            },
            Wish::Settings(change) => match change.decide(found.map(|record| &**record)) {
                Choice::Put(settings) => Some(proposed(State::Settings(Box::new(settings)), self.asked_ms)),
                Choice::Keep | Choice::Refuse => None,
            },
            Wish::Delete | Wish::Empty { .. } => None,
        };
        keeping(put_upon(found, new, self.asked_ms), open.clone())
    }

    /// Whether the client has set a condition.
    pub fn is_conditional(&self) -> bool {
        !self.condition.is_none()
    }

    /// What must hold of the state that it replaces.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// What a client is told where `decide` refuses, by what was found.
    pub fn refusal(&self, found: Option<&Arc<Record>>) -> StoreError {
        match self.target {
            Target::Bucket(_) => StoreError::NoSuchBucket,
            Target::Object(_) => match self.wish {
                Wish::Open(_) => StoreError::TooManyUploads,
                Wish::Abort(upload) | Wish::Complete(upload, _)
                    if !found.is_some_and(|record| record.uploads().has(upload)) =>
                {
                    StoreError::NoSuchUpload
                }
                _ => StoreError::Precondition,
            },
            Target::Upload(..) | Target::Part(..) | Target::Left(_) => StoreError::NoSuchUpload,
            Target::Settings => StoreError::Precondition,
            // One that was to be made is there, or was; any other change finds none.
            Target::AccessKey(_) => match self.wish {
                Wish::AccessKey(AccessChange::Create(_)) => StoreError::Precondition,
                _ => StoreError::NoSuchKey,
            },
        }
    }
}

impl Intent<Arc<Record>> for Mutation {
    fn decide(&self, found: Option<&Arc<Record>>) -> Choice<Arc<Record>> {
        match self.choose(found) {
            Choice::Put(()) => Choice::Put(self.clone().into_record(found)),
            Choice::Keep => Choice::Keep,
            Choice::Refuse => Choice::Refuse,
        }
    }
}

/// The bucket in what was found, as its rules look at it.
fn bucket_of(found: Option<&Arc<Record>>) -> Option<(BucketId, Bucket)> {
    let BucketRecord { id, generation, is_open, .. } = *found?.bucket()?;
    Some((id, Bucket { generation, is_open }))
}

/// A bucket that was changed, or made.
fn changed(found: Option<&Arc<Record>>, id: BucketId, bucket: Bucket, asked_ms: u64) -> Arc<Record> {
    let Bucket { generation, is_open } = bucket;
    // What it is set to is of one life of it.
    let was = found.and_then(|record| record.bucket()).filter(|bucket| bucket.id == id).cloned();
    let was = was.unwrap_or_else(|| BucketRecord::made(id, asked_ms));
    proposed(State::Bucket(BucketRecord { generation, is_open, ..was }), asked_ms)
}

/// What was found, with other uploads that are open for its key.
fn with_uploads(found: Option<&Arc<Record>>, uploads: Uploads, asked_ms: u64) -> Arc<Record> {
    let record = found.cloned().unwrap_or_else(|| proposed(State::Deleted, asked_ms));
    keeping(record, uploads)
}

/// The same state with these uploads open for its key: a tombstone stays none while one is.
fn keeping(mut record: Arc<Record>, uploads: Uploads) -> Arc<Record> {
    if *record.uploads() == uploads {
        return record;
    }
    let changed = Arc::make_mut(&mut record);
    match &mut changed.state {
        State::Object(object) => object.uploads = uploads,
        _ if uploads.is_empty() => changed.state = State::Deleted,
        _ => changed.state = State::Uploads(uploads),
    }
    record
}

/// Whether a condition holds of what was found.
pub fn holds(condition: &Condition, found: Option<&Arc<Record>>) -> bool {
    condition.is_none() || condition.holds(found.and_then(|record| record.object()).map(ObjectRecord::etag).as_deref())
}

/// A record to be decided on: its ballot and lineage are those of the slot that it comes to.
pub fn proposed(state: State, now_ms: u64) -> Arc<Record> {
    Arc::new(Record { ballot: Ballot::ZERO, lineage: Lineage::NOTHING, written_ms: now_ms, state })
}

/// The new record, or a tombstone, written later than the record that it replaces, and its version counted on.
pub(super) fn put_upon(found: Option<&Arc<Record>>, new: Option<Arc<Record>>, asked_ms: u64) -> Arc<Record> {
    let mut new = new.unwrap_or_else(|| proposed(State::Deleted, asked_ms));
    let written_ms = written_after(found.map(|record| record.written_ms), new.written_ms);
    if written_ms != new.written_ms {
        Arc::make_mut(&mut new).written_ms = written_ms;
    }
    let before = found.and_then(|record| record.object()).map_or(0, |object| object.number);
    let number = before.saturating_add(1).min(VERSION_MAX);
    if new.object().is_some_and(|object| object.number != number)
        && let State::Object(object) = &mut Arc::make_mut(&mut new).state
    {
        object.number = number;
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BodyAt, BodyId, Etag, KekId, ObjectHead, ObjectKey, Quota, Tags, Wrap};

    fn name() -> ObjectName {
        ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse("k").expect("a key") }
    }

    fn object(n: u8) -> Box<ObjectRecord> {
        Box::new(ObjectRecord {
            number: 1,
            len: 1,
            etag: Etag::Digest,
            checksum: None,
            head: ObjectHead::default(),
            body: BodyId([n; 16]),
            sealed_len: 17,
            digest: [n; 32],
            wrap: Wrap { kek: KekId([0; 16]), nonce: [0; 12], sealed: [0; 48] },
            at: BodyAt::Blob,
            uploads: crate::base::Uploads::NONE,
        })
    }

    fn differs_from_all() -> Condition {
        Condition { matches: None, differs: Some(Tags::Any) }
    }

    fn matches(n: u8) -> Condition {
        Condition { matches: Some(Tags::OneOf(vec![object(n).etag()])), differs: None }
    }

    /// What becomes of a register that holds nothing, a tombstone, and what these mutations are about.
    fn decided(mutation: &Mutation, there: State) -> [Choice<State>; 3] {
        let found = [None, Some(proposed(State::Deleted, 5_000)), Some(proposed(there, 5_000))];
        found.map(|found| match mutation.decide(found.as_ref()) {
            Choice::Put(record) => Choice::Put(record.state.clone()),
            Choice::Keep => Choice::Keep,
            Choice::Refuse => Choice::Refuse,
        })
    }

    #[test]
    fn one_rule_says_what_becomes_of_a_register() {
        use Choice::{Keep, Put, Refuse};
        let here = || State::Object(object(1));
        let new = || Put(State::Object(object(2)));
        // It counts on from the version that it replaces.
        let next = || Put(State::Object(Box::new(ObjectRecord { number: 2, ..*object(2) })));
        let gone = || Put(State::Deleted);
        let put = |condition| Mutation::put(&name(), condition, object(2), 9);
        assert_eq!(decided(&put(Condition::NONE), here()), [new(), new(), next()]);
        assert_eq!(decided(&put(differs_from_all()), here()), [new(), new(), Refuse]);
        assert_eq!(decided(&put(matches(1)), here()), [Refuse, Refuse, next()]);
        assert_eq!(decided(&put(matches(3)), here()), [Refuse, Refuse, Refuse]);
        let delete = |condition| Mutation::delete(&name(), condition, 9);
        assert_eq!(decided(&delete(Condition::NONE), here()), [Keep, Keep, gone()]);
        assert_eq!(decided(&delete(matches(1)), here()), [Refuse, Refuse, gone()]);
        assert!(matches!(delete(matches(1)).refusal(None), StoreError::Precondition));
        let name = BucketName::cargas();
        let bucket = |id, generation, is_open, created_ms| {
            State::Bucket(BucketRecord { generation, is_open, ..BucketRecord::made(BucketId(id), created_ms) })
        };
        let (open, closed) = (bucket(1, 4, true, 3), bucket(1, 5, false, 3));
        let create = Mutation::create_bucket(&name, BucketId(2), 9);
        let made = || Put(bucket(2, 1, true, 9));
        assert_eq!(decided(&create, open.clone()), [made(), made(), Keep]);
        assert_eq!(decided(&create, closed.clone())[2], Put(bucket(1, 6, true, 3)), "and keeps when it was made");
        let change = |change| Mutation::change_bucket(&name, change, 9);
        assert_eq!(decided(&change(Change::Close), open.clone()), [Refuse, Refuse, Put(closed.clone())]);
        let remove = change(Change::Remove { id: BucketId(1), generation: 5 });
        assert_eq!(decided(&remove, closed), [Refuse, Refuse, gone()]);
        assert_eq!(decided(&remove, open)[2], Refuse);
        assert!(matches!(remove.refusal(None), StoreError::NoSuchBucket));
    }

    #[test]
    fn a_setting_makes_the_next_generation_of_its_bucket_and_keeps_all_else() {
        use Choice::{Keep, Put, Refuse};
        let quota = Quota { objects: Some(3), bytes: None };
        let set = |quota| Mutation::configure_bucket(&BucketName::cargas(), BucketSetting::Quota(quota), 9);
        for is_open in [true, false] {
            let was = BucketRecord { generation: 4, is_open, ..BucketRecord::made(BucketId(1), 3) };
            let now = BucketRecord { generation: 5, quota, ..was.clone() };
            assert_eq!(decided(&set(quota), State::Bucket(was)), [Refuse, Refuse, Put(State::Bucket(now.clone()))]);
            assert_eq!(decided(&set(quota), State::Bucket(now.clone()))[2], Keep, "nothing changes");
            let without = BucketRecord { generation: 6, quota: Quota::NONE, ..now.clone() };
            assert_eq!(decided(&set(Quota::NONE), State::Bucket(now.clone()))[2], Put(State::Bucket(without)));
            // What is closed, or opened again, keeps its quota.
            let change = if is_open { Change::Close } else { Change::Create { id: BucketId(2) } };
            let Put(State::Bucket(then)) =
                &decided(&Mutation::change_bucket(&BucketName::cargas(), change, 9), State::Bucket(now.clone()))[2]
            else {
                panic!("it is written")
            };
            assert_eq!(*then, BucketRecord { generation: 6, is_open: !is_open, ..now });
        }
        assert!(matches!(set(quota).refusal(None), StoreError::NoSuchBucket));
    }

    #[test]
    fn a_record_is_written_later_than_the_one_that_it_replaces() {
        let found = proposed(State::Object(object(1)), 5_000);
        for mutation in [
            Mutation::put(&name(), Condition::NONE, object(2), 4_000),
            Mutation::delete(&name(), Condition::NONE, 4_000),
        ] {
            let Choice::Put(record) = mutation.decide(Some(&found)) else { panic!("{mutation:?} writes") };
            assert_eq!(record.written_ms, 6_000);
        }
    }
}
