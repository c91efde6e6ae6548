//! What is known of an object, as a document: what of it is asked for.

use super::documents::{self, Attribute, PartsAsked};
use super::listing::number;
use super::objects::look;
use crate::base::ObjectName;
use crate::http::edge::access::now_ms;
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use crate::http::edge::signed::only;
use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderMap};
use std::time::{Duration, UNIX_EPOCH};

/// Parts of a page at most, and when no number is asked for.
const PARTS_MAX: usize = 1000;
/// Names what is asked for, with commas between, in one line or several.
const ASKED: &str = "x-amz-object-attributes";

pub(super) async fn get(call: &Call<'_>, at: ObjectName) -> Result<HttpResponse, HttpError> {
    let headers = call.req.headers();
    let asked = asked(headers)?;
    let parts = part_page(headers)?;
    let info = look(call, &at).await?;
    let mut response = documents::attributes(&info, &asked, parts);
    let at = UNIX_EPOCH + Duration::from_millis(info.written_ms.min(now_ms()));
    if let Ok(at) = header::HeaderValue::try_from(httpdate::fmt_http_date(at)) {
        response.headers_mut().insert(header::LAST_MODIFIED, at);
    }
    Ok(response)
}

/// Which of its parts are asked for.
fn part_page(headers: &HeaderMap) -> Result<PartsAsked, HttpError> {
    let numbered = |name, wrong| match only(headers, name)? {
        Some(text) => number(text.trim()).map(Some).ok_or(HttpError::Header(wrong)),
        None => Ok(None),
    };
    let max = numbered("x-amz-max-parts", "x-amz-max-parts is a whole number of 0 or more")?;
    let after = numbered("x-amz-part-number-marker", "x-amz-part-number-marker is a whole number of 0 or more")?;
    Ok(PartsAsked {
        after: u16::try_from(after.unwrap_or(0)).unwrap_or(u16::MAX),
        max: max.unwrap_or(PARTS_MAX).min(PARTS_MAX),
    })
}

/// What is asked for.
fn asked(headers: &HeaderMap) -> Result<Vec<Attribute>, HttpError> {
    const UNKNOWN: HttpError = HttpError::Header(
        "x-amz-object-attributes names one or more of ETag, Checksum, ObjectParts, StorageClass and ObjectSize",
    );
    let mut all = Vec::new();
    for line in headers.get_all(ASKED) {
        let line = line.to_str().map_err(|_| UNKNOWN)?;
        for name in line.split(',').map(str::trim) {
            all.push(Attribute::parse(name).ok_or(UNKNOWN)?);
        }
    }
    if all.is_empty() { Err(UNKNOWN) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::headers;

    #[test]
    fn pages_of_parts() {
        let of =
            |name: &str, value: &str| part_page(&headers(&[(name, value)])).ok().map(|page| (page.after, page.max));
        assert_eq!(of("x-amz-max-parts", "2"), Some((0, 2)));
        assert_eq!(of("x-amz-max-parts", "99999999999999999999"), Some((0, PARTS_MAX)));
        assert_eq!(of("x-amz-part-number-marker", "10000"), Some((10_000, PARTS_MAX)));
        assert_eq!(of("x-amz-part-number-marker", "70000"), Some((u16::MAX, PARTS_MAX)));
        for bad in ["", "-1", "x"] {
            assert_eq!((of("x-amz-max-parts", bad), of("x-amz-part-number-marker", bad)), (None, None), "{bad}");
        }
    }

    #[test]
    fn what_is_asked_for_is_named() {
        let of = |lines: &[&str]| asked(&headers(&lines.iter().map(|line| (ASKED, *line)).collect::<Vec<_>>()));
        assert_eq!(of(&["ETag"]).unwrap(), [Attribute::ETag]);
        assert_eq!(
            of(&["ObjectSize, ETag", "Checksum"]).unwrap(),
            [Attribute::ObjectSize, Attribute::ETag, Attribute::Checksum]
        );
        for bad in [&[][..], &[""], &["ETag,"], &["etag"], &["ETag,Owner"]] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
    }
}
