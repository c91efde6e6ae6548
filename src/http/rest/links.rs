//! Links: made for who has a key, and what a request is held to that came by one.
//!
//! Invariants
//! - A link is made with the secret of who asks for it, and only for what that one may do now; it is kept nowhere.
//! - What a link says of a request is taken out of the query only where it was signed: `Principal::Link`.

use super::access::document;
use super::answers::{json, no_query};
use super::plain_write::{no_condition, plain_write};
use crate::base::dates::rfc3339;
use crate::base::{BucketName, Credential, ObjectKey, ObjectName, Secret};
use crate::http::edge::access::{Need, Principal, Right, now_ms};
use crate::http::edge::body_in::Incoming;
use crate::http::edge::call::Call;
use crate::http::edge::disposition::attachment;
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::problem::Kind;
use crate::sign::object_link::{BYTES_MAX, FILE_NAME, LinkError, ObjectLink, Use};
use crate::sign::presign::PARAMETERS;
use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, HOST, HeaderValue};
use serde::{Deserialize, Serialize};

/// Most bytes of a document: the longest names, each byte escaped.
const DOCUMENT_BYTES_MAX: usize = 32 * 1024;
const DOCUMENT: &str = "the body is a JSON object with method (GET or PUT), bucket, key and expires_s, and with host, \
                        file_name (GET), content_type or bytes_max (PUT) where they are wanted";

/// What a new link is to be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    method: String,
    bucket: String,
    key: String,
    expires_s: u64,
    host: Option<String>,
    file_name: Option<String>,
    content_type: Option<String>,
    bytes_max: Option<u64>,
}

#[derive(Serialize)]
struct Made<'a> {
    method: &'a str,
    /// Under which name the node has to be reached.
    host: &'a str,
    /// Path and query.
    target: String,
    expires: String,
}

/// A link by the key of who asks.
pub(super) async fn create(call: &Call<'_>, incoming: &mut Incoming) -> Result<HttpResponse, HttpError> {
    plain_write(call.req.headers())?;
    no_condition(call.req.headers())?;
    no_query(call)?;
    let Principal::Key(key) = &call.who else { return Err(HttpError::Refused(Kind::NoLinkKey)) };
    let secret = key.newest_secret().ok_or(HttpError::Refused(Kind::NoLinkKey))?;
    let _permit = call.worker.shared.budget.try_claim(DOCUMENT_BYTES_MAX as u64).ok_or(HttpError::SlowDown)?;
    let wanted: Wanted = document(incoming, DOCUMENT_BYTES_MAX, DOCUMENT).await?;
    let at = ObjectName { bucket: BucketName::parse(&wanted.bucket)?, key: ObjectKey::parse(&wanted.key)? };
    call.note.concerns(at.to_string());
    let (method, right, to) = use_of(&wanted)?;
    call.authorize(&Need::on_object(right, &at))?;
    let sent = || call.req.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = wanted.host.as_deref().or_else(sent).unwrap_or_default().to_ascii_lowercase();
    let at_s = now_ms() / 1000;
    let by = Credential { id: key.id, secret: Secret::new(*secret.expose()) };
    let link = ObjectLink { at: &at, to: &to, host: &host, at_s, expires_s: wanted.expires_s };
    let target = link.target_by(&by).map_err(|why| HttpError::Document(told(why)))?;
    let expires = rfc3339((at_s + wanted.expires_s) * 1000);
    call.note.changes((), serde_json::json!({ "method": method, "expires": expires }));
    let mut builder = HttpResponse::Created();
    builder.insert_header((CACHE_CONTROL, HeaderValue::from_static("no-store")));
    Ok(json(&mut builder, &Made { method, host: &host, target, expires }))
}

/// What a document asks for, and the right that this takes.
fn use_of(wanted: &Wanted) -> Result<(&'static str, Right, Use), HttpError> {
    let Wanted { method, file_name, content_type, bytes_max, .. } = wanted;
    match (method.as_str(), file_name, content_type, bytes_max) {
        ("GET", _, None, None) => Ok(("GET", Right::Read, Use::Get { file_name: file_name.clone() })),
        ("PUT", None, _, _) => {
            Ok(("PUT", Right::Write, Use::Put { content_type: content_type.clone(), bytes_max: *bytes_max }))
        }
        _ => Err(HttpError::Document(DOCUMENT)),
    }
}

/// What a client is told of a link that cannot be made.
fn told(why: LinkError) -> &'static str {
    match why {
        LinkError::Expires => "expires_s is a number of seconds from 1 to 604800",
        LinkError::Host => "host is that of the link's address, as clients send it: HOST or HOST:PORT",
        LinkError::FileName => "file_name has 1 to 1024 bytes",
        LinkError::ContentType => "content_type is visible ASCII with single spaces",
    }
}

/// Takes out of a query what makes it a link; whether it was one.
fn take_link(call: &Call<'_>, query: &mut Query) -> bool {
    let by_link = matches!(call.who, Principal::Link(_));
    if by_link {
        PARAMETERS.iter().for_each(|name| drop(query.take(name)));
    }
    by_link
}

/// What a link says of a read: how a browser is to keep the object.
pub(super) fn of_read(call: &Call<'_>, query: &mut Query) -> Option<HeaderValue> {
    let name = take_link(call, query).then(|| query.take(FILE_NAME))??;
    HeaderValue::try_from(attachment(&name)).ok()
}

/// What a link says of a write: most bytes of the object. Other parameters are refused.
pub(super) fn of_write(call: &Call<'_>) -> Result<Option<u64>, HttpError> {
    if !matches!(call.who, Principal::Link(_)) {
        return no_query(call).map(|()| None);
    }
    let mut query = Query::parse(call.req.query_string())?;
    take_link(call, &mut query);
    let most = query.take(BYTES_MAX).map(|text| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        text.parse().ok().filter(|_| digits).ok_or(HttpError::Query("X-Boveda-Max-Bytes of a link is a number"))
    });
    if query.is_empty() { most.transpose() } else { Err(HttpError::Refused(Kind::WriteQuery)) }
}
