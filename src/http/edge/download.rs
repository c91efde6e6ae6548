//! An object out of the store: its conditions, the range that is asked for, and the head of the answer.
//!
//! Invariants
//! - The first piece of an object was opened before its head is sent: what does not open is a 500
//!   with a code, not a broken connection.
//! - Objects are served so that no browser runs them on this origin: `nosniff` and a sandbox.

use super::body_out::{DownloadBody, LengthOnly};
use super::call::Call;
use super::conditions::{Verdict, judge_read, range_applies};
use super::errors::HttpError;
use super::heads;
use super::media_type::UNKNOWN;
use super::range::{Wanted, wanted};
use super::windows::{claim, window_for};
use crate::actors::messages::{Consistency, ObjectInfo, OpenObject, ReadDownload, StoreError};
use crate::base::ObjectName;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Answers up to this size are handed over whole, and counted by the request's first permit.
const WHOLE_BYTES_MAX: u64 = 64 * 1024;

/// Start and length of what is read of an object; `None`: all of it.
pub type Part = Option<(u64, u64)>;

/// The part that `Range` asks for, where that counts as HTTP has it: on a GET.
pub fn range_of_get(req: &HttpRequest, info: &ObjectInfo) -> Result<Part, HttpError> {
    if *req.method() == Method::GET { asked_range(req.headers(), &info.etag, info.len) } else { Ok(None) }
}

/// Answers GET and HEAD for one object, with conditions. `part`: which part of it; `describe` adds what the port says of
/// an object beside what every port does.
pub async fn serve(
    call: &Call<'_>,
    at: ObjectName,
    consistency: Consistency,
    part: impl FnOnce(&ObjectInfo) -> Result<Part, HttpError>,
    describe: impl FnOnce(&mut HttpResponseBuilder, &ObjectInfo),
) -> Result<HttpResponse, HttpError> {
    let worker = call.worker;
    let headers = call.req.headers();
    let turn_max = worker.shared.settings.turn_max;
    let permit = claim(&worker.shared.budget, WHOLE_BYTES_MAX, turn_max).await?;
    let open = OpenObject { at, consistency, permit: Some(permit) };
    let (info, mut download) = worker.links.reads.open_object.send(open).await??;

    match judge_read(headers, &info.etag, info.written_ms) {
        Verdict::Serve => {}
        Verdict::Failed => return Err(StoreError::Precondition.into()),
        Verdict::NotModified => {
            let mut builder = HttpResponse::NotModified();
            validators(&mut builder, &info);
            return Ok(builder.finish());
        }
    }
    let is_get = *call.req.method() == Method::GET;
    let mut builder = HttpResponse::Ok();
    let mut len = info.len;
    if let Some((start, part)) = part(&info)? {
        download.set_range(start, part);
        builder.status(StatusCode::PARTIAL_CONTENT);
        let last = start.saturating_add(part).saturating_sub(1);
        builder.insert_header((header::CONTENT_RANGE, format!("bytes {start}-{last}/{}", info.len)));
        len = part;
    }
    guard(&mut builder, &info);
    describe(&mut builder, &info);
    if !is_get || len == 0 {
        return Ok(builder.body(LengthOnly(len)));
    }

    let window = match len > WHOLE_BYTES_MAX {
        true => Some(window_for(&worker.shared.budget, Some(len), turn_max).await?),
        false => None,
    };
    let (download, mut pieces) = worker.links.read_download.send(ReadDownload { download }).await??;
    // What lies on both sides of a border of two parts comes in two pieces, one after the other.
    if pieces.len() == 1 && pieces[0].len() as u64 == len && len <= WHOLE_BYTES_MAX {
        worker.shard.sent(len);
        return Ok(builder.body(pieces.pop().unwrap_or_else(Bytes::new)));
    }
    Ok(builder.body(DownloadBody::new(call, len, window, download, pieces)?))
}

/// The range to serve of an object of `len` bytes, if one is asked for and may be honoured.
pub fn asked_range(headers: &HeaderMap, etag: &str, len: u64) -> Result<Part, HttpError> {
    let mut lines = headers.get_all(header::RANGE);
    let (Some(line), None) = (lines.next(), lines.next()) else { return Ok(None) };
    let Ok(line) = line.to_str() else { return Ok(None) };
    if !range_applies(headers, etag) {
        return Ok(None);
    }
    match wanted(line, len) {
        Wanted::Whole => Ok(None),
        Wanted::Part { start, len } => Ok(Some((start, len))),
        Wanted::Nothing => Err(HttpError::Unsatisfiable { len }),
    }
}

/// An entity tag as a header.
pub fn etag_header(etag: &str) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("\"{etag}\"")).ok()
}

fn validators(builder: &mut HttpResponseBuilder, info: &ObjectInfo) {
    if let Some(etag) = etag_header(&info.etag) {
        builder.insert_header((header::ETAG, etag));
    }
    // It may stand ahead of this node's clock, and is not to be later than the answer. The server's own `Date` is up to
    // half a second old.
    let now = SystemTime::now();
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(info.written_ms)).map_or(now, |at| at.min(now));
    // Years of more than four digits have no form in HTTP; such a clock is not told.
    if at < UNIX_EPOCH + Duration::from_secs(253_402_300_800) {
        builder.insert_header((header::LAST_MODIFIED, httpdate::fmt_http_date(at)));
        builder.insert_header((header::DATE, httpdate::fmt_http_date(now)));
    }
}

/// What every port says of an object: type, validators, and that no browser is to run it on this origin. A type that
/// came from elsewhere and is no header text is left out rather than refused: the bytes matter more.
fn guard(builder: &mut HttpResponseBuilder, info: &ObjectInfo) {
    let media_type = HeaderValue::try_from(info.head.content_type.as_str()).ok().filter(|v| !v.is_empty());
    builder.insert_header((header::CONTENT_TYPE, media_type.unwrap_or(HeaderValue::from_static(UNKNOWN))));
    heads::handling(builder, &info.head);
    validators(builder, info);
    builder.insert_header((header::ACCEPT_RANGES, HeaderValue::from_static("bytes")));
    builder.insert_header((header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
    builder.insert_header((header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'")));
}
