//! The node's place among others: what its directory says of it, against what the configuration says.
//!
//! Invariants
//! - The directory holds the member list, and it is the truth; the configuration only tells addresses.
//! - A start that would have the node decide with others than its list says is refused, before anything is said to
//!   anybody.

use super::error::NodeError;
use crate::base::NodeName;
use crate::config::{Config, Durability};
use crate::register::Roster;
use crate::store::Store;
use std::collections::BTreeSet;

/// Refuses a configuration that contradicts the directory.
pub(super) fn check(config: &Config, store: &Store) -> Result<(), NodeError> {
    let voting = store.voting();
    let list = voting.node.roster.as_deref();
    let me = store.incarnation();
    let known = list.and_then(|list| list.name_of(me)).or(voting.node.name.as_ref());
    let among_others = list.is_some() || config.others().next().is_some();
    if let Some(known) = known.filter(|known| among_others && **known != config.node.name) {
        let (dir, named) = (config.node.data.clone(), config.node.name.clone());
        return Err(NodeError::OtherName { dir, known: known.clone(), named });
    }
    let Some(list) = list else { return Ok(()) };
    let members = others_of(list, &config.node.name);
    let reached: BTreeSet<&NodeName> = config.others().map(|peer| &peer.name).collect();
    let alone = list.is_of(me) && reached.is_empty();
    let apart = !list.is_of(me) && !members.is_empty() && members.iter().all(|name| !reached.contains(name));
    if !alone && (apart || config.cluster.durability != Durability::Majority) {
        let configured = match config.cluster.durability {
            Durability::Majority => format!("cluster.peers names {}", names(&reached)),
            Durability::Local => "cluster.durability is local".to_owned(),
        };
        let (dir, members) = (config.node.data.clone(), names(&members));
        return Err(NodeError::Deserts { dir, name: config.node.name.clone(), members, configured });
    }
    for member in members.iter().filter(|name| !reached.contains(*name)) {
        log::warn!(member:% = member; "a member of the cluster has no address here: see cluster.peers");
    }
    Ok(())
}

/// The other members of a list, by name.
fn others_of<'a>(list: &'a Roster, me: &NodeName) -> BTreeSet<&'a NodeName> {
    let seats = list.seats.iter().chain(&list.before);
    seats.map(|seat| &seat.name).filter(|name| *name != me).collect()
}

fn names(names: &BTreeSet<&NodeName>) -> String {
    match names.is_empty() {
        true => "no other node".to_owned(),
        false => names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", "),
    }
}
