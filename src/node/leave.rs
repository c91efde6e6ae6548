//! `boveda leave`: a node whose cluster is lost for good goes on alone, with what its directory holds.
//!
//! Invariants
//! - It has another incarnation first, and then a list of itself in another life of the cluster: interrupted in
//!   between, the node has no place anywhere, and the command is run again.
//! - What it was a member of takes nothing from it, and it takes nothing from there.

use super::audit;
use super::error::NodeError;
use super::key_source::KeySource;
use super::keys;
use super::lock::lock;
use crate::audit::Outcome;
use crate::base::Exit;
use crate::config::Config;
use crate::disk::RealDisk;
use crate::seal::random;
use crate::store::open::renounce;
use crate::store::{self, Options, StoreError};
use std::sync::Arc;

/// Leaves the cluster that the directory is a member of; without `sure` it only says what that means.
pub fn leave(config: Config, sure: bool) -> Exit {
    match try_leave(&config, sure) {
        Ok(text) => {
            println!("{text}");
            if sure { Exit::Done } else { Exit::Usage }
        }
        Err(error) => {
            eprintln!("boveda: {error}");
            error.exit()
        }
    }
}

fn try_leave(config: &Config, sure: bool) -> Result<String, NodeError> {
    let dir = &config.node.data;
    if !keys::is_made(dir)? {
        return Err(NodeError::NoData(dir.clone()));
    }
    let _lock = lock(dir)?;
    let ring = keys::ring(&KeySource::of(config)?)?;
    let fail = |source| NodeError::Store { dir: dir.clone(), source };
    let options = Options { first_bucket: false, log_bytes: config.store.log_bytes, ..Options::default() };
    let open = || store::open(Arc::new(RealDisk), dir, Arc::clone(&ring), config.cluster.id, options.clone());
    let (me, members) = {
        let (store, _) = open().map_err(fail)?;
        let voting = store.voting();
        let Some(list) = voting.node.roster.as_ref().filter(|list| !list.is_of(store.incarnation())) else {
            return Err(NodeError::NothingToLeave(dir.clone()));
        };
        let me = list.name_of(store.incarnation()).or(voting.node.name.as_ref());
        let members: Vec<_> = list.seats.iter().map(|seat| seat.name.to_string()).collect();
        (me.cloned().unwrap_or_else(|| config.node.name.clone()), members.join(", "))
    };
    if !sure {
        return Ok(format!(
            "{me} would leave the cluster of {members} for good and go on alone with what {} holds. Answered writes that \
             reached only the others are not there. The others never take {me} back, nor it them: do this when a majority \
             of them is lost, and on one node alone. Say so with --yes.",
            dir.display()
        ));
    }
    audit::write_offline(config, &ring, "members:leave", Outcome::Asked)?;
    renounce(&RealDisk, dir, &ring).map_err(fail)?;
    let (store, clockwork) = open().map_err(fail)?;
    let mut left = store.leave(u64::from_le_bytes(random()) | 2, me.clone());
    clockwork.committer.turn();
    left.try_recv().unwrap_or(Err(StoreError::ShuttingDown)).map_err(fail)?;
    audit::write_offline(config, &ring, "members:leave", Outcome::Done)?;
    Ok(format!("{me} has left the cluster of {members}: it is a cluster of its own, and may be started alone"))
}
