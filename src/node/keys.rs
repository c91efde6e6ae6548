//! The key ring at start: made where it is safe to make one, missed loudly where it is not.

use super::error::NodeError;
use crate::base::Secret;
use crate::config::Config;
use crate::disk::{RealDisk, keydir};
use crate::seal::keyring::Keyring;
use crate::store;
use std::path::Path;
use std::sync::Arc;

/// Refuses a start whose data is not where it must be: its volume is not mounted. Before anything is made.
pub(super) fn require_data(config: &Config) -> Result<(), NodeError> {
    match config.node.data_must_exist && !is_made(&config.node.data)? {
        true => Err(NodeError::DataMissing(config.node.data.clone())),
        false => Ok(()),
    }
}

/// Makes the first key of a new node that stands alone. A cluster's nodes share one ring, so a node
/// with peers makes none, unless it is the demonstration, whose nodes share a directory.
pub(super) fn ensure(config: &Config, may_make_cluster_key: bool) -> Result<(), NodeError> {
    let (data, keys) = (&config.node.data, &config.node.key_dir);
    if keydir::next_generation(keys)? != 1 {
        return Ok(());
    }
    if is_made(data)? {
        return Err(NodeError::KeysLost { data: data.clone(), keys: keys.clone() });
    }
    if config.others().next().is_some() && !may_make_cluster_key {
        return Err(NodeError::ClusterKey { keys: keys.clone() });
    }
    let file = keydir::create(keys, 1, &Secret::new(crate::seal::random()))?;
    log::warn!(file:% = file.display(); "made a new key: back it up, without it the data cannot be opened");
    Ok(())
}

/// Reads the ring.
pub(super) fn ring(config: &Config) -> Result<Arc<Keyring>, NodeError> {
    Ok(Arc::new(Keyring::new(keydir::load(&config.node.key_dir)?)?))
}

/// Whether a data directory has been made.
pub(super) fn is_made(data: &Path) -> Result<bool, NodeError> {
    let made = store::open::is_made(&RealDisk, data);
    made.map_err(|source| NodeError::Store { dir: data.to_owned(), source })
}
