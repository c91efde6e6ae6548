//! Lists of a bucket, page by page: both versions of the operation.
//!
//! Invariants
//! - A page is truncated exactly where it names the place of the next one.
//! - A key is told as it is or not at all: a page with one that XML cannot hold is refused, unless keys come in
//!   percent-escapes.
//! - A continuation token belongs to one question: bucket, prefix and delimiter.

use super::buckets::is_there;
use super::documents::{self, Listing};
use super::operations::Endpoint;
use super::tokens::Question;
use super::xml::is_text;
use crate::actors::messages::{Consistency, ListObjects, ListPage};
use crate::base::BucketName;
use crate::http::edge::access::{Need, Right};
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::problem::Kind;
use crate::http::edge::windows::claim;
use actix_web::HttpResponse;

/// Entries of a page at most, and when no number is asked for.
const PAGE_ENTRIES_MAX: usize = 1000;
/// What a page may take, roughly: a thousand keys of ordinary length with their metadata.
const PAGE_BYTES: u64 = 512 * 1024;

/// What both versions of a list ask.
pub(in crate::http) struct Asked {
    bucket: BucketName,
    prefix: String,
    delimiter: Option<String>,
    max: usize,
    escapes: bool,
}

impl Asked {
    /// Takes it out of the query.
    pub fn of(bucket: BucketName, query: &mut Query) -> Result<Self, HttpError> {
        let max = match query.take("max-keys").filter(|text| !text.is_empty()) {
            Some(text) => number(&text).ok_or(HttpError::Query("max-keys is a whole number of 0 or more"))?,
            None => PAGE_ENTRIES_MAX,
        };
        let escapes = wants_escapes(query)?;
        let prefix = query.take("prefix").unwrap_or_default();
        Ok(Asked { bucket, prefix, delimiter: not_empty(query, "delimiter"), max: max.min(PAGE_ENTRIES_MAX), escapes })
    }

    /// The page behind a place, which the client can be told.
    async fn page(&self, call: &Call<'_>, after: Option<String>) -> Result<ListPage, HttpError> {
        const NOT_TEXT: HttpError = HttpError::Refused(Kind::KeyNotText);
        let page = self.ask(call, after.clone()).await?;
        let keys = page.entries.iter().map(|(key, _)| key).chain(&page.prefixes).chain(&page.next);
        let asked = [&self.prefix].into_iter().chain(&self.delimiter).chain(&after);
        if self.escapes || keys.chain(asked).all(|text| is_text(text)) { Ok(page) } else { Err(NOT_TEXT) }
    }

    async fn ask(&self, call: &Call<'_>, after: Option<String>) -> Result<ListPage, HttpError> {
        call.authorize(&Need::under(Right::List, &self.bucket, &self.prefix))?;
        if self.max == 0 {
            is_there(call, self.bucket.clone()).await?;
            return Ok(ListPage { entries: Vec::new(), prefixes: Vec::new(), next: None });
        }
        let _permit = claim(&call.worker.shared.budget, PAGE_BYTES, call.worker.shared.settings.turn_max).await?;
        let ask = ListObjects {
            bucket: self.bucket.clone(),
            prefix: self.prefix.clone(),
            delimiter: self.delimiter.clone(),
            after,
            limit: self.max,
            consistency: Consistency::Majority,
        };
        Ok(call.worker.links.reads.list_objects.send(ask).await??)
    }

    fn shown<'a>(&'a self, page: &'a ListPage) -> Listing<'a> {
        Listing {
            bucket: self.bucket.as_str(),
            prefix: &self.prefix,
            delimiter: self.delimiter.as_deref(),
            max_keys: self.max,
            escapes: self.escapes,
            page,
        }
    }

    /// What tells it from other lists.
    pub fn question(&self) -> Question {
        Question::of(&[self.bucket.as_str(), &self.prefix, self.delimiter.as_deref().unwrap_or_default()])
    }
}

pub(super) async fn v1(call: &Call<'_>, mut endpoint: Endpoint) -> Result<HttpResponse, HttpError> {
    let asked = Asked::of(endpoint.bucket()?, &mut endpoint.query)?;
    let marker = not_empty(&mut endpoint.query, "marker");
    let page = asked.page(call, marker.clone()).await?;
    Ok(documents::list_v1(&asked.shown(&page), marker.as_deref()))
}

pub(super) async fn v2(call: &Call<'_>, mut endpoint: Endpoint) -> Result<HttpResponse, HttpError> {
    if endpoint.query.take("list-type").as_deref() != Some("2") {
        return Err(HttpError::Query("list-type is 2, or is left out"));
    }
    let asked = Asked::of(endpoint.bucket()?, &mut endpoint.query)?;
    let token = endpoint.query.take("continuation-token");
    let start_after = not_empty(&mut endpoint.query, "start-after");
    let shows_owner = endpoint.query.take("fetch-owner").is_some_and(|text| text == "true");
    let after = match &token {
        Some(token) => Some(asked.question().place(token)?),
        None => start_after.clone(),
    };
    let page = asked.page(call, after).await?;
    let next = page.next.as_deref().map(|next| asked.question().token(next));
    Ok(documents::list_v2(&asked.shown(&page), token.as_deref(), next.as_deref(), start_after.as_deref(), shows_owner))
}

/// Whether keys are wanted in percent-escapes.
pub(super) fn wants_escapes(query: &mut Query) -> Result<bool, HttpError> {
    match query.take("encoding-type").as_deref() {
        None | Some("") => Ok(false),
        Some("url") => Ok(true),
        Some(_) => Err(HttpError::Query("encoding-type is url")),
    }
}

/// A parameter that says something.
pub(super) fn not_empty(query: &mut Query, name: &str) -> Option<String> {
    query.take(name).filter(|text| !text.is_empty())
}

/// A number as clients write it; one that is too large for anything is as large as can be.
pub(super) fn number(text: &str) -> Option<usize> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_keys() {
        assert_eq!(
            (number("0"), number("1000"), number("99999999999999999999")),
            (Some(0), Some(1000), Some(usize::MAX))
        );
        for bad in ["", "-1", "+1", "1.0", "x"] {
            assert_eq!(number(bad), None, "{bad}");
        }
    }
}
