//! Health: what a node tells of itself with every heartbeat, for the status of its peers.
//!
//! Invariants
//! - It is bounded: `Health::BYTES_MAX`.
//! - Nothing is chosen by it. It is shown; and a coordinator refuses what a majority says that it does not take, before
//!   anything was sent, and sends no body where it would not be voted for.

use crate::base::codec::{CodecError, Reader, Writer};
use serde::{Serialize, Serializer};

/// What the scrubber is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScrubState {
    /// Nothing: a setting says so.
    #[default]
    Off,
    /// Nothing: an operator has paused it.
    Paused,
    /// It waits between two runs.
    Resting,
    /// It is in the midst of a run.
    Reading,
    /// A damaged copy is being mended, or read again.
    Mending,
    /// It stands still: the store takes no writes, is closing, or its index is damaged.
    Waiting,
}

/// In the order of their codes.
const STATES: [ScrubState; 6] = [
    ScrubState::Off,
    ScrubState::Paused,
    ScrubState::Resting,
    ScrubState::Reading,
    ScrubState::Mending,
    ScrubState::Waiting,
];

/// How a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Records that are not known to be chosen.
    pub tentative: u64,
    /// Damaged files that were set aside.
    pub quarantined: u64,
    /// Blobs and records that a peer's copy mended, since it started.
    pub mended: u64,
    /// Tries that found no good copy at any peer, since it started.
    pub unmended: u64,
    /// Whether writes get 507.
    pub full: bool,
    /// Whether writes are refused since one failed.
    pub poisoned: bool,
    /// Whether it is ready: it has its place, and has reached a majority.
    pub ready: bool,
    /// How its scrubber is.
    pub scrub: ScrubHealth,
}

/// How its scrubber is. The numbers are of the present run; between two, of the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ScrubHealth {
    /// What it is doing.
    pub state: ScrubState,
    /// Which share of the registers it has done, in thousandths; shown as 0 to 1.
    #[serde(rename = "position", serialize_with = "share")]
    pub done_permille: u16,
    /// Objects that did not open.
    pub damaged: u64,
    /// Those of them that do now.
    pub repaired: u64,
    /// The last run that came to its end.
    pub last: Option<RunHealth>,
}

/// A run of the scrubber that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RunHealth {
    /// How long ago: clocks of two nodes need not agree.
    pub age_s: u64,
    /// Objects that did not open.
    pub damaged: u64,
    /// Those of them that did after a peer's copy had been taken.
    pub repaired: u64,
}

fn share<S: Serializer>(permille: &u16, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(f64::from(*permille) / 1_000.0)
}

impl Health {
    /// Most bytes of it.
    pub const BYTES_MAX: usize = 4 * 8 + 3 + 1 + 2 + 2 * 8 + 1 + 3 * 8;

    /// Appends the health to a heartbeat.
    pub fn write(&self, w: &mut Writer) {
        w.u64(self.tentative).u64(self.quarantined).u64(self.mended).u64(self.unmended);
        w.u8(u8::from(self.full)).u8(u8::from(self.poisoned)).u8(u8::from(self.ready));
        let ScrubHealth { state, done_permille, damaged, repaired, last } = &self.scrub;
        let code = STATES.iter().position(|known| known == state).and_then(|at| u8::try_from(at).ok());
        w.u8(code.expect("every state is in the list, which is short"));
        w.u16(*done_permille).u64(*damaged).u64(*repaired).u8(u8::from(last.is_some()));
        if let Some(RunHealth { age_s, damaged, repaired }) = last {
            w.u64(*age_s).u64(*damaged).u64(*repaired);
        }
    }

    /// Reads what `write` appended.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        Ok(Health {
            tentative: r.u64()?,
            quarantined: r.u64()?,
            mended: r.u64()?,
            unmended: r.u64()?,
            full: r.flag("flag of a heartbeat")?,
            poisoned: r.flag("flag of a heartbeat")?,
            ready: r.flag("flag of a heartbeat")?,
            scrub: ScrubHealth {
                state: *STATES.get(usize::from(r.u8()?)).ok_or(CodecError::Value("scrub state"))?,
                done_permille: Some(r.u16()?).filter(|n| *n <= 1_000).ok_or(CodecError::Value("scrub position"))?,
                damaged: r.u64()?,
                repaired: r.u64()?,
                last: match r.flag("flag of a heartbeat")? {
                    false => None,
                    true => Some(RunHealth { age_s: r.u64()?, damaged: r.u64()?, repaired: r.u64()? }),
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::batter;
    use super::*;

    fn decode(bytes: &[u8]) -> Result<Health, CodecError> {
        let mut r = Reader(bytes);
        let health = Health::read(&mut r)?;
        r.end()?;
        Ok(health)
    }

    #[test]
    fn health_survives_the_trip_and_damage_is_refused() {
        for (at, state) in STATES.into_iter().enumerate() {
            let last = (at % 2 == 0).then_some(RunHealth { age_s: 9, damaged: 3, repaired: u64::MAX });
            let scrub = ScrubHealth { state, done_permille: 1_000, damaged: 5, repaired: 6, last };
            let (full, poisoned, ready) = (true, at == 1, at == 2);
            let health = Health { tentative: 1, quarantined: 2, mended: 3, unmended: 4, full, poisoned, ready, scrub };
            let mut w = Writer::default();
            health.write(&mut w);
            assert!(w.0.len() <= Health::BYTES_MAX);
            assert_eq!(decode(&w.0), Ok(health));
            batter(&w.0, |bytes| decode(bytes).is_ok());
        }
    }

    #[test]
    fn a_share_is_at_most_all() {
        let mut w = Writer::default();
        Health::default().write(&mut w);
        let at = 4 * 8 + 3 + 1;
        w.0[at..at + 2].copy_from_slice(&1_001_u16.to_le_bytes());
        assert_eq!(decode(&w.0), Err(CodecError::Value("scrub position")));
        let shown = serde_json::to_value(ScrubHealth { done_permille: 250, ..ScrubHealth::default() });
        assert_eq!(shown.expect("JSON")["position"], 0.25);
    }
}
