//! Buckets and listings.

use super::body_in::claim;
use super::conditions::{no_condition, plain_write};
use super::errors::HttpError;
use super::media_type::UNKNOWN;
use super::objects::no_query;
use super::target::{self, Query};
use super::{Call, consistency, json, rests_on, written};
use crate::actors::messages::{CreateBucket, DeleteBucket, ListBuckets, ListObjects, ListPage, StoreError};
use actix_web::HttpResponse;
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// Entries of a page, when none or the most are asked for.
const PAGE_ENTRIES_MAX: usize = 1000;
/// What a page may take, roughly: a thousand keys of ordinary length with their metadata.
const PAGE_BYTES: u64 = 512 * 1024;

#[derive(Serialize)]
struct Buckets {
    buckets: Vec<Bucket>,
}

#[derive(Serialize)]
struct Bucket {
    name: String,
    created: String,
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

pub(super) async fn list(call: &Call<'_>) -> Result<HttpResponse, HttpError> {
    let _permit = claim(&call.worker.shared.budget, PAGE_BYTES, call.worker.shared.settings.turn_max).await?;
    let mut query = Query::parse(call.req.query_string())?;
    let consistency = consistency(&mut query)?;
    if !query.is_empty() {
        return Err(HttpError::Query("the known parameter is consistency"));
    }
    let all = call.worker.links.list_buckets.send(ListBuckets { consistency }).await??;
    let buckets = all.into_iter().map(|(name, ms)| Bucket { name: name.to_string(), created: rfc3339(ms) }).collect();
    Ok(json(rests_on(&mut HttpResponse::Ok(), consistency), &Buckets { buckets }))
}

/// One bucket, as the list of all shows it.
pub(super) async fn show(call: &Call<'_>, bucket: &str) -> Result<HttpResponse, HttpError> {
    let bucket = target::bucket(bucket)?;
    let _permit = call.worker.shared.budget.try_claim(PAGE_BYTES).ok_or(HttpError::SlowDown)?;
    let mut query = Query::parse(call.req.query_string())?;
    let consistency = consistency(&mut query)?;
    if !query.is_empty() {
        return Err(HttpError::Query("the known parameter is consistency; objects are listed at /v1/objects/{bucket}"));
    }
    let all = call.worker.links.list_buckets.send(ListBuckets { consistency }).await??;
    let found = all.into_iter().find(|(name, _)| *name == bucket).ok_or(StoreError::NoSuchBucket)?;
    let shown = Bucket { name: found.0.to_string(), created: rfc3339(found.1) };
    Ok(json(rests_on(&mut HttpResponse::Ok(), consistency), &shown))
}

pub(super) async fn create(call: &Call<'_>, bucket: &str) -> Result<HttpResponse, HttpError> {
    let bucket = target::bucket(bucket)?;
    no_query(call)?;
    plain_write(call.req.headers())?;
    no_condition(call.req.headers())?;
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let done = call.worker.links.create_bucket.send(CreateBucket { bucket }).await??;
    let mut builder = if done.existed { HttpResponse::Ok() } else { HttpResponse::Created() };
    written(&mut builder, call.worker, done.replicas);
    Ok(builder.finish())
}

pub(super) async fn delete(call: &Call<'_>, bucket: &str) -> Result<HttpResponse, HttpError> {
    let bucket = target::bucket(bucket)?;
    no_query(call)?;
    plain_write(call.req.headers())?;
    no_condition(call.req.headers())?;
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let done = call.worker.links.delete_bucket.send(DeleteBucket { bucket }).await??;
    let mut builder = HttpResponse::NoContent();
    written(&mut builder, call.worker, done.replicas);
    Ok(builder.finish())
}

pub(super) async fn list_objects(call: &Call<'_>, bucket: &str) -> Result<HttpResponse, HttpError> {
    let bucket = target::bucket(bucket)?;
    let mut query = Query::parse(call.req.query_string())?;
    let prefix = query.take("prefix").unwrap_or_default();
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
    let page = call.worker.links.list_objects.send(ask).await??;
    Ok(json(rests_on(&mut HttpResponse::Ok(), consistency), &present(bucket.as_str(), &prefix, &page)))
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
        content_type: if info.content_type.is_empty() { UNKNOWN } else { &info.content_type },
    });
    Page { bucket, prefix, objects: objects.collect(), prefixes: &page.prefixes, next: page.next.as_deref() }
}

fn parse_limit(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && (1..=PAGE_ENTRIES_MAX).contains(n))
}

/// `2026-11-24T10:20:30.123Z`.
fn rfc3339(ms: u64) -> String {
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", in_day % 1000)
}

/// The Gregorian date, that many days after 1970-01-01. Counted in eras of 400 years that begin on a
/// 1 March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    let since = days + 719_468;
    let (era, day) = (since / ERA_DAYS, since % ERA_DAYS);
    let year = (day - day / 1460 + day / 36_524 - day / (ERA_DAYS - 1)) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn dates_agree_with_http_dates() {
        assert_eq!(rfc3339(784_111_777_450), "1994-11-06T08:49:37.450Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        for day in (0..150_000u64).step_by(7) {
            let (year, month, date) = civil(day);
            let http = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(day * 86_400));
            let name = MONTHS[usize::try_from(month).unwrap() - 1];
            assert!(http.contains(&format!(", {date:02} {name} {year} ")), "{http}: {year}-{month}-{date}");
        }
        assert!(rfc3339(u64::MAX).ends_with('Z'));
    }

    #[test]
    fn limits() {
        assert_eq!(parse_limit("1"), Some(1));
        assert_eq!(parse_limit("1000"), Some(1000));
        for bad in ["", "0", "1001", "-1", "+5", "5.0", "ten", " 5", "99999999999999999999999"] {
            assert_eq!(parse_limit(bad), None, "{bad}");
        }
    }
}
