use super::super::message::{Answer, Attempt, Refusal, Reply, Request};
use super::*;
use crate::base::{Lineage, Stamp};

#[derive(Clone, Debug, PartialEq, Eq)]
struct Text(&'static str);

impl Value for Text {
    fn blob(&self) -> Option<BodyId> {
        self.0.starts_with("blob").then_some(BodyId([1; 16]))
    }
    fn tombstone(&self) -> bool {
        self.0 == "gone"
    }

    fn ended(&self) -> Self {
        Text("gone")
    }
}

/// Puts the text when what is there is allowed.
struct Put(&'static str, fn(Option<&Text>) -> bool);

impl Intent<Text> for Put {
    fn decide(&self, found: Option<&Text>) -> Choice<Text> {
        if !(self.1)(found) {
            Choice::Refuse
        } else if self.0 == "gone" && found.is_none() {
            Choice::Keep
        } else {
            Choice::Put(Text(self.0))
        }
    }
}

struct Bench {
    write: Write<Text, Put>,
    out: Vec<Action<Text, WriteOutcome<Text>>>,
    round: u64,
    epoch: u64,
}

fn nodes() -> Vec<Incarnation> {
    (1..=3).map(Incarnation).collect()
}

fn at(stamp: u64) -> Ballot {
    Ballot { stamp: Stamp(stamp), node: Incarnation(1) }
}

fn id(n: u64) -> WriteId {
    WriteId::drawn(n.to_be_bytes())
}

fn slot(stamp: u64, chosen: bool, ids: &[u64], text: &'static str) -> Slot<Text> {
    let lineage = ids.iter().rev().fold(Lineage::NOTHING, |l, n| l.then(id(*n), Lineage::IDS_MAX));
    Slot { accepted: at(stamp), chosen, state: Traced { lineage, value: Some(Text(text)) } }
}

impl Bench {
    fn new(text: &'static str, allowed: fn(Option<&Text>) -> bool) -> Self {
        let members = Arc::new(Members::new(Epoch(1), &nodes()).unwrap());
        let write = Write::new(members, Put(text, allowed));
        let mut bench = Bench { write, out: Vec::new(), round: 0, epoch: 1 };
        bench.begin();
        bench
    }

    /// Round `n` has ballot `100 n`, attempt `n` and write id `n`.
    fn begin(&mut self) {
        self.round += 1;
        self.out.clear();
        let fresh =
            Fresh { ballot: at(self.round * 100), attempt: Attempt(self.round), write: id(self.round), generation: 0 };
        self.write.begin(fresh, &mut self.out);
    }

    fn reply(&mut self, from: u64, attempt: Attempt, answer: Answer<Text>) {
        let reply = Reply { from: Incarnation(from), epoch: Epoch(self.epoch), attempt, answer };
        self.write.on(Event::Reply(reply), &mut self.out);
    }

    fn promise(&mut self, from: u64, slot: Slot<Text>) {
        self.reply(from, Attempt(self.round), Answer::Promised(at(self.round * 100), slot));
    }

    fn stored(&mut self, from: u64) {
        self.reply(from, Attempt(self.round).second(), Answer::Stored(at(self.round * 100)));
    }

    /// The round fails in its second half, and the next one begins.
    fn store_fails(&mut self) {
        self.store_fails_at([1, 2]);
        self.begin();
    }

    fn store_fails_at(&mut self, replicas: [u64; 2]) {
        for from in replicas {
            let refusal = Answer::Refused(Refusal::Behind(at(999)));
            self.reply(from, Attempt(self.round).second(), refusal);
        }
        assert!(matches!(self.out.last(), Some(Action::Retry { .. })));
    }

    /// What is being stored, by whom.
    fn stores(&self) -> Vec<(u64, Traced<Text>)> {
        let store = |action: &Action<Text, _>| match action {
            Action::Send { to, message } => match &message.request {
                Request::Store(_, state, _) => Some((to.0, state.clone())),
                _ => None,
            },
            _ => None,
        };
        self.out.iter().filter_map(store).collect()
    }

    fn outcome(&self) -> Option<&WriteOutcome<Text>> {
        match self.out.last() {
            Some(Action::Done(outcome)) => Some(outcome),
            _ => None,
        }
    }
}

#[test]
fn a_quiet_write() {
    let mut b = Bench::new("a", |_| true);
    assert_eq!(b.out.len(), 3, "Prepare to all");
    b.promise(1, Slot::default());
    b.promise(1, Slot::default());
    b.promise(9, Slot::default());
    assert!(b.stores().is_empty(), "one answer per replica, and none of strangers");
    b.promise(2, slot(5, true, &[77], "old"));
    assert_eq!(b.stores().len(), 3);
    assert_eq!(b.stores()[0].1.lineage.ids()[..2], [id(1), id(77)]);
    b.promise(3, Slot::default());
    b.stored(1);
    b.stored(1);
    assert_eq!(b.outcome(), None);
    b.stored(3);
    let replaced = slot(5, true, &[77], "old").state;
    assert_eq!(b.outcome(), Some(&WriteOutcome::Written { id: id(1), replaced, ballot: at(100), replicas: 2 }));
    assert_eq!(b.out.len(), 3 + 3 + 3 + 1, "Prepare, Store, Mark, Done");
    b.stored(2);
    b.write.deadline(&mut b.out);
    assert_eq!(b.out.len(), 10, "nothing comes after the end");
}

#[test]
fn a_refusal_rests_on_a_chosen_state() {
    let none: fn(Option<&Text>) -> bool = |found| found.is_none();
    let mut b = Bench::new("a", none);
    b.promise(1, slot(5, true, &[7], "old"));
    b.promise(2, slot(6, false, &[8], "new"));
    assert_eq!(b.stores()[0].1, slot(6, false, &[8], "new").state, "stored again, lineage and all");
    b.stored(2);
    b.stored(1);
    assert_eq!(b.outcome(), Some(&WriteOutcome::Refused(slot(6, false, &[8], "new").state)));
    let mut b = Bench::new("a", none);
    b.promise(1, slot(6, false, &[8], "new"));
    b.promise(2, slot(6, true, &[8], "new"));
    assert_eq!(b.outcome(), Some(&WriteOutcome::Refused(slot(6, true, &[8], "new").state)));
    let mut b = Bench::new("gone", |_| true);
    b.promise(1, Slot::default());
    b.promise(2, Slot::default());
    assert_eq!(b.outcome(), Some(&WriteOutcome::Kept(Traced::NOTHING)));
}

#[test]
fn a_retry_looks_for_its_attempts() {
    let old = || slot(5, true, &[77], "old");
    let retried = |found: Slot<Text>| {
        let mut b = Bench::new("a", |_| true);
        b.promise(1, old());
        b.promise(2, old());
        b.store_fails();
        b.promise(1, old());
        b.promise(3, found);
        b
    };
    // Took effect, with another write on top of it: that one is stored again.
    let mut b = retried(slot(150, false, &[80, 1, 77], "later"));
    assert_eq!(b.stores()[0].1, slot(150, false, &[80, 1, 77], "later").state);
    b.stored(1);
    b.stored(2);
    let replaced = old().state;
    assert_eq!(b.outcome(), Some(&WriteOutcome::Written { id: id(1), replaced, ballot: at(200), replicas: 2 }));
    // Not part of the found history: a new attempt with a new id, on what was found.
    let mut b = retried(slot(150, true, &[80, 77], "later"));
    assert_eq!(b.stores()[0].1.lineage.ids()[..3], [id(2), id(80), id(77)]);
    b.store_fails();
    // The first attempt is adopted after all.
    b.promise(1, slot(250, false, &[81, 1, 77], "other"));
    b.promise(2, slot(5, true, &[77], "old"));
    assert_eq!(b.stores()[0].1.id(), id(81));
    // On top of it stands what is known to be chosen: nothing need be stored again.
    let b = retried(slot(150, true, &[80, 1, 77], "later"));
    let replaced = old().state;
    assert_eq!(b.outcome(), Some(&WriteOutcome::Written { id: id(1), replaced, ballot: at(150), replicas: 2 }));
    assert!(b.stores().is_empty());
    // Its base died with it, and what led to both is still named: no part of that history either.
    let b = retried(slot(150, true, &[80], "later"));
    assert_eq!(b.stores()[0].1.lineage.ids()[..2], [id(2), id(80)], "both histories begin with nothing");
    // Nothing in common: nobody can tell.
    let many: Vec<u64> = (80..80 + Lineage::IDS_MAX as u64).collect();
    assert_eq!(retried(slot(150, true, &many, "later")).outcome(), Some(&WriteOutcome::Unknown));
}

#[test]
fn an_empty_base_says_nothing_across_epochs() {
    for (epoch, known) in [(1, true), (2, false)] {
        let mut b = Bench::new("a", |_| true);
        b.promise(1, Slot::default());
        b.promise(2, Slot::default());
        b.write.renew(Arc::new(Members::new(Epoch(epoch), &nodes()).unwrap()));
        b.store_fails();
        b.epoch = epoch;
        b.promise(1, Slot::default());
        b.promise(2, Slot::default());
        assert_eq!(b.outcome() == Some(&WriteOutcome::Unknown), !known);
    }
}

#[test]
fn the_deadline_tells_what_is_known() {
    let mut b = Bench::new("a", |_| true);
    b.promise(1, Slot::default());
    b.write.deadline(&mut b.out);
    assert_eq!(b.outcome(), Some(&WriteOutcome::NoMajority));
    let mut b = Bench::new("a", |_| true);
    for from in [1, 2] {
        b.reply(from, Attempt(1), Answer::Refused(Refusal::Behind(at(999))));
    }
    b.begin();
    b.write.deadline(&mut b.out);
    assert_eq!(b.outcome(), Some(&WriteOutcome::Contended), "others came first, and nothing was sent");
    let mut b = Bench::new("a", |_| true);
    b.promise(1, Slot::default());
    b.promise(2, Slot::default());
    b.write.deadline(&mut b.out);
    assert_eq!(b.outcome(), Some(&WriteOutcome::Unknown));
}

#[test]
fn a_later_epoch_begins_the_round_again() {
    let mut b = Bench::new("a", |_| true);
    b.promise(1, Slot::default());
    b.epoch = 2;
    b.promise(2, Slot::default());
    assert!(matches!(b.out.last(), Some(Action::Renew { epoch: Epoch(2) })));
    b.write.renew(Arc::new(Members::new(Epoch(2), &nodes()).unwrap()));
    b.begin();
    b.epoch = 1;
    b.promise(1, Slot::default());
    b.promise(2, Slot::default());
    assert!(b.stores().is_empty(), "answers from the epoch before count for nothing");
    b.epoch = 2;
    b.promise(1, Slot::default());
    b.promise(2, Slot::default());
    assert_eq!(b.stores().len(), 3);
}

#[test]
fn a_record_goes_where_its_blob_is() {
    let body = BodyId([1; 16]);
    let mut b = Bench::new("blob", |_| true);
    b.write.on(Event::Holds { node: Incarnation(2), body }, &mut b.out);
    b.promise(1, Slot::default());
    b.promise(2, Slot::default());
    assert_eq!(b.stores().iter().map(|(to, _)| *to).collect::<Vec<_>>(), [2]);
    b.write.on(Event::Holds { node: Incarnation(3), body: BodyId([2; 16]) }, &mut b.out);
    b.write.on(Event::Holds { node: Incarnation(3), body }, &mut b.out);
    assert_eq!(b.stores().iter().map(|(to, _)| *to).collect::<Vec<_>>(), [2, 3]);
    // Lost on the way there: shipped again.
    b.reply(3, Attempt(1).second(), Answer::Refused(Refusal::NoBlob));
    assert!(matches!(b.out.last(), Some(Action::Ship { to: Incarnation(3), .. })));
    b.stored(2);
    b.stored(3);
    assert!(matches!(b.outcome(), Some(WriteOutcome::Written { replicas: 2, .. })));
}

#[test]
fn what_keeps_the_body_of_what_it_replaces_goes_to_all() {
    let mut bench = Bench::new("blob, with another list", |_| true);
    bench.promise(1, slot(5, true, &[7], "blob"));
    bench.promise(2, slot(5, true, &[7], "blob"));
    let to: Vec<u64> = bench.stores().into_iter().map(|(to, _)| to).collect();
    assert_eq!(to, [1, 2, 3], "nobody has to say first that the body is there");
}

#[test]
fn attempts_are_bounded() {
    let mut b = Bench::new("a", |_| true);
    for _ in 0..OWN_MAX {
        b.promise(1, slot(5, true, &[999], "old"));
        b.promise(2, slot(5, true, &[999], "old"));
        b.store_fails();
    }
    b.promise(1, slot(5, true, &[999], "old"));
    b.promise(2, slot(5, true, &[999], "old"));
    assert_eq!(b.outcome(), Some(&WriteOutcome::Unknown));
}

/// A write of which one replica stores the attempt, and that then hears of the end of its bucket.
fn ended(base: Slot<Text>) -> Bench {
    let mut b = Bench::new("a", |_| true);
    b.promise(1, base.clone());
    b.promise(2, base);
    b.stored(1);
    b.store_fails_at([2, 3]);
    b.out.clear();
    b.write.shut(&mut b.out);
    assert!(b.out.is_empty(), "what was sent is looked for first");
    b.begin();
    b
}

#[test]
fn what_was_sent_before_its_bucket_went_is_kept_out_by_a_tombstone_that_does_not_name_it() {
    // It lies where it was stored, and was never chosen.
    let mut b = ended(slot(5, true, &[77], "old"));
    b.promise(1, slot(100, false, &[1, 77], "a"));
    b.promise(2, slot(5, true, &[77], "old"));
    let (stored, value) = (b.stores()[0].1.clone(), Some(Text("gone")));
    assert_eq!((stored.lineage.ids(), stored.value), (&[id(2)][..], value));
    b.stored(1);
    assert_eq!(b.outcome(), None, "it may come to be chosen yet");
    b.stored(2);
    assert_eq!(b.outcome(), Some(&WriteOutcome::Gone));
    // A majority has nothing of it: what they have is stored again above it.
    let mut b = ended(slot(5, true, &[77], "gone"));
    b.promise(2, slot(5, true, &[77], "gone"));
    b.promise(3, slot(5, true, &[77], "gone"));
    assert_eq!(b.stores()[0].1, slot(5, true, &[77], "gone").state);
    b.stored(2);
    b.stored(3);
    assert_eq!(b.outcome(), Some(&WriteOutcome::Gone));
    // Somebody else has put something in, which did not come to be chosen either.
    let mut b = ended(slot(5, true, &[77], "gone"));
    b.promise(2, slot(150, false, &[80, 77], "b"));
    b.promise(3, slot(5, true, &[77], "gone"));
    assert_eq!(b.stores()[0].1.lineage.ids(), [id(2)]);
}

#[test]
fn who_may_have_seen_what_was_sent_before_its_bucket_went_leaves_it_unknown() {
    // It was deleted, or replaced: by somebody who may have taken it for chosen.
    for text in ["gone", "b"] {
        let mut b = ended(slot(5, true, &[77], "old"));
        b.promise(1, slot(150, false, &[80, 1, 77], text));
        b.promise(2, slot(5, true, &[77], "old"));
        assert_eq!(b.outcome(), Some(&WriteOutcome::Unknown), "{text}");
    }
}

#[test]
fn what_lies_behind_the_end_of_its_bucket_is_cleared_and_nothing_is_put_there() {
    let cleared = || {
        let members = Arc::new(Members::new(Epoch(1), &nodes()).unwrap());
        let write = Write::new(members, Put("a", |_| true)).ended();
        let mut bench = Bench { write, out: Vec::new(), round: 0, epoch: 1 };
        bench.begin();
        bench
    };
    let mut b = cleared();
    b.promise(1, slot(5, false, &[78, 77], "old"));
    b.promise(2, Slot::default());
    assert_eq!((b.stores()[0].1.lineage.ids(), b.stores()[0].1.value.clone()), (&[id(1)][..], Some(Text("gone"))));
    b.stored(1);
    b.stored(2);
    assert_eq!(b.outcome(), Some(&WriteOutcome::Gone));
    let mut b = cleared();
    b.promise(1, slot(5, true, &[78], "gone"));
    b.promise(2, slot(5, true, &[78], "gone"));
    assert!(b.stores().is_empty() && b.outcome() == Some(&WriteOutcome::Gone));
}
