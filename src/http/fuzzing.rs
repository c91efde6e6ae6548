//! Ways in for the fuzz targets (`fuzz/targets.rs`) to decoders that nobody else may name.
//!
//! Each takes any bytes, and panics only where an invariant of its decoder is broken.

use super::edge::access::credential;

use super::edge::conditions::{judge_read, range_applies, write_condition};
use super::edge::disposition::parse_form_part;
use super::edge::errors::HttpError;
use super::edge::escape::Query;
use super::edge::link;
use super::edge::multipart::Form;
use super::edge::range::{self, Wanted};
use super::edge::source::Source;
use super::rest::plain_write::plain_write;
use super::rest::target::{self, Route};
use super::s3::documents::{completion, deletions, location_constraint};
use super::s3::listing::Asked;
use super::s3::target::copy_source as source_of_copy;
use super::s3::tokens::Question;
use super::s3::xml::{Writer, is_text};
use crate::base::BucketName;
use crate::base::credential::is_secret;
use crate::sign::authorization::{claimed as signature_claims, is_one as is_signature};
use crate::sign::body::Coding;
use crate::sign::canonical::escaped_path;
use crate::sign::chunks::Chunks as ChunkDecoder;
use crate::sign::presign::PARAMETERS;
use crate::sign::sigv4::hex;
use crate::sign::{Authorization, Presigned};
use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use futures::FutureExt;
use std::str::FromStr;

/// A sender whose chunks are there at once.
struct Chunks<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Source for Chunks<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        let (now, later) = self.rest.split_at(self.rest.len().min(self.step));
        self.rest = later;
        Ok((!now.is_empty()).then(|| Bytes::copy_from_slice(now)))
    }
}

/// The parts of a form: name, file name, bytes; or that it was refused.
type Parts = Option<Vec<(Option<String>, Option<String>, Vec<u8>)>>;

fn parts(body: &[u8], step: usize) -> Parts {
    let mut source = Chunks { rest: body, step };
    let reading = async {
        let mut form = Form::new(Some("multipart/form-data; boundary=XX"), &mut source).ok()?;
        let mut parts = Vec::new();
        while let Some(head) = form.next_part().await.ok()? {
            let mut data = Vec::new();
            while let Some(bytes) = form.next_bytes().await.ok()? {
                data.extend_from_slice(&bytes);
            }
            parts.push((head.form.name, head.form.file_name, data));
        }
        form.finish("archivo").await.ok()?;
        Some(parts)
    };
    reading.now_or_never().expect("a source that never waits")
}

/// A form's body, with the boundary `XX`. However it is cut on its way, it means the same; the first byte says how.
pub fn form(data: &[u8]) {
    let Some((first, body)) = data.split_first() else { return };
    let whole = parts(body, body.len().max(1));
    assert_eq!(whole, parts(body, usize::from(*first).max(1)), "the pieces on the wire changed what a form means");
}

/// A `Content-Disposition` of a part.
pub fn disposition(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = parse_form_part(text);
    }
}

/// A `Range` header behind the length of an object.
pub fn range(data: &[u8]) {
    let Some((len, header)) = data.split_first_chunk::<8>() else { return };
    let len = u64::from_le_bytes(*len);
    let Ok(header) = std::str::from_utf8(header) else { return };
    if let Wanted::Part { start, len: part } = range::wanted(header, len) {
        assert!(part > 0 && start < len && part <= len - start, "{start}+{part} of {len}");
    }
}

/// The lines of a head, `name: value` each, as conditions of a read and of a write.
pub fn conditions(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|b| *b == b'\n') {
        let mut halves = line.splitn(2, |b| *b == b':');
        let (Some(name), Some(value)) = (halves.next(), halves.next()) else { continue };
        let name = std::str::from_utf8(name).ok().and_then(|name| HeaderName::from_str(name.trim()).ok());
        if let (Some(name), Ok(value)) = (name, HeaderValue::from_bytes(value.trim_ascii())) {
            headers.append(name, value);
        }
    }
    let _ = judge_read(&headers, "4558", 1_700_000_000_123);
    let _ = range_applies(&headers, "4558");
    let _ = plain_write(&headers);
    let _ = write_condition(&headers);
}

/// An `Authorization` header.
pub fn authorization(data: &[u8]) {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(data) {
        headers.append(AUTHORIZATION, value);
    }
    if let Some((id, secret)) = credential(&headers) {
        assert!(is_secret(secret.expose()), "what is no secret is taken for one");
        let bearer = [b"Bearer ", id.as_str().as_bytes(), b".", secret.expose()].concat();
        headers.insert(AUTHORIZATION, HeaderValue::from_bytes(&bearer).expect("letters and digits"));
        let again = credential(&headers).map(|(id, secret)| (id, secret.expose().clone()));
        assert_eq!(again, Some((id, secret.expose().clone())), "it means the same when it is said again");
    }
}

/// A signature in a head. What is read of it can be said again, in another order, and means the same.
pub fn signature(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = signature_claims(text);
    let Ok(read) = Authorization::parse(text) else { return };
    assert!(is_signature(text), "a signature was read where none is seen");
    assert_eq!(signature_claims(text), Some(read.id.as_str()), "whoever it is for is who is told");
    let (names, signature) = (read.headers.join(";"), hex(&read.signature));
    let again =
        format!("AWS4-HMAC-SHA256 Signature={signature},SignedHeaders={names}, Credential={}/{}", read.id, read.scope);
    assert_eq!(Authorization::parse(&again).as_ref(), Ok(&read), "it means the same when it is said again");
    for now in [0, 1_369_353_600, u64::MAX] {
        let _ = read.time(None, Some(text), now);
        let _ = read.time(Some("20130524T000000Z"), None, now);
    }
}

/// A body in chunks. However it is cut on its way, it means the same. The first byte says how it is cut and coded, the next
/// how long it says it is.
pub fn chunks(data: &[u8]) {
    let Some((&[first, len], body)) = data.split_first_chunk::<2>() else { return };
    let coding = Coding { is_signed: first & 1 != 0, has_trailer: first & 2 != 0 };
    let read = |step: usize| {
        let mut chunks = ChunkDecoder::new(coding, None, u64::from(len));
        let mut out = Vec::new();
        for piece in body.chunks(step.max(1)) {
            let mut input = Bytes::copy_from_slice(piece);
            while let Some(bytes) = chunks.next(&mut input)? {
                out.extend_from_slice(&bytes);
            }
        }
        chunks.end().map(|trailers| (out, trailers.to_vec()))
    };
    let whole = read(body.len());
    assert_eq!(whole, read(usize::from(first >> 2)), "the pieces on the wire changed what a body means");
    if let Ok((bytes, _)) = whole {
        assert_eq!(bytes.len(), usize::from(len), "it is as long as it says");
    }
}

/// A query with a link in it. A link that is read is signed anew in one way, and its own signature is no part of that.
pub fn presigned(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = link::is_one(text);
    let Ok(pairs) = link::pairs(text) else { return };
    let with_headers = Presigned::parse_with_headers(pairs.clone());
    let Ok(read) = Presigned::parse(pairs.clone()) else { return };
    assert_eq!(with_headers.as_ref(), Ok(&read), "what is good on one port is so on the other");
    assert!(link::is_one(text), "a link was read where none is seen");
    let headers: Vec<_> = read.headers.iter().map(|name| (name.clone(), " a  b ".to_owned())).collect();
    let to_sign = read.string_to_sign("GET", "/", &headers);
    let other: Vec<_> = pairs
        .into_iter()
        .rev()
        .map(|(name, value)| if name == PARAMETERS[5] { (name, "0".repeat(64)) } else { (name, value) })
        .collect();
    let other = Presigned::parse(other).expect("the same but for the signature, in another order");
    assert_eq!(other.string_to_sign("GET", "/", &headers), to_sign, "order and signature change nothing");
    assert_ne!(read.string_to_sign("PUT", "/", &headers), to_sign);
    for now in [0, 1_700_000_000, u64::MAX] {
        let _ = read.check_time(now);
    }
    assert_ne!(read.signature_by(b"secret", &to_sign), read.signature_by(b"another", &to_sign));
}

/// A path and a query, with a `?` between them.
pub fn target(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    let _ = Query::parse(query);
    match Route::of(path) {
        Some(Route::Object { bucket, key }) => {
            if let Ok(name) = target::object(bucket, key) {
                assert!(!name.key.as_str().is_empty());
            }
        }
        Some(Route::Bucket(bucket) | Route::Listing { bucket }) => {
            let _ = target::bucket(bucket);
        }
        Some(Route::Descargar(name) | Route::Eliminar(name)) => {
            let _ = target::carga(name);
        }
        _ => {}
    }
}

/// A document that a client of S3 sends. One that is read means the same when it is written anew.
pub fn s3_xml(data: &[u8]) {
    let _ = location_constraint(data);
    completed_parts(data);
    let Ok(read) = deletions(data) else { return };
    assert!(!read.objects.is_empty(), "a document that names nothing was taken");
    let mut writer = Writer::new("Delete", data.len());
    for object in &read.objects {
        writer.open("Object").text("Key", &object.key);
        writer.maybe("VersionId", object.version.as_deref()).maybe("ETag", object.etag.as_deref()).close("Object");
    }
    writer.flag("Quiet", read.quiet);
    let again = deletions(writer.finish("Delete").as_bytes()).ok();
    // What is escaped anew may be longer than a document may be, and keys may hold what none can.
    let may_be_too_long = data.len() > 256 * 1024;
    let can_be_said = read.objects.iter().all(|object| {
        is_text(&object.key) && [&object.version, &object.etag].into_iter().flatten().all(|text| is_text(text))
    });
    assert!(again == Some(read) || may_be_too_long || !can_be_said, "it means the same when it is said again");
}

/// An `x-amz-copy-source`. One that is read means the same when it is written anew.
pub fn copy_source(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(at) = source_of_copy(text) else { return };
    let again = escaped_path(&format!("/{}/{}", at.bucket.as_str(), at.key.as_str()));
    let read = source_of_copy(&again).expect("a name that was read before");
    assert_eq!(read, at, "it means the same when it is said again");
}

/// The query of a list. A token of its question names one place, and no place of another question.
pub fn list_query(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(mut query) = Query::parse(text) else { return };
    let (token, marker) = (query.take("continuation-token"), query.take("marker").unwrap_or_default());
    let bucket = BucketName::parse("abc").expect("a name");
    let Ok(asked) = Asked::of(bucket, &mut query) else { return };
    let (question, other) = (asked.question(), Question::of(&["abd", "", ""]));
    if let Some((token, place)) = token.and_then(|token| question.place(&token).ok().map(|place| (token, place))) {
        assert_eq!(question.token(&place), token, "a place has one token");
    }
    let made = question.token(&marker);
    assert_eq!(question.place(&made).ok(), Some(marker), "a token names the place that it was made of");
    assert!(other.place(&made).is_err(), "a token of one question is taken for another");
}

/// The same of the parts that an upload is completed with.
fn completed_parts(data: &[u8]) {
    let Ok(read) = completion(data) else { return };
    assert!(!read.is_empty(), "a document that names nothing was taken");
    let mut writer = Writer::new("CompleteMultipartUpload", data.len());
    for part in &read {
        writer.open("Part").number("PartNumber", part.number.into()).text("ETag", &part.etag);
        if let Some(checksum) = &part.checksum {
            writer.text(&format!("Checksum{}", checksum.algorithm.as_str()), &checksum.to_base64());
        }
        writer.close("Part");
    }
    let again = completion(writer.finish("CompleteMultipartUpload").as_bytes()).ok();
    // What is escaped anew may be longer than a document may be, and an ETag may hold what none can.
    let may_be_too_long = data.len() > 256 * 1024;
    let can_be_said = read.iter().all(|part| is_text(&part.etag));
    assert!(again == Some(read) || may_be_too_long || !can_be_said, "it means the same when it is said again");
}
