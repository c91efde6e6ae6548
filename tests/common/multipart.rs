//! Uploads in parts on the S3 port, for tests.

use super::Answer;
use super::s3::{S3, text};
use boveda::seal::digest::Md5;
use boveda::sign::sigv4::hex;

/// Least bytes of a part that is not the last.
pub const MIN: usize = 5 << 20;

/// An upload that was begun.
pub struct Begun {
    /// The path of its object.
    pub path: String,
    /// Its id.
    pub id: String,
}

/// Begins one with these headers.
#[track_caller]
pub fn begin(s3: &S3<'_>, path: &str, headers: &[(&str, &str)]) -> Begun {
    let begun = s3.ask("POST", &format!("{path}?uploads"), headers, b"");
    assert_eq!(begun.status, 200, "{}", begun.text());
    let id = text(begun.text(), "UploadId").expect("an id").to_owned();
    Begun { path: path.to_owned(), id }
}

impl Begun {
    /// What it is asked by.
    pub fn target(&self) -> String {
        format!("{}?uploadId={}", self.path, self.id)
    }

    /// What a part of it is asked by.
    pub fn part(&self, number: u16) -> String {
        format!("{}?partNumber={number}&uploadId={}", self.path, self.id)
    }

    /// Sends a part; its ETag.
    #[track_caller]
    pub fn send(&self, s3: &S3<'_>, number: u16, body: &[u8]) -> String {
        let sent = s3.ask("PUT", &self.part(number), &[], body);
        assert_eq!(sent.status, 200, "part {number}: {}", sent.text());
        sent.header("etag").expect("an ETag").to_owned()
    }

    /// Completes it with these parts.
    pub fn complete(&self, s3: &S3<'_>, parts: &[(u16, String)], headers: &[(&str, &str)]) -> Answer {
        s3.ask("POST", &self.target(), headers, document(parts).as_bytes())
    }

    /// Ends it without an object.
    pub fn abort(&self, s3: &S3<'_>) -> Answer {
        s3.ask("DELETE", &self.target(), &[], b"")
    }
}

/// A `CompleteMultipartUpload` of these parts, as clients write it.
pub fn document(parts: &[(u16, String)]) -> String {
    let part = |(number, etag): &(u16, String)| {
        format!("<Part><ETag>{}</ETag><PartNumber>{number}</PartNumber></Part>", etag.replace('"', "&quot;"))
    };
    let all: String = parts.iter().map(part).collect();
    format!(
        "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{all}</CompleteMultipartUpload>"
    )
}

/// Bytes of that length that differ from part to part.
pub fn bytes(seed: u64, len: usize) -> Vec<u8> {
    super::Dice(seed).bytes(len)
}

/// The MD5 of these bytes.
pub fn md5(bytes: &[u8]) -> [u8; 16] {
    let mut md5 = Md5::default();
    md5.update(bytes);
    md5.finalize()
}

/// The ETag of an object of these parts, in quotes.
pub fn etag(parts: &[&[u8]]) -> String {
    let sums: Vec<u8> = parts.iter().flat_map(|part| md5(part)).collect();
    format!("\"{}-{}\"", hex(&md5(&sums)), parts.len())
}
