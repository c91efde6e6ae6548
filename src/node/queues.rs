//! Every queue of a node, with its bound in bytes: together they are part of what the memory ceiling allows.
//!
//! Invariants
//! - What waits in this process for a disk, a peer or a client is in this list, under the bound that the code keeps.
//! - What is shared out by the plan shrinks with the ceiling; what is fixed is taken off before.
//!
//! | queue | bound | kept by |
//! |---|---|---|
//! | bodies of clients, coming and going and on their way to a segment; requests | `requests_bytes` | permits (`http`) |
//! | bodies on their way to the peers, while they arrive or from memory | `shipping_bytes` | permits (`body_streams`) |
//! | large writes | `large_write_bytes` | permits (`store::blobs`) |
//! | votes lane of a peer | `votes_bytes` | `votes_lane` |
//! | blob lanes of a peer, and bodies read for coordinators | `sending_bytes` | `transfers` |
//! | calls of a peer and their answers | `calls_bytes` | `sessions` |
//! | bodies of a peer | `blobs_bytes`, `streams_bytes` | `sessions` |
//! | the rest | fixed, below | constants of the rooms |
//!
//! The committer's queue and that of the store's threads hold nothing of their own: each entry belongs to a request or
//! a call that has its permit.

use crate::actors::background::healer;
use crate::actors::peer::transfers::CALLS_AT_ONCE;
use crate::actors::replication::records::window;
use crate::audit::running;
use crate::store::{log, marks, mover};
use crate::wire::LEARN_BYTES_MAX;

/// Bytes of all queues whose bound does not depend on the ceiling, with so many peers.
pub fn fixed_bytes(peers: usize) -> u64 {
    let own = [
        // The committer's batch, and the frame that is made of it.
        2 * log::FRAME_BYTES_MAX as usize,
        marks::WAITING_BYTES_MAX,
        mover::HOLDS_BYTES_MAX,
        running::WAITING_BYTES_MAX,
    ];
    let for_peers = if peers == 0 { 0 } else { healer::HOLDS_BYTES_MAX };
    let each = [
        // The records lane: changes that are open, and a step of it as it is and sealed.
        window::OPEN_BYTES_MAX,
        2 * LEARN_BYTES_MAX,
        // Answers to calls of the votes lane.
        CALLS_AT_ONCE * LEARN_BYTES_MAX,
    ];
    let sum = own.iter().sum::<usize>() + for_peers + peers * each.iter().sum::<usize>();
    u64::try_from(sum).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::NodeName;
    use crate::config::memory::CeilingSource;
    use crate::config::{Ceiling, Config, PeerEntry, PeerUrl};

    const MIB: u64 = 1 << 20;

    fn config(peers: usize) -> Config {
        let mut config = Config::default();
        config.cluster.peers = (0..peers)
            .map(|n| PeerEntry {
                name: NodeName::parse(&format!("n{n}")).expect("a name"),
                url: PeerUrl::parse(&format!("http://127.0.0.1:{}", 4000 + n)).expect("an address"),
            })
            .collect();
        config
    }

    #[test]
    fn all_queues_and_caches_together_stay_below_the_share_of_the_ceiling() {
        // Below that, what is fixed would take more than half of what is planned.
        for (peers, least_mib) in [(0, 64), (1, 128), (2, 160), (4, 256), (6, 384)] {
            let config = config(peers);
            let ceilings = [64, 128, 160, 256, 384, 512, 1024, 4096, 65536].into_iter();
            for mib in ceilings.filter(|mib| *mib >= least_mib) {
                let ceiling = Ceiling { bytes: mib * MIB, source: CeilingSource::Setting };
                let fixed = fixed_bytes(peers);
                let plan = config.memory_plan(ceiling, fixed);
                let all = plan.bytes(peers) + fixed;
                assert!(all <= plan.share(), "{peers} peers, {mib} MiB: {} of {}", all / MIB, plan.share() / MIB);
                let least = [plan.requests_bytes, plan.peer.votes_bytes, plan.peer.calls_bytes, plan.peer.blobs_bytes];
                assert!(least.iter().all(|bytes| *bytes > MIB / 2), "{peers} peers, {mib} MiB: {plan:?}");
                // What is set for bodies in flight is all that they get, however it is divided.
                let in_flight = plan.requests_bytes + plan.shipping_bytes;
                let set = config.http.in_flight_bytes_max;
                assert!(if plan.reduced { in_flight <= set } else { in_flight == set }, "{plan:?}");
                assert_eq!(plan.shipping_bytes > 0, peers > 0);
            }
        }
        let pod = Ceiling { bytes: 512 * MIB, source: CeilingSource::Cgroup };
        assert!(!config(2).memory_plan(pod, fixed_bytes(2)).reduced, "three pods as delivered have all that is set");
    }
}
