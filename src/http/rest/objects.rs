//! `/v1/objects/{bucket}/{key}`: objects in, out and away.

use super::answers::{consistency, no_query, rests_on, written};
use super::links;
use super::plain_write::plain_write;
use crate::actors::messages::{DeleteObject, ObjectInfo, StoreError, Written};
use crate::base::head::{CONTENT_TYPE_BYTES_MAX, META_BYTES_MAX, META_ENTRIES_MAX};
use crate::base::{Condition, ObjectHead, ObjectName, WantedSums};
use crate::http::edge::body_in::Incoming;
use crate::http::edge::call::Call;
use crate::http::edge::conditions::write_condition;
use crate::http::edge::download::{etag_header, serve};
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::upload::{refuse_early, store};
use crate::http::edge::windows::upload_window_for;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
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
    let mut response = serve(call, at, consistency, |builder, info| {
        describe(builder, info);
        if let Some(disposition) = disposition {
            builder.insert_header((header::CONTENT_DISPOSITION, disposition));
        }
    })
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

/// What a client said of an object when it was stored. Text that came from elsewhere and is no header text is left out
/// rather than refused: the bytes matter more.
pub(super) fn describe(builder: &mut HttpResponseBuilder, info: &ObjectInfo) {
    for (name, value) in &info.head.meta {
        let name = HeaderName::try_from([META_PREFIX, name].concat());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value.as_str())) {
            builder.insert_header((name, value));
        }
    }
}

/// What the headers of a PUT say of the object.
///
/// Values are visible ASCII and spaces, kept as they are: who needs more encodes it, and gets it back
/// encoded. Several lines of one name are joined by commas, as HTTP has it.
fn new_object(headers: &HeaderMap) -> Result<ObjectHead, HttpError> {
    let content_type = match headers.get(header::CONTENT_TYPE) {
        Some(value) => text(value).ok_or(HttpError::Header("Content-Type is not visible ASCII"))?,
        None => "",
    };
    if content_type.len() > CONTENT_TYPE_BYTES_MAX {
        return Err(HttpError::Header("Content-Type is too long"));
    }
    let mut meta: Vec<(String, String)> = Vec::new();
    let mut bytes = 0;
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(META_PREFIX) else { continue };
        let value = text(value).ok_or(HttpError::Header("x-boveda-meta-* values are visible ASCII"))?;
        if name.is_empty() {
            return Err(HttpError::Header("x-boveda-meta- needs a name behind it"));
        }
        bytes += name.len() + value.len();
        match meta.iter_mut().find(|(known, _)| known == name) {
            Some((_, joined)) => {
                bytes += 2;
                joined.push_str(", ");
                joined.push_str(value);
            }
            None => meta.push((name.to_owned(), value.to_owned())),
        }
    }
    if bytes > META_BYTES_MAX || meta.len() > META_ENTRIES_MAX {
        return Err(HttpError::Header("the x-boveda-meta-* headers are too large"));
    }
    // The server keeps headers in a map without an order; one state of an object should have one form.
    meta.sort();
    Ok(ObjectHead { content_type: content_type.to_owned(), meta, ..ObjectHead::default() })
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().filter(|text| text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::headers;

    #[test]
    fn metadata_is_taken_or_refused() {
        let head = new_object(&headers(&[
            ("content-type", &b"text/plain; charset=utf-8"[..]),
            ("X-Boveda-Meta-B", b"two words"),
            ("x-boveda-meta-a", b"1"),
            ("x-boveda-meta-a", b"2"),
            ("x-other", b"ignored"),
        ]))
        .unwrap();
        assert_eq!(head.content_type, "text/plain; charset=utf-8");
        assert_eq!(head.meta, [("a".to_owned(), "1, 2".to_owned()), ("b".to_owned(), "two words".to_owned())]);
        assert_eq!(new_object(&HeaderMap::new()).unwrap(), ObjectHead::default());
        let long = [b'x'; META_BYTES_MAX];
        for bad in [
            &[("x-boveda-meta-a", &b"\xc3\xa9"[..])][..],
            &[("x-boveda-meta-a", b"a\tb")],
            &[("x-boveda-meta-", b"a")],
            &[("x-boveda-meta-a", &long)],
            &[("content-type", b"\xff")],
            &[("content-type", &long)],
        ] {
            assert!(new_object(&headers(bad)).is_err(), "{bad:?}");
        }
        let many: Vec<(String, Vec<u8>)> =
            (0..=META_ENTRIES_MAX).map(|n| (format!("x-boveda-meta-{n}"), b"v".to_vec())).collect();
        let many: Vec<(&str, &[u8])> = many.iter().map(|(n, v)| (n.as_str(), v.as_slice())).collect();
        assert!(new_object(&headers(&many)).is_err());
    }
}
