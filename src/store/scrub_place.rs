//! How far the scrubber has come, in a small file, so that a restart goes on there.
//!
//! Invariants
//! - The file is sealed: it names a register. It is bound to this data directory's life. Of the life before, which was
//!   given up, only an operator's pause counts.
//! - It is a help: one that is missing or does not open costs a run from the beginning, nothing else.
//!
//! Layout: docs/format.md, "Scrubber's place".

use super::core::Core;
use super::error::{DiskOp, StoreError};
use super::small::read_small;
use super::store::Store;
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::{Incarnation, KekId, RegisterKey};
use crate::disk::place;
use crate::seal::Keyring;
use crate::seal::keyring::BoxError;
use std::path::PathBuf;
use std::sync::{MutexGuard, PoisonError};

/// The file's name in the data directory.
const FILE: &str = "scrub";
const PLACE: &[u8] = b"boveda/scrub/v1";
const VERSION: u8 = 2;
/// Without the last field.
const VERSION_1: u8 = 1;

/// One run over everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Run {
    /// When it began, in milliseconds since 1970.
    pub begun_ms: u64,
    /// When it ended; `None` while it is under way.
    pub ended_ms: Option<u64>,
    /// Registers that the run has looked at.
    pub registers: u64,
    /// Those of them that are objects.
    pub objects: u64,
    /// Bytes of sealed bodies that were read.
    pub bytes: u64,
    /// Objects that could not be looked at.
    pub unread: u64,
    /// Objects that did not open.
    pub damaged: u64,
    /// Those of them that did after a peer's copy had been taken.
    pub repaired: u64,
}

/// How far the scrubber has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The present run; between two, the last one. `None` before the first.
    pub run: Option<Run>,
    /// The last register that it is done with.
    pub after: Option<RegisterKey>,
    /// The last run that came to its end.
    pub last: Option<Run>,
    /// Whether an operator has paused it.
    pub paused: bool,
}

impl Store {
    /// The place as it was kept last.
    pub fn load_scrub_place(&self) -> Result<Place, StoreError> {
        self.core().load_scrub_place()
    }

    /// Keeps the place, durably. One caller at a time.
    pub fn save_scrub_place(&self, place: &Place) -> Result<(), StoreError> {
        let mut kek = self.core().scrub_box();
        self.core().write_scrub_place(&mut kek, place)
    }
}

impl Core {
    fn scrub_path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    fn scrub_box(&self) -> MutexGuard<'_, Option<KekId>> {
        self.scrub_box.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The generation that the place is sealed under, if there is one.
    pub(super) fn scrub_kek(&self) -> Option<KekId> {
        *self.scrub_box()
    }

    /// Looks which generation that is; at open.
    pub(super) fn look_at_scrub_place(&self) {
        // One that cannot be read is none to the scrubber either.
        let sealed = self.sealed_scrub_place().ok().flatten();
        *self.scrub_box() = sealed.and_then(|sealed| Keyring::box_key(&sealed));
    }

    /// Seals the place anew, where it is sealed under another generation than this; whether it was.
    pub(super) fn reseal_scrub_place(&self, active: KekId) -> Result<bool, StoreError> {
        let mut kek = self.scrub_box();
        if kek.is_none_or(|kek| kek == active) {
            return Ok(false);
        }
        // One that does not open is lost to the scrubber too, which begins again.
        let place = self.load_scrub_place().unwrap_or_default();
        self.write_scrub_place(&mut kek, &place).map(|()| true)
    }

    fn sealed_scrub_place(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.scrub_path();
        let there = self.disk.exists(&path);
        if !there.map_err(|source| StoreError::Disk { op: DiskOp::LookFor, path: path.clone(), source })? {
            return Ok(None);
        }
        read_small(self.disk.as_ref(), &path, "scrubber's place").map(Some)
    }

    fn load_scrub_place(&self) -> Result<Place, StoreError> {
        const DAMAGED: StoreError = StoreError::Corrupt { what: "scrubber's place" };
        let Some(sealed) = self.sealed_scrub_place()? else { return Ok(Place::default()) };
        let read = |life| {
            let plain = self.ring.open_box(&scrub_box(life), &sealed).map_err(|error| match error {
                BoxError::UnknownKey { kek } => StoreError::KeyMissing { kek },
                BoxError::Short | BoxError::Open => DAMAGED,
            })?;
            decode(&plain).map_err(|_| DAMAGED)
        };
        let place = read(self.incarnation);
        match self.former.filter(|_| place.is_err()).map(read) {
            Some(Ok(before)) => Ok(Place { paused: before.paused, ..Place::default() }),
            _ => place,
        }
    }

    /// Writes the place. `kek`: the generation of what lies there, held meanwhile.
    fn write_scrub_place(&self, kek: &mut Option<KekId>, place: &Place) -> Result<(), StoreError> {
        self.check_writable()?;
        let sealed = self.ring.seal_box(&scrub_box(self.incarnation), &encode(place));
        let path = self.scrub_path();
        place::replace(self.disk.as_ref(), &path, &sealed).map_err(|source| StoreError::Disk {
            op: DiskOp::Write,
            path,
            source,
        })?;
        *kek = Keyring::box_key(&sealed);
        Ok(())
    }
}

fn scrub_box(life: Incarnation) -> Vec<u8> {
    [PLACE, &life.0.to_le_bytes()].concat()
}

fn encode(place: &Place) -> Vec<u8> {
    let mut w = Writer::default();
    w.u8(VERSION);
    for run in [&place.run, &place.last] {
        w.u8(u8::from(run.is_some()));
        if let Some(run) = run {
            w.u64(run.begun_ms).u64(run.ended_ms.unwrap_or(0)).u64(run.registers).u64(run.objects);
            w.u64(run.bytes).u64(run.unread).u64(run.damaged).u64(run.repaired);
        }
    }
    w.bytes(place.after.as_ref().map_or(&[], RegisterKey::as_bytes)).u8(u8::from(place.paused));
    w.0
}

fn decode(plain: &[u8]) -> Result<Place, CodecError> {
    let mut r = Reader(plain);
    let version = r.u8()?;
    if !matches!(version, VERSION_1 | VERSION) {
        return Err(CodecError::Value("scrub version"));
    }
    let (run, last) = (decode_run(&mut r)?, decode_run(&mut r)?);
    let after = r.bytes(plain.len(), "register key")?;
    let after = match after.is_empty() {
        true => None,
        false => Some(RegisterKey::from_bytes(after).ok_or(CodecError::Value("register key"))?),
    };
    let paused = match version {
        VERSION_1 => false,
        _ => match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(CodecError::Value("scrub pause")),
        },
    };
    r.end()?;
    Ok(Place { run, after, last, paused })
}

fn decode_run(r: &mut Reader<'_>) -> Result<Option<Run>, CodecError> {
    match r.u8()? {
        0 => return Ok(None),
        1 => {}
        _ => return Err(CodecError::Value("scrub run")),
    }
    Ok(Some(Run {
        begun_ms: r.u64()?,
        ended_ms: Some(r.u64()?).filter(|ms| *ms != 0),
        registers: r.u64()?,
        objects: r.u64()?,
        bytes: r.u64()?,
        unread: r.u64()?,
        damaged: r.u64()?,
        repaired: r.u64()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{BucketId, ObjectKey};

    fn place() -> Place {
        let key = ObjectKey::parse("k").expect("a key");
        let run = Run { begun_ms: 5, registers: 9, damaged: 2, repaired: 1, ..Run::default() };
        Place {
            run: Some(run),
            after: Some(RegisterKey::object(BucketId(7), &key)),
            last: Some(Run { ended_ms: Some(4), ..run }),
            paused: true,
        }
    }

    #[test]
    fn places_survive_and_damage_is_refused() {
        for place in [Place::default(), Place { paused: false, ..place() }, place()] {
            let bytes = encode(&place);
            assert_eq!(decode(&bytes), Ok(place));
            for end in 0..bytes.len() {
                assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
            }
            assert!(decode(&[&bytes[..], b"x"].concat()).is_err());
            for bit in 0..bytes.len() * 8 {
                let mut bad = bytes.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                // Whatever it is then, nobody panics.
                let _ = decode(&bad);
            }
        }
    }

    #[test]
    fn the_form_without_a_pause_still_opens() {
        let mut bytes = encode(&place());
        assert_eq!(bytes.pop(), Some(1), "the pause stands last");
        assert!(decode(&bytes).is_err(), "the new form has it");
        bytes[0] = VERSION_1;
        assert_eq!(decode(&bytes), Ok(Place { paused: false, ..place() }));
    }
}
