//! Continuation tokens of lists: where the next page begins.
//!
//! Invariants
//! - A token means the same on every node, and belongs to one question: with another one it is refused.
//! - It needs no escapes in a query.

use crate::http::edge::errors::HttpError;
use crate::seal::hmac::sha256;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// What a token begins with, so that another form can be told from it.
const TOKEN_VERSION: u8 = 1;
/// Bytes of a token that say to which question it belongs.
const QUESTION_BYTES: usize = 8;

/// What a list asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::http) struct Question([u8; QUESTION_BYTES]);

impl Question {
    /// Of what tells it from others, in an order of its own.
    pub fn of(parts: &[&str]) -> Self {
        let mut text = Vec::new();
        for part in parts {
            text.extend_from_slice(&(part.len() as u64).to_le_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        let mut question = [0; QUESTION_BYTES];
        question.copy_from_slice(&sha256(&text)[..QUESTION_BYTES]);
        Question(question)
    }

    /// The token of the page behind a place.
    pub fn token(&self, next: &str) -> String {
        let mut bytes = vec![TOKEN_VERSION];
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(next.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that a token of this question names.
    pub fn place(&self, token: &str) -> Result<String, HttpError> {
        const FOREIGN: HttpError = HttpError::Query("the continuation-token is none of this list");
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| FOREIGN)?;
        let rest = bytes.strip_prefix(&[TOKEN_VERSION]).and_then(|rest| rest.strip_prefix(&self.0));
        String::from_utf8(rest.ok_or(FOREIGN)?.to_vec()).map_err(|_| FOREIGN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_belongs_to_its_question() {
        let list = Question::of(&["abc", "a/", "/"]);
        let token = list.token("a/ñ");
        assert_eq!(list.place(&token).unwrap(), "a/ñ");
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "it needs no escapes");
        for other in [&["abd", "a/", "/"][..], &["abc", "a", "/"], &["abc", "a/", ""], &["abc", "a/"]] {
            assert!(Question::of(other).place(&token).is_err());
        }
        // What stands in one part does not pass for the next one.
        assert!(Question::of(&["abc", "", "a//"]).place(&token).is_err());
        let mut of_another_version = BASE64_URL_SAFE_NO_PAD.decode(&token).unwrap();
        of_another_version[0] += 1;
        for bad in ["", "?", &token[1..], &BASE64_URL_SAFE_NO_PAD.encode(of_another_version)] {
            assert!(list.place(bad).is_err(), "{bad}");
        }
    }
}
