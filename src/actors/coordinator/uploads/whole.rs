//! Whole: whether the parts that a client names make an object, and which.
//!
//! Invariants
//! - The object is made of the very parts that were named: number, ETag and, where it is named, checksum are those of what
//!   is stored.
//! - Its ETag is made of those of its parts: of their MD5s, or of the halves of digests that parts have in place of them.
//! - Its checksum rests on those of its parts, and is what the client says, if that says anything.
//!
//! Nothing is read and nothing written here.

use crate::actors::messages::{ChecksumKind, NamedPart, OpenUpload, StoreError, WrongParts};
use crate::base::checksum::Sum;
use crate::base::upload::{PART_BYTES_MIN, PART_NUMBER_MAX};
use crate::base::{BodyAt, Checksum, Etag, ObjectRecord, Part, Parts, Record, Uploads};
use crate::seal::digest::digest_of;
use crate::seal::sums::{combined, composite, md5_of_parts};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The parts of an upload that are stored, by their numbers.
pub(super) type Stored = BTreeMap<u16, Arc<Record>>;

/// What the client says of the whole.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    /// Its checksum.
    pub checksum: Option<Checksum>,
    /// Its length.
    pub len: Option<u64>,
}

/// The object that an upload becomes of these parts.
pub(super) fn whole(
    upload: &OpenUpload,
    stored: &Stored,
    named: &[NamedPart],
    said: Said,
) -> Result<Box<ObjectRecord>, StoreError> {
    let chosen = chosen(stored, named)?;
    let len = chosen.iter().fold(0u64, |all, (_, part)| all.saturating_add(part.len));
    if said.len.is_some_and(|said| said != len) {
        return Err(StoreError::WrongParts(WrongParts::Length));
    }
    let tags: Option<Vec<_>> = chosen.iter().map(|(_, part)| part.etag.of_part(&part.digest)).collect();
    let tags = tags.ok_or(StoreError::Corrupt { what: "the ETag of a part" })?;
    let count = u16::try_from(chosen.len()).map_err(|_| StoreError::WrongParts(WrongParts::Count))?;
    let etag = Etag::Parts { md5: md5_of_parts(tags.into_iter()), parts: count };
    let checksum = upload.checksum.map(|kind| sum_of(kind, &chosen)).transpose()?;
    if let Some(said) = said.checksum
        && checksum.is_none_or(|sum| (sum.algorithm, sum.value) != (said.algorithm, said.value))
    {
        return Err(StoreError::SumMismatch(Sum::Checksum(said.algorithm)));
    }
    let algorithm = upload.checksum.map(|kind| kind.algorithm);
    let parts = chosen.iter().map(|(number, part)| Part {
        number: *number,
        offset: 0,
        len: part.len,
        blob: part.body_ref(),
        checksum: algorithm.and(part.checksum).map(|sum| sum.value),
    });
    let parts = Parts::new(algorithm, parts).ok_or(StoreError::WrongParts(WrongParts::Other))?;
    Ok(Box::new(ObjectRecord {
        number: 1,
        len,
        etag,
        checksum,
        head: upload.head.clone(),
        body: upload.id.as_body(),
        sealed_len: parts.sealed_len(),
        digest: digest_of(parts.as_bytes()),
        wrap: upload.wrap.clone(),
        at: BodyAt::Parts(parts),
        uploads: Uploads::NONE,
    }))
}

/// The parts that are named, if they are stored as they are named.
fn chosen<'a>(stored: &'a Stored, named: &[NamedPart]) -> Result<Vec<(u16, &'a ObjectRecord)>, StoreError> {
    let wrong = |how| Err(StoreError::WrongParts(how));
    if named.is_empty() || named.len() > usize::from(PART_NUMBER_MAX) {
        return wrong(WrongParts::Count);
    }
    if named.windows(2).any(|two| two[0].number >= two[1].number) {
        return wrong(WrongParts::Order);
    }
    let found = named.iter().map(|part| {
        let object = stored.get(&part.number)?.object()?;
        let is_it = object.etag() == part.etag && part.checksum.is_none_or(|sum| object.checksum == Some(sum));
        is_it.then_some((part.number, object))
    });
    let Some(chosen) = found.collect::<Option<Vec<_>>>() else { return wrong(WrongParts::Other) };
    match chosen.split_last() {
        Some((_, front)) if front.iter().any(|(_, part)| part.len < PART_BYTES_MIN) => wrong(WrongParts::Small),
        _ => Ok(chosen),
    }
}

/// The checksum of the whole. Each part has to have its own.
fn sum_of(kind: ChecksumKind, parts: &[(u16, &ObjectRecord)]) -> Result<Checksum, StoreError> {
    let ChecksumKind { algorithm, is_composite } = kind;
    let of = |part: &ObjectRecord| part.checksum.filter(|sum| sum.algorithm == algorithm).map(|sum| sum.value);
    let sums: Option<Vec<_>> = parts.iter().map(|(_, part)| Some((of(part)?, part.len))).collect();
    let sums = sums.ok_or(StoreError::WrongParts(WrongParts::Other))?.into_iter();
    let sum = if is_composite { composite(algorithm, sums.map(|(sum, _)| sum)) } else { combined(algorithm, sums) };
    sum.ok_or(StoreError::Mismatch("the checksum of the upload cannot be made of those of its parts"))
}

#[cfg(test)]
mod tests;
