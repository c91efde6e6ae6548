//! What is known of an object, as a document: what of it is asked for.

use super::documents::{self, Attribute};
use super::objects::look;
use crate::base::ObjectName;
use crate::http::edge::access::now_ms;
use crate::http::edge::call::Call;
use crate::http::edge::errors::HttpError;
use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderMap};
use std::time::{Duration, UNIX_EPOCH};

/// Names what is asked for, with commas between, in one line or several.
const ASKED: &str = "x-amz-object-attributes";

pub(super) async fn get(call: &Call<'_>, at: ObjectName) -> Result<HttpResponse, HttpError> {
    let asked = asked(call.req.headers())?;
    let info = look(call, &at).await?;
    let mut response = documents::attributes(&info, &asked);
    let at = UNIX_EPOCH + Duration::from_millis(info.written_ms.min(now_ms()));
    if let Ok(at) = header::HeaderValue::try_from(httpdate::fmt_http_date(at)) {
        response.headers_mut().insert(header::LAST_MODIFIED, at);
    }
    Ok(response)
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
