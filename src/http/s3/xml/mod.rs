//! XML, as far as S3 has it: elements with text, without attributes of meaning.
//!
//! | file | what it does |
//! |---|---|
//! | `reader` | documents that clients send, element by element |
//! | `writer` | documents that they are answered with, appended to a text |
//!
//! Invariant: what the writer writes of a text that XML can hold, the reader reads as the same text.

mod reader;
mod writer;

pub(super) use reader::{Limits, Malformed, Reader, once};
pub(in crate::http) use writer::{Writer, is_text};

/// The namespace of S3's documents.
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
