//! Percent-escapes, and query strings.
//!
//! Invariant: every escape is resolved exactly once; a broken one, or bytes that are not UTF-8, are refused.

use super::errors::HttpError;
use super::problem::Kind;
use std::borrow::Cow;

/// What `+` means: itself in a path, a space in a query.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Plus {
    /// `+` is a plus.
    IsPlus,
    /// `+` is a space.
    IsSpace,
}

/// A text without its percent-escapes.
pub fn unescape(raw: &str, plus: Plus) -> Result<Cow<'_, str>, HttpError> {
    let plain = |b: u8| b != b'%' && (plus == Plus::IsPlus || b != b'+');
    if raw.bytes().all(plain) {
        return Ok(Cow::Borrowed(raw));
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16));
                let pair = digit().zip(digit()).and_then(|(high, low)| u8::try_from(high << 4 | low).ok());
                out.push(pair.ok_or(HttpError::Refused(Kind::Percent))?);
            }
            b'+' if plus == Plus::IsSpace => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| HttpError::Refused(Kind::Escape))
}

/// A query string, taken apart. Each parameter may stand once.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(raw: &str) -> Result<Self, HttpError> {
        let mut all: Vec<(String, String)> = Vec::new();
        for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = unescape(name, Plus::IsSpace)?.into_owned();
            if all.iter().any(|(seen, _)| *seen == name) {
                return Err(HttpError::Refused(Kind::QueryTwice));
            }
            all.push((name, unescape(value, Plus::IsSpace)?.into_owned()));
        }
        Ok(Query(all))
    }

    /// One parameter alone, for routes that pass over all others, whatever these are.
    pub fn only(raw: &str, name: &str) -> Result<Self, HttpError> {
        let is_named = |pair: &&str| {
            let (of, _) = pair.split_once('=').unwrap_or((pair, ""));
            unescape(of, Plus::IsSpace).is_ok_and(|of| of == name)
        };
        Query::parse(&raw.split('&').filter(is_named).collect::<Vec<_>>().join("&"))
    }

    /// Takes a parameter out, so that what remains at the end was unknown.
    pub fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// The names of all that were not taken.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        let mut q = Query::parse("prefix=a+b%2B&after=&x").unwrap();
        assert_eq!(q.take("prefix").as_deref(), Some("a b+"));
        assert_eq!(q.take("after").as_deref(), Some(""));
        assert_eq!(q.take("prefix"), None);
        assert!(!q.is_empty());
        assert_eq!(q.take("x").as_deref(), Some(""));
        assert!(q.is_empty());
        assert!(Query::parse("a=1&a=2").is_err());
        assert!(Query::parse("a=%f").is_err());
        assert!(Query::parse("a=%ff").is_err());
    }

    #[test]
    fn what_is_passed_over_need_not_be_a_query() {
        for others in ["", "u=1&u=2&", "x=%E1&", "x=%&100%&", "%zz&"] {
            let mut q = Query::only(&format!("{others}%61=b%20c&{others}"), "a").unwrap();
            assert_eq!((q.take("a").as_deref(), q.is_empty()), (Some("b c"), true), "{others}");
        }
        assert!(Query::only("u=1&x=%", "a").unwrap().is_empty());
        assert!(Query::only("a=1&a=2", "a").is_err() && Query::only("a=%", "a").is_err());
    }
}
