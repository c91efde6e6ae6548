//! How long a peer is tried, waited for and passed over, in the order in which that is met. What the listener allows is
//! in `peer_port`, and what one file alone waits for stands there.
//!
//! What operators set (`peer.heartbeat`, `peer.backoff_base`, `peer.backoff_cap`, `cluster.decide_timeout`) is in
//! `Timing` (`plan`) and in the coordinator's `Patience`; `Timing` also has pauses that are not set, such as
//! `refused_retry`, so that tests can shorten them. How long a body waits for a peer that cannot follow is a promise of
//! `body_streams`. These here are not set: they follow from what a healthy peer never exceeds.
//!
//! Invariant: whoever waits for an answer waits longer than the other side takes to give up; the assertions below say
//! so.

use std::time::Duration;

/// Longest wait for a connection, name resolution included.
pub const CONNECT_MAX: Duration = Duration::from_secs(5);

/// An idle socket is kept longer than the pause between heartbeats, and less long than the
/// listener keeps it.
pub const SOCKET_IDLE_MAX: Duration = Duration::from_secs(40);

/// Longest wait for the answer to a handshake or a call.
pub const CALL_MAX: Duration = Duration::from_secs(30);

/// Longest time in which a blob makes no progress.
pub const STALL_MAX: Duration = Duration::from_secs(30);

/// How long a request waits for its turn. Less than the time in which its sender takes silence for a fault.
pub const TURN_MAX: Duration = Duration::from_secs(20);

/// Longest wait for the answer to a frame of votes. Longer than a healthy disk takes for the commit, and shorter than
/// the usual time for a decision (`cluster.decide_timeout`), so that another round is left.
pub const VOTE_MAX: Duration = Duration::from_secs(3);

/// Pause of the votes lane after a peer did not answer: what is asked of it meanwhile is lost at once. It does not grow
/// as the pauses of the other lanes do (`peer.backoff_base`, `peer.backoff_cap`): clients wait for votes, and what a lost
/// peer costs is `VOTE_MAX` for the first askers of each pause, which ends early when somebody has the peer probed.
pub const DOWN_FOR: Duration = Duration::from_millis(300);

/// Least pause between two probes of a peer: however many requests wait for a majority, they dial no more often.
pub const PROBE_EVERY: Duration = Duration::from_millis(50);

/// How long a peer is asked again that takes no more at the moment. Each try has waited at the peer already.
pub const BUSY_MAX: Duration = Duration::from_secs(60);

/// Between two questions whether what somebody else sends has arrived.
pub const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How long a peer has not been reached before it is away.
pub const AWAY_AFTER: Duration = Duration::from_millis(500);

/// How long a request has peers tried that are known to be away.
pub const PROBE_MAX: Duration = Duration::from_millis(300);

/// How long a node may take to say whether it has room.
pub const ROOM_MAX: Duration = Duration::from_secs(1);

// The listener gives a request up before its sender takes the silence for a fault.
const _: () = assert!(TURN_MAX.as_millis() < CALL_MAX.as_millis());
// A vote is given up before a call is, so that a lane does not wait for what its coordinator has left.
const _: () = assert!(VOTE_MAX.as_millis() < CALL_MAX.as_millis());
// Whoever waits for a majority may have a peer tried again before the lane would by itself.
const _: () = assert!(PROBE_EVERY.as_millis() < DOWN_FOR.as_millis());
// The lane has tried a peer again before that counts as away: one short fault turns nobody down.
const _: () = assert!(DOWN_FOR.as_millis() < AWAY_AFTER.as_millis());
