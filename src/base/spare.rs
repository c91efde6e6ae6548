//! Memory of large pieces, used again.
//!
//! Invariant: memory is lent again only when nobody holds a part of it.

use bytes::{Bytes, BytesMut};

/// The memory of pieces that were lent out. Fresh memory of that size comes from the system page by page, which costs
/// about as much as copying into it.
#[derive(Debug)]
pub struct Spare {
    lent: Vec<Bytes>,
    lent_max: usize,
}

impl Spare {
    /// Remembers at most `lent_max` pieces.
    pub fn new(lent_max: usize) -> Self {
        Spare { lent: Vec::new(), lent_max }
    }

    /// Memory for at least `len` bytes. What it holds is what it held before, and has to be overwritten or cleared.
    pub fn room(&mut self, len: usize) -> BytesMut {
        let free = self.lent.iter().position(Bytes::is_unique).map(|at| self.lent.swap_remove(at));
        let mut room = free.and_then(|bytes| bytes.try_into_mut().ok()).unwrap_or_default();
        room.reserve(len.saturating_sub(room.len()));
        room
    }

    /// Remembers the memory of a piece, to be lent again once whoever has it has let go of it.
    pub fn keep(&mut self, piece: Bytes) {
        if self.lent.len() < self.lent_max {
            self.lent.push(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_when_nobody_holds_a_part_of_it() {
        let mut spare = Spare::new(2);
        let zeroed = |spare: &mut Spare, len| {
            let mut room = spare.room(len);
            room.resize(len, 0);
            room
        };
        let first = zeroed(&mut spare, 1000).freeze();
        let (at, part) = (first.as_ptr(), first.slice(10..20));
        spare.keep(first);
        assert_ne!(zeroed(&mut spare, 1000).as_ptr(), at);
        drop(part);
        for len in [900, 1000] {
            let again = zeroed(&mut spare, len);
            assert_eq!((again.as_ptr(), again.len()), (at, len));
            spare.keep(again.freeze());
        }
        for _ in 0..3 {
            spare.keep(Bytes::from(vec![1; 10]));
        }
        assert_eq!(spare.lent.len(), 2);
    }
}
