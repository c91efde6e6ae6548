//! The canonical request of Signature Version 4: the one form of a request that is signed.
//!
//! Invariant: names and values of the query are sorted as they are escaped, each with everything escaped but letters,
//! digits, `-`, `.`, `_` and `~`; so two queries have one form only where they mean the same.

use std::fmt::Write as _;

/// What of a request is signed.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// In capitals.
    pub method: &'a str,
    /// The path, escaped as it is signed: by S3's rule once, `escaped_path`.
    pub path: &'a str,
    /// Names and values of the query as they are meant, in any order, without the signature.
    pub query: &'a [(String, String)],
    /// The signed headers, by name, in lower case and in order; several of one name with commas between them.
    pub headers: &'a [(String, String)],
    /// SHA-256 of the body in hex, or a word in its place.
    pub payload: &'a str,
}

/// The canonical form.
pub fn canonical(request: &Request<'_>) -> String {
    let Request { method, path, query, headers, payload } = *request;
    let mut out = format!("{method}\n{path}\n{}\n", escaped_query(query));
    for (name, value) in headers {
        let _ = writeln!(out, "{name}:{}", squeezed(value));
    }
    let _ = write!(out, "\n{}\n{payload}", names(headers));
    out
}

/// The names of signed headers, as they are listed.
pub fn names(headers: &[(String, String)]) -> String {
    headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";")
}

/// A query as it is signed.
pub fn escaped_query(query: &[(String, String)]) -> String {
    let mut pairs: Vec<_> = query.iter().map(|(name, value)| (escaped(name), escaped(value))).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// A name or a value of a query as it is signed.
pub fn escaped(text: &str) -> String {
    escape(text, false)
}

/// A path as S3 signs it, and as links have it: slashes stay.
pub fn escaped_path(path: &str) -> String {
    escape(path, true)
}

fn escape(text: &str, slashes_stay: bool) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        if plain || (slashes_stay && byte == b'/') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A header's value without spaces at its ends, and with single ones within.
fn squeezed(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_plain_is_escaped_once() {
        assert_eq!(escaped("aZ09-._~"), "aZ09-._~");
        assert_eq!(escaped("a b+c/ñ%2F"), "a%20b%2Bc%2F%C3%B1%252F");
        assert_eq!(escaped_path("/a b/ñ"), "/a%20b/%C3%B1");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(escaped_query(&[pair("b", "2"), pair("a", "ñ"), pair("B", "")]), "B=&a=%C3%B1&b=2");
        assert_eq!(squeezed("  a   b c "), "a b c");
    }
}
