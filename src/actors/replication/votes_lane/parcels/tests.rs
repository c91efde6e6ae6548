//! Short bodies over real sessions, to a peer whose store answers as each test says.

use super::*;
use crate::actors::messages::TakeBodies;
use crate::actors::peer::peer_request::PeerRequest;
use crate::actors::replication::votes_lane::tests::{Here, THEM, There, lane_to, peer};
use crate::actors::testing::peer::{Asked, soon, until};
use crate::base::{BodyId, Budget};
use crate::seal::digest::digest_of;
use crate::store::StoreError;
use bytes::Bytes;
use std::sync::Arc;

fn body(n: u8, len: usize) -> (BlobRef, Bytes) {
    let sealed = Bytes::from(vec![n; len]);
    (BlobRef { body: BodyId([n; 16]), sealed_len: len as u64, digest: digest_of(&sealed) }, sealed)
}

async fn ships(here: &Here, n: u8, len: usize) -> oneshot::Receiver<Carried> {
    let (blob, sealed) = body(n, len);
    let permit = Arc::new(Budget::new(1, 1).try_claim(1).expect("room"));
    let (done, carried) = oneshot::channel();
    here.does(PeerRequest::Ship(THEM, blob, Some(Given { sealed, permit }), done)).await;
    carried
}

async fn request(there: &mut There) -> Asked<TakeBodies> {
    soon("a request with bodies", there.bodies.recv()).await.expect("the listener is there")
}

/// Which bodies came, in their order; each as it was sent.
fn names(asked: &Asked<TakeBodies>) -> Vec<u8> {
    let of = |(blob, sealed): &(BlobRef, Bytes)| {
        assert_eq!((*blob, sealed.clone()), body(blob.body.0[0], sealed.len()));
        blob.body.0[0]
    };
    asked.what.bodies.iter().map(of).collect()
}

fn takes_all(asked: Asked<TakeBodies>) {
    let taken = asked.what.bodies.iter().map(|_| Ok(())).collect();
    asked.answer.send(Ok(taken)).expect("it is waited for");
}

#[actix_rt::test]
async fn what_waits_for_the_peer_goes_in_one_request_and_each_hears_for_itself() {
    let mut there = peer(2, None);
    let here = lane_to(&there.listener.url(), 8 << 20);
    let first = ships(&here, 1, 70_000).await;
    let one = request(&mut there).await;
    let second = ships(&here, 2, 10).await;
    let two = request(&mut there).await;
    assert_eq!((names(&one), names(&two)), (vec![1], vec![2]), "two are under way at once");
    let mut rest = Vec::new();
    for n in 3..7 {
        rest.push(ships(&here, n, 1_000_000).await);
    }
    assert!(there.bodies.try_recv().is_err(), "and no third one");
    takes_all(one);
    assert_eq!(first.await, Ok(Carried::There));
    // 4 MiB to a request.
    let three = request(&mut there).await;
    assert_eq!(names(&three), [3, 4, 5, 6]);
    let wrong = StoreError::Mismatch("it is another body");
    three.answer.send(Ok(vec![Ok(()), Err(StoreError::Full), Err(wrong), Ok(())])).expect("it is waited for");
    let expected = [Carried::There, Carried::NoRoom, Carried::Not, Carried::There];
    for (became, expected) in rest.into_iter().zip(expected) {
        assert_eq!(became.await, Ok(expected));
    }
    takes_all(two);
    assert_eq!(second.await, Ok(Carried::There));
}

#[actix_rt::test]
async fn a_body_goes_once_whoever_asks_for_it_and_not_for_nobody() {
    let mut there = peer(2, None);
    let here = lane_to(&there.listener.url(), 8 << 20);
    let first = ships(&here, 1, 10).await;
    let one = request(&mut there).await;
    let again = ships(&here, 1, 10).await;
    let second = ships(&here, 2, 10).await;
    let two = request(&mut there).await;
    let (left, kept) = (ships(&here, 3, 10).await, ships(&here, 4, 10).await);
    drop(left);
    takes_all(two);
    let three = request(&mut there).await;
    assert_eq!(names(&three), [4], "nobody waits for the other");
    takes_all(three);
    takes_all(one);
    for became in [first, again, second, kept] {
        assert_eq!(became.await, Ok(Carried::There));
    }
    assert_eq!(here.plan.transfers.joined(), 1);
}

#[actix_rt::test]
async fn what_waits_for_a_peer_that_is_lost_does_not_wait_on() {
    let mut there = peer(2, None);
    let here = lane_to(&there.listener.url(), 8 << 20);
    let under_way = [ships(&here, 1, 10).await, ships(&here, 2, 10).await];
    let (one, two) = (request(&mut there).await, request(&mut there).await);
    let waits = ships(&here, 3, 10).await;
    // What was under way fails for a reason of its own, and what waits has its turn.
    for asked in [one, two] {
        asked.answer.send(Err(StoreError::Poisoned)).expect("it is waited for");
    }
    for became in under_way {
        assert_eq!(became.await, Ok(Carried::Not));
    }
    let three = request(&mut there).await;
    assert_eq!(names(&three), [3]);
    let behind = [ships(&here, 4, 10).await, ships(&here, 5, 10).await];
    there.listener.stop().await;
    drop(three);
    for became in [vec![waits], behind.into()].into_iter().flatten() {
        assert!(matches!(soon("an end", became).await, Ok(Carried::Not) | Err(_)));
    }
    until("nothing is left", || async { here.plan.transfers.far(THEM, BodyId([5; 16])).is_none() }).await;
}
