//! `Range`, as RFC 9110 section 14 reads it, for one range.
//!
//! A header that does not parse, another unit, or several ranges of which one fits, mean the whole
//! object: always a right answer. 416 is kept for what parses and lies outside; an object of no bytes is whole at once,
//! and nobody who reads block by block is told that it is broken.

/// What a `Range` header asks of an object of known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    Part { start: u64, len: u64 },
    Nothing,
}

/// Reads a `Range` header for an object of `len` bytes.
pub fn wanted(header: &str, len: u64) -> Wanted {
    let Some((unit, set)) = header.split_once('=') else { return Wanted::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    if len == 0 {
        return Wanted::Whole;
    }
    let (mut asked, mut fits) = (0u32, None);
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        let Some(found) = one(spec, len) else { return Wanted::Whole };
        asked = asked.saturating_add(1);
        fits = fits.or(found);
    }
    match (asked, fits) {
        (0, _) => Wanted::Whole,
        (_, None) => Wanted::Nothing,
        (1, Some((start, len))) => Wanted::Part { start, len },
        (_, Some(_)) => Wanted::Whole,
    }
}

/// One range: `None` when it does not parse, `Some(None)` when it lies outside.
fn one(spec: &str, len: u64) -> Option<Option<(u64, u64)>> {
    let (first, last) = spec.split_once('-')?;
    if first.is_empty() {
        let suffix = number(last)?.min(len);
        return Some((suffix > 0).then(|| (len - suffix, suffix)));
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    Some((first < len).then(|| (first, last.min(len - 1) - first + 1)))
}

/// Digits only; a number too large for us is larger than any object.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |start, len| Wanted::Part { start, len };
        for (header, expected) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-9", part(0, 10)),
            ("bytes=0-", part(0, 10)),
            ("bytes=3-5", part(3, 3)),
            ("Bytes = 3-5", part(3, 3)),
            ("bytes=9-", part(9, 1)),
            ("bytes=5-99999999999999999999999", part(5, 5)),
            ("bytes=-3", part(7, 3)),
            ("bytes=-10", part(0, 10)),
            ("bytes=-11", part(0, 10)),
            ("bytes=,3-5, ,", part(3, 3)),
            ("bytes=10-", Wanted::Nothing),
            ("bytes=10-20", Wanted::Nothing),
            ("bytes=99999999999999999999999-", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=10-,-0", Wanted::Nothing),
            ("bytes=10-,0-0", Wanted::Whole),
            ("bytes=0-0,2-2", Wanted::Whole),
            ("bytes=5-3", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=a-b", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=1", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=1-2,x", Wanted::Whole),
            ("bytes 1-2", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(wanted(header, 10), expected, "{header}");
        }
        for any in ["bytes=0-", "bytes=0-0", "bytes=0-1023", "bytes=-1", "bytes=-0", "bytes=1-"] {
            assert_eq!(wanted(any, 0), Wanted::Whole, "{any} of nothing");
        }
        assert_eq!(wanted("bytes=0-", u64::MAX), part(0, u64::MAX));
    }
}
