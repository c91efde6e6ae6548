//! Calls and their answers: the plaintext of frames.
//!
//! Invariants
//! - The answer to an `Offer` has one entry per offered one, in the same order; the caller checks.
//! - Counts are checked against `ENTRIES_MAX` before a list is made.

use super::audit::AuditNews;
use super::bodies::{Taken, read_taken, write_taken};
use super::health::Health;
use super::keys::KeyNews;
use super::lists::{Show, Shown};
use super::parts::{
    class_code, class_of, count, list, read_ballot, read_bound, read_complete, read_key, read_record, write_ballot,
    write_complete, write_records,
};
use super::votes::{Vote, Voted, read_voted, read_votes, write_voted, write_votes};
use super::{BRANCHES_MAX, PULL_BYTES_MAX, TEXT_BYTES_MAX, VERSION_BYTES_MAX};
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::{Ballot, BlobRef, BodyId, Class, Epoch, Incarnation, NodeName, Page, Record, RegisterKey, Sum};
use crate::register::memory::{read_remembered, write_remembered};
use crate::register::{Holds, ListMark, Remembered, Roster, Standing};
use bytes::Bytes;
use std::sync::Arc;

/// How a node is, as it tells its peers with every heartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulse {
    /// Its name, as the others have it in `cluster.peers`.
    pub name: NodeName,
    /// Which life of its data directory.
    pub incarnation: Incarnation,
    /// How it stands: start, highest change, reserved stamp.
    pub standing: Standing,
    /// The life of its cluster; 0 without a member list.
    pub life: u64,
    /// What it remembers of the others.
    pub remembers: Remembered,
    /// Bytes that it can still write.
    pub free: u64,
    /// Names its member list: epoch and digest; zero before it has one.
    pub list: ListMark,
    /// The sum over its registers and their ballots, once it has counted them.
    pub root: Option<Sum>,
    /// Its release, for the status of the others.
    pub version: String,
    /// Which key generations it opens, and under which it seals.
    pub keys: KeyNews,
    /// How it is besides, for people.
    pub health: Health,
    /// Where its audit log ends, and where it remembers that the receiver's did.
    pub audit: AuditNews,
}

/// One entry of an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// The register that has changed.
    pub key: RegisterKey,
    /// The ballot of its state: a receiver that holds a higher one wants nothing.
    pub ballot: Ballot,
    /// The blob it refers to.
    pub blob: Option<BodyId>,
}

/// What a peer wants of one offered entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It has that state or a newer one.
    Nothing,
    /// The record: its body is in it, or here already.
    Record,
    /// The blob first, then the record.
    BlobAndRecord,
}

/// Asks for the registers of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The member list of the asker.
    pub mark: ListMark,
    /// Where the range begins.
    pub from: RegisterKey,
    /// Whether `from` itself is asked for.
    pub inclusive: bool,
    /// Where to end, itself not asked for.
    pub to: RegisterKey,
    /// Most registers of the page; the answerer has a limit of its own, `ENTRIES_MAX`.
    pub limit: u32,
}

/// A register in the answer to a `Scan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// A register of the range.
    pub key: RegisterKey,
    /// Under which ballot it holds its record.
    pub ballot: Ballot,
    /// Whether that is known to be chosen.
    pub chosen: bool,
}

/// What one node asks of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Are you there, and how?
    Heartbeat(Box<Pulse>),
    /// What do you want of these?
    Offer(Vec<Offered>),
    /// Keep these, which were read in this epoch or later; answered when they are durable.
    Learn(Epoch, Vec<(RegisterKey, Arc<Record>)>),
    /// What does this replica say to these?
    Vote(ListMark, Vec<Vote>),
    /// Drop these tombstones: under this member list all its members held them before, and have entered its epoch.
    Bury(ListMark, Vec<(RegisterKey, Ballot)>),
    /// Which member list do you have?
    List,
    /// Take over this member list, if it is later than yours.
    Take(Arc<Roster>),
    /// Registers of a range, tombstones included.
    Scan(Scan),
    /// What a list shows of a range.
    Show(Show),
    /// The sums below these branches of your tree, or of all its branches?
    Tree(Vec<u8>),
    /// What do you hold of these? Asked for copies that are damaged here.
    Fetch(Vec<RegisterKey>),
    /// Sealed bytes of a blob, as they lie on the disk. Asked for copies that are damaged here.
    Pull(Pull),
    /// This blob was sent for a record that will not come.
    Discard(BodyId),
    /// Shall this blob be sent?
    Bring(BlobRef),
    /// What do you hold of the configuration registers?
    Config(ListMark),
}

/// Whether a blob is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bring {
    /// Yes, now: for a moment nobody else is told so.
    Send,
    /// No: it is there, durable and checked.
    There,
    /// Perhaps: somebody else sends it, and so many bytes of it have come.
    Arriving(u64),
}

/// Which bytes of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pull {
    /// The blob that bytes are wanted of.
    pub body: BodyId,
    /// The first of them.
    pub from: u64,
    /// How many, at most `PULL_BYTES_MAX`. Fewer come where the blob ends.
    pub len: u32,
}

/// What the peer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The answer to a heartbeat.
    Pulse(Box<Pulse>),
    /// The answers to votes, in their order; none to what the node could not carry out.
    Voted(Vec<Option<Voted>>),
    /// The answer to `List`; none where there is no list yet.
    List(Option<Arc<Roster>>),
    /// The page that a `Scan` asked for.
    Scanned(Page<Scanned>),
    /// What a `Show` asked for.
    Shown(Shown),
    /// To an offer, in its order.
    Wants(Vec<Wanted>),
    /// To a `Fetch`: what is held, as much of it as fits; the receiver checks every byte.
    Records(Vec<(RegisterKey, Arc<Record>)>),
    /// To a `Tree`; empty while the peer has not counted yet.
    Sums(Vec<Sum>),
    /// The bytes that a `Pull` asked for; fewer where the blob ends.
    Bytes(Bytes),
    /// The answer to a `Bring`.
    Bring(Bring),
    /// To a `Config`: counts as this node's vote on that.
    Config {
        /// What it holds of the access keys.
        keys: Holds,
        /// What it holds of the buckets of which something is open to everybody.
        public: Holds,
    },
    /// To many bodies, in their order.
    Taken(Taken),
    /// To a `Learn`, a `Bury` and to a blob: durable here.
    Done,
    /// The peer could not do it.
    Failed {
        /// What that means to the caller.
        class: Class,
        /// For the log and the status page.
        text: String,
    },
}

const HEARTBEAT: u8 = 1;
const OFFER: u8 = 2;
const LEARN: u8 = 3;
const FETCH: u8 = 4;
const PULL: u8 = 5;
const TREE: u8 = 6;
const VOTE: u8 = 7;
const LIST: u8 = 8;
const SCAN: u8 = 9;
const TAKE: u8 = 10;
const DISCARD: u8 = 11;
const BURY: u8 = 12;
const BRING: u8 = 13;
const SHOW: u8 = 14;
const CONFIG: u8 = 15;
const PULSE: u8 = 1;
const WANTS: u8 = 2;
const DONE: u8 = 3;
const FAILED: u8 = 4;
const RECORDS: u8 = 5;
const BYTES: u8 = 6;
const SUMS: u8 = 7;
const VOTED: u8 = 8;
const LISTED: u8 = 9;
const SCANNED: u8 = 10;
const BROUGHT: u8 = 11;
const SHOWN: u8 = 12;
const TAKEN: u8 = 13;
const CONFIGURED: u8 = 14;

impl Call {
    /// The call as a frame carries it.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Call::Heartbeat(pulse) => {
                w.u8(HEARTBEAT);
                pulse.write(&mut w);
            }
            Call::Offer(offers) => {
                w.u8(OFFER).u32(count(offers.len()));
                for Offered { key, ballot, blob } in offers {
                    w.bytes(key.as_bytes()).u64(ballot.stamp.0).u64(ballot.node.0);
                    match blob {
                        None => w.u8(0),
                        Some(body) => w.u8(1).raw(&body.0),
                    };
                }
            }
            Call::Learn(epoch, records) => {
                w.u8(LEARN).u64(epoch.0);
                write_records(&mut w, records);
            }
            Call::Vote(mark, votes) => {
                w.u8(VOTE);
                write_votes(&mut w, *mark, votes);
            }
            Call::Bury(mark, graves) => {
                w.u8(BURY).u64(mark.epoch.0).u64(mark.digest).u32(count(graves.len()));
                for (key, ballot) in graves {
                    write_ballot(w.bytes(key.as_bytes()), *ballot);
                }
            }
            Call::List => {
                w.u8(LIST);
            }
            Call::Take(roster) => {
                w.u8(TAKE);
                roster.write(&mut w);
            }
            Call::Scan(Scan { mark, from, inclusive, to, limit }) => {
                w.u8(SCAN).u64(mark.epoch.0).u64(mark.digest).bytes(from.as_bytes()).u8(u8::from(*inclusive));
                w.bytes(to.as_bytes()).u32(*limit);
            }
            Call::Show(show) => show.write(w.u8(SHOW)),
            Call::Tree(branches) => {
                w.u8(TREE).bytes(branches);
            }
            Call::Fetch(keys) => {
                w.u8(FETCH).u32(count(keys.len()));
                for key in keys {
                    w.bytes(key.as_bytes());
                }
            }
            Call::Pull(Pull { body, from, len }) => {
                w.u8(PULL).raw(&body.0).u64(*from).u32(*len);
            }
            Call::Discard(body) => {
                w.u8(DISCARD).raw(&body.0);
            }
            Call::Bring(head) => {
                w.u8(BRING).raw(&head.encode());
            }
            Call::Config(mark) => {
                w.u8(CONFIG).u64(mark.epoch.0).u64(mark.digest);
            }
        }
        w.0
    }

    /// Reads what `encode` made.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        let call = match r.u8()? {
            HEARTBEAT => Call::Heartbeat(Box::new(Pulse::read(&mut r)?)),
            OFFER => Call::Offer(list(&mut r, read_offered)?),
            LEARN => Call::Learn(Epoch(r.u64()?), list(&mut r, read_record)?),
            VOTE => {
                let (mark, votes) = read_votes(&mut r)?;
                Call::Vote(mark, votes)
            }
            BURY => {
                let mark = ListMark { epoch: Epoch(r.u64()?), digest: r.u64()? };
                Call::Bury(mark, list(&mut r, |r| Ok((read_key(r)?, read_ballot(r)?)))?)
            }
            LIST => Call::List,
            TAKE => Call::Take(Arc::new(Roster::read(&mut r)?)),
            SCAN => {
                let mark = ListMark { epoch: Epoch(r.u64()?), digest: r.u64()? };
                let (from, inclusive, to) = (read_bound(&mut r)?, r.flag("inclusive")?, read_bound(&mut r)?);
                Call::Scan(Scan { mark, from, inclusive, to, limit: r.u32()? })
            }
            SHOW => Call::Show(Show::read(&mut r)?),
            TREE => Call::Tree(r.bytes(BRANCHES_MAX, "branches")?.to_vec()),
            FETCH => Call::Fetch(list(&mut r, read_key)?),
            PULL => {
                let pull = Pull { body: BodyId(r.array()?), from: r.u64()?, len: r.u32()? };
                if usize::try_from(pull.len).map_or(true, |len| len > PULL_BYTES_MAX) {
                    return Err(CodecError::Value("length of a pull"));
                }
                Call::Pull(pull)
            }
            DISCARD => Call::Discard(BodyId(r.array()?)),
            BRING => Call::Bring(BlobRef::read(&mut r)?),
            CONFIG => Call::Config(ListMark { epoch: Epoch(r.u64()?), digest: r.u64()? }),
            _ => return Err(CodecError::Value("call")),
        };
        r.end()?;
        Ok(call)
    }
}

impl Answer {
    /// A failure with a text cut to what fits.
    pub fn failed(class: Class, text: &str) -> Self {
        let mut end = text.len().min(TEXT_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Answer::Failed { class, text: text[..end].to_owned() }
    }

    /// The answer as a frame carries it.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        match self {
            Answer::Pulse(pulse) => {
                w.u8(PULSE);
                pulse.write(&mut w);
            }
            Answer::Wants(wants) => {
                w.u8(WANTS).u32(count(wants.len()));
                for want in wants {
                    w.u8(match want {
                        Wanted::Nothing => 0,
                        Wanted::Record => 1,
                        Wanted::BlobAndRecord => 2,
                    });
                }
            }
            Answer::Records(records) => {
                w.u8(RECORDS);
                write_records(&mut w, records);
            }
            Answer::Voted(voted) => {
                w.u8(VOTED);
                write_voted(&mut w, voted);
            }
            Answer::List(roster) => {
                w.u8(LISTED).u8(u8::from(roster.is_some()));
                if let Some(roster) = roster {
                    roster.write(&mut w);
                }
            }
            Answer::Scanned(page) => {
                write_complete(w.u8(SCANNED), &page.complete);
                w.u32(count(page.entries.len()));
                for Scanned { key, ballot, chosen } in &page.entries {
                    write_ballot(w.bytes(key.as_bytes()), *ballot).u8(u8::from(*chosen));
                }
            }
            Answer::Shown(shown) => shown.write(w.u8(SHOWN)),
            Answer::Sums(sums) => {
                w.u8(SUMS).u32(count(sums.len()));
                for sum in sums {
                    w.raw(&sum.0.to_le_bytes());
                }
            }
            Answer::Bytes(bytes) => {
                w.u8(BYTES).bytes(bytes);
            }
            Answer::Bring(bring) => {
                match bring {
                    Bring::Send => w.u8(BROUGHT).u8(0),
                    Bring::There => w.u8(BROUGHT).u8(1),
                    Bring::Arriving(bytes) => w.u8(BROUGHT).u8(2).u64(*bytes),
                };
            }
            Answer::Config { keys, public } => {
                write_holds(write_holds(w.u8(CONFIGURED), keys), public);
            }
            Answer::Taken(taken) => write_taken(w.u8(TAKEN), taken),
            Answer::Done => {
                w.u8(DONE);
            }
            Answer::Failed { class, text } => {
                w.u8(FAILED).u8(class_code(*class)).text(text);
            }
        }
        w.0
    }

    /// Reads what `encode` made.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        let answer = match r.u8()? {
            PULSE => Answer::Pulse(Box::new(Pulse::read(&mut r)?)),
            WANTS => Answer::Wants(list(&mut r, |r| {
                Ok(match r.u8()? {
                    0 => Wanted::Nothing,
                    1 => Wanted::Record,
                    2 => Wanted::BlobAndRecord,
                    _ => return Err(CodecError::Value("want")),
                })
            })?),
            RECORDS => Answer::Records(list(&mut r, read_record)?),
            VOTED => Answer::Voted(read_voted(&mut r)?),
            LISTED => Answer::List(match r.u8()? {
                0 => None,
                1 => Some(Arc::new(Roster::read(&mut r)?)),
                _ => return Err(CodecError::Value("member list")),
            }),
            SCANNED => {
                let complete = read_complete(&mut r)?;
                let scanned = |r: &mut Reader<'_>| {
                    Ok(Scanned { key: read_key(r)?, ballot: read_ballot(r)?, chosen: r.flag("chosen mark")? })
                };
                Answer::Scanned(Page { entries: list(&mut r, scanned)?, complete })
            }
            SHOWN => Answer::Shown(Shown::read(&mut r)?),
            BROUGHT => Answer::Bring(match r.u8()? {
                0 => Bring::Send,
                1 => Bring::There,
                2 => Bring::Arriving(r.u64()?),
                _ => return Err(CodecError::Value("bring")),
            }),
            SUMS => Answer::Sums(list(&mut r, |r| Ok(Sum(u128::from_le_bytes(r.array()?))))?),
            BYTES => Answer::Bytes(Bytes::copy_from_slice(r.bytes(PULL_BYTES_MAX, "bytes of a blob")?)),
            TAKEN => Answer::Taken(read_taken(&mut r)?),
            CONFIGURED => Answer::Config { keys: read_holds(&mut r)?, public: read_holds(&mut r)? },
            DONE => Answer::Done,
            FAILED => {
                let class = class_of(r.u8()?)?;
                Answer::Failed { class, text: r.text(TEXT_BYTES_MAX, "text")?.to_owned() }
            }
            _ => return Err(CodecError::Value("answer")),
        };
        r.end()?;
        Ok(answer)
    }
}

fn write_holds<'w>(w: &'w mut Writer, Holds { sum, settled }: &Holds) -> &'w mut Writer {
    w.raw(&sum.0.to_le_bytes()).u8(u8::from(*settled))
}

fn read_holds(r: &mut Reader<'_>) -> Result<Holds, CodecError> {
    let sum = Sum(u128::from_le_bytes(r.array()?));
    Ok(Holds { sum, settled: r.flag("settled mark")? })
}

/// What stands in front of a blob that is sent while it is made; its `BlobRef` stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamHead {
    /// Names the blob, by which the receiver stages it.
    pub body: BodyId,
    /// Most sealed bytes that it will have; the largest number where nobody knows.
    pub bytes_max: u64,
}

impl StreamHead {
    /// The head as a frame carries it.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        w.raw(&self.body.0).u64(self.bytes_max);
        w.0
    }

    /// Reads what `encode` made.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        let head = StreamHead { body: BodyId(r.array()?), bytes_max: r.u64()? };
        r.end()?;
        Ok(head)
    }
}

impl Pulse {
    fn write(&self, w: &mut Writer) {
        self.standing.write(w.text(self.name.as_str()).u64(self.incarnation.0));
        write_remembered(w.u64(self.life), &self.remembers);
        w.u64(self.free);
        match self.root {
            None => w.u8(0),
            Some(root) => w.u8(1).raw(&root.0.to_le_bytes()),
        };
        w.u64(self.list.epoch.0).u64(self.list.digest).text(&self.version);
        self.keys.write(w);
        self.health.write(w);
        self.audit.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let name = NodeName::parse(r.text(NodeName::BYTES_MAX, "node name")?).ok_or(CodecError::Value("node name"))?;
        Ok(Pulse {
            name,
            incarnation: Incarnation(r.u64()?),
            standing: Standing::read(r)?,
            life: r.u64()?,
            remembers: read_remembered(r)?,
            free: r.u64()?,
            root: match r.u8()? {
                0 => None,
                1 => Some(Sum(u128::from_le_bytes(r.array()?))),
                _ => return Err(CodecError::Value("root")),
            },
            list: ListMark { epoch: Epoch(r.u64()?), digest: r.u64()? },
            version: r.text(VERSION_BYTES_MAX, "version")?.to_owned(),
            keys: KeyNews::read(r)?,
            health: Health::read(r)?,
            audit: AuditNews::read(r)?,
        })
    }
}

fn read_offered(r: &mut Reader<'_>) -> Result<Offered, CodecError> {
    let key = read_key(r)?;
    let ballot = read_ballot(r)?;
    let blob = match r.u8()? {
        0 => None,
        1 => Some(BodyId(r.array()?)),
        _ => return Err(CodecError::Value("blob mark")),
    };
    Ok(Offered { key, ballot, blob })
}

#[cfg(test)]
mod tests;
