//! Which numbers of the status snapshot only grow while the process runs: Prometheus calls them counters, and all
//! others gauges.
//!
//! Invariant: a number that may fall stands in neither list. One that stands in none of them and only grows is a gauge,
//! which costs whoever draws it a hint and nothing else.

/// Everything below these names.
const GROUPS: [&str; 4] = ["boveda_rare_", "boveda_peers_sent_", "boveda_peers_restarts_", "boveda_gate_received_"];

/// These themselves.
const NAMES: [&str; 23] = [
    "boveda_healing_fetched_bytes",
    "boveda_healing_mended_blobs",
    "boveda_healing_mended_records",
    "boveda_healing_refused",
    "boveda_healing_unmended",
    "boveda_peers_compare_differing_leaves",
    "boveda_peers_compare_offered",
    "boveda_peers_compare_repaired",
    "boveda_peers_compare_rounds",
    "boveda_peers_late_replies",
    "boveda_peers_list_refused_here",
    "boveda_peers_list_refused_there",
    "boveda_peers_shipped_bytes",
    "boveda_peers_shipped_records",
    "boveda_store_buried",
    "boveda_store_checkpoints",
    "boveda_store_commits",
    "boveda_store_committed_ops",
    "boveda_store_damaged_reads",
    "boveda_store_head",
    "boveda_store_references_miscounted",
    "boveda_store_segments_moved_bytes",
    "boveda_store_swept",
];

/// Whether the number of that name only grows.
pub(super) fn only_grows(name: &str) -> bool {
    let is_refused = |beginning| name.starts_with(beginning) && name.ends_with("_refused");
    NAMES.contains(&name)
        || GROUPS.iter().any(|group| name.starts_with(group))
        || is_refused("boveda_store_short_")
        || is_refused("boveda_gate_budgets_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_falls_is_no_counter() {
        for name in ["boveda_rare_access_listed", "boveda_gate_budgets_n1_refused", "boveda_store_short_inodes_refused"]
        {
            assert!(only_grows(name), "{name}");
        }
        for name in ["boveda_store_objects", "boveda_store_short_inodes_now", "boveda_peers_changes_behind"] {
            assert!(!only_grows(name), "{name}");
        }
        assert!(NAMES.is_sorted());
    }
}
