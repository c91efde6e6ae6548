//! How many files this process may have open: connections, blobs being read and written, the store's own.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What is left for files when every connection stands: as many again, and some for the store.
const FILES_PER_CONNECTION: u64 = 2;
const OWN_FILES: u64 = 128;

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

/// The connections that fit under the limit, at most `wanted`.
pub fn connections_for(wanted: usize) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let fit = fitting(limit);
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
    use super::fitting;

    #[test]
    fn files_are_left_for_bodies() {
        assert_eq!(fitting(1024), 448);
        assert_eq!(fitting(0), 1);
        assert_eq!(fitting(u64::MAX), (u64::MAX - 128) / 2);
    }
}
