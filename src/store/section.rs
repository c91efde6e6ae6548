//! Sections of an object: its one body, or its parts, each with where it lies in the object.
//!
//! Invariants
//! - The sections of an object lie one behind the other, from its first byte to its last: see `base::upload::Parts`.
//! - A part opens as that part of its upload alone: see `seal::body`.

use super::core::Core;
use super::error::StoreError;
use crate::base::{BlobRef, BodyAt, ObjectRecord, UploadId};
use crate::seal::body::{BodyOpener, PartPlace};

/// One sealed body of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// The sealed body.
    pub blob: BlobRef,
    /// Which part of which upload it is, if it is one: what it is sealed as.
    part: Option<(UploadId, u16)>,
    /// Where it begins in the object's plaintext.
    pub offset: u64,
    /// Bytes of its plaintext.
    pub len: u64,
}

impl Section {
    /// Whether a byte of the object lies in it.
    pub fn holds(&self, byte: u64) -> bool {
        (self.offset..self.end()).contains(&byte)
    }

    /// The byte of the object behind its last one.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }

    /// One by its place in the order of the sections of an object, from 0.
    pub fn nth(object: &ObjectRecord, at: usize) -> Option<Section> {
        if let Some(parts) = object.parts() {
            let part = parts.get(at)?;
            let of = Some((UploadId(object.body.0), part.number));
            return Some(Section { blob: part.blob, part: of, offset: part.offset, len: part.len });
        }
        let part = if let BodyAt::Part { upload, number } = object.at { Some((upload, number)) } else { None };
        (at == 0).then(|| Section { blob: object.body_ref(), part, offset: 0, len: object.len })
    }

    /// The one that holds a byte of an object; of one behind its end the last.
    pub fn at(object: &ObjectRecord, byte: u64) -> Option<Section> {
        let at = object.parts().map_or(0, |parts| parts.place_of(byte).unwrap_or(parts.count() - 1));
        Section::nth(object, at)
    }

    /// Those that hold the bytes from `from` to below `to`, in order.
    pub fn among(object: &ObjectRecord, from: u64, to: u64) -> impl Iterator<Item = Section> + '_ {
        let first = object.parts().map_or(Some(0), |parts| parts.place_of(from));
        let sections = (first.unwrap_or(usize::MAX)..usize::MAX).map_while(move |at| Section::nth(object, at));
        sections.take_while(move |section| section.offset < to)
    }

    /// All of an object, in order.
    pub fn all(object: &ObjectRecord) -> impl Iterator<Item = Section> + '_ {
        (0..object.parts().map_or(1, |parts| parts.count())).filter_map(move |at| Section::nth(object, at))
    }
}

impl Core {
    /// Expands the keys of a section of an object. A generation that this node lacks is no damage.
    pub(super) fn open_section(
        &self,
        object: &ObjectRecord,
        section: &Section,
        header: &[u8],
    ) -> Result<BodyOpener, StoreError> {
        let (kek, body) = (object.wrap.kek, section.blob.body);
        if !self.ring.opens(kek) {
            return Err(StoreError::KeyMissing { kek });
        }
        let opened = match section.part {
            None => BodyOpener::new(&self.ring, self.cluster, body, &object.wrap, header),
            Some((upload, number)) => {
                let part = PartPlace { upload, number };
                BodyOpener::of_part(&self.ring, self.cluster, part, &object.wrap, body, header)
            }
        };
        opened.map_err(|_| StoreError::Corrupt { what: "object body (its header)" })
    }
}

#[cfg(test)]
mod tests;
