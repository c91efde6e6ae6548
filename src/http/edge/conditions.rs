//! Conditional reads, in the order of RFC 9110 section 13.2.2, and the conditions of writes.
//!
//! Invariant: a condition of a write is never read as a weaker one. What is no tag is refused; dates cannot exclude two
//! writes of one second, and are no conditions of writes here.

use super::errors::HttpError;
use super::problem::Kind;
use crate::base::{Condition, Tags};
use actix_web::http::header::{self, HeaderMap, HeaderName};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Headers that change what a write means and that no port honours.
const NOT_ON_WRITES: [(HeaderName, Kind); 8] = [
    (header::IF_MODIFIED_SINCE, Kind::DateCondition),
    (header::IF_UNMODIFIED_SINCE, Kind::DateCondition),
    (header::IF_RANGE, Kind::WriteRange),
    (header::RANGE, Kind::WriteRange),
    (header::CONTENT_RANGE, Kind::WriteRange),
    (HeaderName::from_static("digest"), Kind::OtherDigest),
    (HeaderName::from_static("content-digest"), Kind::OtherDigest),
    (HeaderName::from_static("repr-digest"), Kind::OtherDigest),
];

/// What the conditions of a read say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Serve,
    NotModified,
    Failed,
}

/// Evaluates the conditions of a GET or HEAD against an object. `etag` comes without quotes.
pub fn judge_read(headers: &HeaderMap, etag: &str, written_ms: u64) -> Verdict {
    let modified = whole_seconds(written_ms);
    if headers.contains_key(header::IF_MATCH) {
        if !lists(headers, &header::IF_MATCH, etag, Compare::Strong) {
            return Verdict::Failed;
        }
    } else if date(headers, &header::IF_UNMODIFIED_SINCE).is_some_and(|since| modified > since) {
        return Verdict::Failed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        if lists(headers, &header::IF_NONE_MATCH, etag, Compare::Weak) {
            return Verdict::NotModified;
        }
    } else if date(headers, &header::IF_MODIFIED_SINCE).is_some_and(|since| modified <= since) {
        return Verdict::NotModified;
    }
    Verdict::Serve
}

/// Whether a `Range` may be honoured: no `If-Range`, or one with exactly this tag. A date never suffices: an object
/// may be written twice in a second, at two nodes whose clocks differ, and a part of the one behind a part of the other
/// is neither (RFC 9110 sections 8.8.2.2 and 13.1.5).
pub fn range_applies(headers: &HeaderMap, etag: &str) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else { return true };
    value.to_str().is_ok_and(|text| text.trim().strip_prefix('"').and_then(|t| t.strip_suffix('"')) == Some(etag))
}

/// What `If-Match` and `If-None-Match` of a write say. A tag that is no tag is refused: a condition is
/// never read as a weaker one.
pub fn write_condition(headers: &HeaderMap) -> Result<Condition, HttpError> {
    let matches = tags(headers, &header::IF_MATCH, Compare::Strong)?;
    let differs = tags(headers, &header::IF_NONE_MATCH, Compare::Weak)?;
    Ok(Condition { matches, differs })
}

/// Refuses a write on condition of a date, of a part of an object, or with a checksum that nobody here holds it against.
pub fn no_half_writes(headers: &HeaderMap) -> Result<(), HttpError> {
    match NOT_ON_WRITES.iter().find(|(name, _)| headers.contains_key(name)) {
        Some((_, kind)) => Err(HttpError::Refused(*kind)),
        None => Ok(()),
    }
}

fn tags(headers: &HeaderMap, name: &HeaderName, compare: Compare) -> Result<Option<Tags>, HttpError> {
    let mut found: Option<Vec<String>> = None;
    for line in headers.get_all(name) {
        let line = line.to_str().map_err(|_| HttpError::Header("If-Match and If-None-Match are visible ASCII"))?;
        if line.trim() == "*" {
            return Ok(Some(Tags::Any));
        }
        let all = found.get_or_insert_default();
        for_each_tag(line, |tag, weak| {
            if compare == Compare::Weak || !weak {
                all.push(tag.to_owned());
            }
            false
        })
        .ok_or(HttpError::Header("an entity tag has no closing quote"))?;
    }
    Ok(found.map(Tags::OneOf))
}

fn whole_seconds(ms: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(ms / 1000)
}

/// A date that does not parse is no condition (RFC 9110 section 13.1.3).
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compare {
    Strong,
    Weak,
}

/// Whether a list of entity tags, over all lines of that header, holds `etag` or is `*`.
fn lists(headers: &HeaderMap, name: &HeaderName, etag: &str, compare: Compare) -> bool {
    headers.get_all(name).any(|line| line.to_str().is_ok_and(|line| list_holds(line, etag, compare)))
}

/// Tags may hold commas between their quotes; tags without quotes, which some clients send, are
/// taken as they stand.
fn list_holds(line: &str, etag: &str, compare: Compare) -> bool {
    if line.trim() == "*" {
        return true;
    }
    for_each_tag(line, |tag, weak| tag == etag && (compare == Compare::Weak || !weak)) == Some(true)
}

/// Calls `found` with each tag, and whether it is weak, until it says true. `None` when a tag does not end.
fn for_each_tag(line: &str, mut found: impl FnMut(&str, bool) -> bool) -> Option<bool> {
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return Some(false);
        }
        let weak = rest.starts_with("W/");
        let body = if weak { &rest[2..] } else { rest };
        let (tag, after) = match body.strip_prefix('"') {
            Some(quoted) => match quoted.split_once('"') {
                Some((tag, after)) => (tag, after),
                None => return None,
            },
            None => {
                let (tag, after) = body.split_once(',').unwrap_or((body, ""));
                (tag.trim_end(), after)
            }
        };
        if found(tag, weak) {
            return Some(true);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::headers;

    /// Sun, 06 Nov 1994 08:49:37 GMT, and a bit.
    const WRITTEN_MS: u64 = 784_111_777_450;
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    #[test]
    fn one_condition_at_a_time() {
        use Verdict::{Failed, NotModified, Serve};
        for (name, value, expected) in [
            ("if-match", "\"e\"", Serve),
            ("if-match", "*", Serve),
            ("if-match", "\"x\", \"e\"", Serve),
            ("if-match", "\"x,\",\"e\"", Serve),
            ("if-match", "e", Serve),
            ("if-match", "W/\"e\"", Failed),
            ("if-match", "\"x\"", Failed),
            ("if-match", "\"e", Failed),
            ("if-match", "", Failed),
            ("if-none-match", "\"e\"", NotModified),
            ("if-none-match", "W/\"e\"", NotModified),
            ("if-none-match", "*", NotModified),
            ("if-none-match", "\"x\" , W/\"e\"", NotModified),
            ("if-none-match", "x, e", NotModified),
            ("if-none-match", "\"x\"", Serve),
            ("if-none-match", "\"x, e\"", Serve),
            ("if-modified-since", AT, NotModified),
            ("if-modified-since", AFTER, NotModified),
            ("if-modified-since", BEFORE, Serve),
            ("if-modified-since", "yesterday", Serve),
            ("if-unmodified-since", AT, Serve),
            ("if-unmodified-since", AFTER, Serve),
            ("if-unmodified-since", BEFORE, Failed),
            ("if-unmodified-since", "yesterday", Serve),
        ] {
            assert_eq!(judge_read(&headers(&[(name, value)]), "e", WRITTEN_MS), expected, "{name}: {value}");
        }
    }

    #[test]
    fn precedence() {
        for (all, expected) in [
            (&[("if-match", "\"e\""), ("if-unmodified-since", BEFORE)][..], Verdict::Serve),
            (&[("if-none-match", "\"x\""), ("if-modified-since", AT)], Verdict::Serve),
            (&[("if-match", "\"x\""), ("if-none-match", "\"e\"")], Verdict::Failed),
            (&[("if-match", "\"e\""), ("if-none-match", "\"e\"")], Verdict::NotModified),
            (&[("if-match", "\"x\""), ("if-match", "\"e\"")], Verdict::Serve),
        ] {
            assert_eq!(judge_read(&headers(all), "e", WRITTEN_MS), expected, "{all:?}");
        }
    }

    #[test]
    fn if_range_is_exact_and_strong() {
        for (value, expected) in [
            ("\"e\"", true),
            ("W/\"e\"", false),
            ("\"x\"", false),
            (AT, false),
            (AFTER, false),
            (BEFORE, false),
            ("e", false),
        ] {
            assert_eq!(range_applies(&headers(&[("if-range", value)]), "e"), expected, "{value}");
        }
        assert!(range_applies(&HeaderMap::new(), "e"));
    }
}
