//! Completion: an upload becomes an object, in one decision on the register of its key.
//!
//! Invariants
//! - The bodies of all parts that are named are held on this node from before the first vote until the decision has ended:
//!   a part that is replaced meanwhile does not take its body away.
//! - One that was completed before is told as it was then, whatever is asked beside.

use super::super::bodies::Coming;
use super::super::copies::NO_BODY;
use super::super::homes::Home;
use super::super::takers::New;
use super::whole::{Said, Stored, whole};
use super::{Coordinator, Fate};
use crate::actors::messages::*;
use crate::base::names::RegisterName;
use crate::base::{Ballot, Checksum, ObjectName, ObjectRecord, Record, RegisterKey, UploadId};
use crate::store::mutation::Mutation;
use crate::store::system_ms;
use actix_rt::time::Instant;
use std::ops::Bound;
use std::time::Duration;

/// How long the parts of an upload are looked through at most.
const WALK_TIME: Duration = Duration::from_secs(60);
/// Registers of a step of that.
const STEP: usize = 1000;

impl Coordinator {
    /// Has an upload become an object.
    pub(in crate::actors::coordinator) async fn complete_upload(
        &self,
        msg: CompleteUpload,
    ) -> Result<Written, ObjectError> {
        let CompleteUpload { at, upload, parts: named, condition, checksum, len, permit: _until_the_end } = msg;
        let deadline = self.deadline();
        let home = match self.fate(&at, upload, deadline).await? {
            (home, Fate::Open) => home,
            (_, Fate::Became(record)) => return Ok(as_before(&record)),
        };
        let described = self.described(&home, &at, upload, deadline).await?;
        let stored = self.stored_parts(&home, &at, upload).await?;
        let object = whole(&described, &stored, &named, Said { checksum, len })?;
        drop(stored);
        // Ends with the decision.
        let Some(_held) = self.hold_all(&object).await? else { return Err(ObjectError::NoMajority(NO_BODY)) };
        let complete = Mutation::complete_upload(&at, upload, condition, object, system_ms());
        let complete = self.sealed_anew(complete).await;
        let written = match self.alone(complete).await? {
            Decided::Alone(written) => self.as_it_is(&home, &at, upload, written).await,
            Decided::ForVote(complete) | Decided::Closing(complete) => {
                let deadline = self.deadline();
                let home = self.admit_put(&at.bucket, Some(New::Record(0)), deadline).await?;
                self.vote(complete, home, Coming::Shared, deadline).await?
            }
        };
        self.clear_up(at, upload);
        Ok(written)
    }

    /// The parts of an upload that are stored, as a majority holds them.
    async fn stored_parts(&self, home: &Home, at: &ObjectName, upload: UploadId) -> Result<Stored, ObjectError> {
        let (until, mut stored) = (Instant::now() + WALK_TIME, Stored::new());
        let of = RegisterKey::upload(home.id, &at.key, upload);
        let end = of.parts_end();
        let mut next = Some(Bound::Excluded(of.clone()));
        while let Some(from) = next {
            if Instant::now() >= until {
                return Err(ObjectError::OutOfTime("the parts take too long to look through; nothing was changed"));
            }
            let page = self.step(&of, from, &end, STEP, self.deadline()).await?;
            next = page.complete.next();
            stored.extend(page.entries.into_iter().filter_map(|(key, record)| match key.name()? {
                RegisterName::Part(.., number) => Some((number, record)),
                _ => None,
            }));
        }
        Ok(stored)
    }

    /// What is told of an upload that this node alone has completed: two that complete it name other parts, and one of
    /// them does so in vain.
    async fn as_it_is(&self, home: &Home, at: &ObjectName, upload: UploadId, written: Written) -> Written {
        let key = RegisterKey::object(home.id, &at.key);
        let held = self.held_slot(&key).await.ok().flatten().and_then(|slot| slot.state.value);
        match held.as_ref().and_then(|record| record.object()).filter(|object| object.is_made_of(upload)) {
            Some(object) => Written { etag: object.etag(), checksum: object.checksum, ..written },
            None => written,
        }
    }
}

/// What is told of an upload that was completed before.
fn as_before(record: &Record) -> Written {
    let told = |object: &ObjectRecord| -> (String, Option<Checksum>) { (object.etag(), object.checksum) };
    let (etag, checksum) = record.object().map(told).unwrap_or_default();
    Written { ballot: Ballot::ZERO, etag, checksum, existed: true, replicas: 0 }
}
