//! Bodies that travel many to a request: what stands in front of them, and what became of each.
//!
//! Invariants
//! - A head names at least one body, none twice, no more than `BODIES_MAX`, and none that is longer than
//!   `SMALL_BODY_BYTES_MAX`; together they have at most `BODIES_BYTES_MAX`. So whoever has read it knows what will come.
//! - The answer has an entry for each, in the order of the head; the caller checks.

use super::parts::{class_code, class_of};
use super::{BODIES_BYTES_MAX, BODIES_MAX, SMALL_BODY_BYTES_MAX};
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::{BlobRef, Class};
use std::collections::HashSet;

/// What stands in front of bodies, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodiesHead(pub Vec<BlobRef>);

/// What became of each body: none of one that is there, durable and checked; else what that means to the caller.
pub type Taken = Vec<Option<Class>>;

impl BodiesHead {
    /// Bytes of the bodies.
    pub fn sealed_bytes(&self) -> u64 {
        self.0.iter().map(|blob| blob.sealed_len).sum()
    }

    /// The head as a frame carries it.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.u32(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        self.0.iter().for_each(|blob| blob.write(&mut w));
        w.0
    }

    /// Reads what `encode` made.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        let count = usize::try_from(r.u32()?).unwrap_or(usize::MAX);
        if count == 0 || count > BODIES_MAX {
            return Err(CodecError::Value("number of bodies"));
        }
        let (mut bodies, mut names, mut left) = (Vec::with_capacity(count), HashSet::new(), BODIES_BYTES_MAX);
        for _ in 0..count {
            let blob = BlobRef::read(&mut r)?;
            let fits = blob.sealed_len <= SMALL_BODY_BYTES_MAX && blob.sealed_len <= left;
            if !fits || !names.insert(blob.body) {
                return Err(CodecError::Value("body of many"));
            }
            left -= blob.sealed_len;
            bodies.push(blob);
        }
        r.end()?;
        Ok(BodiesHead(bodies))
    }
}

pub(super) fn write_taken(w: &mut Writer, taken: &Taken) {
    w.u32(super::parts::count(taken.len()));
    for failed in taken {
        w.u8(failed.map_or(0, class_code));
    }
}

pub(super) fn read_taken(r: &mut Reader<'_>) -> Result<Taken, CodecError> {
    super::parts::list(r, |r| match r.u8()? {
        0 => Ok(None),
        code => class_of(code).map(Some),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::BodyId;
    use crate::wire::testing::batter;

    fn blob(n: u8, sealed_len: u64) -> BlobRef {
        BlobRef { body: BodyId([n; 16]), sealed_len, digest: [n; 32] }
    }

    #[test]
    fn heads_survive_the_trip_and_damage_is_refused() {
        let head = BodiesHead(vec![blob(1, 70_000), blob(2, SMALL_BODY_BYTES_MAX), blob(3, 1)]);
        assert_eq!(BodiesHead::decode(&head.encode()), Ok(head.clone()));
        assert_eq!(head.sealed_bytes(), 70_001 + SMALL_BODY_BYTES_MAX);
        batter(&head.encode(), |bytes| BodiesHead::decode(bytes).is_ok());
    }

    #[test]
    fn what_would_take_more_than_was_agreed_is_refused() {
        let many = |count: usize, len| {
            let blobs = (0..count).map(|n| BlobRef { body: BodyId((n as u128).to_le_bytes()), ..blob(0, len) });
            BodiesHead::decode(&BodiesHead(blobs.collect()).encode())
        };
        assert!(many(BODIES_MAX, 1).is_ok() && many(BODIES_MAX + 1, 1).is_err() && many(0, 1).is_err());
        assert!(many(1, SMALL_BODY_BYTES_MAX).is_ok() && many(1, SMALL_BODY_BYTES_MAX + 1).is_err());
        let fits = usize::try_from(BODIES_BYTES_MAX / SMALL_BODY_BYTES_MAX).unwrap();
        assert!(many(fits, SMALL_BODY_BYTES_MAX).is_ok() && many(fits + 1, SMALL_BODY_BYTES_MAX).is_err());
        assert!(many(2, u64::MAX).is_err(), "no sum of them");
        assert!(BodiesHead::decode(&BodiesHead(vec![blob(1, 5), blob(1, 5)]).encode()).is_err(), "twice the same");
    }
}
