//! Whether there is a majority to ask: a request does not wait for one that is known to be away.
//!
//! Invariants
//! - Away is what was tried in vain (`actors::peer::reach`). Each request has it tried once more, for `PROBE_MAX` at most, so
//!   that nobody is refused for what was true a while ago.

use super::Coordinator;
use crate::actors::messages::ObjectError;
use crate::actors::peer::patience::PROBE_MAX;
use crate::actors::peer::peer_request::PeerRequest;
use crate::actors::peer::reach::{Reach, Standing};
use crate::base::NodeName;
use crate::store::voting::Voting;
use actix_rt::time::{Instant, sleep_until};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::oneshot;

/// What a client is told then.
pub(super) const AWAY: &str =
    "a majority of the nodes is away, as this node has seen: no link to them; nothing was written";

impl Coordinator {
    fn reach(&self) -> Option<&Reach> {
        self.0.peers.first().map(|peer| &*peer.node_view.reach)
    }

    fn standing(&self, voting: &Voting) -> Standing {
        self.reach().map_or(Standing::Open, |reach| reach.standing(voting, self.0.me, Instant::now().into_std()))
    }

    /// Whether a majority answered lately: what failed then did not fail for want of one.
    pub(in crate::actors) fn sees_majority(&self) -> bool {
        self.standing(&self.0.ballots.voting()) == Standing::Reached
    }

    /// Whether a peer answered when it was asked last.
    pub(super) fn answers(&self, peer: &NodeName) -> bool {
        self.reach().is_some_and(|reach| reach.answers(peer))
    }

    /// Whether no majority is to be had.
    pub(super) fn is_cut_off(&self) -> bool {
        self.standing(&self.0.ballots.voting()) == Standing::CutOff
    }

    /// Refuses what needs a majority while none is to be had.
    pub(in crate::actors) async fn reachable(&self) -> Result<(), ObjectError> {
        if !self.is_cut_off() {
            return Ok(());
        }
        // That they are away may be a moment old: one quick try may save a client a refusal.
        let lanes = self.0.peers.iter().filter_map(|peer| peer.lane.address());
        let mut probes: FuturesUnordered<_> = lanes
            .map(|lane| {
                let (done, probed) = oneshot::channel();
                lane.do_send(PeerRequest::Probe(done));
                probed
            })
            .collect();
        let until = Instant::now() + PROBE_MAX;
        loop {
            tokio::select! {
                Some(_) = probes.next() => {}
                () = sleep_until(until) => probes.clear(),
                else => {}
            }
            if !self.is_cut_off() {
                return Ok(());
            }
            if probes.is_empty() {
                return Err(ObjectError::NoMajority(AWAY));
            }
        }
    }
}
