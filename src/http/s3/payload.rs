//! The body of a request on the S3 port: taken out of its coding, and what is expected of it.
//!
//! Invariants
//! - What the head says of the body is held against it, or is refused: a checksum of an unknown algorithm, a second one, a
//!   coding that is not there, a trailer that was not announced.
//! - A body in chunks is handed out as `sign::chunks` has it; it has ended only once its signatures, its length and its
//!   trailers are good.
//! - What is expected is whole only after the end: a checksum may stand behind the body.

use crate::actors::messages::StoreError;
use crate::base::checksum::{Algorithm, Checksum};
use crate::base::{ExpectedSums, WantedSums};
use crate::http::edge::body_in::Incoming;
use crate::http::edge::errors::HttpError;
use crate::http::edge::problem::Kind;
use crate::http::edge::signed::{SignedBody, announced, only};
use crate::http::edge::source::Source;
use crate::seal::sums::Sums;
use crate::sign::body::{Announced, BodyError, Coding};
use crate::sign::chunks::Chunks;
use actix_web::http::header::{CONTENT_ENCODING, HeaderMap};
use actix_web::{HttpMessage, HttpRequest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use std::rc::Rc;

/// Headers with a checksum begin so; the name of the algorithm stands behind it.
const CHECKSUM: &str = "x-amz-checksum-";
const DECODED_LENGTH: &str = "x-amz-decoded-content-length";
/// The coding that is of the transfer alone.
const AWS_CHUNKED: &str = "aws-chunked";
/// What is computed where the client names nothing.
const UNNAMED: Algorithm = Algorithm::Crc64Nvme;

const BAD_CHECKSUM: HttpError = HttpError::Refused(Kind::ChecksumHeader);

/// The body of a request.
pub struct Payload<'a> {
    incoming: &'a mut Incoming,
    /// Where it comes in chunks: their decoder, and what it has not taken yet.
    chunks: Option<(Chunks, Bytes)>,
    len: Option<u64>,
    said: Said,
    expected: ExpectedSums,
}

/// The checksum that a head speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Said {
    /// Its value, in the head.
    value: Option<Checksum>,
    /// Its algorithm, where the value stands behind the body.
    trailer: Option<Algorithm>,
}

impl Said {
    /// Reads the head. `has_trailer`: whether there may be headers behind the body; `others`: headers that are not of it.
    fn of(headers: &HeaderMap, has_trailer: bool, others: &[&str]) -> Result<Self, HttpError> {
        let mut value = None;
        for (name, text) in headers.iter().filter(|(name, _)| !others.contains(&name.as_str())) {
            let Some(name) = name.as_str().strip_prefix(CHECKSUM) else { continue };
            let algorithm = Algorithm::parse(name).ok_or(BAD_CHECKSUM)?;
            let text = text.to_str().map_err(|_| BAD_CHECKSUM)?;
            let checksum = Checksum::parse(algorithm, text.trim()).ok_or(BAD_CHECKSUM)?;
            if value.replace(checksum).is_some() {
                return Err(BAD_CHECKSUM);
            }
        }
        let named = |name: &str| algorithm_of(&name.trim().to_ascii_lowercase()).ok_or(BAD_CHECKSUM);
        let trailer = only(headers, "x-amz-trailer")?.map(named).transpose()?;
        if trailer.is_some() && (!has_trailer || value.is_some()) {
            return Err(BAD_CHECKSUM);
        }
        let said = Said { value, trailer };
        match only(headers, "x-amz-sdk-checksum-algorithm")? {
            Some(name) if Algorithm::parse(name).is_none_or(|named| said.algorithm() != Some(named)) => {
                Err(BAD_CHECKSUM)
            }
            _ => Ok(said),
        }
    }

    fn algorithm(&self) -> Option<Algorithm> {
        self.value.map(|checksum| checksum.algorithm).or(self.trailer)
    }
}

/// The algorithm that a header with a checksum names.
fn algorithm_of(name: &str) -> Option<Algorithm> {
    Algorithm::parse(name.strip_prefix(CHECKSUM)?)
}

impl<'a> Payload<'a> {
    /// Reads what the head of a request says of its body. The body itself is not asked for yet.
    pub fn of(req: &HttpRequest, incoming: &'a mut Incoming) -> Result<Self, HttpError> {
        Payload::beside(req, incoming, &[])
    }

    /// The same where these headers speak of something else, though they begin like those with its checksum: whoever
    /// calls reads them.
    pub fn beside(req: &HttpRequest, incoming: &'a mut Incoming, others: &[&str]) -> Result<Self, HttpError> {
        let headers = req.headers();
        let kept = req.extensions().get::<Rc<SignedBody>>().cloned();
        let announced = match &kept {
            Some(body) => body.announced,
            None => announced(headers)?.unwrap_or(Announced::Unsigned),
        };
        let md5 = md5_of(headers)?;
        let (sha256, coding) = match announced {
            Announced::Digest(sha256) => (Some(sha256), None),
            Announced::Unsigned => (None, None),
            // Without a signature of the head there is nothing that those of chunks could rest on.
            Announced::Chunks(Coding { is_signed: true, .. }) if kept.is_none() => {
                return Err(HttpError::BodyHash(BodyError::Unknown));
            }
            Announced::Chunks(coding) => (None, Some(coding)),
        };
        let said = Said::of(headers, coding.is_some_and(|coding| coding.has_trailer), others)?;
        let decoded_len = decoded_len(headers)?;
        let (chunks, len) = match coding {
            Some(coding) => {
                let len = decoded_len.ok_or(HttpError::LengthRequired)?;
                let seed = kept.and_then(|body| body.seed.clone());
                (Some((Chunks::new(coding, seed, len), Bytes::new())), Some(len))
            }
            None if decoded_len.is_some() || codings(headers)?.any(|coding| coding == AWS_CHUNKED) => {
                return Err(HttpError::Header("x-amz-content-sha256 does not say that the body is aws-chunked"));
            }
            None => (None, incoming.announced()),
        };
        let expected = ExpectedSums { md5, sha256, checksum: said.value };
        Ok(Payload { incoming, chunks, len, said, expected })
    }

    /// Bytes of it out of its coding, as far as the head says so.
    pub fn len(&self) -> Option<u64> {
        self.len
    }

    /// Refuses one of more bytes than this: at once where the head says how many there are.
    pub fn limit(&mut self, max: u64) -> Result<(), HttpError> {
        match self.len {
            Some(len) if len > max => Err(HttpError::TooLarge { max }),
            Some(_) => Ok(()),
            None => {
                self.incoming.limit(max);
                Ok(())
            }
        }
    }

    /// What the checksum that comes with it is computed by.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.said.algorithm()
    }

    /// What is to be computed of an object that is made of it.
    pub fn sums(&self) -> WantedSums {
        let checksum = Some(self.said.algorithm().unwrap_or(UNNAMED));
        let for_etag = self.expected.md5.is_none();
        WantedSums { md5: true, for_etag, sha256: self.expected.sha256.is_some(), checksum }
    }

    /// All of it, where it has at most `max` bytes, held against what is expected.
    pub async fn whole(mut self, max: usize) -> Result<Vec<u8>, HttpError> {
        let too_large = HttpError::TooLarge { max: max as u64 };
        if self.len.is_some_and(|len| len > max as u64) {
            return Err(too_large);
        }
        let ExpectedSums { md5, sha256, .. } = self.expected;
        let checksum = self.said.algorithm();
        let wanted = WantedSums { md5: md5.is_some(), for_etag: false, sha256: sha256.is_some(), checksum };
        let (mut sums, mut body) = (Sums::new(wanted), Vec::new());
        while let Some(bytes) = self.next().await? {
            if bytes.len() > max - body.len() {
                return Err(too_large);
            }
            sums.update(&bytes);
            body.extend_from_slice(&bytes);
        }
        sums.finish().check(&self.expected).map_err(StoreError::SumMismatch)?;
        Ok(body)
    }

    /// After the last byte: what stands behind the body.
    fn end(&mut self) -> Result<(), HttpError> {
        let Some((chunks, _)) = &self.chunks else { return Ok(()) };
        match (self.said.trailer, chunks.end().map_err(HttpError::Chunks)?) {
            (None, []) => Ok(()),
            (Some(algorithm), [(name, value)]) if algorithm_of(name) == Some(algorithm) => {
                self.expected.checksum = Some(Checksum::parse(algorithm, value).ok_or(BAD_CHECKSUM)?);
                Ok(())
            }
            _ => Err(HttpError::Refused(Kind::ChunkTrailer)),
        }
    }
}

impl Source for Payload<'_> {
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            if let Some((chunks, input)) = &mut self.chunks
                && let Some(bytes) = chunks.next(input).map_err(HttpError::Chunks)?
            {
                return Ok(Some(bytes));
            }
            match (self.incoming.next().await?, &mut self.chunks) {
                (Some(bytes), Some((_, input))) => *input = bytes,
                (Some(bytes), None) => return Ok(Some(bytes)),
                (None, _) => return self.end().map(|()| None),
            }
        }
    }

    fn expected(&self) -> ExpectedSums {
        self.expected
    }
}

/// A body that is a document: all of it, where it has at most `max` bytes.
pub async fn document(req: &HttpRequest, incoming: &mut Incoming, max: usize) -> Result<Vec<u8>, HttpError> {
    Payload::of(req, incoming)?.whole(max).await
}

/// What the body of a document may take before it is read: as much as is announced of it, or as it may have.
pub fn announced_at_most(incoming: &Incoming, max: usize) -> u64 {
    incoming.announced().unwrap_or(max as u64).min(max as u64)
}

/// The same of a document beside headers that only look like those with its checksum.
pub async fn document_beside(
    req: &HttpRequest,
    incoming: &mut Incoming,
    max: usize,
    others: &[&str],
) -> Result<Vec<u8>, HttpError> {
    Payload::beside(req, incoming, others)?.whole(max).await
}

/// Whether a head brings a checksum of its body, or says that one stands behind it.
pub fn is_checked(headers: &HeaderMap) -> bool {
    let is_one = |name: &str| algorithm_of(name).is_some() || ["content-md5", "x-amz-trailer"].contains(&name);
    headers.keys().any(|name| is_one(name.as_str()))
}

/// The `Content-Encoding` that is kept with an object: without the coding that is of the transfer alone. Empty: none.
pub fn content_encoding(headers: &HeaderMap) -> Result<String, HttpError> {
    Ok(codings(headers)?.filter(|coding| coding != AWS_CHUNKED).collect::<Vec<_>>().join(","))
}

/// What stands in `Content-Encoding`, each coding for itself.
fn codings(headers: &HeaderMap) -> Result<impl Iterator<Item = String>, HttpError> {
    let mut all = Vec::new();
    for value in headers.get_all(CONTENT_ENCODING) {
        let text = value.to_str().map_err(|_| HttpError::Header("Content-Encoding is not visible ASCII"))?;
        all.extend(text.split(',').map(|coding| coding.trim().to_owned()).filter(|coding| !coding.is_empty()));
    }
    Ok(all.into_iter())
}

/// The MD5 in `Content-MD5` (RFC 1864).
fn md5_of(headers: &HeaderMap) -> Result<Option<[u8; 16]>, HttpError> {
    const WRONG: HttpError = HttpError::Refused(Kind::Md5Header);
    let Some(text) = only(headers, "content-md5")? else { return Ok(None) };
    let bytes = BASE64_STANDARD.decode(text.trim()).map_err(|_| WRONG)?;
    bytes.try_into().map(Some).map_err(|_| WRONG)
}

/// The length of a body out of its chunks.
fn decoded_len(headers: &HeaderMap) -> Result<Option<u64>, HttpError> {
    let Some(text) = only(headers, DECODED_LENGTH)? else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let len = text.parse().ok().filter(|_| digits);
    len.map(Some).ok_or(HttpError::Header("x-amz-decoded-content-length is no length"))
}

#[cfg(test)]
mod tests;
