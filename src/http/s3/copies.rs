//! An object out of another one, or the same with another head.
//!
//! Invariants
//! - Who copies may read the source, and write the target; who may not list the source's bucket does not learn that the
//!   source is missing.
//! - What is copied is the state of the source that its conditions were held against.

use super::documents::copy_result;
use super::heads;
use super::objects::{look, of_missing, open};
use super::rewrites::rewrite;
use super::target::copy_source;
use crate::actors::messages::{CopyObject, Download, ObjectError, ObjectInfo, StoreError, Written};
use crate::base::{Algorithm, Condition, ObjectHead, ObjectName};
use crate::http::edge::access::{Need, Right, now_ms};
use crate::http::edge::call::Call;
use crate::http::edge::conditions::{Verdict, judge_read};
use crate::http::edge::errors::HttpError;
use crate::http::edge::heads::written;
use crate::http::edge::problem::Kind;
use crate::http::edge::signed::only;
use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderMap, HeaderName};

/// Names the source, and makes a PUT a copy.
pub(super) const COPY_SOURCE: &str = "x-amz-copy-source";
/// How often a source that changes meanwhile is looked at.
const LOOKS_MAX: usize = 4;
/// The conditions of the source, and the headers of a read that they are.
const SOURCE_CONDITIONS: [(&str, HeaderName); 4] = [
    ("x-amz-copy-source-if-match", header::IF_MATCH),
    ("x-amz-copy-source-if-none-match", header::IF_NONE_MATCH),
    ("x-amz-copy-source-if-modified-since", header::IF_MODIFIED_SINCE),
    ("x-amz-copy-source-if-unmodified-since", header::IF_UNMODIFIED_SINCE),
];

/// What is to be copied, and how.
pub(super) struct Copying {
    pub from: ObjectName,
    pub to: ObjectName,
    /// What must hold of the state that is replaced.
    pub condition: Condition,
    /// What is said of the copy; none: what is said of the source.
    pub head: Option<ObjectHead>,
}

pub(super) async fn copy(call: &Call<'_>, to: ObjectName) -> Result<HttpResponse, HttpError> {
    let headers = call.req.headers();
    heads::check_write(headers)?;
    let condition = heads::condition(call)?;
    let from = source(call)?;
    let copying = Copying { from, to, condition, head: new_head(headers)? };
    let Copying { from, to, condition, head } = &copying;
    let algorithm = algorithm(headers)?;
    if from == to && head.is_none() {
        return Err(HttpError::Refused(Kind::CopyOntoItself));
    }
    let conditions = source_conditions(headers);
    for _ in 0..LOOKS_MAX {
        let judged = judged(call, from, &conditions).await?;
        let has = |algorithm| judged.checksum.is_some_and(|sum| sum.algorithm == algorithm && !sum.is_composite);
        let outcome = match algorithm {
            Some(algorithm) if !has(algorithm) => rewrite(call, &copying, &judged.etag, algorithm).await,
            _ => by_reference(call, &copying, &judged.etag).await,
        };
        match outcome {
            Ok(done) => {
                let mut builder = HttpResponse::Ok();
                written(&mut builder, call.worker, done.replicas);
                heads::sealed(&mut builder);
                let copied = look(call, to).await.ok().filter(|info| info.etag == done.etag);
                return Ok(copy_result(&mut builder, &done, copied.map(|info| info.written_ms.min(now_ms()))));
            }
            Err(HttpError::Object(ObjectError::Store(StoreError::NoSuchKey))) => return Err(missing(call, from)),
            // The source is another one by now, or the target is.
            Err(HttpError::Object(ObjectError::Store(StoreError::Precondition)))
                if is_other(call, from, &judged).await => {}
            Err(error) => return Err(of_missing(call, to, condition, error).await),
        }
    }
    Err(ObjectError::Crowded.into())
}

/// Has the copy refer to the body of the version with that ETag: no byte of a large one is moved.
async fn by_reference(call: &Call<'_>, copying: &Copying, etag: &str) -> Result<Written, HttpError> {
    let permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let ask = CopyObject {
        from: copying.from.clone(),
        from_etag: etag.to_owned(),
        to: copying.to.clone(),
        condition: copying.condition.clone(),
        head: copying.head.clone(),
        permit: Some(permit),
    };
    Ok(call.worker.links.writes.copy_object.send(ask).await??)
}

/// The algorithm of the checksum that the copy is to have; none: that of the source.
fn algorithm(headers: &HeaderMap) -> Result<Option<Algorithm>, HttpError> {
    let named = |name: &str| Algorithm::parse(name).ok_or(HttpError::Refused(Kind::ChecksumHeader));
    only(headers, "x-amz-checksum-algorithm")?.map(named).transpose()
}

/// The object that is copied, which the caller may read.
pub(super) fn source(call: &Call<'_>) -> Result<ObjectName, HttpError> {
    let mut all = call.req.headers().get_all(COPY_SOURCE);
    let from = match (all.next().and_then(|value| value.to_str().ok()), all.next()) {
        (Some(value), None) => copy_source(value)?,
        _ => return Err(HttpError::Header("x-amz-copy-source names one bucket and key, in visible ASCII")),
    };
    // Said of a copy that is refused, too.
    call.note.changes((), serde_json::json!({ "source": from.to_string() }));
    call.authorize(&Need::on_object(Right::Read, &from))?;
    Ok(from)
}

/// What is said of the copy; none: what is said of the source.
fn new_head(headers: &HeaderMap) -> Result<Option<ObjectHead>, HttpError> {
    match headers.get("x-amz-metadata-directive").map(|value| value.as_bytes()) {
        None | Some(b"COPY") => Ok(None),
        Some(b"REPLACE") => heads::of_write(headers).map(Some),
        Some(_) => Err(HttpError::Header("x-amz-metadata-directive is COPY or REPLACE")),
    }
}

/// The conditions of the source, as a read of it would have them.
pub(super) fn source_conditions(headers: &HeaderMap) -> HeaderMap {
    let mut conditions = HeaderMap::new();
    for (name, of_read) in SOURCE_CONDITIONS {
        headers.get_all(name).for_each(|value| conditions.append(of_read.clone(), value.clone()));
    }
    conditions
}

/// The source, if its conditions hold.
async fn judged(call: &Call<'_>, from: &ObjectName, conditions: &HeaderMap) -> Result<ObjectInfo, HttpError> {
    opened(call, from, conditions).await.map(|(found, _)| found)
}

/// The same, to be read.
pub(super) async fn opened(
    call: &Call<'_>,
    from: &ObjectName,
    conditions: &HeaderMap,
) -> Result<(ObjectInfo, Download), HttpError> {
    let (found, download) = match open(call, from).await {
        Err(HttpError::Object(ObjectError::Store(StoreError::NoSuchKey))) => return Err(missing(call, from)),
        found => found?,
    };
    match judge_read(conditions, &found.etag, found.written_ms) {
        Verdict::Serve => Ok((found, download)),
        Verdict::NotModified | Verdict::Failed => Err(StoreError::Precondition.into()),
    }
}

/// What is told of a source that is not there. The edge would judge by the target who may learn it: so it comes as a
/// refusal of its own.
fn missing(call: &Call<'_>, from: &ObjectName) -> HttpError {
    let list = Need { right: Some(Right::List), ..Need::on_object(Right::Read, from) };
    call.authorize(&list).err().unwrap_or(HttpError::Refused(Kind::NoSuchKey))
}

/// Whether the source is another object than was judged.
async fn is_other(call: &Call<'_>, from: &ObjectName, judged: &ObjectInfo) -> bool {
    look(call, from).await.is_ok_and(|info| info.etag != judged.etag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::headers;

    #[test]
    fn what_is_said_of_a_copy_is_said_anew_or_copied() {
        let of = |directive: &str| {
            new_head(&headers(&[("x-amz-metadata-directive", directive), ("x-amz-meta-a", "1"), ("expires", "x")]))
        };
        assert_eq!(of("COPY").unwrap(), None);
        let head = of("REPLACE").unwrap().expect("another head");
        assert_eq!((head.meta, head.expires.as_str()), (vec![("a".to_owned(), "1".to_owned())], "x"));
        assert!(of("replace").is_err());
        assert_eq!(new_head(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn the_checksum_of_a_copy_is_named_or_that_of_the_source() {
        let of = |name: &str| algorithm(&headers(&[("x-amz-checksum-algorithm", name)]));
        assert_eq!(of("SHA256").unwrap(), Some(Algorithm::Sha256));
        assert_eq!(algorithm(&HeaderMap::new()).unwrap(), None);
        assert_eq!(of("MD5").unwrap_err().problem().kind, Kind::ChecksumHeader);
    }

    #[test]
    fn conditions_of_the_source_are_not_those_of_the_target() {
        let conditions = source_conditions(&headers(&[
            ("if-match", "\"t\""),
            ("x-amz-copy-source-if-match", "\"s\""),
            ("x-amz-copy-source-if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ]));
        assert_eq!(conditions.get("if-match").unwrap(), "\"s\"");
        assert_eq!(conditions.len(), 2);
        assert_eq!(judge_read(&conditions, "t", 0), Verdict::Failed);
    }
}
