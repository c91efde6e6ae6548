//! Lineage: the ids of the last writes that led to a record, its own first.
//!
//! Invariants
//! - It holds at least one id, and at most `IDS_MAX`.
//! - The lineage of a write is its own id before its base's lineage, cut at the end.

use super::codec::{CodecError, Reader, Writer};
use super::ids::WriteId;

/// Tells what became of an interrupted attempt: whether its id is among those that led to a record.
#[derive(Clone, Copy)]
pub struct Lineage {
    len: u8,
    ids: [WriteId; Lineage::IDS_MAX],
}

impl Lineage {
    /// Most ids that a record carries.
    pub const IDS_MAX: usize = 16;

    /// The lineage of the state in which nothing is stored.
    pub const NOTHING: Lineage = Lineage { len: 1, ids: [WriteId::NOTHING; Self::IDS_MAX] };

    /// The lineage of write `id` on top of this one, of at most `keep` ids (1 to `IDS_MAX`).
    pub fn then(&self, id: WriteId, keep: usize) -> Self {
        let len = (usize::from(self.len) + 1).min(keep.clamp(1, Self::IDS_MAX));
        let mut ids = [id; Self::IDS_MAX];
        ids[1..len].copy_from_slice(&self.ids[..len - 1]);
        Lineage { len: u8::try_from(len).unwrap_or(1), ids }
    }

    /// The ids, the record's own first.
    pub fn ids(&self) -> &[WriteId] {
        &self.ids[..usize::from(self.len)]
    }

    /// The id of the write that made the record.
    pub fn own(&self) -> WriteId {
        self.ids[0]
    }

    /// Whether `id` is among those that led here.
    pub fn names(&self, id: WriteId) -> bool {
        self.ids().contains(&id)
    }

    /// Appends it: one byte of count, then 8 bytes an id.
    pub fn write(&self, w: &mut Writer) {
        w.u8(self.len);
        for id in self.ids() {
            w.raw(&id.0);
        }
    }

    /// Reads what `write` appended; no ids, or more than `IDS_MAX`, are refused.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let len = r.u8()?;
        if !(1..=Self::IDS_MAX).contains(&usize::from(len)) {
            return Err(CodecError::Value("lineage length"));
        }
        let mut ids = [WriteId::NOTHING; Self::IDS_MAX];
        for id in &mut ids[..usize::from(len)] {
            *id = WriteId(r.array()?);
        }
        Ok(Lineage { len, ids })
    }
}

impl PartialEq for Lineage {
    fn eq(&self, other: &Self) -> bool {
        self.ids() == other.ids()
    }
}

impl Eq for Lineage {}

impl std::fmt::Debug for Lineage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.ids().iter().map(|id| format_args!("{id}").to_string())).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> WriteId {
        WriteId::drawn([n; 8])
    }

    #[test]
    fn the_newest_ids_are_kept() {
        let mut lineage = Lineage::NOTHING;
        for n in 1..=40 {
            lineage = lineage.then(id(n), Lineage::IDS_MAX);
        }
        assert_eq!(lineage.own(), id(40));
        assert_eq!(lineage.ids().len(), Lineage::IDS_MAX);
        assert!(lineage.names(id(25)) && !lineage.names(id(24)) && !lineage.names(WriteId::NOTHING));
        assert_eq!(Lineage::NOTHING.then(id(1), 0).ids(), [id(1)]);
        assert!(Lineage::NOTHING.then(id(1), usize::MAX).names(WriteId::NOTHING));
    }

    #[test]
    fn round_trip_and_refusals() {
        let lineage = Lineage::NOTHING.then(id(1), 8).then(id(2), 8);
        let mut w = Writer::default();
        lineage.write(&mut w);
        assert_eq!(Lineage::read(&mut Reader(&w.0)), Ok(lineage));
        for end in 0..w.0.len() {
            assert!(Lineage::read(&mut Reader(&w.0[..end])).is_err(), "{end}");
        }
        for len in [0, 17, 255] {
            w.0[0] = len;
            assert!(Lineage::read(&mut Reader(&w.0)).is_err(), "{len}");
        }
    }

    #[test]
    fn the_reserved_id_is_never_drawn() {
        assert_ne!(WriteId::drawn([0; 8]), WriteId::NOTHING);
    }
}
