//! The walk down two trees, this node's and a peer's: which leaves differ, and by what.
//!
//! Invariant: at most the branches that differ are asked for their leaves, `BRANCHES_MAX` in a call.

use crate::actors::messages::{LEAVES_PER_BRANCH, ReadSums};
use crate::actors::peer::conn::Conn;
use crate::actors::peer::error::LinkError;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::plan::Plan;
use crate::actors::peer::store::ask;
use crate::actors::replication::records::compare::Differing;
use crate::base::Sum;
use crate::wire::{Answer, BRANCHES_MAX, Call};

/// The leaves that differ between this node and the peer. None when one of the two has not counted yet.
pub(in crate::actors) async fn walk(plan: &Plan, conn: &mut Conn) -> Result<Differing, LinkError> {
    let branches = both(plan, conn, Vec::new()).await?;
    let numbered = (0..=u8::MAX).zip(branches);
    let branches: Vec<u8> = numbered.filter(|(_, sum)| *sum != Sum::default()).map(|(branch, _)| branch).collect();
    let mut differing = Differing::new();
    for some in branches.chunks(BRANCHES_MAX) {
        let leaves = both(plan, conn, some.to_vec()).await?;
        for (branch, sums) in some.iter().zip(leaves.chunks(LEAVES_PER_BRANCH)) {
            let first = u16::from(*branch) * LEAVES_PER_BRANCH as u16;
            differing.extend((first..).zip(sums.iter().copied()).filter(|(_, sum)| *sum != Sum::default()));
        }
    }
    Ok(differing)
}

/// The differences of the same sums on both sides; none when one side has not counted yet.
async fn both(plan: &Plan, conn: &mut Conn, branches: Vec<u8>) -> Result<Vec<Sum>, LinkError> {
    let own = ask(&plan.store.read_sums, ReadSums { branches: branches.clone() }).await?;
    Counts::add(&plan.tally.sent.trees);
    let Answer::Sums(theirs) = conn.call(&Call::Tree(branches)).await? else { return Err(LinkError::Unfitting) };
    // One of the two has not counted yet: that is no difference.
    if own.is_empty() || theirs.is_empty() {
        return Ok(Vec::new());
    }
    if own.len() != theirs.len() {
        return Err(LinkError::Unfitting);
    }
    Ok(own.into_iter().zip(theirs).map(|(own, theirs)| own ^ theirs).collect())
}
