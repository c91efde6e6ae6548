//! How much memory the process may take, and how the ceiling is shared out.
//!
//! Invariants
//! - Buffers and caches together stay at or below `PLANNED_SHARE` of the ceiling, and leave `CODE_BYTES` of it; the
//!   rest is code, stacks, connections and what the allocator wastes.
//! - `MemoryPlan` names every share: who gets one divides it no further.
//! - The arithmetic takes texts and numbers; only `detect` reads the kernel's files.

use super::sections::Config;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The ceiling when nothing on the machine says how much memory there is.
const CEILING_UNKNOWN: u64 = 512 << 20;

/// Buffers and caches get three quarters of the ceiling.
const PLANNED_SHARE: (u64, u64) = (3, 4);

/// The part of `http.in_flight_bytes_max` that is added to it for large writes, where memory is not short.
const LARGE_WRITES_PART: u64 = 6;
/// The part of `http.in_flight_bytes_max` that is for large bodies on their way to other nodes while they arrive, where
/// nodes decide together: what waits for a peer is memory of the same requests.
const SHIPPING_PART: u64 = 3;
/// What the caches have at least where their sizes are not set and the ceiling allows it.
const CACHE_BYTES: u64 = 64 << 20;
const INDEX_CACHE_BYTES: u64 = 32 << 20;
/// The parts of what is left beside everything else that they have in addition. Where objects are many, a read that finds
/// its pages open costs half; the last quarter is left to the system, which caches what is sealed.
const CACHE_PART: u64 = 4;
const INDEX_CACHE_PART: u64 = 2;
/// What code, stacks and connections take however small the ceiling is: measured under load, with some room.
const CODE_BYTES: u64 = 18 << 20;

/// Below this a node does not start: it would be killed in the middle of its first uploads.
pub const CEILING_MIN: u64 = 24 << 20;

/// From here on a number means "no limit": version 1 has no other word for it.
const NO_LIMIT: u64 = 1 << 62;

/// The part of the machine's memory that is taken when no limit is set.
const MACHINE_SHARE: u64 = 4;

/// Where the ceiling came from, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CeilingSource {
    /// The setting `memory.ceiling`: no limit of the system is looked at.
    Setting,
    /// The limit of the control group, as a container has one.
    Cgroup,
    /// A quarter of the machine's memory.
    Machine,
    /// Nothing could be read.
    Unknown,
}

/// How much memory the process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// The ceiling, in bytes.
    pub bytes: u64,
    /// Who set it: the setting, a control group, or the machine's memory.
    pub source: CeilingSource,
}

/// What the traffic with one peer may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerPlan {
    /// Votes that wait for it and are under way.
    pub votes_bytes: u64,
    /// Bodies that are read to be sent to it.
    pub sending_bytes: u64,
    /// Its calls, and the answers to them.
    pub calls_bytes: u64,
    /// Bodies that it sends as fast as it can.
    pub blobs_bytes: u64,
    /// Bodies that it sends at the pace of its clients.
    pub streams_bytes: u64,
}

/// What a peer gets where there is enough.
const PEER: PeerPlan = PeerPlan {
    votes_bytes: 6 << 20,
    sending_bytes: 8 << 20,
    calls_bytes: 8 << 20,
    blobs_bytes: 8 << 20,
    streams_bytes: 10 << 20,
};

impl PeerPlan {
    /// The bytes of all these queues together.
    pub fn bytes(&self) -> u64 {
        self.votes_bytes + self.sending_bytes + self.calls_bytes + self.blobs_bytes + self.streams_bytes
    }

    fn map(self, part: impl Fn(u64) -> u64) -> Self {
        PeerPlan {
            votes_bytes: part(self.votes_bytes),
            sending_bytes: part(self.sending_bytes),
            calls_bytes: part(self.calls_bytes),
            blobs_bytes: part(self.blobs_bytes),
            streams_bytes: part(self.streams_bytes),
        }
    }
}

/// The ceiling shared out: what the builders of budgets and caches use instead of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryPlan {
    /// The ceiling that is shared out.
    pub ceiling: Ceiling,
    /// For the requests of clients and their bodies: `http.in_flight_bytes_max` without what is for shipping.
    pub requests_bytes: u64,
    /// For large bodies on their way to other nodes while they arrive; none where this node decides alone.
    pub shipping_bytes: u64,
    /// For the cache of records: `store.cache_bytes`, or less where memory is short; where that is not set, by what is
    /// left.
    pub cache_bytes: u64,
    /// For the index engine's own cache: `store.index_cache_bytes`, in the same way.
    pub index_cache_bytes: u64,
    /// For large writes to the disk; none where memory is short.
    pub large_write_bytes: u64,
    /// The bytes of each peer's queues, one peer's share.
    pub peer: PeerPlan,
    /// Whether the settings were more than the ceiling allows, and have been scaled down.
    pub reduced: bool,
}

/// The ceiling from the limits of the control groups above this process (`max` or a number, version
/// 1 or 2) and the text of `/proc/meminfo`. A limit at or above the machine's memory is none.
pub fn ceiling(limits: &[String], meminfo: Option<&str>) -> Ceiling {
    let machine = meminfo.and_then(mem_total);
    let limit = limits
        .iter()
        .filter_map(|text| text.trim().parse::<u64>().ok())
        .filter(|&limit| limit > 0 && limit < machine.unwrap_or(NO_LIMIT))
        .min();
    match (limit, machine) {
        (Some(bytes), _) => Ceiling { bytes, source: CeilingSource::Cgroup },
        // On a small machine a larger part, since nobody has set a limit that could be passed.
        (None, Some(total)) => {
            Ceiling { bytes: (total / MACHINE_SHARE).max(CEILING_MIN), source: CeilingSource::Machine }
        }
        (None, None) => Ceiling { bytes: CEILING_UNKNOWN, source: CeilingSource::Unknown },
    }
}

/// The files that may hold a limit, from the text of `/proc/self/cgroup`: those of this process's
/// group and of every group above it, for both versions.
pub fn limit_files(proc_self_cgroup: &str) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for line in proc_self_cgroup.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (root, name) = if controllers.is_empty() {
            (Path::new("/sys/fs/cgroup"), "memory.max")
        } else if controllers.split(',').any(|c| c == "memory") {
            (Path::new("/sys/fs/cgroup/memory"), "memory.limit_in_bytes")
        } else {
            continue;
        };
        // A path that climbs out of the visible tree belongs to another namespace.
        let inside = group.trim_start_matches('/');
        let visible = if inside.split('/').any(|part| part == "..") { Path::new("") } else { Path::new(inside) };
        files.extend(visible.ancestors().map(|group| root.join(group).join(name)));
    }
    files
}

/// Asks the kernel for the limit, and for the machine's memory where there is none.
pub fn detect() -> Ceiling {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let limits: Vec<String> = limit_files(&groups).iter().filter_map(|path| read(path)).collect();
    ceiling(&limits, read(Path::new("/proc/meminfo")).as_deref())
}

fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

impl Config {
    /// The ceiling: the setting, or what `detect` finds.
    pub fn ceiling(&self) -> Ceiling {
        match self.memory.ceiling {
            Some(bytes) => Ceiling { bytes, source: CeilingSource::Setting },
            None => detect(),
        }
    }

    /// Shares out the ceiling, of which `fixed` bytes are taken: the settings as they are when they fit, and otherwise
    /// all of them smaller in the same proportion. Half of it is shared out even where what is fixed would take more.
    pub fn memory_plan(&self, ceiling: Ceiling, fixed: u64) -> MemoryPlan {
        let (http, store) = (&self.http, &self.store);
        let large_write_bytes = http.in_flight_bytes_max / LARGE_WRITES_PART;
        let peers = u128::from(PEER.bytes()) * self.others().count() as u128;
        let cache_bytes = store.cache_bytes.unwrap_or(CACHE_BYTES);
        let index_cache_bytes = store.index_cache_bytes.unwrap_or(INDEX_CACHE_BYTES);
        let settings = [http.in_flight_bytes_max, cache_bytes, index_cache_bytes];
        let settings: u128 = settings.iter().map(|&bytes| u128::from(bytes)).sum();
        let planned = u128::from(ceiling.bytes) * u128::from(PLANNED_SHARE.0) / u128::from(PLANNED_SHARE.1);
        // However small the ceiling is, code and stacks are counted first.
        let beside_code = u128::from(ceiling.bytes.saturating_sub(CODE_BYTES));
        let room = planned.saturating_sub(u128::from(fixed)).max(planned / 2).min(beside_code);
        let wanted = settings + peers + u128::from(large_write_bytes);
        let reduced = wanted > room;
        let left = u64::try_from(room.saturating_sub(wanted)).unwrap_or(u64::MAX);
        // A size that is set stays as it is.
        let more = |set: Option<u64>, part: u64| if set.is_none() { left / part } else { 0 };
        // Where memory is short there are no large writes.
        let sum = settings + peers;
        let part = |bytes: u64| match reduced && sum > room {
            true => u64::try_from(u128::from(bytes) * room / sum.max(1)).unwrap_or(bytes),
            false => bytes,
        };
        let in_flight_bytes = part(http.in_flight_bytes_max);
        let shipping_bytes = if self.decides_with_others() { in_flight_bytes / SHIPPING_PART } else { 0 };
        MemoryPlan {
            ceiling,
            requests_bytes: in_flight_bytes - shipping_bytes,
            shipping_bytes,
            cache_bytes: part(cache_bytes) + more(store.cache_bytes, CACHE_PART),
            index_cache_bytes: part(index_cache_bytes) + more(store.index_cache_bytes, INDEX_CACHE_PART),
            large_write_bytes: if reduced { 0 } else { large_write_bytes },
            peer: PEER.map(part),
            reduced,
        }
    }
}

impl MemoryPlan {
    /// What is shared out among so many peers and the rest.
    pub fn bytes(&self, peers: usize) -> u64 {
        let bodies = self.requests_bytes + self.shipping_bytes + self.large_write_bytes;
        bodies + self.cache_bytes + self.index_cache_bytes + self.peer.bytes() * peers as u64
    }

    /// What buffers and caches may take in all.
    pub fn share(&self) -> u64 {
        self.ceiling.bytes / PLANNED_SHARE.1 * PLANNED_SHARE.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:        8388608 kB\nMemFree:          100000 kB\n";
    const GIB: u64 = 1 << 30;

    fn from(limits: &[&str], meminfo: Option<&str>) -> (u64, CeilingSource) {
        let limits: Vec<String> = limits.iter().map(|s| (*s).to_owned()).collect();
        let found = ceiling(&limits, meminfo);
        (found.bytes, found.source)
    }

    #[test]
    fn the_tightest_limit_wins_and_none_means_a_quarter() {
        assert_eq!(from(&["536870912\n", "max\n"], Some(MEMINFO)), (GIB / 2, CeilingSource::Cgroup));
        assert_eq!(from(&["1073741824", "536870912"], None), (GIB / 2, CeilingSource::Cgroup));
        assert_eq!(from(&["max\n"], Some(MEMINFO)), (2 * GIB, CeilingSource::Machine));
        assert_eq!(from(&[], Some("MemTotal: 65536 kB\n")), (CEILING_MIN, CeilingSource::Machine));
        assert_eq!(from(&[], Some(MEMINFO)), (2 * GIB, CeilingSource::Machine));
        // Version 1 writes "no limit" as the largest multiple of a page.
        assert_eq!(from(&["9223372036854771712"], Some(MEMINFO)), (2 * GIB, CeilingSource::Machine));
        assert_eq!(from(&["9223372036854771712"], None), (CEILING_UNKNOWN, CeilingSource::Unknown));
        assert_eq!(from(&["0", "-1", "", "x"], Some("MemTotal: ? kB")), (CEILING_UNKNOWN, CeilingSource::Unknown));
    }

    #[test]
    fn limits_are_looked_for_up_to_the_root() {
        let show = |text: &str| -> Vec<String> { limit_files(text).iter().map(|p| p.display().to_string()).collect() };
        assert_eq!(
            show("0::/kubepods/pod1\n"),
            [
                "/sys/fs/cgroup/kubepods/memory.max",
                "/sys/fs/cgroup/kubepods/pod1/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(show("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        assert_eq!(show("0::/../../x\n"), ["/sys/fs/cgroup/memory.max"]);
        assert_eq!(
            show("5:cpu,cpuacct:/a\n4:memory:/docker/a\nnonsense\n"),
            [
                "/sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                "/sys/fs/cgroup/memory/memory.limit_in_bytes"
            ]
        );
    }

    #[test]
    fn the_plan_never_passes_its_share() {
        let config = Config::default();
        let plan = |bytes| config.memory_plan(Ceiling { bytes, source: CeilingSource::Setting }, 0);
        let roomy = plan(GIB);
        assert!(!roomy.reduced);
        assert!(roomy.cache_bytes > CACHE_BYTES && roomy.index_cache_bytes > 2 * INDEX_CACHE_BYTES);
        assert!(roomy.bytes(0) <= roomy.share() && roomy.bytes(0) * 4 > roomy.share() * 3, "{roomy:?}");
        for mib in [24, 32, 64, 128, 200, 256] {
            let tight = plan(mib << 20);
            assert!(tight.reduced && tight.bytes(0) <= tight.share(), "{mib} MiB: {tight:?}");
            assert!(tight.bytes(0) + CODE_BYTES <= mib << 20, "{mib} MiB: {tight:?}");
            assert!(tight.requests_bytes > tight.cache_bytes && tight.index_cache_bytes > 0);
        }
    }

    #[test]
    fn a_size_that_is_set_is_kept() {
        let mut config = Config::default();
        let ceiling = Ceiling { bytes: GIB, source: CeilingSource::Setting };
        let auto = config.memory_plan(ceiling, 0);
        config.store.index_cache_bytes = Some(7 << 20);
        let plan = config.memory_plan(ceiling, 0);
        assert_eq!((plan.index_cache_bytes, plan.reduced), (7 << 20, false));
        assert!(plan.cache_bytes > auto.cache_bytes && plan.bytes(0) < auto.bytes(0));
        config.store.cache_bytes = Some(9 << 20);
        let plan = config.memory_plan(ceiling, 0);
        assert_eq!((plan.index_cache_bytes, plan.cache_bytes), (7 << 20, 9 << 20));
        config.store.index_cache_bytes = Some(GIB);
        let plan = config.memory_plan(ceiling, 0);
        assert!(plan.reduced && plan.bytes(0) <= plan.share());
    }

    #[test]
    fn this_machine_has_memory() {
        assert!(detect().bytes >= 32 << 20);
    }
}
