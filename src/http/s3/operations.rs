//! The operations of S3: a row for each, and which of them a request is.
//!
//! Invariants
//! - Every operation that S3 has for buckets and objects has a row, also those that are refused: what is not in the table
//!   is nothing that a client of today asks for.
//! - A request is one operation, by its method, what it is about, and the one parameter or header that selects it.
//! - What a request says besides is known to its row, or the request is refused: nothing that could change what it means
//!   is passed over. `HARMLESS` is what may be.

pub(super) use super::table::ROWS;
use super::target::{Names, Place};
use crate::base::{BucketName, ObjectName};
use crate::http::edge::access::{Need, Right};
use crate::http::edge::deed::{Deed, Sort, Target};
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::problem::Kind;
use crate::sign::presign::{PARAMETERS, PREFIX, is_header};
use actix_web::HttpRequest;
use actix_web::http::Method;
use actix_web::http::header::HeaderMap;

/// Parameters of any request: the SDKs name the operation in the target, which asks for nothing; the others belong to
/// signatures, of this version or another, and are judged with them.
const HARMLESS_QUERY: &[&str] =
    &["x-id", "X-Amz-Security-Token", "X-Amz-Content-Sha256", "AWSAccessKeyId", "Signature", "Expires"];
/// Headers of any request: of its signature, or of nothing.
const HARMLESS_HEADERS: &[&str] =
    &["x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "x-amz-user-agent", "x-amz-decoded-content-length"];
/// What every header that may change the meaning of a request begins with.
const AMZ: &str = "x-amz-";

/// A method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `PUT`
    Put,
    /// `POST`
    Post,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
}

impl Verb {
    /// As requests write it.
    pub const fn word(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Head => "HEAD",
            Verb::Put => "PUT",
            Verb::Post => "POST",
            Verb::Delete => "DELETE",
            Verb::Options => "OPTIONS",
        }
    }
}

/// What an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// All buckets.
    Service,
    /// A bucket.
    Bucket,
    /// An object.
    Object,
}

/// What selects an operation among those of its method and place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// Nothing: it is what is left.
    Default,
    /// A parameter of the query.
    Query(&'static str),
    /// A header.
    Header(&'static str),
    /// A parameter of the query, where a header is there, too.
    Both(&'static str, &'static str),
}

/// What comes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    ListBuckets,
    CreateBucket,
    HeadBucket,
    DeleteBucket,
    GetLocation,
    ListObjects,
    ListObjectsV2,
    PutObject,
    CopyObject,
    GetObject,
    GetAttributes,
    DeleteObject,
    DeleteObjects,
    CreateUpload,
    UploadPart,
    CopyPart,
    CompleteUpload,
    AbortUpload,
    ListParts,
    ListUploads,
    /// A bucket's or an object's setting is asked for that nothing can be set to here.
    Calm(Calm),
    /// This release has it not.
    Refused,
}

/// What is said of a setting that nothing can be set to here: the truth, in the form that clients expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calm {
    /// Everything belongs to one owner, who may do all.
    Acl,
    /// Everything is sealed.
    Encryption,
    /// An object has no tags, which is an answer; a bucket without any has none.
    NoTags,
    /// A document that says nothing, of this name.
    Empty(&'static str),
    /// The owner of the bucket pays.
    RequestPayment,
    /// There is none, which has a code of its own.
    Missing(Kind),
}

/// What an operation needs of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// To be known.
    Known,
    /// A right on the bucket and all of it.
    All(Right),
    /// A right on some of the bucket's keys; on which is told later.
    Some(Right),
    /// A right on the object.
    Object(Right),
}

/// One operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// As S3 calls it.
    pub name: &'static str,
    pub verb: Verb,
    pub on: On,
    pub by: By,
    pub does: Does,
    pub asks: Asks,
    /// What it is called in the audit log, and when it has a line there.
    pub deed: (&'static str, Sort),
    /// Parameters that it knows besides the one that selects it.
    pub query: &'static [&'static str],
    /// Headers that it knows, of those that begin with `x-amz-`. One that ends in `-` stands for all that begin so.
    pub headers: &'static [&'static str],
}

/// What a request is: where it leads, and which operation it is, if it is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route<'a> {
    pub place: Place<'a>,
    pub row: Option<&'static Row>,
}

/// What is asked for, with its names and parameters.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub row: &'static Row,
    pub names: Names,
    pub query: Query,
}

impl<'a> Route<'a> {
    /// What a request is.
    pub(super) fn of(req: &'a HttpRequest, domains: &[String]) -> Self {
        let place = Place::of(req, domains);
        let row = choose(req.method(), place, req.query_string(), req.headers());
        Route { place, row }
    }
}

impl Endpoint {
    /// What is asked for there; refuses what this release has not, and what it does not know.
    pub(super) fn of(route: Route<'_>, req: &HttpRequest) -> Result<Self, HttpError> {
        let Some(row) = route.row else {
            return Err(HttpError::Method { allow: allowed(route.place), instead: None });
        };
        if row.does == Does::Refused {
            return Err(HttpError::NotImplemented("this release does not offer this operation of S3"));
        }
        let names = route.place.names()?;
        let query = Query::parse(req.query_string())?;
        row.knows(&query, req.headers())?;
        Ok(Endpoint { row, names, query })
    }

    /// What the caller needs.
    pub(super) fn need(&self) -> Need<'_> {
        match (self.row.asks, &self.names) {
            (Asks::Object(right), Names::Object(at)) => Need::on_object(right, at),
            (Asks::Some(right), names) => names.bucket().map_or(Need::on_node(right), |at| Need::in_bucket(right, at)),
            (Asks::All(right) | Asks::Object(right), names) => {
                names.bucket().map_or(Need::on_node(right), |bucket| Need::on_bucket(right, bucket))
            }
            (Asks::Known, _) => Need::to_be_known(),
        }
    }

    /// What it is to the audit log.
    pub(super) fn deed(&self) -> Deed<'_> {
        let (action, sort) = self.row.deed;
        let target = match &self.names {
            Names::Service => Target::Whole,
            Names::Bucket(bucket) => Target::Bucket(bucket),
            Names::Object(at) => Target::Object(at),
        };
        Deed { action, target, sort }
    }

    /// The bucket, of an operation on one.
    pub(super) fn bucket(&self) -> Result<BucketName, HttpError> {
        self.names.bucket().cloned().ok_or(HttpError::Broken("an operation on a bucket without one"))
    }

    /// The object, of an operation on one.
    pub(super) fn object(&self) -> Result<ObjectName, HttpError> {
        match &self.names {
            Names::Object(at) => Ok(at.clone()),
            _ => Err(HttpError::Broken("an operation on an object without one")),
        }
    }
}

impl By {
    /// The parameter that selects it.
    pub(super) fn query(self) -> Option<&'static str> {
        if let By::Query(name) | By::Both(name, _) = self { Some(name) } else { None }
    }

    /// The header that selects it.
    pub(super) fn header(self) -> Option<&'static str> {
        if let By::Header(name) | By::Both(_, name) = self { Some(name) } else { None }
    }
}

impl Row {
    /// Refuses a request that says more than the row knows.
    fn knows(&self, query: &Query, headers: &HeaderMap) -> Result<(), HttpError> {
        let everywhere = |name: &str| HARMLESS_QUERY.contains(&name) || PARAMETERS.contains(&name);
        let is_link = query.names().any(|name| name.starts_with(PREFIX));
        // It is held against what the row knows of headers: it is one of them.
        let is_header = |name: &str| is_link && is_header(name);
        let own = |name: &str| self.by.query() == Some(name) || self.query.contains(&name);
        let known = |name: &str| own(name) || everywhere(name) || is_header(name);
        if !query.names().all(known) {
            return Err(HttpError::NotImplemented(
                "the query has a parameter that this operation does not know here; what it asks for would not be done",
            ));
        }
        let mut amz = headers.keys().map(|name| name.as_str()).filter(|name| name.starts_with(AMZ));
        if !amz.all(|name| self.knows_header(name)) {
            return Err(HttpError::NotImplemented(
                "the request has an x-amz-* header that this operation does not know here; what it asks for would not be done",
            ));
        }
        Ok(())
    }

    fn knows_header(&self, name: &str) -> bool {
        let begins = |known: &str| known.ends_with('-') && name.starts_with(known);
        self.by.header() == Some(name)
            || HARMLESS_HEADERS.contains(&name)
            || self.headers.iter().any(|known| *known == name || begins(known))
    }

    /// Under which of `LABELS` its requests are counted: operations that come to nothing share one.
    fn label(&self) -> &'static str {
        match self.does {
            Does::Calm(_) => SETTINGS,
            Does::Refused => REFUSED,
            _ => self.name,
        }
    }
}

/// Requests for what nothing can be set to here.
const SETTINGS: &str = "s3_settings";
/// Requests for what this release has not.
const REFUSED: &str = "s3_refused";
/// Requests that are no operation.
const UNKNOWN: &str = "s3_unknown";

/// The words of metrics and logs.
pub(super) const LABELS: &[&str] = &[
    UNKNOWN,
    REFUSED,
    SETTINGS,
    "ListBuckets",
    "CreateBucket",
    "HeadBucket",
    "DeleteBucket",
    "GetBucketLocation",
    "ListObjects",
    "ListObjectsV2",
    "PutObject",
    "CopyObject",
    "GetObject",
    "HeadObject",
    "GetObjectAttributes",
    "DeleteObject",
    "DeleteObjects",
    "CreateMultipartUpload",
    "UploadPart",
    "UploadPartCopy",
    "CompleteMultipartUpload",
    "AbortMultipartUpload",
    "ListParts",
    "ListMultipartUploads",
];

/// The place among the labels of a row, or of none.
pub(super) fn label(row: Option<&Row>) -> usize {
    let word = row.map_or(UNKNOWN, Row::label);
    LABELS.iter().position(|label| *label == word).unwrap_or_default()
}

/// Which operation a request is: the first row that its parameters select, or its headers, or the one that is left.
fn choose(method: &Method, place: Place<'_>, query: &str, headers: &HeaderMap) -> Option<&'static Row> {
    let on = match place {
        Place::Service => On::Service,
        Place::Bucket(_) => On::Bucket,
        Place::Object { .. } => On::Object,
    };
    let asks = |name: &str| query.split('&').any(|pair| pair.split_once('=').map_or(pair, |(name, _)| name) == name);
    let here = || ROWS.iter().filter(|row| row.on == on && row.verb.word() == method.as_str());
    let says = |name: &str| headers.contains_key(name);
    here()
        .find(|row| row.by.query().is_some_and(asks) && row.by.header().is_none_or(says))
        .or_else(|| here().find(|row| matches!(row.by, By::Header(name) if says(name))))
        .or_else(|| here().find(|row| row.by == By::Default))
}

/// The methods of a place, as the `Allow` header lists them.
fn allowed(place: Place<'_>) -> &'static str {
    match place {
        Place::Service => "GET",
        Place::Bucket(_) => "GET, HEAD, PUT, POST, DELETE",
        Place::Object { .. } => "GET, HEAD, PUT, POST, DELETE",
    }
}

#[cfg(test)]
mod tests;
