//! The key generation that seals: decided where nodes decide together, or by one alone. And what was long on its way,
//! sealed under it before it is voted on.
//!
//! Invariant: a generation is decided on only when all members have said lately that they open it. Who becomes a member
//! later without it is not ready (`node::findings`).

use super::homes::Behind;
use super::writes::ended;
use super::{Coordinator, Value};
use crate::actors::messages::*;
use crate::base::{ActiveKey, RegisterKey};
use crate::register::{Traced, Write, WriteOutcome};
use crate::store::cluster_settings::SettingsChange;
use crate::store::mutation::Mutation;
use crate::store::system_ms;

impl Coordinator {
    /// Makes a generation the one that seals: that of the number, or the newest.
    pub(in crate::actors) async fn rotate_keys(
        &self,
        RotateKeys { number }: RotateKeys,
    ) -> Result<ActiveKey, Unrotated> {
        let next = self.0.keys.ready(number, self.roster().as_deref(), self.0.me)?;
        let change = Mutation::change_settings(SettingsChange::Activate(next), system_ms());
        let change = match self.alone(change).await {
            Ok(Decided::Alone(_)) => return Ok(next),
            Ok(Decided::ForVote(change) | Decided::Closing(change)) => change,
            Err(ObjectError::Store(StoreError::Precondition)) => return Err(Unrotated::Newer(next.number)),
            Err(error) => return Err(error.into()),
        };
        self.reachable().await?;
        let (key, deadline) = (RegisterKey::settings(), self.deadline());
        let (_, members) = self.members(&key)?;
        let _turn = self.turn(&key, &change, deadline).await?;
        let write = Write::new(members, change.clone());
        match self.drive(&key, write, Vec::new(), deadline, Behind::waiting(None)).await {
            WriteOutcome::Refused(found) => Err(refused(&found, next)),
            outcome => Ok(ended(outcome, &change).map(|_| next)?),
        }
    }

    /// The same write, its key sealed under the generation that seals by now: its body may have been long on its way to the
    /// peers, and what is sealed under another one is known to be on no way any more after a while.
    pub(super) async fn sealed_anew(&self, mutation: Mutation) -> Mutation {
        match self.ask(SealAnew(mutation.clone())).await {
            Ok(anew) => anew,
            // Whoever votes on it tells what is wrong.
            Err(_) => mutation,
        }
    }
}

fn refused(found: &Traced<Value>, wanted: ActiveKey) -> Unrotated {
    let active = found.value.as_ref().and_then(|record| record.settings()?.active);
    Unrotated::Newer(active.map_or(wanted.number, |active| active.number))
}

impl From<Unready> for Unrotated {
    fn from(why: Unready) -> Self {
        Unrotated::Unready(why)
    }
}
