use super::super::message::Refusal;
use super::*;
use crate::base::{BodyId, Lineage, Stamp, WriteId};

#[derive(Clone, Debug, PartialEq, Eq)]
struct Text(&'static str);

impl Value for Text {
    fn blob(&self) -> Option<BodyId> {
        None
    }
    fn tombstone(&self) -> bool {
        false
    }

    fn ended(&self) -> Self {
        unreachable!("no bucket ends here")
    }
}

struct Bench {
    read: Read<Text>,
    out: Vec<Action<Text, ReadOutcome<Text>>>,
}

fn at(stamp: u64) -> Ballot {
    Ballot { stamp: Stamp(stamp), node: Incarnation(1) }
}

fn slot(stamp: u64, chosen: bool, text: &'static str) -> Slot<Text> {
    let lineage = Lineage::NOTHING.then(WriteId::drawn([text.as_bytes()[0]; 8]), Lineage::IDS_MAX);
    Slot { accepted: at(stamp), chosen, state: Traced { lineage, value: Some(Text(text)) } }
}

impl Bench {
    fn new(prefer: &[u64]) -> Self {
        let nodes: Vec<_> = (1..=3).map(Incarnation).collect();
        let prefer: Vec<_> = prefer.iter().copied().map(Incarnation).collect();
        let read = Read::new(Arc::new(Members::new(Epoch(1), &nodes).unwrap()), &prefer);
        let mut bench = Bench { read, out: Vec::new() };
        bench.begin(1);
        bench
    }

    fn begin(&mut self, round: u64) {
        self.out.clear();
        let fresh = Fresh { ballot: at(round * 100), attempt: Attempt(round), write: WriteId::NOTHING, generation: 0 };
        self.read.begin(fresh, &mut self.out);
    }

    fn reply(&mut self, from: u64, attempt: Attempt, answer: Answer<Text>) {
        let reply = Reply { from: Incarnation(from), epoch: Epoch(1), attempt, answer };
        self.read.on(Event::Reply(reply), &mut self.out);
    }

    fn held(&mut self, from: u64, slot: Slot<Text>) {
        self.reply(from, Attempt(1), Answer::Held(slot, at(0)));
    }

    fn found(&self) -> Option<(u64, &'static str)> {
        match self.out.last() {
            Some(Action::Done(ReadOutcome::Found { ballot, state })) => {
                Some((ballot.stamp.0, state.value.as_ref().map_or("", |t| t.0)))
            }
            _ => None,
        }
    }

    fn sent(&self, what: fn(&Request<Text>) -> bool) -> Vec<u64> {
        let to = |action: &Action<Text, _>| match action {
            Action::Send { to, message } if what(&message.request) => Some(to.0),
            _ => None,
        };
        self.out.iter().filter_map(to).collect()
    }
}

#[test]
fn a_mark_at_the_highest_ballot_decides() {
    let mut b = Bench::new(&[1, 2]);
    assert_eq!(b.sent(|r| *r == Request::Query), [1, 2]);
    b.held(1, slot(5, true, "a"));
    b.held(1, slot(5, true, "a"));
    assert_eq!(b.found(), None);
    b.held(2, slot(5, false, "a"));
    assert_eq!(b.found(), Some((5, "a")));
    assert_eq!(b.sent(|r| matches!(r, Request::Mark(_))), [2]);
    let mut b = Bench::new(&[2, 3]);
    b.held(2, Slot::default());
    b.held(3, Slot::default());
    assert_eq!(b.found(), Some((0, "")), "nothing was ever written");
}

#[test]
fn a_majority_at_one_ballot_decides() {
    let mut b = Bench::new(&[1, 2]);
    b.held(1, slot(7, false, "b"));
    b.held(2, slot(5, true, "a"));
    assert_eq!(b.sent(|r| *r == Request::Query), [1, 2, 3], "a mark below says nothing: ask the third");
    b.held(3, slot(7, false, "b"));
    assert_eq!(b.found(), Some((7, "b")));
    assert_eq!(b.sent(|r| matches!(r, Request::Mark(_))), [1, 3]);
}

#[test]
fn a_tentative_record_is_settled_as_the_prepare_finds_it() {
    let mut b = Bench::new(&[1, 2, 3]);
    b.held(1, slot(7, false, "b"));
    b.held(2, slot(5, true, "a"));
    assert_eq!(b.found(), None);
    b.read.on(Event::Silent { from: Incarnation(3), attempt: Attempt(1) }, &mut b.out);
    assert!(matches!(b.out.last(), Some(Action::Retry { tries: 0 })));
    b.begin(2);
    b.reply(2, Attempt(2), Answer::Promised(at(200), slot(5, true, "a")));
    b.reply(3, Attempt(2), Answer::Promised(at(200), slot(8, false, "c")));
    b.reply(2, Attempt(2).second(), Answer::Stored(at(200)));
    b.reply(3, Attempt(2).second(), Answer::Stored(at(200)));
    assert_eq!(b.found(), Some((200, "c")));
}

#[test]
fn patience_ends_in_settling_or_in_another_round() {
    let mut b = Bench::new(&[1, 2]);
    b.held(1, slot(7, false, "b"));
    b.read.on(Event::Expired { attempt: Attempt(1) }, &mut b.out);
    assert!(matches!(b.out.last(), Some(Action::Retry { tries: 1 })));
    let mut b = Bench::new(&[1, 2]);
    b.held(1, slot(7, false, "b"));
    b.held(2, slot(5, false, "a"));
    b.read.on(Event::Expired { attempt: Attempt(1) }, &mut b.out);
    assert!(matches!(b.out.last(), Some(Action::Retry { tries: 0 })));
    b.read.deadline(&mut b.out);
    assert!(matches!(b.out.last(), Some(Action::Done(ReadOutcome::NoMajority))));
}

#[test]
fn refusals_widen_the_question_and_then_end_the_round() {
    let mut b = Bench::new(&[1, 2]);
    b.reply(1, Attempt(1), Answer::Refused(Refusal::NoRoom));
    b.held(2, slot(5, true, "a"));
    assert_eq!(b.sent(|r| *r == Request::Query), [1, 2, 3]);
    b.reply(3, Attempt(1), Answer::Refused(Refusal::NoRoom));
    assert!(matches!(b.out.last(), Some(Action::Retry { tries: 1 })));
}

#[test]
fn the_settler_begins_with_prepare() {
    let nodes: Vec<_> = (1..=3).map(Incarnation).collect();
    let read = Read::settle(Arc::new(Members::new(Epoch(1), &nodes).unwrap()));
    let mut b = Bench { read, out: Vec::new() };
    b.begin(1);
    assert_eq!(b.sent(|r| matches!(r, Request::Prepare(_))), [1, 2, 3]);
    b.reply(1, Attempt(1), Answer::Refused(Refusal::NoRoom));
    b.reply(2, Attempt(1), Answer::Refused(Refusal::NoRoom));
    assert!(matches!(b.out.last(), Some(Action::Retry { tries: 1 })));
    b.begin(2);
    assert_eq!(b.sent(|r| matches!(r, Request::Prepare(_))), [1, 2, 3], "again, and no Query");
}
