//! Leftovers: what is left of an upload that has ended, dropped behind its answer.
//!
//! Invariants
//! - Nothing is dropped of an upload that may be open: whoever asks knows that it has ended, in this life of its bucket.
//! - Nobody waits for it, and nothing rests on it: what is left for want of time, or by a crash, the janitor finds.

use super::super::bodies::Coming;
use super::super::homes::Home;
use super::Coordinator;
use crate::actors::messages::*;
use crate::base::names::RegisterName;
use crate::base::{Mark, ObjectName, RegisterKey, UploadId};
use crate::store::mutation::{Mutation, Target};
use crate::store::system_ms;
use actix_rt::time::Instant;
use futures::stream::{StreamExt, TryStreamExt};
use std::ops::Bound;
use std::time::Duration;

/// How long one upload is cleared up at most behind its end.
const TIME: Duration = Duration::from_secs(600);
/// Registers of a step.
const STEP: usize = 256;
/// Uploads that one coordinator clears up at once behind their end; the others wait.
pub(in crate::actors::coordinator) const CLEARED_AT_ONCE: usize = 2;
/// Registers of one of them that are dropped at once.
const AT_ONCE: usize = 16;

impl Coordinator {
    /// Drops what is left of an upload that has ended, behind the answer.
    pub(super) fn clear_up(&self, at: ObjectName, upload: UploadId) {
        let coordinator = self.clone();
        actix_rt::spawn(async move {
            let Ok(_turn) = coordinator.0.clearing.acquire().await else { return };
            let home = match coordinator.home(&at.bucket, coordinator.deadline()).await {
                Ok(home) => home,
                Err(_) => return,
            };
            // What fails is left: it is no error of anybody's request.
            let _ = coordinator.drop_upload(&home, &at, upload, Instant::now() + TIME).await;
        });
    }

    /// Drops the parts of an upload that has ended, and then what describes it; whether all of it is gone by then.
    pub(in crate::actors) async fn drop_upload(
        &self,
        home: &Home,
        at: &ObjectName,
        upload: UploadId,
        until: Instant,
    ) -> Result<bool, ObjectError> {
        let of = RegisterKey::upload(home.id, &at.key, upload);
        let end = of.parts_end();
        let mut next = Some(Bound::Excluded(of.clone()));
        while let Some(from) = next {
            if Instant::now() >= until {
                return Ok(false);
            }
            let page = self.step(&of, from, &end, STEP, self.deadline()).await?;
            next = page.complete.next();
            let numbers = page.entries.iter().filter_map(|(key, _)| match key.name()? {
                RegisterName::Part(.., number) => Some(number),
                _ => None,
            });
            let dropping = numbers.map(|number| self.drop_in(home, Target::Part(at.clone(), upload, number)));
            let dropping = futures::stream::iter(dropping).buffer_unordered(AT_ONCE);
            dropping.try_for_each(|()| std::future::ready(Ok(()))).await?;
        }
        self.drop_in(home, Target::Upload(at.clone(), upload)).await?;
        Mark::UploadCleared.hit();
        Ok(true)
    }

    /// Drops one register of an upload in this life of its bucket.
    async fn drop_in(&self, home: &Home, target: Target) -> Result<(), ObjectError> {
        match self.alone(Mutation::drop_part(target, system_ms())).await? {
            Decided::Alone(_) => Ok(()),
            Decided::ForVote(drop) | Decided::Closing(drop) => {
                self.vote(drop, home.clone(), Coming::Anew(None), self.deadline()).await.map(|_| ())
            }
        }
    }
}
