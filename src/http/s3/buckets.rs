//! Buckets: listed, made, looked at, and removed.

use super::documents::{self, BucketPage};
use super::heads::{check_acl, only};
use super::listing::number;
use super::operations::Endpoint;
use super::payload;
use super::tokens::Question;
use crate::actors::messages::{Consistency, CreateBucket, DeleteBucket, ListBuckets, ListObjects};
use crate::base::BucketName;
use crate::http::edge::body_in::Incoming;
use crate::http::edge::call::Call;
use crate::http::edge::conditions::no_half_writes;
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::heads::written;
use crate::http::edge::problem::Kind;
use crate::http::edge::windows::claim;
use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The region that clients take a store for that names none.
pub(super) const NO_REGION: &str = "us-east-1";
/// Buckets of a page at most, and when no number is asked for.
const PAGE_BUCKETS_MAX: usize = 10_000;
/// What a list of buckets may take, roughly.
const LIST_BYTES: u64 = 512 * 1024;
/// Most bytes of a `CreateBucketConfiguration`.
const CONFIGURATION_BYTES_MAX: usize = 64 * 1024;

const REGION: HeaderName = HeaderName::from_static("x-amz-bucket-region");

/// Which buckets a list asks for.
struct Asked {
    prefix: Option<String>,
    /// A region that is another one than that of the store has none.
    region: Option<String>,
    max: usize,
    /// The last one of the page before.
    after: Option<String>,
    question: Question,
}

impl Asked {
    /// None where a request asks nothing: then it is answered as before there were pages.
    fn of(query: &mut Query) -> Result<Option<Self>, HttpError> {
        let wanted = query.take("max-buckets");
        let [prefix, region, token] = ["prefix", "bucket-region", "continuation-token"].map(|name| query.take(name));
        if [&wanted, &prefix, &region, &token].iter().all(|asked| asked.is_none()) {
            return Ok(None);
        }
        let max = match wanted {
            Some(text) => number(&text)
                .filter(|max| (1..=PAGE_BUCKETS_MAX).contains(max))
                .ok_or(HttpError::Query("max-buckets is a whole number from 1 to 10000"))?,
            None => PAGE_BUCKETS_MAX,
        };
        // No bucket has an empty name: it is the question of no other list.
        let question =
            Question::of(&["", prefix.as_deref().unwrap_or_default(), region.as_deref().unwrap_or_default()]);
        let after = token.map(|token| question.place(&token)).transpose()?;
        Ok(Some(Asked { prefix, region, max, after, question }))
    }

    /// Whether a bucket of a store in `region` is on this page or a later one.
    fn has(&self, name: &str, region: &str) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| name.starts_with(prefix))
            && self.region.as_ref().is_none_or(|asked| asked == region)
            && self.after.as_ref().is_none_or(|after| name > after.as_str())
    }
}

/// All buckets that any grant of the caller reaches; or a page of them.
pub(super) async fn list(call: &Call<'_>, mut endpoint: Endpoint, region: &str) -> Result<HttpResponse, HttpError> {
    let asked = Asked::of(&mut endpoint.query)?;
    let _permit = claim(&call.worker.shared.budget, LIST_BYTES, call.worker.shared.settings.turn_max).await?;
    let ask = ListBuckets { consistency: Consistency::Majority };
    let mut all = call.worker.links.reads.list_buckets.send(ask).await??;
    all.retain(|bucket| call.who.reaches(&bucket.name));
    let Some(asked) = asked else {
        return Ok(documents::buckets(&BucketPage { buckets: &all, region: None, prefix: None, next: None }));
    };
    let region = named(region);
    all.retain(|bucket| asked.has(bucket.name.as_str(), region));
    all.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
    let is_cut = all.len() > asked.max;
    all.truncate(asked.max);
    let next = all.last().filter(|_| is_cut).map(|last| asked.question.token(last.name.as_str()));
    let (prefix, next) = (asked.prefix.as_deref(), next.as_deref());
    Ok(documents::buckets(&BucketPage { buckets: &all, region: Some(region), prefix, next }))
}

/// The region that clients are told.
fn named(region: &str) -> &str {
    if region.is_empty() { NO_REGION } else { region }
}

/// Makes a bucket. Of one that is there the answer is that of the region: in us-east-1 it is success, elsewhere 409
/// `BucketAlreadyOwnedByYou`, since all buckets of a store have one owner.
pub(super) async fn create(
    call: &Call<'_>,
    endpoint: Endpoint,
    incoming: &mut Incoming,
    region: &str,
) -> Result<HttpResponse, HttpError> {
    let headers = call.req.headers();
    no_half_writes(headers)?;
    no_condition(headers)?;
    check_acl(headers)?;
    let ownership = HttpError::NotImplemented("everything belongs to the owner of the store: BucketOwnerEnforced");
    only(headers, "x-amz-object-ownership", &["BucketOwnerEnforced"], ownership)?;
    let lock = HttpError::NotImplemented("this release locks no objects: leave x-amz-bucket-object-lock-enabled out");
    // Some clients say that they do not want it.
    only(headers, "x-amz-bucket-object-lock-enabled", &["false", "False"], lock)?;
    let bytes = payload::announced_at_most(incoming, CONFIGURATION_BYTES_MAX);
    let _permit = call.worker.shared.budget.try_claim(bytes).ok_or(HttpError::SlowDown)?;
    let body = payload::document(call.req, incoming, CONFIGURATION_BYTES_MAX).await?;
    let wanted = documents::location_constraint(&body)?;
    if !region.is_empty() && wanted.is_some_and(|wanted| wanted != region) {
        return Err(HttpError::Refused(Kind::OtherRegion));
    }
    let bucket = endpoint.bucket()?;
    call.authorize_again(&endpoint.need())?;
    let done = call.worker.links.writes.create_bucket.send(CreateBucket { bucket: bucket.clone() }).await??;
    if done.existed && !["", NO_REGION].contains(&region) {
        return Err(HttpError::Refused(Kind::OwnBucket));
    }
    let mut builder = HttpResponse::Ok();
    written(&mut builder, call.worker, done.replicas);
    if let Ok(location) = HeaderValue::try_from(format!("/{bucket}")) {
        builder.insert_header((header::LOCATION, location));
    }
    Ok(builder.finish())
}

/// Whether there is a bucket, and that the caller may list something of it.
pub(super) async fn head(call: &Call<'_>, endpoint: Endpoint, region: &str) -> Result<HttpResponse, HttpError> {
    is_there(call, endpoint.bucket()?).await?;
    let mut builder = HttpResponse::Ok();
    if let Ok(region) = HeaderValue::try_from(named(region)) {
        builder.insert_header((REGION, region));
    }
    Ok(builder.finish())
}

/// Removes a bucket that holds nothing.
pub(super) async fn delete(call: &Call<'_>, endpoint: Endpoint) -> Result<HttpResponse, HttpError> {
    no_half_writes(call.req.headers())?;
    no_condition(call.req.headers())?;
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let done = call.worker.links.writes.delete_bucket.send(DeleteBucket { bucket: endpoint.bucket()? }).await??;
    let mut builder = HttpResponse::NoContent();
    written(&mut builder, call.worker, done.replicas);
    Ok(builder.finish())
}

/// In which region a bucket is.
pub(super) async fn location(call: &Call<'_>, endpoint: Endpoint, region: &str) -> Result<HttpResponse, HttpError> {
    is_there(call, endpoint.bucket()?).await?;
    Ok(documents::location(region))
}

/// Refuses what is asked of a bucket that is not there: a look at its first key says so.
pub(super) async fn is_there(call: &Call<'_>, bucket: BucketName) -> Result<(), HttpError> {
    let _permit = call.worker.shared.budget.try_claim(0).ok_or(HttpError::SlowDown)?;
    let ask = ListObjects {
        bucket,
        prefix: String::new(),
        delimiter: None,
        after: None,
        limit: 1,
        consistency: Consistency::Majority,
    };
    call.worker.links.reads.list_objects.send(ask).await??;
    Ok(())
}

/// Refuses a condition on what has none.
pub(super) fn no_condition(headers: &HeaderMap) -> Result<(), HttpError> {
    match headers.contains_key(header::IF_MATCH) || headers.contains_key(header::IF_NONE_MATCH) {
        true => Err(HttpError::Refused(Kind::NoConditions)),
        false => Ok(()),
    }
}
