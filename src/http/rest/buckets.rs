//! Buckets and listings.

use super::answers::{consistency, json, json_resting_on, no_query};
use super::plain_write::{no_condition, plain_write};
use super::public::{PublicGrant, shown_public};
use crate::actors::messages::{
    BucketInfo, BucketSetting, CreateBucket, DeleteBucket, ListBuckets, ListObjects, ListPage, SetBucket, StoreError,
};
use crate::base::dates::rfc3339;
use crate::base::{BucketName, BucketUsage, EtagMode, Quota};
use crate::http::edge::access::{Need, Right};
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::heads::written;
use crate::http::edge::media_type::UNKNOWN;
use crate::http::edge::windows::claim;
use actix_web::HttpResponse;
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// Entries of a page, when none or the most are asked for.
const PAGE_ENTRIES_MAX: usize = 1000;
/// What a page may take, roughly: a thousand keys of ordinary length with their metadata.
const PAGE_BYTES: u64 = 512 * 1024;

#[derive(Serialize)]
struct Buckets<'a> {
    buckets: Vec<Bucket<'a>>,
}

#[derive(Serialize)]
struct Bucket<'a> {
    name: &'a str,
    created: String,
    /// What the node that answers holds of it. Not for who comes in as everybody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<BucketUsage>,
    /// Nulls where there is no limit. Not for who comes in as everybody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<Quota>,
    /// What clients of S3 know by what they write. Not for who comes in as everybody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    etag: Option<EtagMode>,
    /// What of it is open to everybody.
    public: Vec<PublicGrant<'a>>,
}

impl<'a> From<&'a BucketInfo> for Bucket<'a> {
    fn from(BucketInfo { name, created_ms, quota, usage, public, etag }: &'a BucketInfo) -> Self {
        let (created, public) = (rfc3339(*created_ms), shown_public(public));
        let (usage, quota, etag) = (Some(*usage), Some(*quota), Some(*etag));
        Bucket { name: name.as_str(), created, usage, quota, etag, public }
    }
}

impl Bucket<'_> {
    /// The same for whom no grant lets in: not how full it is, nor prefixes that are open to whoever knows the names.
    fn for_everybody(self) -> Self {
        let public = self.public.into_iter().filter(PublicGrant::is_listed).collect();
        Bucket { usage: None, quota: None, etag: None, public, ..self }
    }
}

#[derive(Serialize)]
struct Limited<'a> {
    bucket: &'a str,
    quota: Quota,
}

#[derive(Serialize)]
struct Known<'a> {
    bucket: &'a str,
    etag: EtagMode,
}

#[derive(Serialize)]
struct Page<'a> {
    bucket: &'a str,
    prefix: &'a str,
    objects: Vec<Entry<'a>>,
    prefixes: &'a [String],
    next: Option<&'a str>,
}

#[derive(Serialize)]
struct Entry<'a> {
    key: &'a str,
    size: u64,
    etag: &'a str,
    last_modified: String,
    content_type: &'a str,
}

/// All buckets that any grant of the caller reaches.
pub(super) async fn list(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    let _permit = claim(&call.worker.shared.budget, PAGE_BYTES, call.worker.shared.settings.turn_max).await?;
    let mut query = Query::parse(call.req.query_string())?;
    let consistency = consistency(&mut query)?;
    if !query.is_empty() {
        return Err(HttpError::Query("the known parameter is consistency"));
    }
    let all = call.worker.links.reads.list_buckets.send(ListBuckets { consistency }).await??;
    let buckets = all.iter().filter(|bucket| call.who.reaches(&bucket.name)).map(Bucket::from).collect();
    Ok(json_resting_on(&Buckets { buckets }, consistency))
}

/// One bucket, as the list of all shows it; less of it to who may see it only because a part of it is open.
pub(super) async fn show(call: &Call<'_>, bucket: BucketName) -> Result<HttpResponse, HttpError> {
    let _permit = call.worker.shared.budget.try_claim(PAGE_BYTES).ok_or(HttpError::SlowDown)?;
    let mut query = Query::parse(call.req.query_string())?;
    let consistency = consistency(&mut query)?;
    if !query.is_empty() {
        return Err(HttpError::Query("the known parameter is consistency; objects are listed at /v1/objects/{bucket}"));
    }
    let all = call.worker.links.reads.list_buckets.send(ListBuckets { consistency }).await??;
    let found = all.iter().find(|found| found.name == bucket).ok_or(StoreError::NoSuchBucket)?;
    let shown = Bucket::from(found);
    let shown = if call.who.reaches(&bucket) { shown } else { shown.for_everybody() };
    Ok(json_resting_on(&shown, consistency))
}

pub(super) async fn create(call: &Call<'_>, bucket: BucketName) -> Result<HttpResponse, HttpError> {
    no_query(call)?;
    plain_write(call.req.headers())?;
    no_condition(call.req.headers())?;
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let done = call.worker.links.writes.create_bucket.send(CreateBucket { bucket }).await??;
    let mut builder = if done.existed { HttpResponse::Ok() } else { HttpResponse::Created() };
    written(&mut builder, call.worker, done.replicas);
    Ok(builder.finish())
}

pub(super) async fn delete(call: &Call<'_>, bucket: BucketName) -> Result<HttpResponse, HttpError> {
    no_query(call)?;
    plain_write(call.req.headers())?;
    no_condition(call.req.headers())?;
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let done = call.worker.links.writes.delete_bucket.send(DeleteBucket { bucket }).await??;
    let mut builder = HttpResponse::NoContent();
    written(&mut builder, call.worker, done.replicas);
    Ok(builder.finish())
}

/// Has a bucket hold so many objects and bytes at most; what is not said of the two is not limited.
pub(super) async fn set_quota(call: &Call<'_>, bucket: BucketName) -> Result<HttpResponse, HttpError> {
    let mut query = Query::parse(call.req.query_string())?;
    let mut number = |name| query.take(name).map(|text| parse_number(&text)).transpose();
    let quota = number("objects").and_then(|objects| Ok(Quota { objects, bytes: number("bytes")? }));
    let quota = quota.ok().filter(|quota| query.is_empty() && !quota.is_none()).ok_or(HttpError::Query(
        "the parameters are objects and bytes, one of them or both: whole numbers; DELETE lifts the quota",
    ))?;
    limit(call, bucket, quota).await
}

/// Lifts the quota of a bucket.
pub(super) async fn clear_quota(call: &Call<'_>, bucket: BucketName) -> Result<HttpResponse, HttpError> {
    no_query(call)?;
    limit(call, bucket, Quota::NONE).await
}

async fn limit(call: &Call<'_>, bucket: BucketName, quota: Quota) -> Result<HttpResponse, HttpError> {
    plain_write(call.req.headers())?;
    no_condition(call.req.headers())?;
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    call.note.changes((), quota);
    let set = SetBucket { bucket: bucket.clone(), setting: BucketSetting::Quota(quota) };
    let done = call.worker.links.writes.set_bucket.send(set).await??;
    call.note.changes(done.was.map(|bucket| bucket.quota), quota);
    let mut builder = HttpResponse::Ok();
    written(&mut builder, call.worker, done.written.replicas);
    Ok(json(&mut builder, &Limited { bucket: bucket.as_str(), quota }))
}

/// Says what clients of S3 know by what they write into a bucket from now on.
pub(super) async fn set_etag(call: &Call<'_>, bucket: BucketName) -> Result<HttpResponse, HttpError> {
    let mut query = Query::parse(call.req.query_string())?;
    let mode = query.take("mode").and_then(|name| EtagMode::parse(&name));
    let etag = mode.filter(|_| query.is_empty()).ok_or(HttpError::Query("the parameter is mode: md5 or fast"))?;
    plain_write(call.req.headers())?;
    no_condition(call.req.headers())?;
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    call.note.changes((), etag);
    let set = SetBucket { bucket: bucket.clone(), setting: BucketSetting::Etag(etag) };
    let done = call.worker.links.writes.set_bucket.send(set).await??;
    call.note.changes(done.was.map(|bucket| bucket.etag), etag);
    let mut builder = HttpResponse::Ok();
    written(&mut builder, call.worker, done.written.replicas);
    Ok(json(&mut builder, &Known { bucket: bucket.as_str(), etag }))
}

/// A number as people and programs write it; nothing else, not even a sign.
fn parse_number(text: &str) -> Result<u64, ()> {
    text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit())).ok_or(())
}

pub(super) async fn list_objects(call: &Call<'_>, bucket: BucketName) -> Result<HttpResponse, HttpError> {
    let mut query = Query::parse(call.req.query_string())?;
    let prefix = query.take("prefix").unwrap_or_default();
    call.authorize(&Need::under(Right::List, &bucket, &prefix))?;
    let delimiter = query.take("delimiter").filter(|d| !d.is_empty());
    let after = query.take("after").filter(|a| !a.is_empty());
    let limit = match query.take("limit") {
        Some(text) => parse_limit(&text).ok_or(HttpError::Query("limit is a number from 1 to 1000"))?,
        None => PAGE_ENTRIES_MAX,
    };
    let consistency = consistency(&mut query)?;
    if !query.is_empty() {
        return Err(HttpError::Query("known parameters are prefix, delimiter, after, limit and consistency"));
    }
    let _permit = claim(&call.worker.shared.budget, PAGE_BYTES, call.worker.shared.settings.turn_max).await?;
    let ask = ListObjects { bucket: bucket.clone(), prefix: prefix.clone(), delimiter, after, limit, consistency };
    let page = call.worker.links.reads.list_objects.send(ask).await??;
    Ok(json_resting_on(&present(bucket.as_str(), &prefix, &page), consistency))
}

fn present<'a>(bucket: &'a str, prefix: &'a str, page: &'a ListPage) -> Page<'a> {
    // As with `Last-Modified`: nothing was written later than now.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = u64::try_from(now).unwrap_or(u64::MAX);
    let objects = page.entries.iter().map(|(key, info)| Entry {
        key,
        size: info.len,
        etag: &info.etag,
        last_modified: rfc3339(info.written_ms.min(now)),
        content_type: if info.head.content_type.is_empty() { UNKNOWN } else { &info.head.content_type },
    });
    Page { bucket, prefix, objects: objects.collect(), prefixes: &page.prefixes, next: page.next.as_deref() }
}

fn parse_limit(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && (1..=PAGE_ENTRIES_MAX).contains(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits() {
        assert_eq!(parse_limit("1"), Some(1));
        assert_eq!(parse_limit("1000"), Some(1000));
        for bad in ["", "0", "1001", "-1", "+5", "5.0", "ten", " 5", "99999999999999999999999"] {
            assert_eq!(parse_limit(bad), None, "{bad}");
        }
        assert_eq!((parse_number("0"), parse_number("18446744073709551615")), (Ok(0), Ok(u64::MAX)));
        for bad in ["", "-1", "+5", "5.0", "1k", "18446744073709551616"] {
            assert_eq!(parse_number(bad), Err(()), "{bad}");
        }
    }
}
