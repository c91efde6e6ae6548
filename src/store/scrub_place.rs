//! How far the scrubber has come, in a small file, so that a restart goes on there.
//!
//! Invariants
//! - The file is sealed: it names a register. It is bound to this data directory's life. Of the life before, which was
//!   given up, only an operator's pause counts.
//! - It is a help: one that is missing or does not open costs a run from the beginning, nothing else.
//!
//! Layout: docs/format.md, "Scrubber's place".

use super::error::{DiskOp, StoreError};
use super::small::read_small;
use super::store::Store;
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::{Incarnation, RegisterKey};
use crate::disk::place;
use crate::seal::keyring::BoxError;

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
        const DAMAGED: StoreError = StoreError::Corrupt { what: "scrubber's place" };
        let path = self.core().dir.join(FILE);
        let there = self.core().disk.exists(&path);
        if !there.map_err(|source| StoreError::Disk { op: DiskOp::LookFor, path: path.clone(), source })? {
            return Ok(Place::default());
        }
        let sealed = read_small(self.core().disk.as_ref(), &path, "scrubber's place")?;
        let read = |life| {
            let plain = self.core().ring.open_box(&scrub_box(life), &sealed).map_err(|error| match error {
                BoxError::UnknownKey { kek } => StoreError::KeyMissing { kek },
                BoxError::Short | BoxError::Open => DAMAGED,
            })?;
            decode(&plain).map_err(|_| DAMAGED)
        };
        let place = read(self.core().incarnation);
        match self.core().former.filter(|_| place.is_err()).map(read) {
            Some(Ok(before)) => Ok(Place { paused: before.paused, ..Place::default() }),
            _ => place,
        }
    }

    /// Keeps the place, durably. One caller at a time.
    pub fn save_scrub_place(&self, place: &Place) -> Result<(), StoreError> {
        self.core().check_writable()?;
        let sealed = self.core().ring.seal_box(&scrub_box(self.core().incarnation), &encode(place));
        let path = self.core().dir.join(FILE);
        place::replace(self.core().disk.as_ref(), &path, &sealed).map_err(|source| StoreError::Disk {
            op: DiskOp::Write,
            path,
            source,
        })
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
