//! A drive by script: what it says is to be done, in which order, and when.

use super::super::{Choice, Intent, Read, ReadOutcome, Reply, Traced, Write, WriteOutcome};
use super::*;
use crate::base::record::Wrap;
use crate::base::{
    Ballot, BodyAt, BucketId, BucketRecord, Etag, KekId, Lineage, ObjectHead, ObjectRecord, Record, Stamp, State,
    WriteId,
};
use crate::wire::votes::{Told, Voted, VotedAnswer};

type Registered = Arc<Record>;

const ME: Incarnation = Incarnation(2);
const A: Incarnation = Incarnation(1);
const B: Incarnation = Incarnation(3);
const ROUND: Duration = Duration::from_millis(200);
const NEVER: Duration = Duration::MAX;
const BODY: BodyId = BodyId([7; 16]);

/// Puts a record, whatever is there.
#[derive(Clone, Debug)]
struct Put(Registered);

impl Intent<Registered> for Put {
    fn decide(&self, _: Option<&Registered>) -> Choice<Registered> {
        Choice::Put(Arc::clone(&self.0))
    }
}

/// A drive, what it said, and the clock.
struct Bench<M: Machine<Registered>> {
    drive: Drive<Registered, M>,
    round: u64,
    now: Duration,
    sent: Vec<(Incarnation, Message<Registered>, Option<Slot<Registered>>)>,
    shipped: Vec<(Incarnation, BodyId)>,
    end: Option<M::End>,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn ballot(stamp: u64) -> Ballot {
    Ballot { stamp: Stamp(stamp), node: ME }
}

fn record(state: State) -> Registered {
    Arc::new(Record { ballot: Ballot::ZERO, lineage: Lineage::NOTHING, written_ms: 1, state })
}

/// An object with its body in a blob.
fn object() -> Registered {
    let wrap = Wrap { kek: KekId([3; 16]), nonce: [4; 12], sealed: [5; 48] };
    let head = ObjectHead { content_type: "text/plain".to_owned(), ..ObjectHead::default() };
    let at = BodyAt::Blob;
    record(State::Object(Box::new(ObjectRecord {
        number: 1,
        len: 9,
        etag: Etag::Digest,
        checksum: None,
        head,
        body: BODY,
        sealed_len: 25,
        digest: [6; 32],
        wrap,
        at,
        uploads: crate::base::Uploads::NONE,
    })))
}

/// A slot with a record that was stored under a ballot.
fn slot(stamp: u64, chosen: bool, value: Registered) -> Slot<Registered> {
    let lineage = Lineage::NOTHING.then(WriteId::drawn(stamp.to_be_bytes()), Lineage::IDS_MAX);
    Slot { accepted: ballot(stamp), chosen, state: Traced { lineage, value: Some(value) } }
}

fn members(epoch: u64) -> Arc<Members> {
    Arc::new(Members::new(Epoch(epoch), &[A, ME, B]).expect("a list"))
}

fn write(value: Registered) -> Bench<Write<Registered, Put>> {
    Bench::new(Write::new(members(1), Put(value)))
}

fn read() -> Bench<Read<Registered>> {
    Bench::new(Read::new(members(1), &[ME, A]))
}

impl<M: Machine<Registered>> Bench<M> {
    fn new(machine: M) -> Self {
        let drive = Drive::new(ME, machine, ROUND);
        let (sent, shipped) = (Vec::new(), Vec::new());
        Bench { drive, round: 0, now: Duration::ZERO, sent, shipped, end: None }
    }

    /// Does what is to be done at once, with this node holding `have`; what it waits for then.
    fn run(&mut self, have: Option<&Slot<Registered>>) -> Do<Registered, ()> {
        loop {
            match self.drive.step() {
                Do::Begin => {
                    self.round += 1;
                    let (ballot, attempt) = (ballot(self.round * 100), Attempt(self.round));
                    let fresh =
                        Fresh { ballot, attempt, write: WriteId::drawn(self.round.to_be_bytes()), generation: 0 };
                    self.drive.begin(fresh, have.cloned(), self.now);
                }
                Do::Send { to, message } => {
                    let have = self.drive.have_for(&message).cloned();
                    self.sent.push((to, message, have));
                }
                Do::Ship { to, body, .. } => self.shipped.push((to, body)),
                Do::Done(end) => {
                    self.end = Some(end);
                    return Do::Done(());
                }
                Do::Wait { until } => return Do::Wait { until },
                Do::Pause { until } => return Do::Pause { until },
                Do::Lost => return Do::Lost,
                Do::Teach { .. } => unreachable!("no fence"),
                Do::Renew { epoch } => return Do::Renew { epoch },
            }
        }
    }

    /// Who was sent something since the last look, and what kind.
    fn sent(&mut self) -> Vec<(Incarnation, &'static str)> {
        let kind = |request: &Request<Registered>| match request {
            Request::Query => "query",
            Request::Prepare(_) => "prepare",
            Request::Store(..) => "store",
            Request::Learn(..) => "learn",
            Request::Mark(_) => "mark",
        };
        self.sent.drain(..).map(|(to, message, _)| (to, kind(&message.request))).collect()
    }

    fn reply(&mut self, from: Incarnation, half: u8, answer: Answer<Registered>) {
        let attempt = if half == 1 { Attempt(self.round) } else { Attempt(self.round).second() };
        self.drive.on(Event::Reply(Reply { from, epoch: Epoch(1), attempt, answer }));
    }

    fn held(&mut self, from: Incarnation, slot: &Slot<Registered>) {
        self.reply(from, 1, Answer::Held(slot.clone(), slot.accepted));
    }

    fn promised(&mut self, from: Incarnation, slot: &Slot<Registered>) {
        self.reply(from, 1, Answer::Promised(ballot(self.round * 100), slot.clone()));
    }

    fn stored(&mut self, from: Incarnation) {
        self.reply(from, 2, Answer::Stored(ballot(self.round * 100)));
    }

    /// A majority promises, and holds nothing.
    fn prepared(&mut self) {
        self.run(None);
        self.promised(ME, &Slot::default());
        self.promised(A, &Slot::default());
        self.run(None);
        self.sent.clear();
    }
}

#[test]
fn this_node_is_asked_first_and_the_end_comes_last() {
    let mut b = write(record(bucket()));
    assert!(matches!(b.run(None), Do::Wait { .. }));
    assert_eq!(b.sent(), [(ME, "prepare"), (A, "prepare"), (B, "prepare")]);
    b.promised(B, &Slot::default());
    b.promised(A, &Slot::default());
    b.run(None);
    assert_eq!(b.sent(), [(ME, "store"), (A, "store"), (B, "store")]);
    b.stored(ME);
    b.stored(B);
    assert!(matches!(b.run(None), Do::Done(())));
    assert_eq!(b.sent(), [(ME, "mark"), (A, "mark"), (B, "mark")], "the marks are told before the end");
    assert!(matches!(b.end, Some(WriteOutcome::Written { replicas: 2, .. })));
}

#[test]
fn a_state_that_keeps_the_body_of_what_it_replaces_goes_to_all() {
    for (there, to) in [
        (slot(5, true, object()), vec![(ME, "store"), (A, "store"), (B, "store")]),
        // A new body goes to those that are known to have it.
        (slot(5, true, record(bucket())), vec![]),
        (Slot::default(), vec![]),
    ] {
        let mut b = write(object());
        b.run(None);
        b.sent();
        b.promised(B, &there);
        b.promised(A, &there);
        b.run(None);
        assert_eq!(b.sent(), to);
    }
}

#[test]
fn nobody_else_is_asked_what_he_holds_before_this_node_has_said_it() {
    let mut b = read();
    assert!(matches!(b.run(None), Do::Wait { .. }));
    assert_eq!(b.sent(), [(ME, "query")]);
    b.reply(A, 1, Answer::Refused(Refusal::Epoch));
    assert!(matches!(b.run(None), Do::Wait { .. }), "the answer of another one is none of this node");
    assert_eq!(b.sent(), []);
    let mine = slot(5, true, record(bucket()));
    b.held(ME, &mine);
    b.run(None);
    let have: Vec<_> = b.sent.iter().map(|(to, _, have)| (*to, have.as_ref() == Some(&mine))).collect();
    assert_eq!(have, [(A, true), (B, true)]);
    // Where this node cannot say it, the others are asked as well.
    let mut b = read();
    b.run(None);
    b.sent.clear();
    b.drive.on(Event::Silent { from: ME, attempt: Attempt(1) });
    b.run(None);
    assert_eq!(b.sent(), [(A, "query")]);
}

#[test]
fn an_answer_without_its_record_is_completed_by_what_this_node_holds() {
    let mine = slot(5, false, record(bucket()));
    let mut b = read();
    b.run(None);
    b.held(ME, &mine);
    b.run(None);
    let (_, message, have) = b.sent.pop().expect("the peer is asked");
    let answer = Answer::Held(mine.clone(), mine.accepted);
    let reply = Reply { from: A, epoch: Epoch(1), attempt: message.attempt, answer };
    let voted = Voted::of(reply, have.as_ref().map(|slot| slot.accepted));
    assert_eq!(voted.answer, VotedAnswer::Held(Told::Same(mine.accepted, false), mine.accepted), "it does not travel");
    b.drive.on(Event::Reply(voted.reply(A, have.as_ref()).expect("it is the record that this node holds")));
    assert!(matches!(b.run(None), Do::Done(())));
    assert_eq!(b.end, Some(ReadOutcome::Found { ballot: mine.accepted, state: mine.state.clone() }));
    // What is known at once goes with a Prepare; with a Store, which brings no record back, it does not.
    let mut b = write(record(bucket()));
    b.run(Some(&mine));
    let have: Vec<_> = b.sent.drain(..).map(|(to, _, have)| (to, have)).collect();
    assert_eq!(have[1..], [(A, Some(mine.clone())), (B, Some(mine.clone()))]);
    b.promised(ME, &mine);
    b.promised(A, &mine);
    b.run(Some(&mine));
    assert!(b.sent.iter().all(|(_, _, have)| have.is_none()));
}

#[test]
fn a_round_expires_and_the_next_one_begins_after_a_pause() {
    let mut b = write(record(bucket()));
    b.now = ms(30);
    assert!(matches!(b.run(None), Do::Wait { until } if until == ms(230)));
    b.drive.tick(ms(229), NEVER);
    assert!(matches!(b.run(None), Do::Wait { until } if until == ms(230)), "not yet");
    b.drive.tick(ms(230), NEVER);
    assert!(matches!(b.run(None), Do::Lost));
    assert!(matches!(b.run(None), Do::Lost), "it is said until it is done");
    b.drive.retry(ms(230), false);
    let Do::Pause { until } = b.run(None) else { panic!("a pause") };
    assert!((ms(232)..ms(300)).contains(&until), "{until:?}");
    b.sent.clear();
    b.promised(A, &Slot::default());
    b.drive.tick(until - ms(1), NEVER);
    assert!(matches!(b.run(None), Do::Pause { .. }), "not yet, and what comes late changes nothing");
    (b.now, b.round) = (until, 1);
    b.drive.tick(until, NEVER);
    assert!(matches!(b.run(None), Do::Wait { until: expires } if expires == until + ROUND));
    assert_eq!((b.round, b.sent()), (2, vec![(ME, "prepare"), (A, "prepare"), (B, "prepare")]));
}

#[test]
fn a_read_that_settles_begins_at_once() {
    let mut b = read();
    b.run(None);
    b.held(ME, &slot(7, false, record(bucket())));
    b.held(A, &slot(5, true, record(bucket())));
    b.drive.on(Event::Silent { from: B, attempt: Attempt(1) });
    assert!(matches!(b.run(None), Do::Lost));
    b.sent.clear();
    b.drive.retry(b.now, false);
    assert!(matches!(b.run(None), Do::Wait { .. }));
    assert_eq!(b.sent(), [(ME, "prepare"), (A, "prepare"), (B, "prepare")]);
}

#[test]
fn who_has_nobody_to_retry_with_ends() {
    let mut b = write(record(bucket()));
    b.run(None);
    for from in [A, B] {
        b.drive.on(Event::Silent { from, attempt: Attempt(1) });
    }
    assert!(matches!(b.run(None), Do::Lost));
    b.drive.retry(b.now, true);
    assert!(matches!(b.run(None), Do::Done(())));
    assert_eq!(b.end, Some(WriteOutcome::NoMajority));
}

#[test]
fn a_majority_without_room_ends_it_early() {
    let refused = Answer::Refused(Refusal::NoRoom);
    let mut b = write(record(bucket()));
    b.prepared();
    b.reply(A, 2, refused.clone());
    b.drive.on(Event::Silent { from: B, attempt: Attempt(1).second() });
    b.run(None);
    b.drive.retry(b.now, false);
    let Do::Pause { until } = b.run(None) else { panic!("one may answer, and one may have room by then") };
    b.drive.tick(until, NEVER);
    b.prepared();
    b.reply(A, 2, refused.clone());
    b.reply(B, 2, refused);
    assert!(matches!(b.run(None), Do::Lost));
    b.drive.retry(b.now, false);
    assert!(matches!(b.run(None), Do::Done(())));
    assert_eq!(b.end, Some(WriteOutcome::Unknown), "this node may have stored it");
}

#[test]
fn a_round_that_a_fence_refused_is_lost_with_the_last_answer_whatever_that_says() {
    let mut b = write(record(bucket()));
    b.prepared();
    for from in [A, B] {
        b.drive.on(Event::Fenced { node: from, attempt: Attempt(1).second() });
    }
    assert!(matches!(b.run(None), Do::Wait { .. }), "what all refuse was never stored: the last one is waited for");
    b.stored(ME);
    assert!(matches!(b.run(None), Do::Lost), "and not until the round expires");
}

#[test]
fn a_later_list_is_waited_for_and_the_next_round_is_under_it() {
    let mut b = write(record(bucket()));
    b.run(None);
    b.sent.clear();
    let answer = Answer::Refused(Refusal::Epoch);
    b.drive.on(Event::Reply(Reply { from: A, epoch: Epoch(2), attempt: Attempt(1), answer }));
    assert!(matches!(b.run(None), Do::Renew { epoch: Epoch(2) }));
    b.drive.tick(ms(900), NEVER);
    assert!(matches!(b.run(None), Do::Renew { epoch: Epoch(2) }), "the round does not begin without it");
    assert!(!b.drive.renew(members(1)), "it is the one that was refused");
    assert!(matches!(b.run(None), Do::Renew { epoch: Epoch(2) }));
    assert!(b.drive.renew(members(2)));
    b.drive.tick(ms(900), NEVER);
    assert!(matches!(b.run(None), Do::Wait { .. }));
    assert!(b.sent.iter().all(|(_, message, _)| message.epoch == Epoch(2)));
    assert_eq!(b.sent().len(), 3);
    // Without it the time comes to an end.
    let answer = Answer::Refused(Refusal::Epoch);
    b.drive.on(Event::Reply(Reply { from: A, epoch: Epoch(3), attempt: Attempt(2), answer }));
    assert!(matches!(b.run(None), Do::Renew { epoch: Epoch(3) }));
    b.drive.tick(ms(901), ms(901));
    assert!(matches!(b.run(None), Do::Done(())));
    assert_eq!(b.end, Some(WriteOutcome::NoMajority));
}

#[test]
fn a_body_goes_to_a_replica_once_at_a_time() {
    let mut b = Bench::new(Read::settle(members(1)));
    b.run(None);
    for from in [ME, A] {
        b.promised(from, &slot(5, false, object()));
    }
    b.run(None);
    b.reply(B, 2, Answer::Refused(Refusal::NoBlob));
    b.reply(B, 2, Answer::Refused(Refusal::NoBlob));
    b.reply(A, 2, Answer::Refused(Refusal::NoBlob));
    b.run(None);
    assert_eq!(b.shipped, [(B, BODY), (A, BODY)]);
    let carrying: Vec<_> = b.drive.carrying().map(|(to, body, record)| (to, body, record.blob())).collect();
    assert_eq!(carrying, [(B, BODY, Some(BODY)), (A, BODY, Some(BODY))]);
    b.sent.clear();
    b.drive.on(Event::Holds { node: B, body: BODY });
    b.run(None);
    assert_eq!(b.sent(), [(B, "store")], "who holds it is asked again");
    b.reply(B, 2, Answer::Refused(Refusal::NoBlob));
    b.run(None);
    assert_eq!(b.shipped[2..], [(B, BODY)], "and sent it again, if it has lost it meanwhile");
    for node in [A, B] {
        b.drive.on(Event::Lacks { node, body: BODY });
    }
    assert!(matches!(b.run(None), Do::Lost), "what did not get there is a refusal");
    assert_eq!(b.drive.carrying().count(), 0);
}

#[test]
fn a_decision_ends_when_its_time_is_up_and_says_what_is_known() {
    let mut b = read();
    b.run(None);
    b.drive.tick(ms(50), ms(50));
    assert!(matches!(b.run(None), Do::Done(())), "even while this node is asked");
    assert_eq!(b.end, Some(ReadOutcome::NoMajority));
    let mut b = write(record(bucket()));
    b.prepared();
    b.drive.tick(ms(10_000), ms(10_001));
    assert!(matches!(b.run(None), Do::Lost), "it has more time than it had: the round is over, and no more");
    b.drive.tick(ms(10_001), ms(10_001));
    assert!(matches!(b.run(None), Do::Done(())));
    assert_eq!(b.end, Some(WriteOutcome::Unknown), "something was sent to be stored");
}

#[test]
fn pauses_follow_the_rounds_and_are_short_for_who_has_something_at_stake() {
    for tries in [1, 2, 5, 31, u32::MAX] {
        for random in [0, 1, u64::MAX / 3, u64::MAX] {
            for took in [ms(0), ms(3), ms(10), ms(5_000)] {
                let round = took.clamp(ROUND_FROM, ROUND_TO);
                let [free, at_stake] = [false, true].map(|stake| pause(tries, took, stake, random));
                assert!((round..=round * PAUSE_ROUNDS.0).contains(&free));
                assert!((round..=round * PAUSE_ROUNDS.1).contains(&at_stake));
            }
        }
    }
    let spread: std::collections::BTreeSet<_> =
        (0..100u64).map(|i| pause(3, ms(3), true, i.wrapping_mul(0x9E37_79B9_7F4A_7C15))).collect();
    assert!(spread.len() > 90, "nodes do not come back at the same moment");
}

/// Something that is there.
fn bucket() -> State {
    State::Bucket(BucketRecord::made(BucketId(7), 1))
}
