//! Many objects away at once.
//!
//! Invariants
//! - The right is asked for each key, and each is answered by itself: one that fails keeps no other from going.
//! - Nothing is deleted for a body that was not whole, or that has another checksum than came with it.
//! - No byte of the body is read before a permit for it is held, and rights are those of when it has come.

use super::documents::{self, Deletion, Gone};
use super::objects::remove;
use super::payload;
use crate::actors::messages::{ObjectError, StoreError};
use crate::base::{BucketName, Condition, ObjectKey, ObjectName, Tags};
use crate::http::edge::access::{Need, Right};
use crate::http::edge::body_in::Incoming;
use crate::http::edge::call::Call;
use crate::http::edge::conditions::no_half_writes;
use crate::http::edge::errors::HttpError;
use crate::http::edge::problem::Kind;
use crate::http::edge::windows::claim;
use actix_web::HttpResponse;
use futures::{StreamExt as _, stream};

/// Deletions of one request that are under way at once.
const AT_ONCE: usize = 16;
/// Most bytes of the document: a thousand keys, each as long as it may be.
const DOCUMENT_BYTES_MAX: usize = 2 * 1024 * 1024;

pub(super) async fn delete(
    call: &Call<'_>,
    bucket: BucketName,
    incoming: &mut Incoming,
) -> Result<HttpResponse, HttpError> {
    no_half_writes(call.req.headers())?;
    if !payload::is_checked(call.req.headers()) {
        return Err(HttpError::Refused(Kind::NoChecksum));
    }
    let bytes = payload::announced_at_most(incoming, DOCUMENT_BYTES_MAX);
    let _permit = claim(&call.worker.shared.budget, bytes, call.worker.shared.settings.turn_max).await?;
    let body = payload::document(call.req, incoming, DOCUMENT_BYTES_MAX).await?;
    let call = &call.renewed(&Need::in_bucket(Right::Delete, &bucket))?;
    let asked = documents::deletions(&body)?;
    let each = asked.objects.into_iter().map(|deletion| one(call, &bucket, deletion));
    let gone: Vec<Gone> = stream::iter(each).buffered(AT_ONCE).collect().await;
    for gone in &gone {
        call.note.each(format!("{bucket}/{}", gone.key), gone.outcome.as_ref().err().map(|problem| problem.kind));
    }
    // The bucket is the same for all.
    let is_bucket = |gone: &Gone| matches!(&gone.outcome, Err(problem) if problem.kind == Kind::NoSuchBucket);
    if gone.iter().any(is_bucket) {
        return Err(StoreError::NoSuchBucket.into());
    }
    Ok(documents::deleted(&gone, asked.quiet))
}

async fn one(call: &Call<'_>, bucket: &BucketName, deletion: Deletion) -> Gone {
    let outcome = match try_one(call, bucket, &deletion).await {
        Ok(()) => Ok(()),
        Err(error) => Err(error.problem()),
    };
    Gone { key: deletion.key, outcome }
}

async fn try_one(call: &Call<'_>, bucket: &BucketName, deletion: &Deletion) -> Result<(), HttpError> {
    if deletion.version.as_deref().is_some_and(|version| version != "null") {
        return Err(HttpError::NotImplemented("this release keeps one version of an object: leave VersionId out"));
    }
    let at = ObjectName { bucket: bucket.clone(), key: ObjectKey::parse(&deletion.key)? };
    call.authorize(&Need::on_object(Right::Delete, &at))?;
    let matches = deletion.etag.as_deref().map(|etag| match etag {
        "*" => Tags::Any,
        etag => Tags::OneOf(vec![etag.trim_matches('"').to_owned()]),
    });
    let condition = Condition { matches, differs: None };
    if !condition.is_none() && !call.worker.shared.settings.conditional_writes {
        return Err(HttpError::NotImplemented("conditional writes need durability = majority on a cluster"));
    }
    let missing = Need { right: Some(Right::List), ..Need::on_object(Right::Delete, &at) };
    match remove(call, at.clone(), condition).await {
        Err(HttpError::Object(ObjectError::Store(StoreError::NoSuchKey))) => {
            call.authorize(&missing)?;
            Err(StoreError::NoSuchKey.into())
        }
        gone => gone.map(drop),
    }
}
