//! `/v1/audit`: the audit log of this node, page by page, and whether it is whole.
//!
//! Invariants
//! - Both read files on a thread of their own: no worker waits for a disk.
//! - One check and few pages are read at once, however many ask.

use super::answers::{json, no_query};
use crate::audit::query::{PAGE_LINES_MAX, Query as Wanted};
use crate::audit::{Audit, AuditError};
use crate::base::NodeName;
use crate::base::dates::parse;
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use actix_web::HttpResponse;
use serde::Serialize;

/// What a page takes in memory, roughly.
const PAGE_BYTES: u64 = 8 << 20;

pub(super) async fn show(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    let wanted = wanted(Query::parse(call.req.query_string())?)?;
    let _permit = call.worker.shared.budget.try_claim(PAGE_BYTES).ok_or(HttpError::SlowDown)?;
    let page = beside(call, move |audit| audit.read(&wanted)).await?;
    Ok(json(&mut HttpResponse::Ok(), &page))
}

pub(super) async fn check(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    no_query(call)?;
    check_now(call).await
}

async fn check_now(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    let _permit = call.worker.shared.budget.try_claim(PAGE_BYTES).ok_or(HttpError::SlowDown)?;
    let checked = beside(call, Audit::check).await?;
    Ok(json(&mut HttpResponse::Ok(), &checked))
}

/// An operator has seen what was found of a node's log: it is said no more.
pub(super) async fn accept(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    let mut query = Query::parse(call.req.query_string())?;
    let node = query.take("accept").as_deref().and_then(NodeName::parse);
    let node =
        node.filter(|_| query.is_empty()).ok_or(HttpError::Query("the parameter is accept: the name of a node"))?;
    call.note.concerns(node.as_str());
    let seen = call.worker.shared.audit.accept(&node);
    call.note.changes(seen, ());
    check_now(call).await
}

/// Reads the log on a thread of its own.
async fn beside<T: Serialize + Send + 'static>(
    call: &Call<'_>,
    read: impl FnOnce(&Audit) -> Result<T, AuditError> + Send + 'static,
) -> Result<T, HttpError> {
    let audit = call.worker.shared.audit.clone();
    let read = actix_web::web::block(move || read(&audit)).await;
    read.map_err(|_| HttpError::Broken("the audit log was not read"))?.map_err(HttpError::Unread)
}

fn wanted(mut query: Query) -> Result<Wanted, HttpError> {
    let time = |text: Option<String>| match text {
        None => Ok(None),
        Some(text) => parse(&text)
            .map(Some)
            .ok_or(HttpError::Query("since and until are dates, or dates with a time in UTC: 2026-11-24T10:20:30Z")),
    };
    let number = |text: Option<String>| text.map(|text| text.parse::<u64>()).transpose();
    let since = time(query.take("since"))?;
    let until_ms = time(query.take("until"))?;
    let after = number(query.take("after")).map_err(|_| HttpError::Query("after is the number of a line"))?;
    let limit =
        number(query.take("limit")).ok().map(|limit| limit.map_or(Some(PAGE_LINES_MAX), |n| usize::try_from(n).ok()));
    let limit = limit.flatten().filter(|limit| (1..=PAGE_LINES_MAX).contains(limit));
    let limit = limit.ok_or(HttpError::Query("limit is a number from 1 to 1000"))?;
    let (actor, action) = (query.take("actor"), query.take("action"));
    if !query.is_empty() {
        return Err(HttpError::Query("the known parameters are since, until, actor, action, after and limit"));
    }
    Ok(Wanted {
        after: after.unwrap_or_default(),
        up_to: None,
        since_ms: since.unwrap_or_default(),
        until_ms,
        actor,
        action,
        limit,
    })
}
