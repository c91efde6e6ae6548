//! Request ids: a random prefix per worker and a counter, cheap and unique enough to find a line in a log.

use actix_web::http::header::HeaderValue;
use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

const PREFIX_BYTES: usize = 8;
const COUNTER_BYTES: usize = 10;
const BYTES: usize = PREFIX_BYTES + 1 + COUNTER_BYTES;

/// One request's id: `pppppppp-cccccccccc` in lower-case hex.
#[derive(Clone, Copy)]
pub struct RequestId {
    text: [u8; BYTES],
    len: usize,
}

impl RequestId {
    /// As answers and logs write it.
    pub fn as_str(&self) -> &str {
        self.text.get(..self.len).and_then(|t| std::str::from_utf8(t).ok()).unwrap_or("")
    }

    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_str(self.as_str()).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }

    #[cfg(test)]
    pub fn for_tests(text: &str) -> Self {
        let mut id = RequestId { text: [0; BYTES], len: text.len() };
        id.text[..text.len()].copy_from_slice(text.as_bytes());
        id
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Hands out ids; one per worker, so without a lock.
pub(super) struct RequestIds {
    prefix: [u8; PREFIX_BYTES],
    next: Cell<u64>,
}

impl RequestIds {
    /// A prefix that no other worker or earlier life of the node is likely to have.
    pub(super) fn new() -> Self {
        let mut prefix = [0; PREFIX_BYTES];
        hex(RandomState::new().hash_one(std::process::id()), &mut prefix);
        RequestIds { prefix, next: Cell::new(0) }
    }

    pub(super) fn next(&self) -> RequestId {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let mut text = [b'-'; BYTES];
        let (head, tail) = text.split_at_mut(PREFIX_BYTES);
        head.copy_from_slice(&self.prefix);
        hex(number, &mut tail[1..]);
        RequestId { text, len: BYTES }
    }
}

/// Fills `out` with the lowest hex digits of `value`.
fn hex(mut value: u64, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b"0123456789abcdef"[usize::from(value.to_le_bytes()[0] & 0xf)];
        value >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_header_text() {
        let (a, b) = (RequestIds::new(), RequestIds::new());
        let ids: std::collections::BTreeSet<String> =
            (0..100).flat_map(|_| [a.next().to_string(), b.next().to_string()]).collect();
        assert_eq!(ids.len(), 200);
        let id = a.next();
        assert_eq!(id.header(), id.as_str());
        assert_eq!(id.as_str().len(), BYTES);
        assert!(id.as_str().ends_with("-0000000064"), "{id}");
    }
}
