//! The settings of a cluster that its nodes decide on together: one register, which every member holds.
//!
//! Invariants
//! - `decode(encode(s)) == s`.
//! - The active generation is named by its number and by its id: two keys of one number are two generations.
//!
//! Layout: docs/format.md, "Record".

use super::codec::{CodecError, Reader, Writer};
use super::ids::KekId;

/// The layout of the settings within a record.
const VERSION: u8 = 1;

/// A generation of the cluster's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveKey {
    /// Its number, which is 1 at least: a later one is higher.
    pub number: u32,
    /// Its id.
    pub kek: KekId,
}

/// What the members have decided on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsRecord {
    /// The generation that seals; none before the first rotation.
    pub active: Option<ActiveKey>,
}

impl SettingsRecord {
    /// Appends the settings to a record.
    pub fn write(&self, w: &mut Writer) {
        w.u8(VERSION);
        match &self.active {
            Some(active) => w.u32(active.number).raw(&active.kek.0),
            None => w.u32(0).raw(&[0; 16]),
        };
    }

    /// Reads what `write` appended. What a later layout says is not passed over: a node must not judge by the rest.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        if r.u8()? != VERSION {
            return Err(CodecError::Value("settings version"));
        }
        let (number, kek) = (r.u32()?, KekId(r.array()?));
        match number {
            0 if kek.0 != [0; 16] => Err(CodecError::Value("active key generation")),
            0 => Ok(SettingsRecord { active: None }),
            number => Ok(SettingsRecord { active: Some(ActiveKey { number, kek }) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_were_written_and_nothing_else_is() {
        for active in [None, Some(ActiveKey { number: 2, kek: KekId([7; 16]) })] {
            let settings = SettingsRecord { active };
            let mut w = Writer::default();
            settings.write(&mut w);
            let decode = |bytes: &[u8]| {
                let mut r = Reader(bytes);
                let settings = SettingsRecord::read(&mut r)?;
                r.end().map(|()| settings)
            };
            assert_eq!(decode(&w.0), Ok(settings));
            for end in 0..w.0.len() {
                assert!(decode(&w.0[..end]).is_err());
            }
            assert_eq!(decode(&[&w.0[..], b"x"].concat()), Err(CodecError::Trailing));
            w.0[0] = 2;
            assert_eq!(decode(&w.0), Err(CodecError::Value("settings version")));
        }
        let half = [&[VERSION, 0, 0, 0, 0][..], &[1; 16]].concat();
        assert_eq!(SettingsRecord::read(&mut Reader(&half)), Err(CodecError::Value("active key generation")));
    }
}
