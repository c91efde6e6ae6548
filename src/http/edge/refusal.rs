//! What is said of a head that the server below refused, which says nothing of why.
//!
//! Invariants
//! - Only whole refusals are replaced, and each by one with the same status or the one that HTTP has for the case.
//! - The texts are made once and for all: what was sent is not in them.

use super::framing::HeadScan;

/// A refusal, word by word as it is written: status line, headers, body.
macro_rules! refusal {
    ($status:literal, $len:literal, $body:literal) => {
        concat!(
            "HTTP/1.1 ",
            $status,
            "\r\ncontent-type: application/json\r\ncontent-length: ",
            $len,
            "\r\nconnection: close\r\n\r\n",
            $body
        )
        .as_bytes()
    };
}

const NO_LENGTH: &[u8] = refusal!(
    "411 Length Required",
    91,
    r#"{"error":"the body has no length: HTTP/1.0 needs a Content-Length","code":"LengthRequired"}"#
);
const NO_HEAD: &[u8] = refusal!(
    "400 Bad Request",
    201,
    r#"{"error":"the head of the request is no HTTP: its request line or a header cannot be read, or Host is missing, or it has two lengths, or a Transfer-Encoding other than chunked","code":"InvalidRequest"}"#
);
const SLOW_HEAD: &[u8] = refusal!(
    "408 Request Timeout",
    80,
    r#"{"error":"the head of the request did not come in time","code":"RequestTimeout"}"#
);
const LARGE_HEAD: &[u8] = refusal!(
    "431 Request Header Fields Too Large",
    111,
    r#"{"error":"the head of the request is too large: names and headers have 128 KiB together","code":"HeadTooLarge"}"#
);

/// What is to be written in the place of that answer of the server below, to a head that nobody serves.
pub(super) fn refusal(head: &HeadScan, answer: &[u8]) -> Option<&'static [u8]> {
    let rest = answer.strip_prefix(b"HTTP/1.1 ").or_else(|| answer.strip_prefix(b"HTTP/1.0 "))?;
    // It comes in one piece, with its empty line, and without a body.
    if !answer.ends_with(b"\r\n\r\n") {
        return None;
    }
    match rest.get(..3)? {
        b"400" if head.is_old_post_without_length() => Some(NO_LENGTH),
        b"400" => Some(NO_HEAD),
        b"408" => Some(SLOW_HEAD),
        b"431" => Some(LARGE_HEAD),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_whole_answers() {
        for whole in [NO_LENGTH, NO_HEAD, SLOW_HEAD, LARGE_HEAD] {
            let text = std::str::from_utf8(whole).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{} bytes: {text}", body.len());
            let json: serde_json::Value = serde_json::from_str(body).unwrap();
            assert!(json["error"].is_string() && json["code"].is_string());
        }
    }

    #[test]
    fn what_is_no_refusal_is_left_alone() {
        let head = HeadScan::default();
        let refused = |answer: &[u8]| refusal(&head, answer);
        assert_eq!(refused(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"), Some(NO_HEAD));
        assert_eq!(refused(b"HTTP/1.0 408 Request Timeout\r\n\r\n"), Some(SLOW_HEAD));
        for other in ["HTTP/1.1 400 Bad Request\r\n\r\nbody", "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 4", "", "\r\n\r\n"] {
            assert_eq!(refused(other.as_bytes()), None, "{other:?}");
        }
    }
}
