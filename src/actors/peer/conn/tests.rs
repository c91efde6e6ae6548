//! A session from the caller's side, with a real listener and somebody in between who does harm.

use super::*;
use crate::actors::messages::DiscardBlob;
use crate::actors::testing::peer::{Harm, Listener, Relay, passed_on, soon};
use crate::actors::testing::{Shelf, ShelfActor, identity, ring};
use crate::base::{BodyId, Secret};
use crate::seal::Keyring;
use crate::seal::session::HelloError;
use actix::Actor;
use futures::poll;
use std::task::Poll;
use tokio::sync::mpsc;

const BODY: BodyId = BodyId([1; 16]);
const DISCARD: Call = Call::Discard(BODY);

fn store() -> StoreRecipients {
    StoreRecipients::of(&ShelfActor(Shelf::new(2)).start())
}

fn dialer(url: &str) -> Dialer {
    let n2 = NodeName::parse("n2").unwrap();
    Dialer::new(url, n2, Arc::new(identity("n1", 1)), ring(7).peer_keys())
}

/// A peer, somebody in between, and who dials through him.
fn between() -> (Listener, Relay, Dialer) {
    let peer = Listener::start("n2", 2, None, store);
    let relay = Relay::start(peer.address);
    let dialer = dialer(&relay.url);
    (peer, relay, dialer)
}

#[actix::test]
async fn a_session_carries_one_call_after_the_other_over_one_handshake() {
    let (peer, relay, dialer) = between();
    let mut conn = dialer.dial().await.unwrap();
    assert_eq!((conn.info.name.as_str(), conn.info.incarnation.0, conn.start), ("n2", 2, None));
    for _ in 0..5 {
        assert_eq!(conn.call(&DISCARD).await.unwrap(), Answer::Done);
    }
    assert_eq!(peer.hellos(), 1);
    let calls = relay.calls.lock().unwrap();
    let counters: Vec<u64> = calls.iter().map(|call| Frame::peek(call).unwrap().1).collect();
    assert_eq!(counters, [1, 2, 3, 4, 5], "no counter seals two frames");
}

#[actix::test]
async fn an_answer_that_was_changed_cut_or_given_before_is_refused() {
    let (_peer, relay, dialer) = between();
    let mut conn = dialer.dial().await.unwrap();
    assert_eq!(conn.call(&DISCARD).await.unwrap(), Answer::Done);
    let bits = 8 * 16..8 * 24;
    // The session, the counter, what is sealed; and an answer that opened once.
    let changed = [0, 63, 64, 127].into_iter().chain(bits).map(Harm::Answer);
    for harm in changed.chain([Harm::Cut(16), Harm::Cut(17), Harm::Before]) {
        relay.does(harm);
        let error = conn.call(&DISCARD).await.expect_err("it is not the answer to this call");
        assert!(matches!(error, LinkError::Forged), "{harm:?}: {error}");
        assert!(error.breaks_link() && may_be_forgotten(&error), "a fresh session settles it");
    }
    relay.does(Harm::Cut(15));
    let error = conn.call(&DISCARD).await.expect_err("half a frame");
    assert!(matches!(error, LinkError::Undecodable(_)), "{error}");
    // The session itself has lost nothing by that.
    relay.does(Harm::None);
    assert_eq!(conn.call(&DISCARD).await.unwrap(), Answer::Done);
}

#[actix::test]
async fn an_answer_of_another_session_is_refused() {
    let (_peer, relay, dialer) = between();
    let (mut one, mut two) = (dialer.dial().await.unwrap(), dialer.dial().await.unwrap());
    assert_eq!(one.call(&DISCARD).await.unwrap(), Answer::Done);
    relay.does(Harm::Before);
    // The same peer, the same call, the same counter.
    let error = two.call(&DISCARD).await.expect_err("it is the other one's");
    assert!(matches!(error, LinkError::Forged), "{error}");
}

#[actix::test]
async fn a_handshake_that_was_changed_makes_no_session() {
    let (peer, relay, dialer) = between();
    // Behind the session's number, of which no more is known than that.
    for bit in [64, 64 + 22 * 8, 64 + 50 * 8] {
        relay.does(Harm::Welcome(bit));
        let error = dialer.dial().await.err().expect("no session");
        assert!(matches!(error, LinkError::Handshake(_)), "bit {bit}: {error}");
    }
    relay.does(Harm::Welcome(64 + 6 * 8));
    let error = dialer.dial().await.err().expect("no session");
    assert!(matches!(error, LinkError::Handshake(HelloError::ForeignRing)), "{error}");
    // A session of another number than the peer's carries nothing.
    relay.does(Harm::Welcome(0));
    let mut conn = dialer.dial().await.unwrap();
    let error = conn.call(&DISCARD).await.expect_err("no such session");
    assert!(matches!(error, LinkError::Refused(Refusal::UnknownSession)), "{error}");
    assert_eq!(peer.hellos(), 5);
}

#[actix::test]
async fn a_generation_that_the_peer_lacks_is_followed_by_one_that_it_has() {
    let peer = Listener::start("n2", 2, None, store);
    let n2 = NodeName::parse("n2").unwrap();
    let dialer = |generations: &[u8]| {
        let keys = generations.iter().map(|n| (u32::from(*n), Secret::new([*n; 32]))).collect();
        Dialer::new(&peer.url(), n2.clone(), Arc::new(identity("n1", 1)), Keyring::new(keys).unwrap().peer_keys())
    };
    // The peer has the one of seven; the newest seals here.
    let mut conn = dialer(&[6, 7, 8, 9]).dial().await.unwrap();
    assert_eq!(conn.call(&DISCARD).await.unwrap(), Answer::Done);
    let error = dialer(&[6, 8]).dial().await.err().expect("nothing in common");
    assert!(matches!(error, LinkError::Refused(Refusal::ForeignKey)) && error.class() == Class::Permanent, "{error}");
    assert_eq!(peer.hellos(), 1);
}

#[actix::test]
async fn a_session_that_the_peer_forgot_is_told_from_one_that_it_refuses() {
    let peer = Listener::start("n2", 2, None, store);
    let dialer = dialer(&peer.url());
    let mut conn = dialer.dial().await.unwrap();
    assert_eq!(conn.call(&DISCARD).await.unwrap(), Answer::Done);
    let peer = Listener::start("n2", 2, Some(peer.stop().await), store);
    let error = loop {
        match conn.call(&DISCARD).await.expect_err("it was never made there") {
            // The socket was kept open, and the peer is another process now.
            error @ (LinkError::Unreachable(_) | LinkError::BrokenAnswer(_)) => assert!(may_be_forgotten(&error)),
            error => break error,
        }
    };
    assert!(matches!(error, LinkError::Refused(Refusal::UnknownSession)) && may_be_forgotten(&error), "{error}");
    assert_eq!(peer.hellos(), 0);
    for refused in [Refusal::ForeignKey, Refusal::NotAPeer, Refusal::Busy, Refusal::Malformed] {
        assert!(!may_be_forgotten(&LinkError::Refused(refused)), "{refused}");
    }
    assert!(!may_be_forgotten(&LinkError::Silent), "it costs as much as it did the first time");
}

#[actix::test]
async fn a_call_that_is_under_way_ends_with_its_peer() {
    let (mut asked, discard_blob) = passed_on::<DiscardBlob, _>();
    let held = move || StoreRecipients { discard_blob: discard_blob(), ..store() };
    let peer = Listener::start("n2", 2, None, held);
    let mut conn = dialer(&peer.url()).dial().await.unwrap();
    let ending = async {
        let question = soon("the call to arrive", asked.recv()).await.expect("the listener is there");
        peer.stop().await;
        drop(question);
    };
    let (answer, ()) = futures::join!(soon("the call to end", conn.call(&DISCARD)), ending);
    let error = answer.expect_err("the peer has gone");
    assert!(matches!(error, LinkError::Unreachable(_) | LinkError::BrokenAnswer(_)), "{error}");
}

#[actix::test]
async fn a_body_whose_maker_has_gone_ends_the_request_and_is_not_taken_for_whole() {
    let peer = Listener::start("n2", 2, None, store);
    let mut conn = dialer(&peer.url()).dial().await.unwrap();
    let (make, pieces) = mpsc::channel(1);
    make.send(Piece::Bytes(Bytes::from_static(b"the beginning"))).await.expect("there is room");
    drop(make);
    let head = StreamHead { body: BODY, bytes_max: 1 << 30 };
    let error =
        soon("the end of the stream", conn.stream(head, pieces, &Arc::default())).await.expect_err("it was not made");
    assert!(matches!(error, LinkError::Unreachable(_)), "it broke off before its end: {error}");
}

#[actix::test]
async fn a_body_that_stands_still_ends_and_one_that_moves_does_not() {
    let patience = Duration::from_millis(20);
    let still = Cell::new(Instant::now());
    let ended = unless_stalled(futures::future::pending::<Result<(), LinkError>>(), &still, patience).await;
    assert!(matches!(ended, Err(LinkError::Silent)));
    assert!(still.get().elapsed() >= patience, "not earlier");
    // Asked first, it moves; when the first deadline has passed it is asked again; then it is done.
    let (moved, mut asked) = (Cell::new(Instant::now()), 0);
    let moving = futures::future::poll_fn(|_| {
        moved.set(Instant::now() + patience);
        asked += 1;
        if asked > 2 { Poll::Ready(Ok(())) } else { Poll::Pending }
    });
    assert!(unless_stalled(moving, &moved, patience).await.is_ok());
}

#[actix::test]
async fn a_stream_waits_for_its_maker_and_not_for_its_peer() {
    let never = || futures::future::pending::<Result<(), LinkError>>();
    let patience = Duration::from_millis(20);
    let late = Cell::new(Pace::Peer(Instant::now(), patience));
    assert!(matches!(unless_late(never(), &late).await, Err(LinkError::Silent)));
    let idle = Cell::new(Pace::Idle);
    assert!(poll!(Box::pin(unless_late(never(), &idle))).is_pending());
    // The time for what is at the peer does not run while the next piece is being made.
    let (pace, mut asked) = (Cell::new(Pace::Peer(Instant::now(), patience)), 0);
    let making = futures::future::poll_fn(|_| {
        pace.set(Pace::Idle);
        asked += 1;
        if asked > 2 { Poll::Ready(Ok(())) } else { Poll::Pending }
    });
    assert!(unless_late(making, &pace).await.is_ok());
}
