//! Copies that are written anew, byte by byte: of a checksum that the source has not.
//!
//! Invariants
//! - What is written is the version of the source that was judged, or nothing.
//! - A copy onto itself replaces that version and no other.
//! - Source and copy each have a window of the budget: no more of both is in memory than these say.

use super::copies::Copying;
use crate::actors::messages::{Consistency, Download, OpenObject, ReadDownload, StoreError, Written};
use crate::base::{Algorithm, Condition, Tags, WantedSums};
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use crate::http::edge::source::Source;
use crate::http::edge::upload::store;
use crate::http::edge::windows::{Window, upload_window_for, window_for};
use bytes::Bytes;

/// Writes a copy of the version with that ETag, with a checksum of that algorithm.
pub(super) async fn rewrite(
    call: &Call<'_>,
    copying: &Copying,
    etag: &str,
    algorithm: Algorithm,
) -> Result<Written, HttpError> {
    let shared = &call.worker.shared;
    let permit = shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let open = OpenObject { at: copying.from.clone(), consistency: Consistency::Majority, permit: Some(permit) };
    let (info, download) = call.worker.links.reads.open_object.send(open).await??;
    if info.etag != etag {
        return Err(StoreError::Precondition.into());
    }
    let condition =
        if copying.from == copying.to { upon(etag, &copying.condition)? } else { copying.condition.clone() };
    let head = copying.head.clone().unwrap_or(info.head);
    let sums = WantedSums { md5: true, sha256: false, checksum: Some(algorithm) };
    let len = Some(info.len);
    let reads = window_for(&shared.budget, len, shared.settings.turn_max).await?;
    let writes = upload_window_for(shared, len).await?;
    let mut source = Reading { call, download: Some(download), left: info.len, ready: Vec::new(), _window: reads };
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

/// An object out of the store, as the body of another one.
struct Reading<'a> {
    call: &'a Call<'a>,
    download: Option<Download>,
    /// Bytes that were not handed out yet.
    left: u64,
    /// What was read and not handed out, the last first.
    ready: Vec<Bytes>,
    _window: Window,
}

impl Source for Reading<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        const OTHER_LENGTH: HttpError = HttpError::Broken("the store gave other bytes than the object has");
        if self.left == 0 {
            return Ok(None);
        }
        if self.ready.is_empty() {
            let download = self.download.take().ok_or(HttpError::Broken("a download lost its place"))?;
            let (download, pieces) = self.call.worker.links.read_download.send(ReadDownload { download }).await??;
            self.download = Some(download);
            self.ready = pieces.into_iter().rev().filter(|piece| !piece.is_empty()).collect();
        }
        let piece = self.ready.pop().ok_or(OTHER_LENGTH)?;
        self.left = self.left.checked_sub(piece.len() as u64).ok_or(OTHER_LENGTH)?;
        Ok(Some(piece))
    }
}
