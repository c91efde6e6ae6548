//! Copies: an object written anew from another one, or from itself with another head. A large body is shared, a small one
//! sealed anew (docs/adr/0046-copies.md).
//!
//! Invariants
//! - What is copied was chosen, and is what the caller has judged.
//! - A shared body is held on this node from before the first vote until the decision has ended: so this node's own replica
//!   has it, whoever lacks it is sent it from here, and a body that went away is found out before anything was sent.
//! - A copy onto itself replaces the version that was judged, and none that came since.

use super::Coordinator;
use super::bodies::Coming;
use super::reads::REPLACED_MAX;
use super::takers::New;
use crate::actors::messages::*;
use crate::base::{BlobRef, Condition, ObjectHead, ObjectName, ObjectRecord, Record, RegisterKey, Tags};
use crate::store::mutation::Mutation;
use crate::store::system_ms;
use crate::store::voting::record_of;
use futures::stream::{self, StreamExt};
use std::sync::Arc;

/// What a client is told where the body of an object that is there cannot be had.
pub(super) const NO_BODY: &str = "no node that was reached has the body that is to be referred to; nothing was written";

/// Bodies of an object in parts that are looked for at once.
const HOLD_AT_ONCE: usize = 8;

/// What is to become of a copy.
struct Target {
    at: ObjectName,
    condition: Condition,
    head: ObjectHead,
}

impl Coordinator {
    /// Writes an object anew from another one.
    pub(super) async fn copy(&self, msg: CopyObject) -> Result<Written, ObjectError> {
        let CopyObject { from, from_etag, to, condition, head, permit: _until_the_end } = msg;
        let condition = if from == to { upon(&from_etag, condition)? } else { condition };
        let mut before = None;
        for _ in 0..REPLACED_MAX {
            let (key, record) = self.source(&from).await?;
            let object = record.object().ok_or(StoreError::NoSuchKey)?;
            if object.etag() != from_etag {
                return Err(StoreError::Precondition.into());
            }
            let head = head.clone().unwrap_or_else(|| object.head.clone());
            let target = Target { at: to.clone(), condition: condition.clone(), head };
            let copied = match object.blob() {
                Some(_) => self.share(object, target).await?,
                None => self.copy_small(key, &record, target).await?,
            };
            if let Some(written) = copied {
                return Ok(written);
            }
            // Its body is gone: it was replaced in between, or cannot be had.
            if before.replace(record.ballot) == Some(record.ballot) {
                return Err(ObjectError::NoMajority(NO_BODY));
            }
        }
        Err(ObjectError::Crowded)
    }

    /// The object that is copied, as a majority holds it; as this node does where it decides without the others.
    async fn source(&self, from: &ObjectName) -> Result<(RegisterKey, Arc<Record>), ObjectError> {
        if !self.decides_alone() || self.roster().is_some() {
            return self.find(from).await;
        }
        let home = self.home(&from.bucket, self.deadline()).await?;
        let key = RegisterKey::object(home.id, &from.key);
        let slot = self.held_slot(&key).await?.ok_or(StoreError::NoSuchKey)?;
        Ok((key, Arc::new(record_of(&slot))))
    }

    /// Has another record refer to the bodies of one. None where nobody has one of them.
    async fn share(&self, object: &ObjectRecord, target: Target) -> Result<Option<Written>, ObjectError> {
        // Ends with the decision.
        let Some(_held) = self.hold_all(object).await? else { return Ok(None) };
        let Target { at, condition, head } = target;
        let copy = Box::new(ObjectRecord { head, ..object.clone() });
        let copy = self.sealed_anew(Mutation::put(&at, condition, copy, system_ms())).await;
        let copy = match self.alone(copy).await? {
            Decided::Alone(written) => return Ok(Some(written)),
            Decided::ForVote(copy) | Decided::Closing(copy) => copy,
        };
        let deadline = self.deadline();
        let home = self.admit_put(&at.bucket, Some(New::Record(0)), deadline).await?;
        self.vote(copy, home, Coming::Shared, deadline).await.map(Some)
    }

    /// Holds all bodies of an object on this node. None where one of them cannot be had.
    pub(super) async fn hold_all(&self, object: &ObjectRecord) -> Result<Option<Vec<BodyHold>>, ObjectError> {
        let mut holding = stream::iter(object.bodies()).map(|blob| self.hold(blob)).buffer_unordered(HOLD_AT_ONCE);
        let mut held = Vec::new();
        while let Some(hold) = holding.next().await {
            match hold? {
                Some(hold) => held.push(hold),
                None => return Ok(None),
            }
        }
        drop(holding);
        Ok(Some(held))
    }

    /// Holds a body on this node. One that is not here comes here first: this node is to have it anyway.
    async fn hold(&self, blob: BlobRef) -> Result<Option<BodyHold>, ObjectError> {
        if let Some(held) = self.ask(HoldBody(blob)).await? {
            return Ok(Some(held));
        }
        match self.0.fetch.send(FetchBody(blob)).await.unwrap_or(false) {
            true => self.ask(HoldBody(blob)).await,
            false => Ok(None),
        }
    }

    /// Has a small body sealed anew for another record. None where nobody has it.
    async fn copy_small(
        &self,
        key: RegisterKey,
        record: &Arc<Record>,
        target: Target,
    ) -> Result<Option<Written>, ObjectError> {
        let Target { at, condition, head } = target;
        let new = Some(New::Record(record.object().map_or(0, |object| object.len)));
        let deadline = self.deadline();
        let home = if self.decides_alone() { None } else { Some(self.admit_put(&at.bucket, new, deadline).await?) };
        let record = Arc::clone(record);
        match self.ask(CopySmall { key, record, at, condition, head, alone: home.is_none() }).await {
            Ok(sealed) => self.change_sealed(sealed, home, new, deadline).await.map(Some),
            Err(error) if error.is_damage() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The condition of a copy onto itself: that the version which was judged is there still.
fn upon(judged: &str, condition: Condition) -> Result<Condition, ObjectError> {
    if condition.holds(Some(judged)) {
        let matches = Some(Tags::OneOf(vec![judged.to_owned()]));
        Ok(Condition { matches, ..condition })
    } else {
        Err(StoreError::Precondition.into())
    }
}
