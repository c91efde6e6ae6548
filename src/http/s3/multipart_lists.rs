//! Lists of uploads in parts that are open, and of the parts of one, page by page.
//!
//! Invariants
//! - A page is truncated exactly where it names the place of the next one.
//! - A key is told as it is or not at all, as in lists of objects.

use super::buckets::is_there;
use super::documents::{self, PartListing, UploadListing};
use super::listing::{not_empty, number, wants_escapes};
use super::multipart::{find, upload_id};
use super::operations::Endpoint;
use super::xml::is_text;
use crate::actors::messages::{ListParts, ListUploads, PartPage, UploadPage};
use crate::base::UploadId;
use crate::base::upload::PART_NUMBER_MAX;
use crate::http::edge::access::{Need, Right};
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use crate::http::edge::escape::Query;
use crate::http::edge::problem::Kind;
use crate::http::edge::windows::claim;
use actix_web::HttpResponse;

/// Entries of a page at most, and when no number is asked for.
const PAGE_ENTRIES_MAX: usize = 1000;
/// What a page may take, roughly.
const PAGE_BYTES: u64 = 512 * 1024;

pub(super) async fn parts(call: &Call<'_>, mut endpoint: Endpoint) -> Result<HttpResponse, HttpError> {
    let (at, upload) = (endpoint.object()?, upload_id(&mut endpoint)?);
    let max = entries(&mut endpoint.query, "max-parts", "max-parts is a whole number of 0 or more")?;
    let after = match not_empty(&mut endpoint.query, "part-number-marker") {
        Some(text) => number(&text).ok_or(HttpError::Query("part-number-marker is a whole number of 0 or more"))?,
        None => 0,
    };
    let after = u16::try_from(after).unwrap_or(PART_NUMBER_MAX).min(PART_NUMBER_MAX);
    let page = if max == 0 {
        PartPage { upload: find(call, &at, upload).await?, parts: Vec::new(), is_truncated: false }
    } else {
        let _permit = claim(&call.worker.shared.budget, PAGE_BYTES, call.worker.shared.settings.turn_max).await?;
        let ask = ListParts { at, upload, after, limit: max };
        call.worker.links.writes.list_parts.send(ask).await??
    };
    Ok(documents::parts(&PartListing { after, max_parts: max, page: &page }))
}

pub(super) async fn uploads(call: &Call<'_>, mut endpoint: Endpoint) -> Result<HttpResponse, HttpError> {
    let (bucket, query) = (endpoint.bucket()?, &mut endpoint.query);
    let max = entries(query, "max-uploads", "max-uploads is a whole number of 0 or more")?;
    let escapes = wants_escapes(query)?;
    let (prefix, delimiter) = (query.take("prefix").unwrap_or_default(), not_empty(query, "delimiter"));
    let after = place(query)?;
    call.authorize(&Need::under(Right::List, &bucket, &prefix))?;
    let page = if max == 0 {
        is_there(call, bucket.clone()).await?;
        UploadPage::default()
    } else {
        let _permit = claim(&call.worker.shared.budget, PAGE_BYTES, call.worker.shared.settings.turn_max).await?;
        let (bucket, prefix, delimiter, after) = (bucket.clone(), prefix.clone(), delimiter.clone(), after.clone());
        let ask = ListUploads { bucket, prefix, delimiter, after, limit: max };
        call.worker.links.writes.list_uploads.send(ask).await??
    };
    let keys = page.uploads.iter().map(|upload| upload.key.as_str()).chain(page.prefixes.iter().map(String::as_str));
    let places = page.next.iter().chain(&after).map(|(key, _)| key.as_str());
    let asked = [prefix.as_str()].into_iter().chain(delimiter.as_deref());
    if !escapes && !keys.chain(places).chain(asked).all(is_text) {
        return Err(HttpError::Refused(Kind::KeyNotText));
    }
    Ok(documents::uploads(&UploadListing {
        bucket: bucket.as_str(),
        prefix: &prefix,
        delimiter: delimiter.as_deref(),
        after: after.as_ref(),
        max_uploads: max,
        escapes,
        page: &page,
    }))
}

/// What a page begins behind. Without a key, a marker of an upload is passed over, as S3 has it.
fn place(query: &mut Query) -> Result<Option<(String, Option<UploadId>)>, HttpError> {
    let (key, upload) = (not_empty(query, "key-marker"), not_empty(query, "upload-id-marker"));
    let Some(key) = key else { return Ok(None) };
    let upload =
        upload.map(|text| UploadId::from_hex(&text).ok_or(HttpError::Query("upload-id-marker is no upload's id")));
    Ok(Some((key, upload.transpose()?)))
}

/// How many entries are asked for.
fn entries(query: &mut Query, name: &str, wrong: &'static str) -> Result<usize, HttpError> {
    match not_empty(query, name) {
        Some(text) => number(&text).map(|max| max.min(PAGE_ENTRIES_MAX)).ok_or(HttpError::Query(wrong)),
        None => Ok(PAGE_ENTRIES_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_pages() {
        let id = "0f".repeat(16);
        let place = |text: &str| place(&mut Query::parse(text).unwrap()).ok();
        assert_eq!(place("key-marker=a%2Fb"), Some(Some(("a/b".to_owned(), None))));
        let both = place(&format!("key-marker=k&upload-id-marker={id}"));
        assert_eq!(both, Some(Some(("k".to_owned(), Some(UploadId([0x0f; 16]))))));
        assert_eq!(place(&format!("upload-id-marker={id}")), Some(None));
        assert_eq!(place("key-marker=&upload-id-marker="), Some(None));
        assert_eq!(place("key-marker=k&upload-id-marker=x"), None);
    }

    #[test]
    fn numbers_of_entries() {
        let of = |text: &str| entries(&mut Query::parse(text).unwrap(), "max-parts", "no number").ok();
        for (text, number) in [
            ("", Some(1000)),
            ("max-parts=", Some(1000)),
            ("max-parts=0", Some(0)),
            ("max-parts=2000", Some(1000)),
            ("max-parts=-1", None),
        ] {
            assert_eq!(of(text), number, "{text}");
        }
    }
}
