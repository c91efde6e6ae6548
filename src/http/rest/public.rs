//! `/v1/buckets/{bucket}/public`: what of a bucket is open to everybody.
//!
//! Invariants
//! - Every change is in the log, with who made it; and in force, on this node at least, when it is answered.
//! - Nothing but reading and listing is opened, whatever is asked.

use super::answers::json;
use super::in_force::{check_write, in_force};
use crate::actors::messages::{BucketSetting, SetBucket};
use crate::base::{BucketName, ObjectKey, PublicGrants, Right, Rights};
use crate::http::edge::access::Principal;
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::problem::Kind;
use actix_web::HttpResponse;
use serde::Serialize;

const OPENS: &str = "the parameters are prefix and rights: read, list, or read,list";
const CLOSES: &str = "the known parameter is prefix";

/// What is open under a prefix, as answers show it.
#[derive(Serialize)]
pub(super) struct PublicGrant<'a> {
    prefix: &'a str,
    rights: Vec<&'static str>,
}

impl PublicGrant<'_> {
    /// Whether everybody may see which keys there are under it.
    pub(super) fn is_listed(&self) -> bool {
        self.rights.contains(&Right::List.word())
    }
}

/// All that is open in a bucket.
pub(super) fn shown_public(grants: &PublicGrants) -> Vec<PublicGrant<'_>> {
    let words = |rights: Rights| Right::ALL.into_iter().filter(|right| rights.has(*right)).map(Right::word).collect();
    grants.iter().map(|grant| PublicGrant { prefix: &grant.prefix, rights: words(grant.rights) }).collect()
}

#[derive(Serialize)]
struct Set<'a> {
    bucket: &'a str,
    public: Vec<PublicGrant<'a>>,
}

/// Opens a prefix to everybody, for reading, listing, or both; in place of what was open under that very prefix.
pub(super) async fn open(call: &Call<'_>, bucket: BucketName) -> Result<HttpResponse, HttpError> {
    check_write(call)?;
    let mut query = Query::parse(call.req.query_string())?;
    let prefix = prefix_of(&mut query)?;
    let rights = query.take("rights").as_deref().and_then(rights_of).ok_or(HttpError::Query(OPENS))?;
    if !query.is_empty() {
        return Err(HttpError::Query(OPENS));
    }
    let known = call.worker.shared.entrance.access().known();
    let fits = |grants: &PublicGrants| grants.with(&prefix, rights).is_some();
    if !known.public.buckets.get(&bucket).is_none_or(fits) {
        return Err(HttpError::Refused(Kind::ManyPublic));
    }
    let opened = serde_json::json!({ "prefix": prefix, "rights": rights.to_string() });
    call.note.changes(known.public.buckets.get(&bucket).map(shown_public), opened);
    set(call, &bucket, BucketSetting::Open { prefix: prefix.clone(), rights }).await?;
    log::warn!(
        bucket:% = bucket, prefix:? = prefix, rights:% = rights, by:% = name_of(&call.who);
        "a part of a bucket is open to everybody without a key"
    );
    let is_open = |grants: &PublicGrants| grants.iter().any(|grant| grant.prefix == prefix && grant.rights == rights);
    let is_told = |grants: &PublicGrants| is_open(grants) || !fits(grants);
    in_force(call, |known| known.public.buckets.get(&bucket).is_some_and(is_told)).await;
    // Others may have opened the last ones meanwhile: then this one was left out.
    let known = call.worker.shared.entrance.access().known();
    match known.public.buckets.get(&bucket).is_none_or(fits) {
        true => Ok(by_now(call, &bucket)),
        false => Err(HttpError::Refused(Kind::ManyPublic)),
    }
}

/// Closes what is open under a prefix, and all that begin so; all of the bucket without one.
pub(super) async fn close(call: &Call<'_>, bucket: BucketName) -> Result<HttpResponse, HttpError> {
    check_write(call)?;
    let mut query = Query::parse(call.req.query_string())?;
    let prefix = prefix_of(&mut query)?;
    if !query.is_empty() {
        return Err(HttpError::Query(CLOSES));
    }
    let known = call.worker.shared.entrance.access().known();
    let closed = serde_json::json!({ "closed": prefix });
    call.note.changes(known.public.buckets.get(&bucket).map(shown_public), closed);
    set(call, &bucket, BucketSetting::Close { prefix: prefix.clone() }).await?;
    log::warn!(
        bucket:% = bucket, prefix:? = prefix, by:% = name_of(&call.who);
        "a part of a bucket is not open to everybody any more"
    );
    let is_closed = |grants: &PublicGrants| !grants.iter().any(|grant| grant.prefix.starts_with(&prefix));
    in_force(call, |known| known.public.buckets.get(&bucket).is_none_or(is_closed)).await;
    Ok(by_now(call, &bucket))
}

async fn set(call: &Call<'_>, bucket: &BucketName, setting: BucketSetting) -> Result<(), HttpError> {
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    call.worker.links.writes.set_bucket.send(SetBucket { bucket: bucket.clone(), setting }).await??;
    Ok(())
}

/// What is open in the bucket, as this node goes by it.
fn by_now(call: &Call<'_>, bucket: &BucketName) -> HttpResponse {
    let known = call.worker.shared.entrance.access().known();
    let public = known.public.buckets.get(bucket).map(shown_public).unwrap_or_default();
    json(&mut HttpResponse::Ok(), &Set { bucket: bucket.as_str(), public })
}

fn prefix_of(query: &mut Query) -> Result<String, HttpError> {
    let prefix = query.take("prefix").unwrap_or_default();
    match prefix.len() <= ObjectKey::BYTES_MAX {
        true => Ok(prefix),
        false => Err(HttpError::Query("a prefix has at most 1024 bytes")),
    }
}

fn rights_of(text: &str) -> Option<Rights> {
    let named = |word: &str| Right::ALL.into_iter().find(|right| right.word() == word);
    let rights: Option<Vec<Right>> = text.split(',').map(named).collect();
    rights.map(|rights| Rights::of(&rights)).filter(|rights| PublicGrants::may_be(*rights))
}

/// Who it was, for the log.
fn name_of(who: &Principal) -> String {
    match who {
        Principal::Key(key) | Principal::Link(key) => key.id.to_string(),
        Principal::Nobody | Principal::Anyone | Principal::Guest => "anybody".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_reading_and_listing_is_asked_for() {
        for (text, is) in [("read", "read"), ("list", "list"), ("read,list", "read,list"), ("list,read", "read,list")] {
            assert_eq!(rights_of(text).map(|rights| rights.to_string()).as_deref(), Some(is));
        }
        for bad in
            ["", "Read", "read,", "read list", "write", "read,write", "delete", "admin", "bypass", "metrics", "*"]
        {
            assert_eq!(rights_of(bad), None, "{bad}");
        }
    }
}
