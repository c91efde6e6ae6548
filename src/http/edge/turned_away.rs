//! Why somebody was not let in, in the words of the metrics.
//!
//! Invariant: what a caller is told is another thing, and says less: that a key is not there and that its secret is
//! wrong have one word here too.

use super::errors::HttpError;

/// The reasons, each with a counter of its own.
pub(super) const REASONS: [&str; 6] =
    ["no_key", "no_such_key", "no_right", "keys_unknown", "foreign_host", "foreign_origin"];

/// Which of them an error is; none where it is about something else. `has_named`: whether the caller claimed to be
/// somebody.
pub(super) fn reason(error: &HttpError, has_named: bool) -> Option<usize> {
    let word = match error {
        HttpError::Unauthenticated if has_named => "no_such_key",
        HttpError::Unauthenticated => "no_key",
        HttpError::AccessDenied => "no_right",
        HttpError::AccessUnknown => "keys_unknown",
        HttpError::ForeignHost => "foreign_host",
        HttpError::ForeignOrigin => "foreign_origin",
        _ => return None,
    };
    REASONS.iter().position(|known| *known == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_and_nothing_else_is() {
        let found = [
            (HttpError::Unauthenticated, false),
            (HttpError::Unauthenticated, true),
            (HttpError::AccessDenied, true),
            (HttpError::AccessUnknown, false),
            (HttpError::ForeignHost, false),
            (HttpError::ForeignOrigin, false),
        ];
        let places: Vec<_> = found.iter().filter_map(|(error, named)| reason(error, *named)).collect();
        assert_eq!(places, (0..REASONS.len()).collect::<Vec<_>>());
        assert_eq!(reason(&HttpError::NoRoute, true), None);
    }
}
