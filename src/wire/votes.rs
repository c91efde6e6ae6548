//! Votes as they travel: messages of coordinators and the answers of replicas, many to a frame.
//!
//! Invariants
//! - The answers come in the order of the votes; `None` stands where the replica could not carry one out.
//! - A record that the asker holds already, by its ballot, does not travel back: one ballot is one record.
//! - A record travels under the ballot of its vote, and says the same one; what does not is refused.
//! - A small body travels with the record that is to be stored or learned, and with no answer.

use super::parts::{count, list, read_ballot, read_key, read_with_body, write_ballot, write_with_body};
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::record::RECORD_BYTES_MAX;
use crate::base::{Ballot, Epoch, Incarnation, Lineage, Record, RegisterKey, State};
use crate::register::{Answer, Attempt, Known, ListMark, Message, Refusal, Reply, Request, Slot, Traced, Under};
use std::sync::Arc;

type Registered = Arc<Record>;

/// One message of a coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// The register that is asked about.
    pub key: RegisterKey,
    /// What is asked, with the epoch and the attempt of its round.
    pub message: Message<Registered>,
    /// The ballot of the record that the asker holds.
    pub have: Option<Ballot>,
}

/// What a replica tells of its slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The record that the asker holds, and whether it is marked as chosen here.
    Same(Ballot, bool),
    /// All of it, since the asker has another one or none.
    Slot(Slot<Registered>),
}

/// The answer to a vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Voted {
    /// The epoch of the replica's list; a later one than asked in ends the round.
    pub epoch: Epoch,
    /// The attempt that it answers.
    pub attempt: Attempt,
    /// What became of it at the replica.
    pub answer: VotedAnswer,
}

/// What a replica answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VotedAnswer {
    /// To `Query`: what it holds, and the ballot that a proposal has to be above.
    Held(Told, Ballot),
    /// To `Prepare`: the ballot that it promised, and what it holds.
    Promised(Ballot, Told),
    /// To `Store`: durable under this ballot.
    Stored(Ballot),
    /// To `Learn` and `Mark`.
    Learned,
    /// Not granted, and why.
    Refused(Refusal),
}

impl Voted {
    /// A replica's reply, for an asker who holds `have`.
    pub fn of(reply: Reply<Registered>, have: Option<Ballot>) -> Self {
        let told = |slot: Slot<Registered>| match have == Some(slot.accepted) {
            true => Told::Same(slot.accepted, slot.chosen),
            false => Told::Slot(slot),
        };
        let answer = match reply.answer {
            Answer::Held(slot, beat) => VotedAnswer::Held(told(slot), beat),
            Answer::Promised(ballot, slot) => VotedAnswer::Promised(ballot, told(slot)),
            Answer::Stored(ballot) => VotedAnswer::Stored(ballot),
            Answer::Learned => VotedAnswer::Learned,
            Answer::Refused(refusal) => VotedAnswer::Refused(refusal),
        };
        Voted { epoch: reply.epoch, attempt: reply.attempt, answer }
    }

    /// The reply of replica `from`, for an asker who holds `have`. `None` when it rests on a record that
    /// the asker does not hold.
    pub fn reply(self, from: Incarnation, have: Option<&Slot<Registered>>) -> Option<Reply<Registered>> {
        let slot = |told| match told {
            Told::Slot(slot) => Some(slot),
            Told::Same(ballot, chosen) => {
                let same = have.filter(|slot| slot.accepted == ballot)?;
                Some(Slot { chosen, ..same.clone() })
            }
        };
        let answer = match self.answer {
            VotedAnswer::Held(told, beat) => Answer::Held(slot(told)?, beat),
            VotedAnswer::Promised(ballot, told) => Answer::Promised(ballot, slot(told)?),
            VotedAnswer::Stored(ballot) => Answer::Stored(ballot),
            VotedAnswer::Learned => Answer::Learned,
            VotedAnswer::Refused(refusal) => Answer::Refused(refusal),
        };
        Some(Reply { from, epoch: self.epoch, attempt: self.attempt, answer })
    }

    /// Bytes that it takes in a frame, at most.
    pub fn weight(&self) -> usize {
        match &self.answer {
            VotedAnswer::Held(Told::Slot(slot), _) | VotedAnswer::Promised(_, Told::Slot(slot)) => slot_weight(slot),
            _ => 64,
        }
    }
}

impl Vote {
    /// Bytes that it takes in a frame, at most.
    pub fn weight(&self) -> usize {
        let state = match &self.message.request {
            Request::Store(_, state, _) | Request::Learn(_, state) => {
                state_weight(state) + state.value.as_deref().map_or(0, Record::in_hand_len)
            }
            Request::Query | Request::Prepare(_) | Request::Mark(_) => 0,
        };
        self.key.as_bytes().len() + 64 + state
    }
}

/// Bytes that a slot takes in a frame, at most.
pub fn slot_weight(slot: &Slot<Registered>) -> usize {
    64 + state_weight(&slot.state)
}

fn state_weight(state: &Traced<Registered>) -> usize {
    512 + state.value.as_deref().map_or(0, Record::variable_len)
}

pub(super) fn write_votes(w: &mut Writer, mark: ListMark, votes: &[Vote]) {
    w.u64(mark.epoch.0).u64(mark.digest).u32(count(votes.len()));
    for Vote { key, message, have } in votes {
        w.bytes(key.as_bytes()).u64(message.attempt.0);
        match have {
            None => w.u8(0),
            Some(ballot) => write_ballot(w.u8(1), *ballot),
        };
        match &message.request {
            Request::Query => w.u8(1),
            Request::Prepare(ballot) => write_ballot(w.u8(2), *ballot),
            Request::Store(ballot, state, under) => {
                write_ballot(w.u8(3), *ballot).u64(under.generation).u8(u8::from(under.is_new));
                write_stored(w, *ballot, state)
            }
            Request::Learn(ballot, state) => write_stored(write_ballot(w.u8(4), *ballot), *ballot, state),
            Request::Mark(ballot) => write_ballot(w.u8(5), *ballot),
        };
    }
}

pub(super) fn read_votes(r: &mut Reader<'_>) -> Result<(ListMark, Vec<Vote>), CodecError> {
    let mark = ListMark { epoch: Epoch(r.u64()?), digest: r.u64()? };
    let votes = list(r, |r| {
        let (key, attempt) = (read_key(r)?, Attempt(r.u64()?));
        let have = match r.u8()? {
            0 => None,
            1 => Some(read_ballot(r)?),
            _ => return Err(CodecError::Value("have mark")),
        };
        let request = match r.u8()? {
            1 => Request::Query,
            2 => Request::Prepare(read_ballot(r)?),
            3 => {
                let ballot = read_ballot(r)?;
                let under = Under { generation: r.u64()?, is_new: r.flag("new mark")? };
                Request::Store(ballot, read_stored(r, ballot)?, under)
            }
            4 => {
                let ballot = read_ballot(r)?;
                Request::Learn(ballot, read_stored(r, ballot)?)
            }
            5 => Request::Mark(read_ballot(r)?),
            _ => return Err(CodecError::Value("vote")),
        };
        Ok(Vote { key, message: Message { epoch: mark.epoch, attempt, request }, have })
    })?;
    Ok((mark, votes))
}

pub(super) fn write_voted(w: &mut Writer, voted: &[Option<Voted>]) {
    w.u32(count(voted.len()));
    for voted in voted {
        let Some(Voted { epoch, attempt, answer }) = voted else {
            w.u8(0);
            continue;
        };
        let code = match answer {
            VotedAnswer::Held(..) => 1,
            VotedAnswer::Promised(..) => 2,
            VotedAnswer::Stored(_) => 3,
            VotedAnswer::Learned => 4,
            VotedAnswer::Refused(_) => 5,
        };
        w.u8(code).u64(epoch.0).u64(attempt.0);
        match answer {
            VotedAnswer::Held(told, ballot) | VotedAnswer::Promised(ballot, told) => {
                write_told(write_ballot(w, *ballot), told);
            }
            VotedAnswer::Stored(ballot) => {
                write_ballot(w, *ballot);
            }
            VotedAnswer::Learned => {}
            VotedAnswer::Refused(refusal) => {
                match refusal {
                    Refusal::Behind(ballot) => write_ballot(w.u8(1), *ballot),
                    Refusal::NoBlob => w.u8(2),
                    Refusal::Epoch => w.u8(3),
                    Refusal::NoRoom => w.u8(5),
                    Refusal::Bucket(known) => write_ballot(w.u8(6), known.ballot).u8(u8::from(known.chosen)),
                };
            }
        }
    }
}

pub(super) fn read_voted(r: &mut Reader<'_>) -> Result<Vec<Option<Voted>>, CodecError> {
    list(r, |r| {
        let code = r.u8()?;
        if code == 0 {
            return Ok(None);
        }
        let (epoch, attempt) = (Epoch(r.u64()?), Attempt(r.u64()?));
        let answer = match code {
            1 | 2 => {
                let ballot = read_ballot(r)?;
                let told = read_told(r)?;
                if code == 1 { VotedAnswer::Held(told, ballot) } else { VotedAnswer::Promised(ballot, told) }
            }
            3 => VotedAnswer::Stored(read_ballot(r)?),
            4 => VotedAnswer::Learned,
            5 => VotedAnswer::Refused(match r.u8()? {
                1 => Refusal::Behind(read_ballot(r)?),
                2 => Refusal::NoBlob,
                3 => Refusal::Epoch,
                // 4 was of a node without a vote, which no node has ever sent.
                5 => Refusal::NoRoom,
                6 => Refusal::Bucket(Known { ballot: read_ballot(r)?, chosen: r.flag("chosen mark")? }),
                _ => return Err(CodecError::Value("refusal")),
            }),
            _ => return Err(CodecError::Value("answer to a vote")),
        };
        Ok(Some(Voted { epoch, attempt, answer }))
    })
}

fn write_told(w: &mut Writer, told: &Told) {
    match told {
        Told::Same(ballot, chosen) => {
            write_ballot(w.u8(1 + u8::from(*chosen)), *ballot);
        }
        Told::Slot(slot) => {
            write_state(write_ballot(w.u8(3 + u8::from(slot.chosen)), slot.accepted), slot.accepted, &slot.state);
        }
    }
}

fn read_told(r: &mut Reader<'_>) -> Result<Told, CodecError> {
    let code = r.u8()?;
    let accepted = read_ballot(r)?;
    match code {
        1 | 2 => Ok(Told::Same(accepted, code == 2)),
        3 | 4 => Ok(Told::Slot(Slot { accepted, chosen: code == 4, state: read_state(r, accepted)? })),
        _ => Err(CodecError::Value("slot")),
    }
}

/// A state travels as a record; *nothing* as one that says so.
fn with_record<T>(ballot: Ballot, state: &Traced<Registered>, write: impl FnOnce(&Record) -> T) -> T {
    let lineage = state.lineage;
    match &state.value {
        // The record's own ballot and lineage may be those of the state that it was found in.
        Some(record) if record.ballot == ballot && record.lineage == lineage => write(record),
        Some(record) => write(&Record { ballot, lineage, ..(**record).clone() }),
        None => write(&Record { ballot, lineage, written_ms: 0, state: State::Nothing }),
    }
}

fn write_state<'a>(w: &'a mut Writer, ballot: Ballot, state: &Traced<Registered>) -> &'a mut Writer {
    with_record(ballot, state, |record| w.bytes(&record.encode()))
}

/// A state that is to be kept: its small body goes along.
fn write_stored<'a>(w: &'a mut Writer, ballot: Ballot, state: &Traced<Registered>) -> &'a mut Writer {
    with_record(ballot, state, |record| write_with_body(w, record))
}

fn read_state(r: &mut Reader<'_>, ballot: Ballot) -> Result<Traced<Registered>, CodecError> {
    state_of(Record::decode(r.bytes(RECORD_BYTES_MAX, "record")?)?, ballot)
}

fn read_stored(r: &mut Reader<'_>, ballot: Ballot) -> Result<Traced<Registered>, CodecError> {
    state_of(read_with_body(r)?, ballot)
}

fn state_of(record: Record, ballot: Ballot) -> Result<Traced<Registered>, CodecError> {
    let nothing = record.state == State::Nothing;
    // What is kept under one ballot and says another would be two records of one ballot.
    if record.ballot != ballot || (nothing && record.written_ms != 0) {
        return Err(CodecError::Value("record of a vote"));
    }
    let lineage: Lineage = record.lineage;
    Ok(Traced { lineage, value: (!nothing).then(|| Arc::new(record)) })
}

#[cfg(test)]
mod tests {
    use super::super::testing::batter;
    use super::*;
    use crate::base::Stamp;
    use crate::base::{BucketId, BucketRecord, ObjectKey, WriteId};

    fn key(name: &str) -> RegisterKey {
        RegisterKey::object(BucketId(7), &ObjectKey::parse(name).unwrap())
    }

    fn bucket() -> State {
        State::Bucket(BucketRecord::made(BucketId(7), 1))
    }

    fn ballot(stamp: u64) -> Ballot {
        Ballot { stamp: Stamp(stamp), node: Incarnation(3) }
    }

    fn state(at: u64, state: State) -> Traced<Registered> {
        let lineage = Lineage::NOTHING.then(WriteId([7; 8]), 8);
        let record = Record { ballot: ballot(at), lineage, written_ms: 1, state };
        let value = (record.state != State::Nothing).then(|| Arc::new(record));
        Traced { lineage, value }
    }

    #[test]
    fn votes_survive_the_trip_and_damage_is_refused() {
        let mark = ListMark { epoch: Epoch(4), digest: 5 };
        let requests = [
            (Request::Query, Some(ballot(1))),
            (Request::Prepare(ballot(2)), None),
            (Request::Store(ballot(3), state(3, State::Deleted), Under { generation: 7, is_new: true }), None),
            (Request::Store(ballot(3), state(3, State::Nothing), Under::default()), None),
            (Request::Learn(ballot(4), state(4, bucket())), None),
            (Request::Mark(ballot(5)), None),
        ];
        let vote = |(request, have)| Vote {
            key: key("a"),
            message: Message { epoch: mark.epoch, attempt: Attempt(9), request },
            have,
        };
        let votes: Vec<_> = requests.into_iter().map(vote).collect();
        let mut w = Writer::default();
        write_votes(&mut w, mark, &votes);
        assert!(w.0.len() < votes.iter().map(Vote::weight).sum::<usize>() + 20);
        let read = |bytes: &[u8]| {
            let mut r = Reader(bytes);
            let votes = read_votes(&mut r)?;
            r.end().map(|()| votes)
        };
        assert_eq!(read(&w.0), Ok((mark, votes)));
        batter(&w.0, |bytes| read(bytes).is_ok());
    }

    #[test]
    fn a_state_is_stored_under_the_ballot_of_the_vote() {
        let old = state(1, bucket());
        let mut w = Writer::default();
        write_state(&mut w, ballot(8), &old);
        let read = read_state(&mut Reader(&w.0), ballot(8)).unwrap();
        assert_eq!((read.lineage, read.value.unwrap().ballot), (old.lineage, ballot(8)));
    }

    #[test]
    fn a_record_that_says_another_ballot_than_its_vote_is_refused() {
        let refused = Err(CodecError::Value("record of a vote"));
        let nothing =
            |written_ms| Record { ballot: ballot(3), lineage: Lineage::NOTHING, written_ms, state: State::Nothing };
        let foreign = Record { ballot: ballot(9), ..nothing(0) };
        let deleted = Record { state: State::Deleted, ..foreign.clone() };
        for record in [foreign, deleted, nothing(1)].map(|record| record.encode()) {
            let votes = |code: u8| {
                let mut w = Writer::default();
                w.u64(4).u64(5).u32(1).bytes(key("a").as_bytes()).u64(9).u8(0);
                write_ballot(w.u8(code), ballot(3));
                if code == 3 {
                    w.u64(0).u8(0);
                }
                // No small body goes along.
                w.bytes(&record).bytes(b"");
                read_votes(&mut Reader(&w.0)).map(drop)
            };
            assert_eq!((votes(3), votes(4)), (refused, refused));
            let mut w = Writer::default();
            write_ballot(w.u32(1).u8(1).u64(2).u64(3), ballot(9));
            write_ballot(w.u8(3), ballot(3)).bytes(&record);
            assert_eq!(read_voted(&mut Reader(&w.0)).map(drop), refused);
        }
        let mut w = Writer::default();
        w.bytes(&nothing(0).encode());
        assert_eq!(read_state(&mut Reader(&w.0), ballot(3)), Ok(Traced { lineage: Lineage::NOTHING, value: None }));
    }

    #[test]
    fn answers_survive_the_trip_and_damage_is_refused() {
        let slot = Slot { accepted: ballot(3), chosen: true, state: state(3, bucket()) };
        let answers = [
            VotedAnswer::Held(Told::Slot(slot.clone()), ballot(9)),
            VotedAnswer::Held(Told::Same(ballot(3), false), ballot(9)),
            VotedAnswer::Promised(ballot(4), Told::Same(ballot(3), true)),
            VotedAnswer::Promised(ballot(4), Told::Slot(Slot { chosen: false, ..slot })),
            VotedAnswer::Stored(ballot(5)),
            VotedAnswer::Learned,
            VotedAnswer::Refused(Refusal::Behind(ballot(6))),
            VotedAnswer::Refused(Refusal::NoBlob),
            VotedAnswer::Refused(Refusal::Epoch),
            VotedAnswer::Refused(Refusal::NoRoom),
            VotedAnswer::Refused(Refusal::Bucket(Known { ballot: ballot(7), chosen: true })),
        ];
        let voted = |answer| Some(Voted { epoch: Epoch(2), attempt: Attempt(3), answer });
        let all: Vec<_> = answers.into_iter().map(voted).chain([None]).collect();
        let mut w = Writer::default();
        write_voted(&mut w, &all);
        let read = |bytes: &[u8]| {
            let mut r = Reader(bytes);
            let voted = read_voted(&mut r)?;
            r.end().map(|()| voted)
        };
        assert_eq!(read(&w.0), Ok(all));
        batter(&w.0, |bytes| read(bytes).is_ok());
    }

    #[test]
    fn what_the_asker_holds_does_not_travel_and_comes_back() {
        let slot = Slot { accepted: ballot(3), chosen: true, state: state(3, bucket()) };
        let answer = Answer::Promised(ballot(7), slot.clone());
        let reply = Reply { from: Incarnation(1), epoch: Epoch(2), attempt: Attempt(3), answer };
        let voted = Voted::of(reply.clone(), Some(ballot(3)));
        assert!(matches!(voted.answer, VotedAnswer::Promised(_, Told::Same(..))));
        let tentative_here = Slot { chosen: false, ..slot };
        assert_eq!(voted.clone().reply(Incarnation(1), Some(&tentative_here)), Some(reply.clone()));
        assert_eq!(voted.reply(Incarnation(1), None), None, "the asker has forgotten what it held");
        let voted = Voted::of(reply.clone(), Some(ballot(2)));
        assert_eq!(voted.reply(Incarnation(1), None), Some(reply));
    }
}
