//! A new node of a cluster that has left its first key generation behind: it is told by a member what all of them are
//! known by.
//!
//! Invariants
//! - Only a node that never had a data directory asks, and only where its ring does not begin with generation 1, from
//!   which a cluster begins: everybody else knows, or computes the same.
//! - Nothing is made before somebody has told. A node whose peers know nothing either never makes up a cluster.

use super::error::NodeError;
use super::keys;
use crate::actors::peer::asking::ask_origin;
use crate::base::Class;
use crate::config::Config;
use crate::seal::{Keyring, Origin};
use actix_rt::time::sleep;
use futures::future::join_all;
use std::time::{Duration, Instant};

/// How long peers are asked that do not answer: whoever looks after the process may start it again.
const ASK_MAX: Duration = Duration::from_secs(60);
/// How long it is until they are asked again.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// What a member tells, where this node has to ask.
pub(super) async fn told(config: &Config, ring: &Keyring) -> Result<Option<Origin>, NodeError> {
    let first = ring.generations().first().map_or(1, |(number, _)| *number);
    if first == 1 || config.others().next().is_none() || keys::is_made(&config.node.data)? {
        return Ok(None);
    }
    let begun = Instant::now();
    log::info!(first; "a new node without the first key generation: the peers are asked which cluster this is");
    loop {
        let peers = ring.peer_keys();
        let asked = config.others().map(|peer| {
            let (peers, url) = (&peers, peer.url.to_string());
            async move { (&peer.name, ask_origin(&url, &config.node.name, &peer.name, peers).await) }
        });
        let mut refused = Vec::new();
        let mut is_final = true;
        for (name, answer) in join_all(asked).await {
            match answer {
                Ok(origin) => {
                    log::info!(peer:% = name, cluster:% = origin.cluster; "told which cluster this is");
                    return Ok(Some(origin));
                }
                Err(error) => {
                    is_final &= error.class() == Class::Permanent;
                    refused.push(format!("{name}: {error}"));
                }
            }
        }
        if is_final || begun.elapsed() > ASK_MAX {
            return Err(NodeError::Untold { first, keys: config.node.key_dir.clone(), why: refused.join("; ") });
        }
        sleep(ASK_EVERY).await;
    }
}
