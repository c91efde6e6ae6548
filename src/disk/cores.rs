//! Core files: the memory of a process that crashed, in the clear, with keys and bodies in it.
//!
//! Invariant: once `keep_none` has returned, the system writes none of this process, nor of what it starts.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Has the system write no core file of this process. Who needs one gives the running process another limit, as root
/// (`prlimit --core=unlimited --pid PID`).
pub fn keep_none() {
    // A limit can always be lowered.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}
