//! Mending: a peer's good copy in the place of one that is damaged here.
//!
//! Invariant: a record from a peer replaces the one of its own ballot only, and only when its body opens here.

use super::damage::Ailment;
use super::download::Download;
use super::entry::Held;
use super::error::StoreError;
use super::intent::{Answer, Intent};
use super::store::Store;
use crate::base::{Incarnation, Record, RegisterKey};
use crate::seal::digest::digest_of;
use std::sync::Arc;

impl Store {
    /// What is wrong with the copy of a register; `None` when nothing is. Reads all of its body. A
    /// blob that does not check is in quarantine afterwards.
    pub fn diagnose(&self, key: &RegisterKey) -> Result<Option<Ailment>, StoreError> {
        self.core().diagnose(key)
    }

    /// What has to be fetched so that this record's object can be read from its beginning: see `Core::missing`.
    pub fn missing(&self, record: &Record) -> Option<Ailment> {
        record.object().and_then(|object| self.core().missing(object, 0))
    }

    /// What a register refers to has come again: the log is to name where it lies.
    pub fn name_bodies(&self, key: RegisterKey) -> Answer {
        self.submit(Intent::Name { key })
    }

    /// Takes a peer's copy of a record in place of the damaged one of the same ballot. `Mismatch` when
    /// that copy does not open either, or the register has changed.
    pub fn restore(&self, key: RegisterKey, record: Record, from: Incarnation) -> Result<Answer, StoreError> {
        let object = record.object().ok_or(StoreError::Mismatch("a peer has another kind of record"))?;
        let opens = match object.in_hand() {
            Some(sealed) => digest_of(sealed) == object.digest && self.core().opens(object, sealed)?,
            None => self.opens_with_body(&key, &record)?,
        };
        if !opens {
            return Err(StoreError::Mismatch("a peer's copy of the record does not open"));
        }
        Ok(self.submit(Intent::Restore { key, record: Box::new(record), from }))
    }

    fn opens_with_body(&self, key: &RegisterKey, record: &Record) -> Result<bool, StoreError> {
        let held = Arc::new(Held::new(record.clone(), true, 0, None));
        match Download::open(self.core(), key.clone(), held).and_then(|download| download.open_all()) {
            Ok(()) => Ok(true),
            Err(error) if error.is_damage() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
