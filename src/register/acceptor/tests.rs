use super::super::bucket::Under;
use super::super::message::Attempt;
use super::*;
use crate::base::{BodyId, Lineage, WriteId};

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
        unreachable!("no bucket ends here")
    }
}

/// The epoch of a first list.
const FIRST: Epoch = Epoch(1);
const LIMITS: Limits = Limits { reserve_step: 100, promises_max: 2 };

/// A replica with a disk of one key per name.
struct Replica {
    acceptor: Acceptor<&'static str>,
    disk: BTreeMap<&'static str, Slot<Text>>,
    node: NodeState,
}

impl Replica {
    fn new() -> Self {
        let node = NodeState { epoch: FIRST, ..NodeState::NEW };
        Replica { acceptor: Acceptor::new(Incarnation(1), node, LIMITS), disk: BTreeMap::new(), node }
    }

    fn restart(&mut self) {
        self.acceptor = Acceptor::new(Incarnation(1), self.node, LIMITS);
    }

    fn ask_in(&mut self, epoch: u64, key: &'static str, request: Request<Text>) -> Reply<Text> {
        let message = Message { epoch: Epoch(epoch), attempt: Attempt(7), request };
        let held = self.disk.get(key).cloned().unwrap_or_default();
        let decision = self.acceptor.decide(&key, &held, false, &message);
        self.node = decision.node.unwrap_or(self.node);
        if let Some(slot) = decision.slot {
            self.disk.insert(key, slot);
        }
        assert_eq!(self.node, self.acceptor.node(), "what is decided is what is made durable");
        assert_eq!((decision.reply.from, decision.reply.attempt), (Incarnation(1), Attempt(7)));
        decision.reply
    }

    fn ask(&mut self, key: &'static str, request: Request<Text>) -> Answer<Text> {
        self.ask_in(FIRST.0, key, request).answer
    }

    fn promised(&mut self, stamp: u64) -> bool {
        matches!(self.ask("k", Request::Prepare(at(stamp))), Answer::Promised(..))
    }

    fn stored(&mut self, stamp: u64, text: &'static str) -> bool {
        matches!(self.ask("k", Request::Store(at(stamp), of(text), Under::default())), Answer::Stored(_))
    }

    fn holds(&self) -> (u64, bool, &'static str) {
        let slot = &self.disk["k"];
        (slot.accepted.stamp.0, slot.chosen, slot.state.value.as_ref().map_or("", |t| t.0))
    }
}

fn at(stamp: u64) -> Ballot {
    Ballot { stamp: Stamp(stamp), node: Incarnation(5) }
}

fn of(text: &'static str) -> Traced<Text> {
    let id = WriteId::drawn([text.as_bytes()[0]; 8]);
    Traced { lineage: Lineage::NOTHING.then(id, Lineage::IDS_MAX), value: Some(Text(text)) }
}

#[test]
fn a_promise_refuses_what_is_below_it_and_itself() {
    let mut r = Replica::new();
    assert!(r.promised(10) && !r.promised(10) && !r.promised(9));
    assert!(!r.stored(9, "a") && r.stored(10, "a"));
    assert_eq!(r.acceptor.promises(), 0, "what is stored says it all");
    assert!(!r.promised(10) && !r.stored(9, "b"));
    let refusal = r.ask("k", Request::Prepare(at(3)));
    assert_eq!(refusal, Answer::Refused(Refusal::Behind(at(10))));
}

#[test]
fn a_store_is_repeated_without_harm_and_a_new_ballot_clears_the_mark() {
    let mut r = Replica::new();
    assert!(r.stored(10, "a"));
    assert_eq!(r.ask("k", Request::Mark(at(10))), Answer::Learned);
    assert!(r.stored(10, "a"));
    assert_eq!(r.holds(), (10, true, "a"));
    assert!(!r.stored(10, "b"), "another record under the same ballot");
    assert!(r.stored(11, "b"));
    assert_eq!(r.holds(), (11, false, "b"));
}

#[test]
fn what_is_chosen_is_learned_and_promises_stay() {
    let mut r = Replica::new();
    assert!(r.promised(20));
    r.ask("k", Request::Mark(at(15)));
    assert!(r.disk.is_empty(), "a mark brings no record");
    r.ask("k", Request::Learn(at(15), of("a")));
    r.ask("k", Request::Learn(at(14), of("b")));
    assert_eq!(r.holds(), (15, true, "a"));
    assert!(!r.promised(19) && r.stored(20, "c"));
}

#[test]
fn a_restart_refuses_what_may_have_been_promised() {
    let mut r = Replica::new();
    assert!(r.promised(10));
    assert_eq!(r.node.reserved, Stamp(110), "durable before the answer");
    assert!(r.promised(110));
    assert_eq!(r.node.reserved, Stamp(110), "no step for what is reserved");
    r.restart();
    assert!(!r.promised(110) && !r.stored(110, "a"));
    let beat = r.ask("k", Request::Query);
    assert_eq!(beat, Answer::Held(Slot::default(), Ballot::last_of(Stamp(110))));
    assert!(r.promised(111));
    assert_eq!(r.node.reserved, Stamp(211));
}

#[test]
fn the_memory_of_promises_is_bounded_by_the_floor() {
    let mut r = Replica::new();
    for key in ["k", "l"] {
        assert!(matches!(r.ask(key, Request::Prepare(at(10))), Answer::Promised(..)));
    }
    assert!(matches!(r.ask("m", Request::Prepare(at(10))), Answer::Refused(_)), "the floor went over it");
    assert!(matches!(r.ask("m", Request::Prepare(at(11))), Answer::Promised(..)));
    assert_eq!((r.acceptor.promises(), r.acceptor.floor()), (1, Stamp(10)));
    assert!(!r.stored(10, "a") && r.stored(11, "a"));
}

#[test]
fn stamps_at_the_end_of_their_range_do_no_harm() {
    let mut r = Replica::new();
    assert!(r.promised(u64::MAX) && !r.promised(u64::MAX));
    assert_eq!(r.node.reserved, Stamp(u64::MAX));
    r.restart();
    assert!(!r.promised(u64::MAX));
}

#[test]
fn a_record_is_not_granted_without_its_blob() {
    let mut r = Replica::new();
    assert_eq!(r.ask("k", Request::Store(at(5), of("blob"), Under::default())), Answer::Refused(Refusal::NoBlob));
    r.ask("k", Request::Learn(at(5), of("blob")));
    assert_eq!(r.holds(), (5, true, "blob"), "what is chosen may come before its blob");
    assert_eq!(r.ask("k", Request::Store(at(5), of("blob"), Under::default())), Answer::Refused(Refusal::NoBlob));
}

#[test]
fn a_higher_epoch_is_entered_with_its_list_and_a_lower_one_refused() {
    let mut r = Replica::new();
    assert!(r.promised(7) && !r.acceptor.answers(Epoch(3)), "its list is not here yet");
    r.node = r.acceptor.enter(Epoch(3));
    assert_eq!((r.node.epoch, r.acceptor.floor()), (Epoch(3), r.node.reserved), "it begins as after a restart");
    assert_eq!(r.ask_in(3, "k", Request::Query).epoch, Epoch(3));
    assert_eq!(r.acceptor.enter(Epoch(2)).epoch, Epoch(3));
    for request in [
        Request::Query,
        Request::Prepare(at(9)),
        Request::Store(at(9), of("a"), Under::default()),
        Request::Learn(at(9), of("a")),
    ] {
        let reply = r.ask_in(2, "k", request);
        assert_eq!((reply.epoch, reply.answer), (Epoch(3), Answer::Refused(Refusal::Epoch)));
    }
    assert!(r.disk.is_empty());
}

#[test]
fn a_node_without_a_list_learns_and_answers_nobody() {
    let mut r = Replica::new();
    r.node = NodeState::NEW;
    r.restart();
    assert!(!r.acceptor.answers(Epoch(0)) && !r.acceptor.answers(FIRST));
    let learned = r.acceptor.learn(&"k", &Slot::default(), at(9), Some(&of("a"))).expect("it is new");
    r.disk.insert("k", learned);
    r.node = r.acceptor.enter(Epoch(2));
    assert!(r.acceptor.answers(FIRST) && !r.promised(9));
    assert_eq!(r.holds(), (9, true, "a"));
}

#[test]
fn a_dropped_tombstone_leaves_its_floor() {
    let mut r = Replica::new();
    assert!(r.stored(9, "gone"));
    assert_eq!(r.acceptor.drop_tombstone(&r.disk["k"], at(9)), None, "tentative");
    r.ask("k", Request::Mark(at(9)));
    assert_eq!(r.acceptor.drop_tombstone(&r.disk["k"], at(8)), None, "another one");
    r.node = r.acceptor.drop_tombstone(&r.disk["k"], at(9)).unwrap();
    r.disk.remove("k");
    assert!(r.node.reserved >= Stamp(9));
    assert!(!r.promised(9) && !r.stored(9, "a") && r.promised(10));
}
