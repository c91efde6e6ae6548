//! The one snapshot that status, metrics and tests share.

use super::{certificate, findings};
use crate::actors::access::Access;
use crate::actors::background::healer::HealTally;
use crate::actors::background::scrubber::ScrubTally;
use crate::actors::background::tombstones::BurialTally;
use crate::actors::messages::ObserveStore;
use crate::actors::peer::sessions::PeerGate;
use crate::actors::replication::Replication;
use crate::actors::status::{ClusterSnapshot, PublicStatus, ReadinessStatus, StoreSection, VotingStatus};
use crate::actors::store_actor::StoreActor;
use crate::audit::Audit;
use crate::base::{ClusterId, Incarnation, Mark, NodeName};
use crate::http::{Readiness, StatusSource};
use crate::tls::Kept;
use actix::Addr;
use futures::future::LocalBoxFuture;
use std::sync::Arc;

/// What does not change while the node runs.
#[derive(Clone)]
pub(super) struct Fixed {
    pub node: NodeName,
    pub cluster: ClusterId,
    pub incarnation: Incarnation,
    pub former: Option<Incarnation>,
    pub durability: &'static str,
    pub replication: Replication,
    pub healing: Arc<HealTally>,
    pub burying: Arc<BurialTally>,
    pub scrubbing: Arc<ScrubTally>,
    pub gate: Arc<PeerGate>,
    pub readiness: Readiness,
    /// What callers are held against.
    pub access: Access,
    /// The certificate of the ports, where they have one.
    pub shown: Option<Arc<Kept>>,
    pub audit: Audit,
}

/// Gathers the snapshot on one worker.
pub(super) struct NodeStatus {
    pub fixed: Arc<Fixed>,
    pub store: Addr<StoreActor>,
}

impl StatusSource for NodeStatus {
    fn snapshot(&self) -> LocalBoxFuture<'static, serde_json::Value> {
        let (fixed, store) = (Arc::clone(&self.fixed), self.store.clone());
        Box::pin(async move {
            let peers = fixed.replication.status().await;
            let Ok(store) = store.send(ObserveStore).await else {
                return serde_json::json!({ "error": "the store does not answer" });
            };
            let conditions = fixed.readiness.conditions();
            let lacks = |what| conditions.missing.contains_key(what) || conditions.degraded.contains_key(what);
            let majority = !lacks(findings::MAJORITY) && !lacks(findings::CLUSTER);
            let voting = fixed.gate.node_view().ballots.voting();
            let snapshot = ClusterSnapshot {
                node: fixed.node.clone(),
                cluster: fixed.cluster,
                incarnation: fixed.incarnation,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                durability: fixed.durability.to_owned(),
                voting: VotingStatus::of(&voting, fixed.incarnation, fixed.former, majority),
                readiness: ReadinessStatus {
                    ready: conditions.missing.is_empty(),
                    missing: conditions.missing,
                    degraded: conditions.degraded,
                },
                key_generations: {
                    let keys = &fixed.gate.node_view().keys;
                    keys.show(&fixed.node, voting.node.roster.as_deref(), fixed.incarnation)
                },
                store: StoreSection { scrub: fixed.scrubbing.read(store.records + store.overlay_records), store },
                healing: fixed.healing.read(),
                burials: fixed.burying.read(),
                peers,
                gate: fixed.gate.status(),
                certificate: fixed.shown.as_ref().map(|kept| certificate::status(kept)),
                public_buckets: PublicStatus::of(&fixed.access.known().public.buckets),
                rare: Mark::ALL.iter().map(|(mark, _)| (mark.name(), mark.count())).collect(),
            };
            let with_audit = serde_json::to_value(snapshot).and_then(|mut snapshot| {
                snapshot["audit"] = serde_json::to_value(fixed.audit.status())?;
                Ok(snapshot)
            });
            with_audit.unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }))
        })
    }
}
