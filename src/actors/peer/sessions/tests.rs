use super::*;
use crate::actors::peer::answers::answer;
use crate::actors::peer::list_watch::ListWatch;
use crate::actors::peer::store::StoreRecipients;
use crate::actors::testing::{Shelf, ShelfActor, identity, key, node_view, record, ring};
use crate::base::{ClusterId, Epoch, Incarnation, Secret};
use crate::register::Standing;
use crate::seal::Keyring;
use crate::seal::session::Hello;
use crate::wire::frame::read_welcome;
use crate::wire::{Answer, CALL_PATH, Call};
use actix::Actor;

struct Caller {
    session: SessionId,
    keys: SessionKeys,
}

fn gate() -> PeerGate {
    let names = ["n1", "n2", "n3"].map(|name| NodeName::parse(name).unwrap());
    PeerGate::new(node_view(identity("n1", 1)), ring(7).peer_keys(), names, PeerBytes::default())
}

fn hello(from: &str, to: &str) -> (Vec<u8>, seal::session::PendingHello) {
    let me = identity(from, 2);
    let hello = Hello { from, to, cluster: me.cluster, incarnation: 2, nonce: seal::random() };
    (ring(7).peer_keys().offers().remove(0).hello(hello), hello.pending())
}

fn call(gate: &PeerGate) -> Caller {
    let (bytes, pending) = hello("n2", "n1");
    let answer = gate.hello(&bytes).unwrap();
    let (session, proof) = read_welcome(&answer).unwrap();
    let (info, keys) = ring(7).peer_keys().offers().remove(0).complete(pending, proof).unwrap();
    assert_eq!(info.name.as_str(), "n1");
    Caller { session, keys }
}

impl Caller {
    fn frame(&self, path: &str, counter: u64) -> Vec<u8> {
        let sealed =
            self.keys.send.seal(counter, &place(Way::Request, path, self.session), Call::Offer(vec![]).encode());
        Frame { session: self.session, counter, sealed: &sealed }.encode()
    }
}

/// What is said at once.
fn admit(gate: &PeerGate, session: SessionId, counter: u64, bytes: u64) -> Result<Admitted, Refusal> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("runtime")
        .block_on(gate.admit(session, counter, bytes))
}

fn take(gate: &PeerGate, path: &str, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let frame = Frame::decode(bytes).map_err(|_| Refusal::Malformed)?;
    let admitted = admit(gate, frame.session, frame.counter, 0)?;
    gate.open(&admitted, path, &frame)
}

#[test]
fn a_frame_is_taken_once_and_only_where_it_belongs() {
    let gate = gate();
    let caller = call(&gate);
    let frame = caller.frame(CALL_PATH, 1);
    assert_eq!(take(&gate, "/elsewhere", &frame), Err(Refusal::BadFrame), "another path");
    for bit in 0..frame.len() * 8 {
        let mut bad = frame.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(take(&gate, CALL_PATH, &bad).is_err(), "bit {bit}");
    }
    for end in 0..frame.len() {
        assert!(take(&gate, CALL_PATH, &frame[..end]).is_err(), "cut at {end}");
    }
    assert!(take(&gate, CALL_PATH, &frame).is_ok(), "refused ones used no counter up");
    assert_eq!(take(&gate, CALL_PATH, &frame), Err(Refusal::BadFrame), "replayed");
    assert!(take(&gate, CALL_PATH, &caller.frame(CALL_PATH, 9)).is_ok(), "gaps are fine");
    assert_eq!(take(&gate, CALL_PATH, &caller.frame(CALL_PATH, 5)), Err(Refusal::BadFrame), "overtaken");
    let other = call(&gate);
    let moved = Frame { session: other.session, ..Frame::decode(&frame).unwrap() }.encode();
    assert_eq!(take(&gate, CALL_PATH, &moved), Err(Refusal::BadFrame), "another session");
}

#[test]
fn two_copies_of_a_frame_at_once_are_taken_once() {
    let gate = gate();
    let caller = call(&gate);
    let bytes = caller.frame(CALL_PATH, 1);
    let frame = Frame::decode(&bytes).unwrap();
    let both = [admit(&gate, frame.session, 1, 0).unwrap(), admit(&gate, frame.session, 1, 0).unwrap()];
    let taken = both.map(|admitted| gate.open(&admitted, CALL_PATH, &frame).is_ok());
    assert_eq!(taken, [true, false]);
}

#[test]
fn strangers_are_refused_by_name_ring_and_receiver() {
    let gate = gate();
    assert_eq!(gate.hello(&hello("n9", "n1").0), Err(Refusal::NotAPeer));
    assert_eq!(gate.hello(&hello("n2", "n3").0), Err(Refusal::WrongReceiver));
    assert_eq!(gate.hello(b"noise"), Err(Refusal::Malformed));
    let me = identity("n2", 2);
    let foreign = |cluster, incarnation| Hello { from: "n2", to: "n1", cluster, incarnation, nonce: [1; 32] };
    assert_eq!(
        gate.hello(&ring(8).peer_keys().offers().remove(0).hello(foreign(me.cluster, 2))),
        Err(Refusal::ForeignKey)
    );
    let other = ClusterId([9; 16]);
    assert_eq!(
        gate.hello(&ring(7).peer_keys().offers().remove(0).hello(foreign(other, 2))),
        Err(Refusal::ForeignCluster)
    );
    assert_eq!(gate.hello(&ring(7).peer_keys().offers().remove(0).hello(foreign(me.cluster, 1))), Err(Refusal::Itself));
}

#[test]
fn replayed_hellos_cannot_push_out_a_session_in_use() {
    let gate = gate();
    let caller = call(&gate);
    assert!(take(&gate, CALL_PATH, &caller.frame(CALL_PATH, 1)).is_ok());
    let (recorded, _) = hello("n2", "n1");
    for _ in 0..10 * UNPROVEN_MAX {
        gate.hello(&recorded).unwrap();
    }
    assert!(gate.status().sessions <= UNPROVEN_MAX + 1);
    assert!(take(&gate, CALL_PATH, &caller.frame(CALL_PATH, 2)).is_ok(), "still there");
}

#[test]
fn sessions_of_one_peer_are_bounded_and_the_idle_one_goes() {
    let gate = gate();
    let first = call(&gate);
    assert!(take(&gate, CALL_PATH, &first.frame(CALL_PATH, 1)).is_ok());
    for _ in 0..PROVEN_PER_PEER_MAX + 3 {
        let next = call(&gate);
        assert!(take(&gate, CALL_PATH, &next.frame(CALL_PATH, 1)).is_ok());
    }
    assert!(gate.status().sessions <= PROVEN_PER_PEER_MAX + 1);
    assert_eq!(take(&gate, CALL_PATH, &first.frame(CALL_PATH, 2)), Err(Refusal::UnknownSession));
}

#[actix_rt::test]
async fn a_peer_that_has_much_in_flight_waits_for_its_turn() {
    let gate = gate();
    let caller = call(&gate);
    let held = gate.admit(caller.session, 1, u64::MAX).await.unwrap();
    let mut next = Box::pin(gate.admit(caller.session, 1, 1));
    assert!(futures::poll!(&mut next).is_pending());
    drop(held);
    let admitted = next.await.unwrap();
    let stream = gate.hold(&admitted, Coming::Stream, u64::MAX).await.unwrap();
    assert!(futures::poll!(Box::pin(gate.hold(&admitted, Coming::Stream, 1))).is_pending());
    // Neither a call nor a body that comes by itself waits for what a client sends at its own pace.
    let blob = gate.hold(&admitted, Coming::Blob, 1).await.unwrap();
    assert!(gate.admit(caller.session, 1, 1).await.is_ok());
    drop((stream, blob));
}

#[test]
fn refusals_are_counted_shown_and_bounded() {
    let gate = gate();
    let ip = |n: u8| Some(IpAddr::from([127, 0, 0, n]));
    gate.turned_away(ip(1), Refusal::ForeignKey);
    gate.turned_away(ip(1), Refusal::ForeignKey);
    gate.turned_away(ip(1), Refusal::UnknownSession);
    assert_eq!(
        gate.status().refused.iter().map(|r| (r.count, r.reason)).collect::<Vec<_>>(),
        [(2, Refusal::ForeignKey)]
    );
    for n in 0..u8::MAX {
        gate.turned_away(ip(n), Refusal::NotAPeer);
    }
    assert_eq!(gate.status().refused.len(), REFUSED_MAX);
}

#[actix::test]
async fn a_session_ends_with_the_file_of_its_generation() {
    let name = |name: &str| NodeName::parse(name).unwrap();
    let key_of = |n: u8| (u32::from(n), Secret::new([n; 32]));
    let ring = Keyring::new(vec![key_of(7), key_of(8)]).unwrap();
    let gate = PeerGate::new(node_view(identity("n1", 1)), ring.peer_keys(), [name("n2")], PeerBytes::default());
    let callers = ring.peer_keys().offers().into_iter().map(|key| {
        let me = identity("n2", 2);
        let hello = Hello { from: "n2", to: "n1", cluster: me.cluster, incarnation: 2, nonce: seal::random() };
        let answer = gate.hello(&key.hello(hello)).unwrap();
        let (session, proof) = read_welcome(&answer).unwrap();
        key.complete(hello.pending(), proof).unwrap();
        session
    });
    let [newer, older] = callers.collect::<Vec<_>>()[..] else { panic!("one of each generation") };
    assert!(gate.admit(older, 1, 0).await.is_ok() && gate.admit(newer, 1, 0).await.is_ok());
    let first = ring.generations()[0].1;
    ring.grow(vec![key_of(8)], &[first]).expect("nothing needs it");
    assert_eq!(gate.admit(older, 1, 0).await.err(), Some(Refusal::UnknownSession));
    assert!(gate.admit(newer, 1, 0).await.is_ok());
    assert_eq!(gate.status().sessions, 1);
}

#[actix::test]
async fn nothing_is_learned_from_an_older_copy() {
    let (shelf, name) = (Shelf::new(1), NodeName::parse("n2").expect("a name"));
    let lists = Arc::new(ListWatch::new([name.clone()], Duration::ZERO));
    let node_view = NodeView { lists, ..node_view(identity("n1", 1)) };
    let gate = PeerGate::new(node_view, ring(7).peer_keys(), [name.clone()], PeerBytes::default());
    let caller = call(&gate);
    let session = gate.admit(caller.session, 1, 0).await.expect("a session");
    let store = StoreRecipients::of(&ShelfActor(Arc::clone(&shelf)).start());
    let news = || Call::Learn(Epoch(0), vec![(key(1), record(1))]);
    session.says(Standing::default().start);
    assert!(matches!(answer(&gate, &store, &session, news()).await, Answer::Done));
    assert_eq!(shelf.all().len(), 1);
    gate.node_view().lists.forgot(&name, Incarnation(2), Standing::default(), Standing::default());
    let more = Call::Learn(Epoch(0), vec![(key(2), record(1))]);
    assert!(!matches!(answer(&gate, &store, &session, more).await, Answer::Done));
    assert!(!matches!(answer(&gate, &store, &session, Call::Offer(vec![])).await, Answer::Wants(_)));
    assert_eq!(shelf.all().len(), 1, "it may be what everybody else has deleted");
    gate.node_view().lists.met(&name);
    assert!(matches!(answer(&gate, &store, &session, news()).await, Answer::Done));
}
