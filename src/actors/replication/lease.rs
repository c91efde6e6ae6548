//! A lease: one blob-bearing change on its way through a blob lane, with others if its blob is short.
//!
//! Invariant: the records lane hears of every lease it gave, once: what became of it, or that it was
//! lost. A lane that panics, restarts or is gone drops its lease, and the drop is the message. So
//! there is no table of jobs to clean up after a death.

use crate::actors::messages::Change;
use crate::base::Class;
use actix::{Message, Recipient};

/// What became of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Blob and record are durable at the peer.
    Acked,
    /// The key has changed since: its newer number is in the feed.
    Superseded,
    /// It failed, and may be tried again.
    Failed {
        /// Which kind of failure that was.
        class: Class,
        /// For the status page.
        text: String,
    },
    /// Whoever had it is gone.
    Lost,
}

/// Told to the records lane when a lease ends.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct LeaseEnded {
    /// From which window the change is.
    pub window: u64,
    /// Which blob lane had it.
    pub lane: usize,
    /// The change, by its number in the feed.
    pub seq: u64,
    /// What became of it.
    pub fate: Fate,
}

/// The right, and the duty, to ship one change.
#[derive(Debug)]
pub struct Lease {
    /// The register, its ballot and its blob, as they were offered.
    pub change: Change,
    window: u64,
    lane: usize,
    home: Option<Recipient<LeaseEnded>>,
}

/// Hands leases to a blob lane: one, or several whose blobs are short and go together.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ShipBlobs(pub Vec<Lease>);

impl Lease {
    /// A lease of window `window`, given by the records lane at `home` to blob lane `lane`.
    pub fn new(change: Change, window: u64, lane: usize, home: Recipient<LeaseEnded>) -> Self {
        Lease { change, window, lane, home: Some(home) }
    }

    /// Ends the lease, and tells the records lane what became of the change.
    pub fn end(mut self, fate: Fate) {
        self.tell(fate);
    }

    fn tell(&mut self, fate: Fate) {
        if let Some(home) = self.home.take() {
            home.do_send(LeaseEnded { window: self.window, lane: self.lane, seq: self.change.seq, fate });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.tell(Fate::Lost);
    }
}
