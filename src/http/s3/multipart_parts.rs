//! Parts of uploads: sent, or copied out of objects.
//!
//! Invariants
//! - A part is of an upload that is open, and has the checksum that the upload was begun with.
//! - Who copies may read the source, and write the target. What is copied is the state of the source that its conditions
//!   were held against, and moves through this node piece by piece.

use super::buckets::no_condition;
use super::copies;
use super::documents::copy_part_result;
use super::heads;
use super::multipart::{CHECKSUM_ALGORITHM, find, upload_id};
use super::operations::Endpoint;
use super::payload::Payload;
use crate::actors::messages::{ListParts, OpenUpload, PartOf, Written};
use crate::base::upload::{PART_BYTES_MAX, PART_NUMBER_MAX};
use crate::base::{Algorithm, ObjectName, UploadId, WantedSums};
use crate::http::edge::access::now_ms;
use crate::http::edge::body_in::Incoming;
use crate::http::edge::call::Call;
use crate::http::edge::conditions::no_half_writes;
use crate::http::edge::download::etag_header;
use crate::http::edge::errors::HttpError;
use crate::http::edge::heads::written;
use crate::http::edge::problem::Kind;
use crate::http::edge::signed::only;
use crate::http::edge::stored::Stored;
use crate::http::edge::upload::store_part;
use crate::http::edge::windows::{upload_window_for, window_for};
use actix_web::HttpResponse;
use actix_web::http::header;

pub(super) async fn upload(
    call: &Call<'_>,
    mut endpoint: Endpoint,
    incoming: &mut Incoming,
) -> Result<HttpResponse, HttpError> {
    let headers = call.req.headers();
    no_half_writes(headers)?;
    no_condition(headers)?;
    let (at, number) = (endpoint.object()?, number_of(&mut endpoint)?);
    let upload = upload_id(&mut endpoint)?;
    incoming.check_framed()?;
    incoming.check_announced()?;
    let mut payload = Payload::beside(call.req, incoming, &[CHECKSUM_ALGORITHM.as_str()])?;
    payload.limit(PART_BYTES_MAX)?;
    let open = find(call, &at, upload).await?;
    let named = only(headers, CHECKSUM_ALGORITHM.as_str())?.map(named_algorithm).transpose()?;
    algorithm_of(&open, named)?;
    let sums = WantedSums { checksum: algorithm_of(&open, payload.algorithm())?, ..payload.sums() };
    let len = payload.len();
    let window = upload_window_for(&call.worker.shared, len).await?;
    let part = PartOf { upload, number, wrap: open.wrap };
    let done = store_part(call, at, part, sums, len, window, &mut payload).await?;
    let mut builder = HttpResponse::Ok();
    written(&mut builder, call.worker, done.replicas);
    heads::sealed(&mut builder);
    if let Some(checksum) = &done.checksum {
        heads::checksum_of_part(&mut builder, checksum);
    }
    if let Some(etag) = etag_header(&done.etag) {
        builder.insert_header((header::ETAG, etag));
    }
    Ok(builder.finish())
}

pub(super) async fn copy(call: &Call<'_>, mut endpoint: Endpoint) -> Result<HttpResponse, HttpError> {
    let headers = call.req.headers();
    no_half_writes(headers)?;
    no_condition(headers)?;
    let (to, number) = (endpoint.object()?, number_of(&mut endpoint)?);
    let upload = upload_id(&mut endpoint)?;
    let from = copies::source(call)?;
    let range = only(headers, "x-amz-copy-source-range")?.map(source_range).transpose()?;
    let open = find(call, &to, upload).await?;
    let (info, mut download) = copies::opened(call, &from, &copies::source_conditions(headers)).await?;
    let (start, len) = match range {
        Some((first, last)) if last >= info.len => {
            log::debug!("request {}: bytes {first} to {last} of {}", call.id, info.len);
            return Err(HttpError::Query("x-amz-copy-source-range ends behind the object"));
        }
        Some((first, last)) => (first, last - first + 1),
        None => (0, info.len),
    };
    if len > PART_BYTES_MAX {
        return Err(HttpError::TooLarge { max: PART_BYTES_MAX });
    }
    download.set_range(start, len);
    let shared = &call.worker.shared;
    let reads = window_for(&shared.budget, Some(len), shared.settings.turn_max).await?;
    let window = upload_window_for(shared, Some(len)).await?;
    let sums = WantedSums { md5: true, for_etag: true, sha256: false, checksum: algorithm_of(&open, None)? };
    let mut source = Stored::new(&call.worker.links.read_download, download, len, reads);
    let part = PartOf { upload, number, wrap: open.wrap };
    let done = store_part(call, to.clone(), part, sums, Some(len), window, &mut source).await?;
    let mut builder = HttpResponse::Ok();
    written(&mut builder, call.worker, done.replicas);
    heads::sealed(&mut builder);
    let at = written_ms(call, to, (upload, number), &done).await;
    Ok(copy_part_result(&mut builder, &done, at))
}

/// When a part was written, where it is not another one by now.
async fn written_ms(call: &Call<'_>, at: ObjectName, (upload, number): (UploadId, u16), done: &Written) -> Option<u64> {
    let ask = ListParts { at, upload, after: number - 1, limit: 1 };
    let page = call.worker.links.writes.list_parts.send(ask).await.ok()?.ok()?;
    let part = page.parts.first().filter(|part| part.number == number && part.etag == done.etag)?;
    Some(part.written_ms.min(now_ms()))
}

/// What the checksum of a part is computed by: what its upload was begun with, or what comes with it.
fn algorithm_of(open: &OpenUpload, said: Option<Algorithm>) -> Result<Option<Algorithm>, HttpError> {
    match (open.checksum.map(|kind| kind.algorithm), said) {
        (Some(of), Some(said)) if of != said => Err(HttpError::Refused(Kind::UploadChecksum)),
        (of, said) => Ok(of.or(said)),
    }
}

fn named_algorithm(name: &str) -> Result<Algorithm, HttpError> {
    Algorithm::parse(name.trim()).ok_or(HttpError::Refused(Kind::ChecksumHeader))
}

/// The number of the part that a request is about.
fn number_of(endpoint: &mut Endpoint) -> Result<u16, HttpError> {
    part_number(&endpoint.query.take("partNumber").unwrap_or_default())
}

/// The number of a part as clients write it.
pub(super) fn part_number(text: &str) -> Result<u16, HttpError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|number| digits && (1..=PART_NUMBER_MAX).contains(number));
    number.ok_or(HttpError::Query("partNumber is a whole number from 1 to 10000"))
}

/// First and last byte of what is copied.
fn source_range(text: &str) -> Result<(u64, u64), HttpError> {
    const WRONG: HttpError = HttpError::Header("x-amz-copy-source-range is bytes=first-last");
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().ok()).flatten()
    };
    let (first, last) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or(WRONG)?;
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok((first, last)),
        _ => Err(WRONG),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_parts() {
        assert_eq!((part_number("1").unwrap(), part_number("10000").unwrap()), (1, 10_000));
        for bad in ["", "0", "10001", "-1", "+1", "1.0", "x", "99999999999"] {
            assert!(part_number(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ranges_of_sources() {
        assert_eq!(source_range("bytes=0-0").unwrap(), (0, 0));
        assert_eq!(source_range("bytes=5-18446744073709551615").unwrap(), (5, u64::MAX));
        for bad in [
            "",
            "bytes=",
            "bytes=0",
            "bytes=0-",
            "bytes=-5",
            "bytes=5-4",
            "0-5",
            "bytes=0-1,3-4",
            "bytes=+0-1",
            "bytes=0-x",
        ] {
            assert!(source_range(bad).is_err(), "{bad}");
        }
    }
}
