//! `/v1/cluster/keys`: the generations of the cluster's key, and the one that seals.
//!
//! Invariant: nothing of a key passes here but its number and its id, which tell nothing of it.

use super::answers::{json, no_query};
use super::plain_write::{no_condition, plain_write};
use crate::actors::messages::RotateKeys;
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use actix_web::HttpResponse;
use serde::Serialize;
use serde_json::Value;

/// The one that seals from now on.
#[derive(Serialize)]
struct Active {
    generation: u32,
    id: String,
}

/// The generations as this node knows them, and what it seals anew.
#[derive(Serialize)]
struct Shown<'a> {
    generations: &'a Value,
    resealing: &'a Value,
}

pub(super) async fn show(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    no_query(call)?;
    let snapshot = call.worker.status.snapshot().await;
    let part = |at| snapshot.pointer(at).ok_or(HttpError::Broken("the status has no key generations"));
    let shown = Shown { generations: part("/key_generations")?, resealing: part("/store/resealing")? };
    Ok(json(&mut HttpResponse::Ok(), &shown))
}

/// Makes the newest generation the one that seals, or that of the number; answered when it is decided.
pub(super) async fn rotate(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    plain_write(call.req.headers())?;
    no_condition(call.req.headers())?;
    let mut query = Query::parse(call.req.query_string())?;
    let number = query.take("generation").map(|number| number.parse::<u32>()).transpose();
    let wrong = HttpError::Query("the known parameter is generation: the number of one");
    let (Ok(number), true) = (number, query.is_empty()) else { return Err(wrong) };
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let active = call.worker.links.writes.rotate_keys.send(RotateKeys { number }).await??;
    call.note.changes((), serde_json::json!({ "generation": active.number, "id": active.kek.to_string() }));
    Ok(json(&mut HttpResponse::Ok(), &Active { generation: active.number, id: active.kek.to_string() }))
}
