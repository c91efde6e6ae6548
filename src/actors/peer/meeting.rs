//! Meeting: two nodes tell each other how they stand and what they remember, before anything between them counts.

use super::conn::Conn;
use super::error::LinkError;
use super::plan::Plan;
use crate::wire::{Answer, Call, Pulse};

/// A heartbeat: the two tell each other how they stand and what they remember.
pub(in crate::actors) async fn meet(plan: &Plan, session: &mut Conn) -> Result<Pulse, LinkError> {
    let Answer::Pulse(pulse) = session.call(&Call::Heartbeat(Box::new(plan.node_view.pulse(&plan.peer)))).await? else {
        return Err(LinkError::Unfitting);
    };
    // What is told of another node than the one that this session is with counts for nothing.
    if pulse.incarnation == session.info.incarnation {
        plan.node_view.meet(&session.info, &pulse).await?;
        session.start = Some(pulse.standing.start);
    }
    Ok(*pulse)
}
