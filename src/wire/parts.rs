//! What several messages are made of: lists, register keys, records, ballots, classes.
//!
//! Invariant: a list is read entry by entry, so that a count alone takes no memory.

use super::ENTRIES_MAX;
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::record::{RECORD_BYTES_MAX, SMALL_SEALED_BYTES_MAX};
use crate::base::{Ballot, Class, Complete, Incarnation, Record, RegisterKey, Stamp};
use bytes::Bytes;
use std::sync::Arc;

pub(super) fn read_bound(r: &mut Reader<'_>) -> Result<RegisterKey, CodecError> {
    let bytes = r.bytes(RegisterKey::BOUND_BYTES_MAX, "bound")?;
    RegisterKey::bound(bytes).ok_or(CodecError::Value("bound"))
}

pub(super) fn read_key(r: &mut Reader<'_>) -> Result<RegisterKey, CodecError> {
    let bytes = r.bytes(RegisterKey::BYTES_MAX, "register key")?;
    RegisterKey::from_bytes(bytes).ok_or(CodecError::Value("register key"))
}

pub(super) fn read_record(r: &mut Reader<'_>) -> Result<(RegisterKey, Arc<Record>), CodecError> {
    let key = read_key(r)?;
    Ok((key, Arc::new(read_with_body(r)?)))
}

/// A record, and behind it its small body, where that goes along.
pub(super) fn write_with_body<'a>(w: &'a mut Writer, record: &Record) -> &'a mut Writer {
    w.bytes(&record.encode()).bytes(record.in_hand().map_or(&[][..], |sealed| sealed))
}

/// Reads what `write_with_body` appended.
pub(super) fn read_with_body(r: &mut Reader<'_>) -> Result<Record, CodecError> {
    let mut record = Record::decode(r.bytes(RECORD_BYTES_MAX, "record")?)?;
    let small = r.bytes(SMALL_SEALED_BYTES_MAX, "small body")?;
    // No sealed body is empty.
    if !small.is_empty() {
        record.set_in_hand(Some(Bytes::copy_from_slice(small)))?;
    }
    Ok(record)
}

pub(super) fn write_records(w: &mut Writer, records: &[(RegisterKey, Arc<Record>)]) {
    w.u32(count(records.len()));
    for (key, record) in records {
        write_with_body(w.bytes(key.as_bytes()), record);
    }
}

/// A list of at most `ENTRIES_MAX`; grows as entries are read, so a count alone takes no memory.
pub(super) fn list<T>(
    r: &mut Reader<'_>,
    mut entry: impl FnMut(&mut Reader<'_>) -> Result<T, CodecError>,
) -> Result<Vec<T>, CodecError> {
    let len = usize::try_from(r.u32()?).map_err(|_| CodecError::Value("entries"))?;
    if len > ENTRIES_MAX {
        return Err(CodecError::Value("entries"));
    }
    let mut all = Vec::new();
    for _ in 0..len {
        all.push(entry(r)?);
    }
    Ok(all)
}

/// # Panics
/// On more than `ENTRIES_MAX`: whoever makes a list bounds it.
pub(super) fn count(len: usize) -> u32 {
    assert!(len <= ENTRIES_MAX, "a list of {len} entries");
    u32::try_from(len).expect("bounded above")
}

/// The number of a class. 4 and 8 are free: nobody sends them.
pub(super) fn class_code(class: Class) -> u8 {
    match class {
        Class::Invalid => 1,
        Class::Missing => 2,
        Class::Conflict => 3,
        Class::Busy => 5,
        Class::Full => 6,
        Class::Corrupt => 7,
        Class::Permanent => 9,
        Class::Internal => 10,
    }
}

/// The class of a number. One that this release does not know is an error like any other message that it cannot read.
pub(super) fn class_of(code: u8) -> Result<Class, CodecError> {
    Ok(match code {
        1 => Class::Invalid,
        2 => Class::Missing,
        3 => Class::Conflict,
        5 => Class::Busy,
        6 => Class::Full,
        7 => Class::Corrupt,
        9 => Class::Permanent,
        10 => Class::Internal,
        _ => return Err(CodecError::Value("class of a failure")),
    })
}

pub(super) fn write_ballot(w: &mut Writer, ballot: Ballot) -> &mut Writer {
    w.u64(ballot.stamp.0).u64(ballot.node.0)
}

pub(super) fn read_ballot(r: &mut Reader<'_>) -> Result<Ballot, CodecError> {
    Ok(Ballot { stamp: Stamp(r.u64()?), node: Incarnation(r.u64()?) })
}

pub(super) fn write_complete<'a>(w: &'a mut Writer, complete: &Complete) -> &'a mut Writer {
    match complete {
        Complete::End => w.u8(0),
        Complete::Through(last) => w.u8(1).bytes(last.as_bytes()),
    }
}

pub(super) fn read_complete(r: &mut Reader<'_>) -> Result<Complete, CodecError> {
    match r.u8()? {
        0 => Ok(Complete::End),
        1 => Ok(Complete::Through(read_bound(r)?)),
        _ => Err(CodecError::Value("end of a page")),
    }
}
