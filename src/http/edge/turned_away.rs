//! Why somebody was not let in, in the words of the metrics.
//!
//! Invariant: what a caller is told is another thing, and says less: that a key is not there and that its secret is
//! wrong have one word here too.

use super::errors::HttpError;
use super::problem::Kind;
use crate::sign::chunks::ChunkError;
use crate::sign::{AuthorizationError, PresignError};

/// The reasons, each with a counter of its own.
pub(super) const REASONS: [&str; 9] = [
    "no_key",
    "no_such_key",
    "no_right",
    "keys_unknown",
    "foreign_host",
    "foreign_origin",
    "link_refused",
    "link_out_of_time",
    "signature_refused",
];

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
        HttpError::Refused(Kind::LinkRefused | Kind::LinkHeader) => "link_refused",
        HttpError::Link(PresignError::Expired | PresignError::NotYet) => "link_out_of_time",
        HttpError::Refused(Kind::SignerUnknown | Kind::SignatureRefused)
        | HttpError::Signature(AuthorizationError::Skewed | AuthorizationError::Unsigned)
        | HttpError::Chunks(ChunkError::Signature | ChunkError::TrailerSignature) => "signature_refused",
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
            (HttpError::Refused(Kind::LinkRefused), false),
            (HttpError::Link(PresignError::Expired), false),
            (HttpError::Refused(Kind::SignerUnknown), true),
        ];
        let places: Vec<_> = found.iter().filter_map(|(error, named)| reason(error, *named)).collect();
        assert_eq!(places, (0..REASONS.len()).collect::<Vec<_>>());
        assert_eq!(reason(&HttpError::NoRoute, true), None);
        assert_eq!(reason(&HttpError::Link(PresignError::NotYet), false), Some(REASONS.len() - 2));
        for same in [
            HttpError::Refused(Kind::SignatureRefused),
            HttpError::Signature(AuthorizationError::Skewed),
            HttpError::Signature(AuthorizationError::Unsigned),
            HttpError::Chunks(ChunkError::Signature),
        ] {
            assert_eq!(
                reason(&same, true),
                Some(REASONS.len() - 1),
                "a key that is not there and a wrong secret are one"
            );
        }
        assert_eq!(reason(&HttpError::Link(PresignError::Missing), false), None, "it depends on no key");
    }
}
