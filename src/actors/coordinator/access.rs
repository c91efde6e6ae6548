//! Access keys, where nodes decide together or one alone: made, changed, compared with what others hold, and listed as a
//! majority holds them. The same of what is open to everybody, but for its changes, which are those of a bucket.
//!
//! Invariant: a secret is drawn and sealed by the StoreActor; here it passes by, once, on its way to whoever asked.

use super::homes::Behind;
use super::reads::Seen;
use super::writes::ended;
use super::{Coordinator, Value};
use crate::actors::messages::*;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::peer_request::PeerRequest;
use crate::base::names::RegisterName;
use crate::base::{AccessKeyId, AccessRecord, Incarnation, RegisterKey, RegisterKind};
use crate::register::freshness::Finding;
use crate::register::{Holds, Question, Write};
use crate::store::access_keys::AccessChange;
use crate::store::mutation::Mutation;
use crate::store::system_ms;
use crate::wire::{Answer, Call};
use actix_rt::time::Instant;
use futures::stream::{FuturesUnordered, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

impl Coordinator {
    /// Makes an access key.
    pub(in crate::actors) async fn create_access(
        &self,
        msg: CreateAccess,
    ) -> Result<(AccessKeyId, AccessSecret), ObjectError> {
        let CreateAccess { given, name, expires_ms, grants } = msg;
        let (id, secret) = given.unzip();
        // Sealed before anything is voted on: no register, and no peer, ever has it in the clear.
        let NewSecret { id, secret, sealed } = self.ask(SealSecret { id, secret }).await?;
        let secrets = vec![sealed];
        let key = AccessRecord { name, created_ms: system_ms(), expires_ms, disabled: false, secrets, grants };
        self.change_access_key(id, AccessChange::Create(Arc::new(key))).await?;
        Ok((id, secret))
    }

    /// Changes an access key.
    pub(in crate::actors) async fn change_access(
        &self,
        ChangeAccess { id, wish }: ChangeAccess,
    ) -> Result<(Written, Option<AccessSecret>), ObjectError> {
        let (change, secret) = match wish {
            AccessWish::Rotate => {
                let NewSecret { secret, sealed, .. } = self.ask(SealSecret { id: Some(id), secret: None }).await?;
                (AccessChange::Rotate(sealed), Some(secret))
            }
            AccessWish::DropOld => (AccessChange::DropOld, None),
            AccessWish::Disable(disabled) => (AccessChange::Disable(disabled), None),
            AccessWish::Revoke => (AccessChange::Revoke, None),
        };
        Ok((self.change_access_key(id, change).await?, secret))
    }

    async fn change_access_key(&self, id: AccessKeyId, change: AccessChange) -> Result<Written, ObjectError> {
        let change = Mutation::change_access_key(id, change, system_ms());
        let change = match self.alone(change).await? {
            Decided::Alone(written) => return Ok(written),
            // A key is in no bucket that could be closing.
            Decided::ForVote(change) | Decided::Closing(change) => change,
        };
        self.reachable().await?;
        let (key, deadline) = (RegisterKey::access_key(id), self.deadline());
        let (_, members) = self.members(&key)?;
        // Two changes of one key by way of one node would only cost each other rounds.
        let _turn = self.turn(&key, &change, deadline).await?;
        let write = Write::new(members, change.clone());
        ended(self.drive(&key, write, Vec::new(), deadline, Behind::waiting(None)).await, &change)
    }

    /// Whether what this node holds is all there is to know of access keys: nobody decides with it.
    pub(in crate::actors) fn knows_alone(&self) -> bool {
        self.decides_alone()
    }

    /// Whether a majority has told this node once, since it was given its place, that there is no access key.
    pub(in crate::actors) fn is_keyless(&self) -> bool {
        self.0.ballots.voting().node.keyless
    }

    /// Asks the members what they hold of the access keys, and of what is open to everybody, against what is held here, at
    /// `asked` by the clock of leases. What that comes to for each of the two, within `patience`.
    pub(in crate::actors) async fn compare_access(
        &self,
        mine: [Holds; 2],
        asked: Duration,
        patience: Duration,
    ) -> Result<[Finding; 2], ObjectError> {
        let until = Instant::now() + patience;
        // Every node holds all registers of both kinds, and the same ones answer for both.
        let (voting, members) = self.members(&RegisterKey::all_of(RegisterKind::AccessKey).0)?;
        let mut questions = mine.map(|mine| Question::new(members.clone(), self.0.me, mine, asked));
        // All at once: the lease counts from before the first of them, and the slowest must not use it up.
        let mut answers: FuturesUnordered<_> = questions[0]
            .others()
            .map(|node| {
                let lane = self.lane(&voting, node);
                let (reply, answer) = oneshot::channel();
                if let (Some(lane), Some(plan)) = (lane, self.peer(&voting, node)) {
                    Counts::add(&plan.tally.sent.configs);
                    lane.do_send(PeerRequest::Ask(node, Box::new(Call::Config(voting.list)), reply));
                }
                async move { (node, answer.await.ok()) }
            })
            .collect();
        while questions.iter().any(|question| question.finding() == Finding::Open) {
            match actix_rt::time::timeout(until.saturating_duration_since(Instant::now()), answers.next()).await {
                Ok(Some((node, Some(Answer::Config { keys, public })))) => {
                    questions
                        .iter_mut()
                        .zip([keys, public])
                        .for_each(|(question, theirs)| question.heard(node, theirs));
                }
                Ok(Some((node, _))) => questions.iter_mut().for_each(|question| question.lost(node)),
                // Whoever has not answered by now does not.
                Ok(None) | Err(_) => {
                    let left: Vec<Incarnation> = questions[0].others().collect();
                    questions.iter_mut().for_each(|question| left.iter().for_each(|node| question.lost(*node)));
                }
            }
        }
        Ok(questions.each_ref().map(Question::finding))
    }

    /// What is open to everybody as a majority holds it, what is not settled settled by the reading.
    pub(in crate::actors) async fn list_public(&self) -> Result<PublicBuckets, ObjectError> {
        let all = self.list_buckets().await?;
        Ok(PublicBuckets::of(all.into_iter().map(|bucket| (bucket.name, bucket.public))))
    }

    /// The access keys as a majority holds them, what is not settled settled by the reading.
    pub(in crate::actors) async fn list_access(&self) -> Result<AccessKeys, ObjectError> {
        // All of them: who knew a part only would refuse the others as unknown.
        let mut found: Vec<(AccessKeyId, Value)> = Vec::new();
        self.walk(RegisterKey::all_of(RegisterKind::AccessKey).0, usize::MAX, |key, record| {
            if let Some(RegisterName::AccessKey(id)) = key.name() {
                found.push((id, record));
            }
            Seen::Some
        })
        .await?;
        self.ask(OpenAccess(found)).await
    }
}
