//! Objects in, out and away.

use super::heads::{self, Overrides};
use super::multipart_parts;
use super::operations::Endpoint;
use super::payload::Payload;
use crate::actors::messages::{Consistency, DeleteObject, Download, ObjectError, ObjectInfo, OpenObject, StoreError};
use crate::base::{Condition, ObjectName};
use crate::http::edge::body_in::Incoming;
use crate::http::edge::call::Call;
use crate::http::edge::conditions::no_half_writes;
use crate::http::edge::download::{Part, asked_range, etag_header, serve};
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::heads::written;
use crate::http::edge::problem::Kind;
use crate::http::edge::upload::{refuse_early, store};
use crate::http::edge::windows::upload_window_for;
use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};

pub(super) async fn put(call: &Call<'_>, at: ObjectName, incoming: &mut Incoming) -> Result<HttpResponse, HttpError> {
    let headers = call.req.headers();
    heads::check_write(headers)?;
    let condition = heads::condition(call)?;
    let head = heads::of_write(headers)?;
    incoming.check_framed()?;
    incoming.check_announced()?;
    let is_awaited = incoming.is_awaited();
    let mut payload = Payload::of(call.req, incoming)?;
    if is_awaited && let Err(error) = refuse_early(call, &at, &condition).await {
        return Err(of_missing(call, &at, &condition, error).await);
    }
    let len = payload.len();
    let window = upload_window_for(&call.worker.shared, len).await?;
    let asked = (at.clone(), condition.clone());
    let sums = payload.sums();
    let done = match store(call, at, condition, head, sums, len, window, &mut payload).await {
        Ok(done) => done,
        Err(error) => return Err(of_missing(call, &asked.0, &asked.1, error).await),
    };
    let mut builder = HttpResponse::Ok();
    written(&mut builder, call.worker, done.replicas);
    heads::sealed(&mut builder);
    heads::checksum(&mut builder, done.checksum.as_ref(), &done.etag);
    if let Some(etag) = etag_header(&done.etag) {
        builder.insert_header((header::ETAG, etag));
    }
    Ok(builder.finish())
}

pub(super) async fn get(call: &Call<'_>, mut endpoint: Endpoint) -> Result<HttpResponse, HttpError> {
    let at = endpoint.object()?;
    let overrides = Overrides::of(&mut endpoint.query, &call.who)?;
    let headers = call.req.headers();
    let number = part_number(&mut endpoint.query, headers)?;
    let wants_checksum = heads::wants_checksum(headers)?;
    let part = |info: &ObjectInfo| match number {
        None => range_of(headers, info),
        Some(number) => part_of(number, info),
    };
    let mut response = serve(call, at, Consistency::Majority, part, |builder, info| {
        heads::sealed(builder);
        heads::describe(builder, &info.head);
        let wanted = info.checksum.as_ref().filter(|_| wants_checksum);
        match (number, &info.parts) {
            (Some(number), Some(parts)) => heads::of_part(builder, parts, number, wanted),
            _ => heads::checksum(builder, wanted, &info.etag),
        }
    })
    .await?;
    if response.status() == StatusCode::PARTIAL_CONTENT && number.is_none() {
        heads::without_checksum(response.headers_mut());
    }
    overrides.apply(response.headers_mut());
    Ok(response)
}

/// The number of the part that a read asks for.
fn part_number(query: &mut Query, headers: &HeaderMap) -> Result<Option<u16>, HttpError> {
    let Some(text) = query.take("partNumber") else { return Ok(None) };
    let number = multipart_parts::part_number(&text)?;
    if headers.contains_key(header::RANGE) {
        return Err(HttpError::Refused(Kind::PartOfRange));
    }
    Ok(Some(number))
}

/// The part that `Range` asks for, as S3 has it: of a HEAD too, and no range lies in an object of no bytes.
fn range_of(headers: &HeaderMap, info: &ObjectInfo) -> Result<Part, HttpError> {
    match asked_range(headers, &info.etag, info.len.max(1)) {
        Ok(None) => Ok(None),
        _ if info.len == 0 => Err(HttpError::Unsatisfiable { len: 0 }),
        asked => asked,
    }
}

/// The part of that number; of an object that did not come in parts, all of it is the first one. Nothing of nothing has
/// no form as a range, and is whole.
fn part_of(number: u16, info: &ObjectInfo) -> Result<Part, HttpError> {
    let part = match &info.parts {
        Some(parts) => parts.of_number(number).map(|part| (part.offset, part.len)),
        None => (number == 1).then_some((0, info.len)),
    };
    let (start, len) = part.ok_or(HttpError::Refused(Kind::PartNumber))?;
    Ok((len > 0).then_some((start, len)))
}

/// Deletes an object; of one that is not there nothing is written, and the answer is the same.
pub(super) async fn delete(call: &Call<'_>, at: ObjectName) -> Result<HttpResponse, HttpError> {
    no_half_writes(call.req.headers())?;
    let condition = heads::condition(call)?;
    if condition.differs.is_some() {
        return Err(HttpError::NotImplemented("an object is deleted on condition of If-Match alone"));
    }
    let replicas = remove(call, at, condition).await?;
    let mut builder = HttpResponse::NoContent();
    written(&mut builder, call.worker, replicas);
    Ok(builder.finish())
}

/// Deletes an object under a condition: how many replicas hold that.
pub(super) async fn remove(call: &Call<'_>, at: ObjectName, condition: Condition) -> Result<u32, HttpError> {
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let ask = DeleteObject { at: at.clone(), condition: condition.clone() };
    match call.worker.links.writes.delete_object.send(ask).await? {
        Ok(done) => Ok(done.replicas),
        Err(error) => Err(of_missing(call, &at, &condition, error.into()).await),
    }
}

/// What is known of an object, by a majority.
pub(super) async fn look(call: &Call<'_>, at: &ObjectName) -> Result<ObjectInfo, HttpError> {
    open(call, at).await.map(|(info, _)| info)
}

/// The same, to be read.
pub(super) async fn open(call: &Call<'_>, at: &ObjectName) -> Result<(ObjectInfo, Download), HttpError> {
    let permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let open = OpenObject { at: at.clone(), consistency: Consistency::Majority, permit: Some(permit) };
    Ok(call.worker.links.reads.open_object.send(open).await??)
}

/// Tells a condition that failed for want of the object from one that failed for its state, as clients of S3 expect:
/// `If-Match` of what is not there is 404.
pub(super) async fn of_missing(call: &Call<'_>, at: &ObjectName, condition: &Condition, error: HttpError) -> HttpError {
    let has_failed = matches!(error, HttpError::Object(ObjectError::Store(StoreError::Precondition)));
    if !has_failed || condition.matches.is_none() {
        return error;
    }
    match look(call, at).await {
        Err(missing @ HttpError::Object(ObjectError::Store(StoreError::NoSuchKey))) => missing,
        _ => error,
    }
}
