//! Roster: the member list as nodes keep and exchange it, with names for people.
//!
//! Invariants
//! - One epoch has one roster: two nodes that hold different ones exchange no votes.
//! - A roster that was read names somebody, nobody twice, and no more than `VOTERS_MAX`.
//! - Lists of one life of the cluster follow each other. Who leaves a lost cluster on purpose begins another life,
//!   whose lists are nothing to the nodes of the one before.
//! - It says of every place since which epoch that node has had it without a break: whoever was away may learn so
//!   that it lost its place meanwhile and was given it anew.

use super::members::{Members, VOTERS_MAX};
use crate::base::codec::{CodecError, Reader, Writer};
use crate::base::{Epoch, Incarnation, NodeName};
use std::collections::BTreeMap;

/// A place in a member list.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Seat {
    /// The node's configured name.
    pub name: NodeName,
    /// Which life of its data directory votes.
    pub incarnation: Incarnation,
}

/// Names a member list, for comparing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ListMark {
    /// Its epoch; 0 of a node that has no list.
    pub epoch: Epoch,
    /// Of its bytes; shown as a text, since readers of JSON round what is above 2^53.
    #[serde(serialize_with = "as_hex")]
    pub digest: u64,
}

fn as_hex<S: serde::Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{number:016x}"))
}

/// Who votes in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Roster {
    /// The number that names the list.
    pub epoch: Epoch,
    /// Which life of the cluster: `FIRST_LIFE`, or drawn by who left a lost one on purpose.
    #[serde(serialize_with = "hex")]
    pub life: u64,
    /// When it was made, by the clock of its maker, in milliseconds since 1970.
    pub made_ms: u64,
    /// Who votes; while the list changes, the seats that it changes to.
    pub seats: Vec<Seat>,
    /// The list that gives way to `seats` while the members change; empty otherwise.
    pub before: Vec<Seat>,
    /// Since which epoch nodes have their places, where that was not the first one.
    #[serde(skip)]
    pub given: BTreeMap<Incarnation, Epoch>,
}

impl Roster {
    /// Most bytes of it.
    pub const BYTES_MAX: usize = 27 + VOTERS_MAX * (NodeName::BYTES_MAX + 4 + 8 + 16);

    /// The life of a cluster that nobody has left.
    pub const FIRST_LIFE: u64 = 1;

    /// The first list of a cluster.
    pub fn founding(made_ms: u64, mut seats: Vec<Seat>) -> Self {
        seats.sort_by(|a, b| a.name.cmp(&b.name));
        let life = Self::FIRST_LIFE;
        Roster { epoch: Epoch(1), life, made_ms, seats, before: Vec::new(), given: BTreeMap::new() }
    }

    /// The list of a node that leaves a lost cluster for good: itself alone, in another life, after all that it has
    /// seen.
    pub fn alone(after: Epoch, life: u64, made_ms: u64, me: Seat) -> Self {
        Roster { epoch: Epoch(after.0.saturating_add(1)), life, ..Self::founding(made_ms, vec![me]) }
    }

    /// Whether nothing is decided without every member: what one has forgotten the other one knows.
    pub fn takes_all(&self) -> bool {
        self.before.is_empty() && self.seats.len() <= 2
    }

    /// Whether a list in which nothing is decided without every member gives way in it.
    pub fn outgrows(&self) -> bool {
        matches!(self.before.len(), 1 | 2)
    }

    /// Whether a node with this list has nobody to decide with.
    pub fn is_of(&self, node: Incarnation) -> bool {
        self.seats.iter().chain(&self.before).all(|seat| seat.incarnation == node)
    }

    /// The list that follows this one on the way to `seats`: the epoch of both lists; the end of one that was begun,
    /// whatever `seats` says; or an epoch of the same list.
    pub fn next(&self, made_ms: u64, seats: &[Seat]) -> Roster {
        let epoch = Epoch(self.epoch.0.saturating_add(1));
        let mut next = Roster { epoch, made_ms, ..self.clone() };
        if !self.before.is_empty() {
            next.before.clear();
        } else if !self.same_seats(seats) {
            next.before = std::mem::replace(&mut next.seats, seats.to_vec());
            let newcomers = seats.iter().map(|seat| seat.incarnation).filter(|node| !self.seats_node(*node));
            next.given.extend(newcomers.map(|node| (node, epoch)));
        }
        let given = std::mem::take(&mut next.given);
        next.given = given.into_iter().filter(|(node, _)| next.seats_node(*node)).collect();
        next
    }

    /// Whether these are its seats, in whichever order.
    pub fn same_seats(&self, seats: &[Seat]) -> bool {
        self.seats.len() == seats.len() && self.seats.iter().all(|seat| seats.contains(seat))
    }

    /// Since which epoch a node has had its place; none when it has none.
    pub fn since(&self, node: Incarnation) -> Option<Epoch> {
        self.seats_node(node).then(|| self.given.get(&node).copied().unwrap_or(Epoch(1)))
    }

    /// The seats that it should come to, because a node of it has lost its data directory, or because somebody began to
    /// change it and did not finish. `life`: the incarnation under which a node is there now. One that lost its
    /// directory is back under another one: that gets the place of the name.
    pub fn overdue(&self, life: impl Fn(&NodeName) -> Option<Incarnation>) -> Option<Vec<Seat>> {
        if !self.before.is_empty() {
            return Some(self.seats.clone());
        }
        let now = |seat: &Seat| Seat { incarnation: life(&seat.name).unwrap_or(seat.incarnation), ..seat.clone() };
        let seats: Vec<Seat> = self.seats.iter().map(now).collect();
        (seats != self.seats).then_some(seats)
    }

    /// The majorities of it; `None` of a list that could not be one.
    pub fn members(&self) -> Option<Members> {
        let ids = |seats: &[Seat]| seats.iter().map(|seat| seat.incarnation).collect::<Vec<_>>();
        let (seats, before) = (ids(&self.seats), ids(&self.before));
        match before.is_empty() {
            true => Members::new(self.epoch, &seats),
            false => Members::joint(self.epoch, &before, &seats),
        }
        .ok()
    }

    /// The name of a voter.
    pub fn name_of(&self, node: Incarnation) -> Option<&NodeName> {
        self.seats.iter().chain(&self.before).find(|seat| seat.incarnation == node).map(|seat| &seat.name)
    }

    /// Whether this node has a place in it.
    pub fn seats_node(&self, node: Incarnation) -> bool {
        self.seats.iter().chain(&self.before).any(|seat| seat.incarnation == node)
    }

    /// Whether it gives a node its place after the last list that this node knows: then the node begins with nothing.
    /// While it had no place others may have decided under lower ballots than those it holds, or have dropped the
    /// tombstone of what it holds. It may vote at once, since a place is only given by way of an epoch of both lists
    /// (`register::members`).
    pub fn begins_anew(&self, node: Incarnation, known: Epoch) -> bool {
        self.since(node).is_some_and(|since| since > known.max(Epoch(1)))
    }

    /// Whether `me`, a member, takes nothing from this node: it may hold what the members have dropped the tombstone
    /// of. In the first epoch none has been dropped yet.
    pub fn is_stranger(&self, me: Incarnation, from: Incarnation) -> bool {
        self.epoch > Epoch(1) && self.seats_node(me) && !self.seats_node(from)
    }

    /// The list as records and messages have it.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        self.write(&mut w);
        w.0
    }

    /// Reads what `encode` made.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut r = Reader(bytes);
        let roster = Self::read(&mut r)?;
        r.end()?;
        Ok(roster)
    }

    /// Appends the list to a message or record.
    pub fn write(&self, w: &mut Writer) {
        w.u64(self.epoch.0).u64(self.life).u64(self.made_ms);
        for seats in [&self.seats, &self.before] {
            w.u8(u8::try_from(seats.len()).unwrap_or(u8::MAX));
            for seat in seats {
                w.text(seat.name.as_str()).u64(seat.incarnation.0);
            }
        }
        w.u8(u8::try_from(self.given.len()).unwrap_or(u8::MAX));
        for (node, since) in &self.given {
            w.u64(node.0).u64(since.0);
        }
    }

    /// Reads what `write` appended.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let (epoch, life, made_ms) = (Epoch(r.u64()?), r.u64()?, r.u64()?);
        if life == 0 {
            return Err(CodecError::Value("life of a member list"));
        }
        let seats = read_seats(r)?;
        let before = read_seats(r)?;
        let mut roster = Roster { epoch, life, made_ms, seats, before, given: BTreeMap::new() };
        let count = usize::from(r.u8()?);
        for _ in 0..count {
            let (node, since) = (Incarnation(r.u64()?), Epoch(r.u64()?));
            // In order and of somebody in the list: the same list has the same bytes everywhere.
            if !roster.seats_node(node) || roster.given.last_key_value().is_some_and(|(last, _)| *last >= node) {
                return Err(CodecError::Value("member list"));
            }
            roster.given.insert(node, since);
        }
        match roster.members() {
            Some(_) => Ok(roster),
            None => Err(CodecError::Value("member list")),
        }
    }
}

fn hex<S: serde::Serializer>(life: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{life:016x}"))
}

fn read_seats(r: &mut Reader<'_>) -> Result<Vec<Seat>, CodecError> {
    let len = usize::from(r.u8()?);
    if len > VOTERS_MAX {
        return Err(CodecError::Value("member list"));
    }
    let mut seats = Vec::with_capacity(len);
    for _ in 0..len {
        let name = NodeName::parse(r.text(NodeName::BYTES_MAX, "node name")?).ok_or(CodecError::Value("node name"))?;
        seats.push(Seat { name, incarnation: Incarnation(r.u64()?) });
    }
    Ok(seats)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(n: u64) -> Seat {
        Seat { name: NodeName::parse(&format!("n{n}")).unwrap(), incarnation: Incarnation(n) }
    }

    #[test]
    fn round_trip_and_refusals() {
        let founding = Roster::founding(7, vec![seat(3), seat(1), seat(2)]);
        assert_eq!(founding.name_of(Incarnation(1)).map(NodeName::as_str), Some("n1"));
        let joint = founding.next(8, &[seat(1), seat(4)]);
        for roster in [founding, joint] {
            let mut w = Writer::default();
            roster.write(&mut w);
            assert!(w.0.len() <= Roster::BYTES_MAX);
            assert_eq!(Roster::read(&mut Reader(&w.0)), Ok(roster));
            for end in 0..w.0.len() {
                assert!(Roster::read(&mut Reader(&w.0[..end])).is_err(), "{end}");
            }
        }
        for bad in [vec![], vec![seat(1), seat(1)], (0..=VOTERS_MAX as u64).map(seat).collect()] {
            let mut w = Writer::default();
            Roster { seats: bad, ..Roster::founding(0, vec![]) }.write(&mut w);
            assert!(Roster::read(&mut Reader(&w.0)).is_err());
        }
        for bad in [vec![9], vec![2, 1], vec![1, 1]] {
            let mut w = Writer::default();
            Roster::founding(7, vec![seat(1), seat(2)]).write(&mut w);
            w.0.pop();
            w.u8(u8::try_from(bad.len()).unwrap());
            for node in bad {
                w.u64(node).u64(3);
            }
            assert!(Roster::read(&mut Reader(&w.0)).is_err());
        }
    }

    #[test]
    fn a_list_knows_since_when_each_has_its_place() {
        let first = Roster::founding(7, vec![seat(1), seat(2), seat(3)]);
        let two = [seat(1), seat(2)];
        let without = first.next(8, &two).next(9, &two);
        assert_eq!((without.epoch, without.before.len()), (Epoch(3), 0));
        assert_eq!((without.since(Incarnation(2)), without.since(Incarnation(3))), (Some(Epoch(1)), None));
        let again = without.next(10, &first.seats);
        assert_eq!((again.since(Incarnation(3)), again.since(Incarnation(1))), (Some(Epoch(4)), Some(Epoch(1))));
        let same = again.next(11, &[]).next(12, &first.seats);
        assert_eq!((same.epoch, same.seats.len(), same.before.len()), (Epoch(6), 3, 0));
        assert_eq!(same.since(Incarnation(3)), Some(Epoch(4)));
        let leaving = same.next(13, &two);
        assert_eq!(leaving.since(Incarnation(3)), Some(Epoch(4)), "it votes for as long as both lists do");
        assert!(leaving.next(14, &two).given.is_empty());
    }
}
