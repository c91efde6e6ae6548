//! Uploads in parts (docs/adr/0048-uploads.md): begun, found, and ended without an object. What their parts bring is a
//! write like any other.
//!
//! Invariants
//! - Whether an upload is open is what the register of its key says, as a majority holds it; what is said of it beside was
//!   written before it was opened, once, and is read wherever it lies.
//! - An upload is opened in the very life of the bucket in which it is described.
//! - Where a node decides without a member list, what it holds is all there is.
//!
//! | file | | what |
//! |---|---|---|
//! | `completion` | does | an upload that becomes an object |
//! | `whole` | decides | whether the parts that are named make an object, and which |
//! | `lists` | does | pages of parts, and of uploads |
//! | `names` | decides | uploads in order, folded into such a page |
//! | `leftovers` | does | drops what is left of an upload that has ended |
//! | `sweep` | does | ends uploads that nobody ends, and drops what a crash has left |

mod completion;
mod leftovers;
mod lists;
mod names;
mod sweep;
mod whole;

pub(super) use self::leftovers::CLEARED_AT_ONCE;
pub(in crate::actors) use self::sweep::{Ages, Swept};
use super::bodies::Coming;
use super::homes::Home;
use super::takers::New;
use super::{Coordinator, Value};
use crate::actors::messages::*;
use crate::base::{Folds, ObjectName, ObjectRecord, Page, Record, RegisterKey, UploadId};
use crate::seal::random;
use crate::store::mutation::{Mutation, Target};
use crate::store::system_ms;
use actix_rt::time::Instant;
use std::ops::Bound;
use std::sync::Arc;

/// How often a bucket may be made anew while an upload is begun in it.
const LIVES_MAX: usize = 8;

/// What the register of a key says of an upload.
enum Fate {
    /// It is open.
    Open,
    /// It has become the object that is there.
    Became(Arc<Record>),
}

impl Fate {
    fn of(record: Option<Value>, upload: UploadId) -> Option<Self> {
        let record = record?;
        if record.uploads().has(upload) {
            return Some(Fate::Open);
        }
        record.object().is_some_and(|object| object.is_made_of(upload)).then_some(Fate::Became(record))
    }
}

impl Coordinator {
    /// Begins an upload.
    pub(super) async fn create_upload(&self, msg: CreateUpload) -> Result<UploadId, ObjectError> {
        let CreateUpload { at, head, checksum } = msg;
        if !at.key.takes_parts() {
            return Err(StoreError::Mismatch("an upload in parts is for a key that holds a zero").into());
        }
        for _ in 0..LIVES_MAX {
            let (deadline, upload) = (self.deadline(), UploadId(random()));
            let home = self.home_of_upload(&at, deadline).await?;
            let described = self.ask(SealUpload { upload, head: head.clone(), checksum }).await?;
            let describe = Mutation::put_part(Target::Upload(at.clone(), upload), described, system_ms());
            let open = Mutation::open_upload(&at, upload, system_ms());
            for step in [describe, open] {
                self.change_in(&home, step).await?;
            }
            if self.home(&at.bucket, self.deadline()).await?.id == home.id {
                return Ok(upload);
            }
            // It may have been opened in a later life than that in which it is described: then nobody would find it there.
            let _ = self.change(Mutation::abort_upload(&at, upload, system_ms()), None, None).await;
        }
        Err(ObjectError::Crowded)
    }

    /// The bucket that an upload is begun in.
    async fn home_of_upload(&self, at: &ObjectName, deadline: Instant) -> Result<Home, ObjectError> {
        match self.decides_alone() {
            true => self.home(&at.bucket, deadline).await,
            false => self.admit_put(&at.bucket, Some(New::Record(0)), deadline).await,
        }
    }

    /// Brings about what brings no body, in a bucket that was found: by this node alone, or by vote.
    async fn change_in(&self, home: &Home, mutation: Mutation) -> Result<Written, ObjectError> {
        match self.alone(mutation).await? {
            Decided::Alone(written) => Ok(written),
            Decided::ForVote(mutation) | Decided::Closing(mutation) => {
                self.vote(mutation, home.clone(), Coming::Anew(None), self.deadline()).await
            }
        }
    }

    /// An upload that is open.
    pub(super) async fn find_upload(&self, msg: FindUpload) -> Result<OpenUpload, ObjectError> {
        let FindUpload { at, upload } = msg;
        let deadline = self.deadline();
        match self.fate(&at, upload, deadline).await? {
            (home, Fate::Open) => self.described(&home, &at, upload, deadline).await,
            (_, Fate::Became(_)) => Err(StoreError::NoSuchUpload.into()),
        }
    }

    /// Ends an upload without an object.
    pub(super) async fn abort_upload(&self, msg: AbortUpload) -> Result<(), ObjectError> {
        let AbortUpload { at, upload } = msg;
        self.change(Mutation::abort_upload(&at, upload, system_ms()), None, None).await?;
        self.clear_up(at, upload);
        Ok(())
    }

    /// What became of an upload, and the bucket that says so; `NoSuchUpload` of one that is not known any more.
    async fn fate(&self, at: &ObjectName, upload: UploadId, deadline: Instant) -> Result<(Home, Fate), ObjectError> {
        let mut home = self.home(&at.bucket, deadline).await?;
        loop {
            let key = RegisterKey::object(home.id, &at.key);
            match self.state_of(&key, deadline).await {
                Ok(record) => {
                    if let Some(fate) = Fate::of(record, upload) {
                        return Ok((home, fate));
                    }
                }
                Err(ObjectError::Store(StoreError::NoSuchBucket)) => {}
                Err(error) => return Err(error),
            }
            if self.is_by_itself() {
                return Err(StoreError::NoSuchUpload.into());
            }
            // What is not there has to be confirmed: this node may have missed that the bucket was made again.
            let now = self.confirmed(&home, deadline).await?;
            if now.id == home.id {
                return Err(StoreError::NoSuchUpload.into());
            }
            home = now;
        }
    }

    /// What is said of an upload that is open.
    async fn described(
        &self,
        home: &Home,
        at: &ObjectName,
        upload: UploadId,
        deadline: Instant,
    ) -> Result<OpenUpload, ObjectError> {
        let key = RegisterKey::upload(home.id, &at.key, upload);
        // It was written once: what this node holds of it is what all do.
        let held = self.held_slot(&key).await.ok().flatten().and_then(|slot| slot.state.value);
        let record = match held.filter(|record| record.object().is_some()) {
            Some(record) => Some(record),
            None => self.state_of(&key, deadline).await?,
        };
        let found = record.as_ref().and_then(|record| Some((record.object()?, record.written_ms)));
        let (object, begun_ms) = found.ok_or(StoreError::NoSuchUpload)?;
        Ok(opened(at, upload, object, begun_ms))
    }

    /// Whether this node decides without a member list: nobody else is asked then.
    fn is_by_itself(&self) -> bool {
        self.decides_alone() && self.roster().is_none()
    }

    /// What a register holds, as a majority says.
    async fn state_of(&self, key: &RegisterKey, deadline: Instant) -> Result<Option<Value>, ObjectError> {
        match self.is_by_itself() {
            true => Ok(self.held_slot(key).await?.and_then(|slot| slot.state.value)),
            false => Ok(self.read_by(key, false, deadline).await?.1.value),
        }
    }

    /// A step over what is present of a range that lies behind `prefix`, as a majority holds it.
    async fn step(
        &self,
        prefix: &RegisterKey,
        from: Bound<RegisterKey>,
        to: &RegisterKey,
        limit: usize,
        deadline: Instant,
    ) -> Result<Page<(RegisterKey, Value)>, ObjectError> {
        let page = match self.is_by_itself() {
            true => self.ask(ScanSlots { from, to: to.clone(), limit }).await?,
            false => {
                let step = self.shown(&Folds::new(prefix.clone(), None), from, to, limit, deadline).await?;
                Page { entries: step.found.into_iter().collect(), complete: step.complete }
            }
        };
        Ok(page.map(|(key, slot)| Some((key, slot.state.value.filter(|record| record.is_present())?))))
    }
}

/// An upload, by the object that describes it.
fn opened(at: &ObjectName, upload: UploadId, object: &ObjectRecord, begun_ms: u64) -> OpenUpload {
    OpenUpload {
        id: upload,
        at: at.clone(),
        head: object.head.clone(),
        checksum: kind_of(object),
        begun_ms,
        wrap: object.wrap.clone(),
    }
}

/// Which checksum an upload has, by the object that describes it.
fn kind_of(object: &ObjectRecord) -> Option<ChecksumKind> {
    object.checksum.as_ref().map(ChecksumKind::from)
}
