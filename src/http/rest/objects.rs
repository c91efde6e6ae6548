//! `/v1/objects/{bucket}/{key}`: objects in, out and away.

use super::answers::{consistency, no_query, rests_on};
use super::links;
use super::plain_write::plain_write;
use crate::actors::messages::{DeleteObject, ObjectInfo, StoreError, Written};
use crate::base::{Condition, ObjectHead, ObjectName, WantedSums};
use crate::http::edge::body_in::Incoming;
use crate::http::edge::call::Call;
use crate::http::edge::conditions::write_condition;
use crate::http::edge::download::{etag_header, range_of_get, serve};
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::heads::{self, written};
use crate::http::edge::upload::{refuse_early, store};
use crate::http::edge::windows::upload_window_for;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{HttpResponse, HttpResponseBuilder};

const META_PREFIX: &str = "x-boveda-meta-";

pub(super) async fn put(call: &Call<'_>, at: ObjectName, incoming: &mut Incoming) -> Result<HttpResponse, HttpError> {
    if let Some(most) = links::of_write(call)? {
        incoming.limit(most);
    }
    let condition = conditional_write(call)?;
    let head = new_object(call.req.headers())?;
    incoming.check_framed()?;
    incoming.check_announced()?;
    incoming.check_md5(call.req.headers())?;
    let len = incoming.announced();
    if incoming.is_awaited() {
        refuse_early(call, &at, &condition).await?;
    }
    let window = upload_window_for(&call.worker.shared, len).await?;
    let done = store(call, at, condition, head, WantedSums::default(), len, window, incoming).await?;
    let mut builder = if done.existed { HttpResponse::Ok() } else { HttpResponse::Created() };
    written(&mut builder, call.worker, done.replicas);
    if let Some(etag) = etag_header(&done.etag) {
        builder.insert_header((header::ETAG, etag));
    }
    Ok(builder.finish())
}

pub(super) async fn get(call: &Call<'_>, at: ObjectName) -> Result<HttpResponse, HttpError> {
    let mut query = Query::parse(call.req.query_string())?;
    let disposition = links::of_read(call, &mut query);
    let consistency = consistency(&mut query)?;
    if !query.is_empty() {
        return Err(HttpError::Query("the known parameter is consistency"));
    }
    let mut response = serve(
        call,
        at,
        consistency,
        |info| range_of_get(call.req, info),
        |builder, info| {
            describe(builder, info);
            if let Some(disposition) = disposition {
                builder.insert_header((header::CONTENT_DISPOSITION, disposition));
            }
        },
    )
    .await?;
    rests_on(response.headers_mut(), consistency);
    Ok(response)
}

pub(super) async fn delete(call: &Call<'_>, at: ObjectName) -> Result<HttpResponse, HttpError> {
    no_query(call)?;
    let done = remove(call, at, conditional_write(call)?).await?;
    let mut builder = HttpResponse::NoContent();
    written(&mut builder, call.worker, done.replicas);
    Ok(builder.finish())
}

/// Deletes an object that is there.
pub(super) async fn remove(call: &Call<'_>, at: ObjectName, condition: Condition) -> Result<Written, HttpError> {
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let done = call.worker.links.writes.delete_object.send(DeleteObject { at, condition }).await??;
    if done.existed { Ok(done) } else { Err(StoreError::NoSuchKey.into()) }
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

/// What a client said of an object when it was stored.
pub(super) fn describe(builder: &mut HttpResponseBuilder, info: &ObjectInfo) {
    heads::describe(builder, &info.head, META_PREFIX);
}

/// What the headers of a PUT say of the object.
fn new_object(headers: &HeaderMap) -> Result<ObjectHead, HttpError> {
    let content_type = heads::kept(headers, &header::CONTENT_TYPE)?;
    Ok(ObjectHead { content_type, meta: heads::metadata(headers, META_PREFIX)?, ..ObjectHead::default() })
}
