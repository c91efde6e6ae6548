//! Uploads in parts: that one is begun, of which parts it is completed, and what came of it.
//!
//! Invariant: a part is named by its number and its ETag; what is said of it besides is kept, or refused.

use super::super::xml::{Limits, Malformed, Reader, Writer, once};
use super::{answer, checksum_of};
use crate::actors::messages::{NamedPart, Written};
use crate::base::checksum::Algorithm;
use crate::base::upload::PART_NUMBER_MAX;
use crate::base::{Checksum, ObjectName, UploadId};
use crate::http::edge::errors::HttpError;
use actix_web::{HttpResponse, HttpResponseBuilder};

/// Most bytes of a list of parts.
pub(in crate::http::s3) const COMPLETION_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Ten thousand parts, each with all that may be said of it, in the root.
const LIMITS: Limits = Limits {
    bytes_max: COMPLETION_BYTES_MAX,
    elements_max: 1 + PART_NUMBER_MAX as usize * (1 + 2 + Algorithm::ALL.len()),
};

/// `InitiateMultipartUploadResult`.
pub(in crate::http::s3) fn initiated(
    builder: &mut HttpResponseBuilder,
    at: &ObjectName,
    upload: UploadId,
) -> HttpResponse {
    const ROOT: &str = "InitiateMultipartUploadResult";
    let mut writer = Writer::new(ROOT, 256 + at.key.as_str().len());
    writer.text("Bucket", at.bucket.as_str()).text("Key", at.key.as_str()).text("UploadId", &upload.to_string());
    answer(builder, writer.finish(ROOT))
}

/// Reads a `CompleteMultipartUpload`: the parts, as they stand there.
pub(in crate::http) fn completion(document: &[u8]) -> Result<Vec<NamedPart>, HttpError> {
    let mut reader = Reader::new(document, "CompleteMultipartUpload", LIMITS)?;
    let mut parts = Vec::new();
    while let Some(name) = reader.child()? {
        match name {
            "Part" if parts.len() == usize::from(PART_NUMBER_MAX) => {
                return Err(HttpError::Document("the document names more than 10000 parts"));
            }
            "Part" => parts.push(part(&mut reader)?),
            _ => return Err(HttpError::Document("a CompleteMultipartUpload holds Part")),
        }
    }
    reader.end()?;
    if parts.is_empty() {
        return Err(HttpError::Document("the document names no part"));
    }
    Ok(parts)
}

fn part(reader: &mut Reader<'_>) -> Result<NamedPart, HttpError> {
    let (mut number, mut etag, mut checksum) = (None, None, None);
    while let Some(name) = reader.child()? {
        match name {
            "PartNumber" => once(&mut number, part_number(&reader.word()?)?)?,
            "ETag" => once(&mut etag, reader.word()?)?,
            name => {
                let algorithm = name.strip_prefix("Checksum").and_then(Algorithm::parse);
                let algorithm =
                    algorithm.ok_or(HttpError::Document("a Part holds PartNumber, ETag, and a checksum"))?;
                let value = Checksum::parse(algorithm, &reader.word()?);
                once(&mut checksum, value.ok_or(HttpError::Document("the checksum of a part is none"))?)?;
            }
        }
    }
    let number = number.ok_or(HttpError::Document("a Part of the document has no PartNumber"))?;
    let etag = etag.ok_or(HttpError::Document("a Part of the document has no ETag"))?;
    // With quotes or without, as clients have it.
    let etag = etag.trim_matches(['"', ' ', '\t', '\n', '\r']).to_owned();
    Ok(NamedPart { number, etag, checksum })
}

fn part_number(word: &str) -> Result<u16, Malformed> {
    let number = word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok()).flatten();
    number
        .filter(|number| (1..=PART_NUMBER_MAX).contains(number))
        .ok_or(Malformed("the number of a part is a whole number from 1 to 10000"))
}

/// `CompleteMultipartUploadResult`. `location`: where the object is.
pub(in crate::http::s3) fn completed(
    builder: &mut HttpResponseBuilder,
    location: &str,
    at: &ObjectName,
    done: &Written,
) -> HttpResponse {
    const ROOT: &str = "CompleteMultipartUploadResult";
    let mut writer = Writer::new(ROOT, 512 + location.len() + at.key.as_str().len());
    writer.text("Location", location).text("Bucket", at.bucket.as_str()).text("Key", at.key.as_str()).etag(&done.etag);
    checksum_of(&mut writer, done);
    answer(builder, writer.finish(ROOT))
}

#[cfg(test)]
mod tests {
    use super::super::testing::text_of;
    use super::*;
    use crate::base::{Ballot, BucketName, Incarnation, ObjectKey, Stamp};
    use crate::http::edge::problem::Kind;

    fn of(parts: &str) -> Result<Vec<NamedPart>, HttpError> {
        let root = "CompleteMultipartUpload";
        completion(format!("<{root} xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{parts}</{root}>").as_bytes())
    }

    fn named(number: u16, etag: &str, checksum: Option<Checksum>) -> NamedPart {
        NamedPart { number, etag: etag.to_owned(), checksum }
    }

    #[test]
    fn parts_that_are_named() {
        let crc = Checksum::of_all(Algorithm::Crc32, &[0; 4]);
        for (document, parts) in [
            ("<Part><PartNumber>1</PartNumber><ETag>&quot;0f&quot;</ETag></Part>", vec![named(1, "0f", None)]),
            ("<Part>\n<ETag> 0f </ETag><PartNumber> 10000 </PartNumber></Part>", vec![named(10_000, "0f", None)]),
            (
                "<Part><ChecksumCRC32>AAAAAA==</ChecksumCRC32><PartNumber>2</PartNumber><ETag/></Part>\
                 <Part><PartNumber>1</PartNumber><ETag>a-b</ETag></Part>",
                vec![named(2, "", crc), named(1, "a-b", None)],
            ),
        ] {
            assert_eq!(of(document).unwrap(), parts, "{document}");
        }
        let most = |n| "<Part><PartNumber>1</PartNumber><ETag>e</ETag></Part>".repeat(n);
        assert_eq!(of(&most(10_000)).unwrap().len(), 10_000);
        assert!(of(&most(10_001)).is_err());
    }

    #[test]
    fn what_is_no_such_document() {
        let (number, etag) = ("<PartNumber>1</PartNumber>", "<ETag>e</ETag>");
        for document in [
            String::new(),
            "<Part/>".to_owned(),
            format!("<Part>{number}</Part>"),
            format!("<Part>{etag}</Part>"),
            format!("<Part>{number}{number}{etag}</Part>"),
            format!("<Part>{number}{etag}<Size>1</Size></Part>"),
            format!("<Part>{number}{etag}<ChecksumMD5>AAAAAA==</ChecksumMD5></Part>"),
            format!("<Part>{number}{etag}<ChecksumCRC32>AAAA</ChecksumCRC32></Part>"),
            format!(
                "<Part>{number}{etag}<ChecksumCRC32>AAAAAA==</ChecksumCRC32>\
                 <ChecksumCRC32C>AAAAAA==</ChecksumCRC32C></Part>"
            ),
            format!("<Part>{number}{etag}</Part><Other/>"),
        ] {
            assert_eq!(of(&document).expect_err(&document).problem().kind, Kind::Document, "{document:.60}");
        }
        for number in ["0", "10001", "-1", "+1", "1.0", "", "x", "99999999999"] {
            let document = format!("<Part><PartNumber>{number}</PartNumber>{etag}</Part>");
            assert_eq!(of(&document).expect_err(number).problem().kind, Kind::Document, "{number}");
        }
        assert!(completion(b"").is_err() && completion(b"<Delete/>").is_err());
    }

    #[test]
    fn what_came_of_it() {
        let at = ObjectName { bucket: BucketName::parse("abc").unwrap(), key: ObjectKey::parse("a&b").unwrap() };
        assert_eq!(
            text_of(initiated(&mut HttpResponse::Ok(), &at, UploadId([0xab; 16]))),
            format!(
                "<InitiateMultipartUploadResult><Bucket>abc</Bucket><Key>a&amp;b</Key><UploadId>{}</UploadId>\
                 </InitiateMultipartUploadResult>",
                "ab".repeat(16)
            )
        );
        let ballot = Ballot { stamp: Stamp(9), node: Incarnation(1) };
        let checksum = Checksum::of_all(Algorithm::Sha1, &[0; 20]).map(|sum| Checksum { is_composite: true, ..sum });
        let done = Written { ballot, etag: "0f-2".into(), checksum, existed: false, replicas: 1 };
        assert_eq!(
            text_of(completed(&mut HttpResponse::Ok(), "http://h/abc/a%26b", &at, &done)),
            "<CompleteMultipartUploadResult><Location>http://h/abc/a%26b</Location><Bucket>abc</Bucket>\
             <Key>a&amp;b</Key><ETag>&quot;0f-2&quot;</ETag><ChecksumType>COMPOSITE</ChecksumType>\
             <ChecksumSHA1>AAAAAAAAAAAAAAAAAAAAAAAAAAA=-2</ChecksumSHA1></CompleteMultipartUploadResult>"
        );
    }
}
