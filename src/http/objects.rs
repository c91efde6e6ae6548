//! `/v1/objects/{bucket}/{key}`: objects in, out and away.
//!
//! Invariants
//! - The first piece of an object was opened before its head is sent: what does not open is a 500
//!   with a code, not a broken connection.
//! - Objects are served so that no browser runs them on this origin: `nosniff` and a sandbox.

use super::body_in::{Incoming, claim, store, upload_window_for, window_for};
use super::body_out::{DownloadBody, LengthOnly};
use super::conditions::{Verdict, judge_read, plain_write, range_applies, write_condition};
use super::errors::HttpError;
use super::media_type::UNKNOWN;
use super::range::{Wanted, wanted};
use super::target::Query;
use super::{Call, consistency, rests_on, target, written};
use crate::actors::messages::{
    Consistency, DeleteObject, NewObject, ObjectInfo, OpenObject, ReadDownload, StoreError, Written,
};
use crate::base::record::{CONTENT_TYPE_BYTES_MAX, META_BYTES_MAX, META_ENTRIES_MAX};
use crate::base::{Condition, ObjectName};
use actix_web::HttpResponse;
use actix_web::HttpResponseBuilder;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use bytes::Bytes;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const META_PREFIX: &str = "x-boveda-meta-";
/// Answers up to this size are handed over whole, and counted by the request's first permit.
const WHOLE_BYTES_MAX: u64 = 64 * 1024;

pub(super) async fn put(
    call: &Call<'_>,
    bucket: &str,
    key: &str,
    incoming: &mut Incoming,
) -> Result<HttpResponse, HttpError> {
    let at = target::object(bucket, key)?;
    no_query(call)?;
    let condition = conditional_write(call)?;
    let head = new_object(call.req.headers())?;
    incoming.check_framed()?;
    incoming.check_announced()?;
    incoming.check_md5(call.req.headers())?;
    let len = incoming.announced();
    let shared = &call.worker.shared;
    if incoming.is_awaited() {
        refuse_early(call, &at, &condition).await?;
    }
    let window = upload_window_for(shared, len).await?;
    let done = store(call.worker, at, condition, head, len, window, incoming).await?;
    let mut builder = if done.existed { HttpResponse::Ok() } else { HttpResponse::Created() };
    written(&mut builder, call.worker, done.replicas);
    if let Some(etag) = etag_header(&done.etag) {
        builder.insert_header((header::ETAG, etag));
    }
    Ok(builder.finish())
}

pub(super) async fn get(call: &Call<'_>, bucket: &str, key: &str) -> Result<HttpResponse, HttpError> {
    let mut query = Query::parse(call.req.query_string())?;
    let consistency = consistency(&mut query)?;
    serve(call, target::object(bucket, key)?, None, consistency).await
}

pub(super) async fn delete(call: &Call<'_>, bucket: &str, key: &str) -> Result<HttpResponse, HttpError> {
    let at = target::object(bucket, key)?;
    no_query(call)?;
    let done = remove(call, at, conditional_write(call)?).await?;
    let mut builder = HttpResponse::NoContent();
    written(&mut builder, call.worker, done.replicas);
    Ok(builder.finish())
}

/// Deletes an object that is there.
pub(super) async fn remove(call: &Call<'_>, at: ObjectName, condition: Condition) -> Result<Written, HttpError> {
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let done = call.worker.links.delete_object.send(DeleteObject { at, condition }).await??;
    if done.existed { Ok(done) } else { Err(StoreError::NoSuchKey.into()) }
}

/// Refuses a write whose bucket or condition fails by now, before its body is asked for. What passes here is judged
/// again when it is decided.
async fn refuse_early(call: &Call<'_>, at: &ObjectName, condition: &Condition) -> Result<(), HttpError> {
    let permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let open = OpenObject { at: at.clone(), consistency: Consistency::Majority, permit: Some(permit) };
    let found = match call.worker.links.open_object.send(open).await? {
        Ok((info, _)) => Some(info.etag),
        Err(StoreError::NoSuchKey) => None,
        Err(error @ (StoreError::NoSuchBucket | StoreError::NoMajority(_))) => return Err(error.into()),
        // Whatever else keeps it from being read need not keep it from being written.
        Err(_) => return Ok(()),
    };
    if condition.holds(found.as_deref()) { Ok(()) } else { Err(HttpError::Precondition) }
}

/// The condition of a write, where writes may have one.
fn conditional_write(call: &Call<'_>) -> Result<Condition, HttpError> {
    let headers = call.req.headers();
    plain_write(headers)?;
    let condition = write_condition(headers)?;
    if !condition.is_none() && !call.worker.shared.settings.conditional_writes {
        return Err(HttpError::NotImplemented("conditional writes need durability = majority on a cluster"));
    }
    Ok(condition)
}

/// A parameter that nobody reads could change what a write means.
pub(super) fn no_query(call: &Call<'_>) -> Result<(), HttpError> {
    if call.req.query_string().is_empty() {
        return Ok(());
    }
    Err(HttpError::NotImplemented("query parameters on a write"))
}

/// Answers GET and HEAD for one object, with ranges and conditions.
pub(super) async fn serve(
    call: &Call<'_>,
    at: ObjectName,
    disposition: Option<HeaderValue>,
    consistency: Consistency,
) -> Result<HttpResponse, HttpError> {
    let worker = call.worker;
    let headers = call.req.headers();
    let turn_max = worker.shared.settings.turn_max;
    let permit = claim(&worker.shared.budget, WHOLE_BYTES_MAX, turn_max).await?;
    let open = OpenObject { at, consistency, permit: Some(permit) };
    let (info, mut download) = worker.links.open_object.send(open).await??;

    match judge_read(headers, &info.etag, info.written_ms) {
        Verdict::Serve => {}
        Verdict::Failed => return Err(HttpError::Precondition),
        Verdict::NotModified => {
            let mut builder = HttpResponse::NotModified();
            rests_on(&mut builder, consistency);
            validators(&mut builder, &info);
            return Ok(builder.finish());
        }
    }
    let is_get = *call.req.method() == Method::GET;
    let mut builder = HttpResponse::Ok();
    rests_on(&mut builder, consistency);
    let mut len = info.len;
    if is_get && let Some(range) = asked_range(headers, &info)? {
        let (start, part) = range;
        download.set_range(start, part);
        builder.status(StatusCode::PARTIAL_CONTENT);
        let last = start.saturating_add(part).saturating_sub(1);
        builder.insert_header((header::CONTENT_RANGE, format!("bytes {start}-{last}/{}", info.len)));
        len = part;
    }
    describe(&mut builder, &info);
    if let Some(disposition) = disposition {
        builder.insert_header((header::CONTENT_DISPOSITION, disposition));
    }
    if !is_get || len == 0 {
        return Ok(builder.body(LengthOnly(len)));
    }

    let window = match len > WHOLE_BYTES_MAX {
        true => Some(window_for(&worker.shared.budget, Some(len), turn_max).await?),
        false => None,
    };
    let (download, mut pieces) = worker.links.read_download.send(ReadDownload { download }).await??;
    if len <= WHOLE_BYTES_MAX && pieces.len() == 1 {
        let body = pieces.pop().unwrap_or_else(Bytes::new);
        if body.len() as u64 != len {
            return Err(HttpError::Broken("the store gave other bytes than the object has"));
        }
        worker.shard.sent(len);
        return Ok(builder.body(body));
    }
    Ok(builder.body(DownloadBody::new(call, len, window, download, pieces)?))
}

/// The range to serve, if one is asked for and may be honoured.
fn asked_range(headers: &HeaderMap, info: &ObjectInfo) -> Result<Option<(u64, u64)>, HttpError> {
    let mut lines = headers.get_all(header::RANGE);
    let (Some(line), None) = (lines.next(), lines.next()) else { return Ok(None) };
    let Ok(line) = line.to_str() else { return Ok(None) };
    if !range_applies(headers, &info.etag) {
        return Ok(None);
    }
    match wanted(line, info.len) {
        Wanted::Whole => Ok(None),
        Wanted::Part { start, len } => Ok(Some((start, len))),
        Wanted::Nothing => Err(HttpError::Unsatisfiable { len: info.len }),
    }
}

fn etag_header(etag: &str) -> Option<HeaderValue> {
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

/// Headers of an object, as GET and HEAD answer them. Text that came from elsewhere and is no header
/// text is left out rather than refused: the bytes matter more.
fn describe(builder: &mut HttpResponseBuilder, info: &ObjectInfo) {
    let media_type = HeaderValue::try_from(info.content_type.as_str()).ok().filter(|v| !v.is_empty());
    builder.insert_header((header::CONTENT_TYPE, media_type.unwrap_or(HeaderValue::from_static(UNKNOWN))));
    validators(builder, info);
    builder.insert_header((header::ACCEPT_RANGES, HeaderValue::from_static("bytes")));
    builder.insert_header((header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
    builder.insert_header((header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox; default-src 'none'")));
    for (name, value) in &info.meta {
        let name = HeaderName::try_from([META_PREFIX, name].concat());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value.as_str())) {
            builder.insert_header((name, value));
        }
    }
}

/// What the headers of a PUT say of the object.
///
/// Values are visible ASCII and spaces, kept as they are: who needs more encodes it, and gets it back
/// encoded. Several lines of one name are joined by commas, as HTTP has it.
fn new_object(headers: &HeaderMap) -> Result<NewObject, HttpError> {
    let content_type = match headers.get(header::CONTENT_TYPE) {
        Some(value) => text(value).ok_or(HttpError::Header("Content-Type is not visible ASCII"))?,
        None => "",
    };
    if content_type.len() > CONTENT_TYPE_BYTES_MAX {
        return Err(HttpError::Header("Content-Type is too long"));
    }
    let mut meta: Vec<(String, String)> = Vec::new();
    let mut bytes = 0;
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(META_PREFIX) else { continue };
        let value = text(value).ok_or(HttpError::Header("x-boveda-meta-* values are visible ASCII"))?;
        if name.is_empty() {
            return Err(HttpError::Header("x-boveda-meta- needs a name behind it"));
        }
        bytes += name.len() + value.len();
        match meta.iter_mut().find(|(known, _)| known == name) {
            Some((_, joined)) => {
                bytes += 2;
                joined.push_str(", ");
                joined.push_str(value);
            }
            None => meta.push((name.to_owned(), value.to_owned())),
        }
    }
    if bytes > META_BYTES_MAX || meta.len() > META_ENTRIES_MAX {
        return Err(HttpError::Header("the x-boveda-meta-* headers are too large"));
    }
    // The server keeps headers in a map without an order; one state of an object should have one form.
    meta.sort();
    Ok(NewObject { content_type: content_type.to_owned(), meta })
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().filter(|text| text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(all: &[(&str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in all {
            map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_bytes(value).unwrap());
        }
        map
    }

    #[test]
    fn metadata_is_taken_or_refused() {
        let head = new_object(&headers(&[
            ("content-type", b"text/plain; charset=utf-8"),
            ("X-Boveda-Meta-B", b"two words"),
            ("x-boveda-meta-a", b"1"),
            ("x-boveda-meta-a", b"2"),
            ("x-other", b"ignored"),
        ]))
        .unwrap();
        assert_eq!(head.content_type, "text/plain; charset=utf-8");
        assert_eq!(head.meta, [("a".to_owned(), "1, 2".to_owned()), ("b".to_owned(), "two words".to_owned())]);
        assert_eq!(new_object(&headers(&[])).unwrap(), NewObject::default());
        let long = [b'x'; META_BYTES_MAX];
        for bad in [
            &[("x-boveda-meta-a", &b"\xc3\xa9"[..])][..],
            &[("x-boveda-meta-a", b"a\tb")],
            &[("x-boveda-meta-", b"a")],
            &[("x-boveda-meta-a", &long)],
            &[("content-type", b"\xff")],
            &[("content-type", &long)],
        ] {
            assert!(new_object(&headers(bad)).is_err(), "{bad:?}");
        }
        let many: Vec<(String, Vec<u8>)> =
            (0..=META_ENTRIES_MAX).map(|n| (format!("x-boveda-meta-{n}"), b"v".to_vec())).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        assert!(new_object(&headers(&many)).is_err());
    }
}
