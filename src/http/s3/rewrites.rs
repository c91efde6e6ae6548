//! Copies that are written anew, byte by byte: of a checksum that the source has not.
//!
//! Invariants
//! - What is written is the version of the source that was judged, or nothing.
//! - A copy onto itself replaces that version and no other.
//! - Source and copy each have a window of the budget: no more of both is in memory than these say.

use super::copies::Copying;
use super::objects::open;
use crate::actors::messages::{StoreError, Written};
use crate::base::{Algorithm, Condition, Tags, WantedSums};
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use crate::http::edge::stored::Stored;
use crate::http::edge::upload::store;
use crate::http::edge::windows::{upload_window_for, window_for};

/// Writes a copy of the version with that ETag, with a checksum of that algorithm.
pub(super) async fn rewrite(
    call: &Call<'_>,
    copying: &Copying,
    etag: &str,
    algorithm: Algorithm,
) -> Result<Written, HttpError> {
    let shared = &call.worker.shared;
    let (info, download) = open(call, &copying.from).await?;
    if info.etag != etag {
        return Err(StoreError::Precondition.into());
    }
    let condition =
        if copying.from == copying.to { upon(etag, &copying.condition)? } else { copying.condition.clone() };
    let head = copying.head.clone().unwrap_or(info.head);
    let sums = WantedSums { md5: true, for_etag: true, sha256: false, checksum: Some(algorithm) };
    let len = Some(info.len);
    let reads = window_for(&shared.budget, len, shared.settings.turn_max).await?;
    let writes = upload_window_for(shared, len).await?;
    let mut source = Stored::new(&call.worker.links.read_download, download, info.len, reads);
    store(call, copying.to.clone(), condition, head, sums, len, writes, &mut source).await
}

/// The condition of a copy onto itself: that the version which was judged is there still.
fn upon(judged: &str, condition: &Condition) -> Result<Condition, HttpError> {
    if condition.holds(Some(judged)) {
        Ok(Condition { matches: Some(Tags::OneOf(vec![judged.to_owned()])), differs: condition.differs.clone() })
    } else {
        Err(StoreError::Precondition.into())
    }
}
