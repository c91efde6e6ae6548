//! Changes of who may what: what their requests may not ask besides, and when they are answered.

use super::plain_write::{no_condition, plain_write};
use crate::actors::access::Known;
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use std::time::Duration;

/// How long an answer waits until this node goes by the change: others do so within that too.
pub(super) const IN_FORCE_WITHIN: Duration = Duration::from_millis(900);

/// Refuses conditions, and what a write cannot have.
pub(super) fn check_write(call: &Call<'_>) -> Result<(), HttpError> {
    plain_write(call.req.headers())?;
    no_condition(call.req.headers())
}

/// Waits until this node goes by a change that was decided. Where that takes longer, the answer does not wait: it is in
/// force when this node knows anything.
pub(super) async fn in_force(call: &Call<'_>, holds: impl Fn(&Known) -> bool) {
    let access = call.worker.shared.entrance.access();
    access.look();
    access.until(IN_FORCE_WITHIN, holds).await;
}
