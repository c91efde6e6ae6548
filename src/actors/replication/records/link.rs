//! The link of a records lane: where it is between a failed try and a session.
//!
//! Invariant: a lane has one session at most, and a step that is under way has it.

use crate::actors::peer::conn::Conn;
use crate::actors::status::LinkState;
use std::time::Instant;

/// The link to the peer.
#[allow(clippy::large_enum_variant)] // one per peer, never moved in bulk
pub(super) enum Link {
    /// Tried again at `until`. Failures in a row since the last acknowledgement: `tries`.
    Down { tries: u32, until: Instant },
    /// A handshake is under way.
    Dialing { tries: u32 },
    /// A session is open; a step borrows it.
    Up { conn: Option<Conn>, tries: u32 },
    /// The two do not agree; tried again slowly.
    Refused { until: Instant },
}

impl Link {
    /// Failures in a row since the last acknowledgement.
    pub(super) fn tries(&self) -> u32 {
        match self {
            Link::Down { tries, .. } | Link::Dialing { tries } | Link::Up { tries, .. } => *tries,
            Link::Refused { .. } => 0,
        }
    }

    /// The state as people are shown it.
    pub(super) fn state(&self) -> LinkState {
        match self {
            Link::Down { .. } => LinkState::Down,
            Link::Dialing { .. } => LinkState::Dialing,
            Link::Up { .. } => LinkState::Up,
            Link::Refused { .. } => LinkState::Refused,
        }
    }
}
