//! Damage: what is wrong with a register's copy here, and setting a blob that does not check aside.
//!
//! Invariants
//! - A blob that does not check is moved to `quarantine/` before anything takes its name; of one in a segment a copy is
//!   put there, and its place counts as none.
//! - What is right is never touched, nor is what may be right: a body whose key generation is missing here is no
//!   damage, and a file that the disk does not give back may be given back the next time. It stays where it is until a
//!   peer's good copy is at hand.
//! - What lies in quarantine is looked at again before a blob is called lost.

use super::core::Core;
use super::entry::Held;
use super::error::StoreError;
use super::places::{BODY_BYTES_MAX, Place};
use super::section::Section;
use crate::base::record::ObjectRecord;
use crate::base::{Ballot, BlobRef, BodyId, Mark, RegisterKey};
use crate::disk::DiskFile;
use crate::seal::body::{BodyOpener, open_whole};
use crate::seal::digest::BodyDigest;

const PIECE_BYTES: u64 = crate::base::PIECE_BYTES as u64;

/// What a register's copy here lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ailment {
    /// The blob: it is missing, or has just been set aside.
    Blob {
        /// What it has to be, by the record: what a peer sends is held to that.
        blob: BlobRef,
        /// Whether a damaged one was here, now or before. Else it has not come yet, or was lost: while a node is being
        /// filled that is no fault.
        damaged: bool,
    },
    /// The record: what it says does not open the body.
    Record {
        /// Of the state that is damaged.
        ballot: Ballot,
    },
}

impl Ailment {
    /// A body that is to be read here.
    pub(super) fn missing(blob: BlobRef) -> Self {
        Ailment::Blob { blob, damaged: false }
    }

    /// The body that is damaged or missing; none where it is the record.
    pub fn body(&self) -> Option<BodyId> {
        match self {
            Ailment::Blob { blob, .. } => Some(blob.body),
            Ailment::Record { .. } => None,
        }
    }

    /// Whether this is about one body and that about another.
    pub fn is_of_another_body(&self, that: &Ailment) -> bool {
        matches!((self.body(), that.body()), (Some(this), Some(that)) if this != that)
    }

    /// Whether the disk gave back other bytes than it was given. What is only missing may be on its way.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Ailment::Blob { damaged: false, .. })
    }
}

impl Core {
    /// What has to be fetched so that an object can be read on from a byte, whether or not its record is here: its body,
    /// or the next of its parts that is missing; none where none is.
    pub(super) fn missing(&self, object: &ObjectRecord, byte: u64) -> Option<Ailment> {
        if object.parts().is_none() {
            return Some(Ailment::missing(object.body_ref()));
        }
        let mut ahead = Section::all(object).filter(|section| section.end() > byte || section.len == 0);
        // Where that cannot be told, it comes again.
        let missing = ahead.find(|section| !self.has_body(section.blob.body).unwrap_or(false));
        missing.map(|section| Ailment::missing(section.blob))
    }

    /// What is wrong with the copy of a register; `None` when nothing is. Reads all of its bodies, until one is wrong. A
    /// blob that does not check is in quarantine afterwards.
    pub fn diagnose(&self, key: &RegisterKey) -> Result<Option<Ailment>, StoreError> {
        let Some(held) = self.lookup(key)? else { return Ok(None) };
        let Some(object) = held.record.object() else { return Ok(None) };
        // Of thousands of parts, one that is not here at all is found without reading those before it.
        for section in Section::all(object).filter(|_| object.parts().is_some()) {
            if self.read_body(section.blob.body)?.is_none() {
                return self.diagnose_section(key, &held, object, &section);
            }
        }
        for section in Section::all(object) {
            let found = self.diagnose_section(key, &held, object, &section)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The same of one of its bodies alone; nothing is said of one that it does not refer to.
    pub fn diagnose_body(&self, key: &RegisterKey, body: BodyId) -> Result<Option<Ailment>, StoreError> {
        let Some(held) = self.lookup(key)? else { return Ok(None) };
        let Some(object) = held.record.object() else { return Ok(None) };
        match Section::all(object).find(|section| section.blob.body == body) {
            Some(section) => self.diagnose_section(key, &held, object, &section),
            None => Ok(None),
        }
    }

    fn diagnose_section(
        &self,
        key: &RegisterKey,
        held: &Held,
        object: &ObjectRecord,
        section: &Section,
    ) -> Result<Option<Ailment>, StoreError> {
        let record = Ailment::Record { ballot: held.record.ballot };
        let blob = section.blob;
        let sealed = self.read_body(blob.body)?;
        let Some(file) = self.good_blob(sealed, &blob)? else {
            // A newer record may have taken the blob along: then there is nothing to mend.
            if self.lookup(key)?.is_none_or(|now| now.record.body() != held.record.body()) {
                return Ok(None);
            }
            let there = self.set_aside_if_wrong(&blob)?;
            let damaged = there || self.blobs.is_quarantined(blob.body);
            return Ok(Some(Ailment::Blob { blob, damaged }));
        };
        let mut header = [0; crate::seal::HEADER_BYTES];
        let opens =
            file.read_at(0, &mut header).is_ok() && is_opened(self.open_section(object, section, &header))?.is_some();
        Ok((!opens).then_some(record))
    }

    /// Whether a body that came with a record opens, and is as long as the record says.
    pub(super) fn opens(&self, object: &ObjectRecord, sealed: &[u8]) -> Result<bool, StoreError> {
        let Some(section) = Section::nth(object, 0) else { return Ok(false) };
        let opener = is_opened(self.open_section(object, &section, sealed))?;
        let plain = opener.and_then(|opener| open_whole(&opener, sealed).ok());
        Ok(plain.is_some_and(|plain| plain.len() as u64 == object.len))
    }

    /// The blob that the reference means: what stands in its place, or what was set aside and checks after all.
    fn good_blob(
        &self,
        sealed: Option<Box<dyn DiskFile>>,
        blob: &BlobRef,
    ) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
        if sealed.is_some() {
            return Ok(sealed.filter(|file| check(file.as_ref(), blob) == Check::Right));
        }
        let aside = self.blobs.read_quarantined(blob.body)?;
        if aside.is_none_or(|file| check(file.as_ref(), blob) != Check::Right) {
            return Ok(None);
        }
        self.blobs.put_back(blob.body)?;
        log::warn!(body:% = blob.body; "a blob that was set aside checks now: put back in its place");
        self.read_body(blob.body)
    }

    /// Sets a body aside if its bytes are others than the reference says, by two readings: what
    /// came wrong once may have been spoilt on its way. True when there is a file that cannot be used, also one that the
    /// disk does not give back: that one stays.
    fn set_aside_if_wrong(&self, blob: &BlobRef) -> Result<bool, StoreError> {
        let Some((file, place)) = self.find_body(blob.body)? else { return Ok(false) };
        // What lies on the disk is asked for, not what is still remembered of it.
        file.forget(0, blob.sealed_len);
        match check(file.as_ref(), blob) {
            Check::Right => return Ok(false),
            Check::Wrong => {
                let is_kept = self.keep_copy(blob.body, file.as_ref(), place);
                // Without a copy the bytes stay where they are until a good one is at hand: they may be read right yet.
                if is_kept {
                    self.set_aside(blob.body, place)?;
                }
            }
            Check::Unread => log::error!(body:% = blob.body; "blob cannot be read: it stays, a peer's copy is fetched"),
        }
        Ok(true)
    }

    /// Makes way for a good copy: sets aside what is here of that body, unless it is what the reference says. Whether
    /// that is here.
    pub(super) fn make_way(&self, blob: &BlobRef) -> Result<bool, StoreError> {
        let found = match self.find_body(blob.body) {
            // It may be here, and nobody finds it.
            Err(StoreError::IndexDamaged(_)) => None,
            found => found?,
        };
        match found {
            Some((file, _)) if check(file.as_ref(), blob) == Check::Right => Ok(true),
            Some((file, place)) => {
                self.keep_copy(blob.body, file.as_ref(), place);
                self.set_aside(blob.body, place).map(|()| false)
            }
            None => Ok(false),
        }
    }

    /// Puts a copy of a damaged body in a segment in quarantine, for people to look at, and to be looked at again. Whether
    /// there is one, or none is needed: a file is moved there itself.
    fn keep_copy(&self, body: BodyId, file: &dyn DiskFile, place: Option<Place>) -> bool {
        let Some(place) = place else { return true };
        let mut bytes = vec![0; usize::try_from(place.len.min(BODY_BYTES_MAX)).unwrap_or(0)];
        let copied = file.read_at(0, &mut bytes).map(|()| self.blobs.keep_aside(body, &bytes));
        let is_kept = matches!(copied, Ok(Ok(())));
        match is_kept {
            true => log::error!(body:% = body; "damaged body of a segment copied to quarantine"),
            false => log::error!(body:% = body; "damaged body of a segment: no copy could be put in quarantine"),
        }
        is_kept
    }

    fn set_aside(&self, body: BodyId, place: Option<Place>) -> Result<(), StoreError> {
        match place {
            None => {
                self.blobs.quarantine(body)?;
                log::error!(body:% = body; "damaged blob moved to quarantine");
            }
            Some(place) => self.claims.found_wrong(body, place),
        }
        Mark::BlobSetAside.hit();
        Ok(())
    }
}

/// What was opened, or nothing when it is damaged. Whether a body whose key is missing is right, nobody can say.
fn is_opened(opener: Result<BodyOpener, StoreError>) -> Result<Option<BodyOpener>, StoreError> {
    match opener {
        Ok(opener) => Ok(Some(opener)),
        Err(error) if error.is_damage() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a file is beside what a reference says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// It is that.
    Right,
    /// It was read, and is something else.
    Wrong,
    /// The disk did not give it back: nothing is known of its bytes.
    Unread,
}

fn check(file: &dyn DiskFile, blob: &BlobRef) -> Check {
    let found = match file.len() {
        Ok(len) if len != blob.sealed_len => return Check::Wrong,
        Ok(len) => digest_of_file(file, len),
        Err(error) => Err(error),
    };
    match found {
        Ok(found) if found == blob.digest => Check::Right,
        Ok(_) => Check::Wrong,
        // It has become shorter since its length was asked for.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Check::Wrong,
        Err(_) => Check::Unread,
    }
}

/// The digest of the first `len` bytes of a file.
pub(super) fn digest_of_file(file: &dyn DiskFile, len: u64) -> std::io::Result<[u8; 32]> {
    let mut digest = BodyDigest::new();
    let mut piece = vec![0; usize::try_from(len.min(PIECE_BYTES)).unwrap_or(0)];
    let mut at = 0;
    while at < len {
        let now = usize::try_from((len - at).min(PIECE_BYTES)).unwrap_or(0);
        file.read_at(at, &mut piece[..now])?;
        digest.update(&piece[..now]);
        at += now as u64;
    }
    Ok(digest.finalize())
}
