//! How many files this process may have open: connections, blobs being read and written, the store's own.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is left for files when every connection stands: as many again, and some for the store.
const FILES_PER_CONNECTION: u64 = 2;
const OWN_FILES: u64 = 128;
/// What a node has open before anybody asks it anything (31 to 34, and 4 for each of its threads on each of its ports for
/// clients, measured), with room for a few connections and files besides.
const LEAST_FILES: u64 = 56;
const LEAST_FILES_PER_THREAD: u64 = 4;

/// Raises the limit to what the system lets this process have. Many systems begin with 1,024, for programs
/// of another age.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            log::debug!(error:% = error; "limit of open files stays as it is");
        }
    }
}

/// What nodes with so many threads each, those of all their ports together, need to begin; with fewer, threads of theirs would end in the middle of the start.
pub fn least(threads: impl IntoIterator<Item = usize>) -> u64 {
    threads.into_iter().map(|threads| LEAST_FILES + LEAST_FILES_PER_THREAD * threads as u64).sum()
}

/// The limit, where it is below what is needed.
pub fn below(least: u64) -> Option<u64> {
    getrlimit(Resource::Nofile).current.filter(|limit| *limit < least)
}

/// The connections of each of so many ports that fit under the limit, at most `wanted`.
pub fn connections_for(wanted: usize, ports: usize) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let fit = (fitting(limit) / ports.max(1) as u64).max(1);
    let fit = usize::try_from(fit).unwrap_or(usize::MAX);
    if fit < wanted {
        log::warn!(limit, wanted, fit; "fewer connections than http.connections_max: raise the limit of open files (ulimit -n)");
    }
    wanted.min(fit)
}

fn fitting(limit: u64) -> u64 {
    (limit.saturating_sub(OWN_FILES) / FILES_PER_CONNECTION).max(1)
}

#[cfg(test)]
mod tests {
    use super::{fitting, least};

    #[test]
    fn a_node_needs_files_for_itself_and_for_each_of_its_threads() {
        assert_eq!((least([2]), least([1, 1, 1]), least([])), (64, 180, 0));
        assert!(least([200]) < 1024, "what most systems begin with is enough for large machines");
    }

    #[test]
    fn files_are_left_for_bodies() {
        assert_eq!(fitting(1024), 448);
        assert_eq!(fitting(0), 1);
        assert_eq!(fitting(u64::MAX), (u64::MAX - 128) / 2);
    }
}
