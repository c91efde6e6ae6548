//! Key news: which generations of the key ring a node can open, which one seals there, and which of them it still needs,
//! as it tells its peers with every heartbeat.
//!
//! Invariants
//! - It is bounded: the newest `GENERATIONS_MAX`.
//! - A node opens each generation that it has told of with a number for as long as it runs.

use crate::base::KekId;
use crate::base::codec::{CodecError, Reader, Writer};

/// Most generations that are told.
const GENERATIONS_MAX: usize = 64;

/// A generation that a node opens, or needs and lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Its number; zero of one that the node needs and does not open, since it knows the id alone.
    pub number: u32,
    /// Its id.
    pub id: KekId,
    /// Keys in the node's records that are sealed under it.
    pub references: u64,
    /// Whether nothing that lies at the node needs it any more.
    pub is_free: bool,
}

/// What a node tells of its key ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyNews {
    /// The one that seals.
    pub seals: KekId,
    /// Those that it needs and lacks, and those that it opens, in rising order.
    pub opens: Vec<Generation>,
}

impl KeyNews {
    /// Of a ring with these generations, in rising order. The newest count.
    pub fn of(seals: KekId, mut opens: Vec<Generation>) -> Self {
        opens.drain(..opens.len().saturating_sub(GENERATIONS_MAX));
        KeyNews { seals, opens }
    }

    /// What it tells of a generation that it opens.
    pub fn of_generation(&self, id: KekId) -> Option<&Generation> {
        self.opens.iter().find(|one| one.id == id && one.number != 0)
    }

    /// Whether something at the node needs that generation, whether it opens it or not.
    pub fn needs(&self, id: KekId) -> bool {
        self.opens.iter().any(|one| one.id == id && !one.is_free)
    }

    /// Appends the news to a heartbeat.
    pub fn write(&self, w: &mut Writer) {
        w.raw(&self.seals.0).u8(u8::try_from(self.opens.len()).expect("they are few"));
        for Generation { number, id, references, is_free } in &self.opens {
            w.u32(*number).raw(&id.0).u64(*references).u8(u8::from(*is_free));
        }
    }

    /// Reads what `write` appended.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (seals, count) = (KekId(r.array()?), usize::from(r.u8()?));
        if count > GENERATIONS_MAX {
            return Err(CodecError::Value("key generations"));
        }
        let opens = (0..count).map(|_| {
            let (number, id, references) = (r.u32()?, KekId(r.array()?), r.u64()?);
            Ok(Generation { number, id, references, is_free: r.flag("need of a key generation")? })
        });
        Ok(KeyNews { seals, opens: opens.collect::<Result<_, CodecError>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::batter;
    use super::*;

    fn decode(bytes: &[u8]) -> Result<KeyNews, CodecError> {
        let mut r = Reader(bytes);
        let news = KeyNews::read(&mut r)?;
        r.end()?;
        Ok(news)
    }

    #[test]
    fn news_survive_the_trip_and_too_many_are_neither_sent_nor_taken() {
        let generation = |number: u32| Generation {
            number,
            id: KekId([number.to_le_bytes()[0]; 16]),
            references: u64::from(number) << 40,
            is_free: number.is_multiple_of(2),
        };
        let ring = |count: u32| (1..=count).map(generation).collect::<Vec<_>>();
        for count in [0, 1, 2, 64, 70] {
            let news = KeyNews::of(KekId([9; 16]), ring(count));
            assert_eq!(news.opens.last(), ring(count).last(), "the newest count");
            assert!(news.opens.len() <= GENERATIONS_MAX);
            let mut w = Writer::default();
            news.write(&mut w);
            assert_eq!(decode(&w.0), Ok(news));
            batter(&w.0, |bytes| decode(bytes).is_ok());
        }
        let mut w = Writer::default();
        KeyNews::of(KekId([9; 16]), ring(64)).write(&mut w);
        w.0[16] = 65;
        w.0.extend([0; 29]);
        assert_eq!(decode(&w.0), Err(CodecError::Value("key generations")));
    }
}
