//! What answers of this port hold, as documents.

use super::heads::AES256;
use crate::actors::messages::{BucketInfo, ListPage, Written};
use crate::base::dates::rfc3339;
use crate::http::edge::errors::HttpError;
use crate::http::edge::problem::Problem;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};
use std::fmt::Write as _;

const NS: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
const OWNER: &str = "<Owner><ID>boveda</ID><DisplayName>boveda</DisplayName></Owner>";

pub struct Listing<'a> {
    pub bucket: &'a str,
    pub prefix: &'a str,
    pub delimiter: Option<&'a str>,
    pub max_keys: usize,
    pub escapes: bool,
    pub page: &'a ListPage,
}
pub struct Deletion {
    pub key: String,
    pub version: Option<String>,
    pub etag: Option<String>,
}
pub struct Deletions {
    pub objects: Vec<Deletion>,
    pub quiet: bool,
}
pub struct Gone {
    pub key: String,
    pub outcome: Result<(), Problem>,
}

pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() => {
                let _ = write!(out, "&#x{:x};", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

fn answer(builder: &mut HttpResponseBuilder, body: &str) -> HttpResponse {
    builder
        .insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/xml")))
        .body(format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}"))
}

fn ok(body: &str) -> HttpResponse {
    answer(&mut HttpResponse::Ok(), body)
}

pub fn copy_result(builder: &mut HttpResponseBuilder, done: &Written, at: Option<u64>) -> HttpResponse {
    let at = rfc3339(at.unwrap_or_default());
    answer(
        builder,
        &format!(
            "<CopyObjectResult xmlns=\"{NS}\"><LastModified>{at}</LastModified><ETag>&quot;{}&quot;</ETag></CopyObjectResult>",
            done.etag
        ),
    )
}
pub fn buckets(all: &[BucketInfo]) -> HttpResponse {
    let each: String = all
        .iter()
        .map(|b| {
            format!("<Bucket><Name>{}</Name><CreationDate>{}</CreationDate></Bucket>", b.name, rfc3339(b.created_ms))
        })
        .collect();
    ok(&format!("<ListAllMyBucketsResult xmlns=\"{NS}\">{OWNER}<Buckets>{each}</Buckets></ListAllMyBucketsResult>"))
}
pub fn location_constraint(body: &[u8]) -> Result<Option<String>, HttpError> {
    if body.is_empty() { Ok(None) } else { Err(HttpError::Document("no")) }
}
pub fn location(region: &str) -> HttpResponse {
    ok(&format!("<LocationConstraint xmlns=\"{NS}\">{region}</LocationConstraint>"))
}
pub fn owner_alone() -> HttpResponse {
    ok(&format!(
        "<AccessControlPolicy xmlns=\"{NS}\">{OWNER}<AccessControlList><Grant><Grantee xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>boveda</ID><DisplayName>boveda</DisplayName></Grantee><Permission>FULL_CONTROL</Permission></Grant></AccessControlList></AccessControlPolicy>"
    ))
}
pub fn sealed() -> HttpResponse {
    ok(&format!(
        "<ServerSideEncryptionConfiguration xmlns=\"{NS}\"><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>{AES256}</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>"
    ))
}
pub fn no_tags() -> HttpResponse {
    ok(&format!("<Tagging xmlns=\"{NS}\"><TagSet></TagSet></Tagging>"))
}
pub fn owner_pays() -> HttpResponse {
    ok(&format!("<RequestPaymentConfiguration xmlns=\"{NS}\"><Payer>BucketOwner</Payer></RequestPaymentConfiguration>"))
}
pub fn empty(name: &str) -> HttpResponse {
    ok(&format!("<{name} xmlns=\"{NS}\"></{name}>"))
}
fn shared(list: &Listing<'_>, owner: bool) -> String {
    let text = |t: &str| if list.escapes { crate::sign::canonical::escaped_path(t) } else { escape(t) };
    let mut out = format!("<Name>{}</Name><Prefix>{}</Prefix>", list.bucket, text(list.prefix));
    if let Some(d) = list.delimiter {
        let _ = write!(out, "<Delimiter>{}</Delimiter>", text(d));
    }
    if list.escapes {
        out.push_str("<EncodingType>url</EncodingType>");
    }
    let _ = write!(out, "<MaxKeys>{}</MaxKeys><IsTruncated>{}</IsTruncated>", list.max_keys, list.page.next.is_some());
    for (key, info) in &list.page.entries {
        let _ = write!(
            out,
            "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>&quot;{}&quot;</ETag><Size>{}</Size>{}<StorageClass>STANDARD</StorageClass></Contents>",
            text(key),
            rfc3339(info.written_ms),
            info.etag,
            info.len,
            if owner { OWNER } else { "" }
        );
    }
    for prefix in &list.page.prefixes {
        let _ = write!(out, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", text(prefix));
    }
    out
}
pub fn list_v1(list: &Listing<'_>, marker: Option<&str>) -> HttpResponse {
    let text = |t: &str| if list.escapes { crate::sign::canonical::escaped_path(t) } else { escape(t) };
    let mut out = format!("<Marker>{}</Marker>", text(marker.unwrap_or_default()));
    if let Some(next) = &list.page.next {
        let _ = write!(out, "<NextMarker>{}</NextMarker>", text(next));
    }
    ok(&format!("<ListBucketResult xmlns=\"{NS}\">{}{out}</ListBucketResult>", shared(list, true)))
}
pub fn list_v2(
    list: &Listing<'_>,
    token: Option<&str>,
    next: Option<&str>,
    start_after: Option<&str>,
    owner: bool,
) -> HttpResponse {
    let text = |t: &str| if list.escapes { crate::sign::canonical::escaped_path(t) } else { escape(t) };
    let mut out = format!("<KeyCount>{}</KeyCount>", list.page.entries.len() + list.page.prefixes.len());
    if let Some(token) = token {
        let _ = write!(out, "<ContinuationToken>{}</ContinuationToken>", escape(token));
    }
    if let Some(next) = next {
        let _ = write!(out, "<NextContinuationToken>{next}</NextContinuationToken>");
    }
    if let Some(after) = start_after {
        let _ = write!(out, "<StartAfter>{}</StartAfter>", text(after));
    }
    ok(&format!("<ListBucketResult xmlns=\"{NS}\">{}{out}</ListBucketResult>", shared(list, owner)))
}
pub fn deletions(_: &[u8]) -> Result<Deletions, HttpError> {
    Err(HttpError::Document("no"))
}
pub fn deleted(_: &[Gone], _: bool) -> HttpResponse {
    ok("")
}
