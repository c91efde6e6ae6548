//! Large bodies over real sessions, to a peer whose store answers as each test says.

use super::*;
use crate::actors::body_streams::BodyStreams;
use crate::actors::messages::StoreError;
use crate::actors::peer::peer_request::PeerRequest;
use crate::actors::replication::votes_lane::tests::{Here, THEM, There, answered, lane_to, peer, question};
use crate::actors::testing::peer::soon;
use crate::base::Budget;
use crate::wire::StreamHead;
use bytes::Bytes;
use std::sync::Arc;

const BODY: BodyId = BodyId([7; 16]);

/// Takes the body back, and has the peer vote meanwhile: whatever is to travel at once has travelled then.
async fn take_back(here: &Here, there: &mut There) {
    here.does(PeerRequest::Discard(THEM, BODY)).await;
    for n in 0..3 {
        let answer = here.casts(question(n, THEM)).await;
        there.votes_on(&[n]).await;
        answered(n, answer).await;
    }
}

async fn is_taken_back(there: &mut There) {
    let asked = soon("a discard", there.discards.recv()).await.expect("the listener is there");
    assert_eq!(asked.what.body, BODY);
    asked.answer.send(Ok(())).expect("the listener waits");
}

#[actix_rt::test]
async fn a_stream_is_taken_back_behind_its_end() {
    let mut there = peer(2, None);
    let here = lane_to(&there.listener.url(), 8 << 20);
    let permit = Budget::new(1, BodyStreams::HOLDS_BYTES).try_claim(BodyStreams::HOLDS_BYTES).expect("room");
    let mut streams = BodyStreams::new(StreamHead { body: BODY, bytes_max: u64::MAX }, permit);
    here.does(PeerRequest::Stream(streams.to(THEM))).await;
    let whole = BlobRef { body: BODY, sealed_len: 6, digest: [1; 32] };
    streams.end(Bytes::from_static(b"sealed"), whole).await;
    let begun = soon("a stream", there.streams.recv()).await.expect("the listener is there");
    // Nobody waits for it any more: it has gone, all the same.
    drop(streams);
    take_back(&here, &mut there).await;
    assert!(there.discards.try_recv().is_err(), "it would be overtaken by the body");
    begun.answer.send(Err(StoreError::Full)).expect("it is waited for");
    is_taken_back(&mut there).await;
}

#[actix_rt::test]
async fn a_short_body_is_taken_back_behind_its_end() {
    let mut there = peer(2, None);
    let here = lane_to(&there.listener.url(), 8 << 20);
    let sealed = Bytes::from_static(b"sealed");
    let blob = BlobRef { body: BODY, sealed_len: 6, digest: crate::seal::digest::digest_of(&sealed) };
    let (done, carried) = oneshot::channel();
    let given = crate::actors::peer::peer_request::Given {
        sealed,
        permit: Arc::new(Budget::new(1, 1).try_claim(1).expect("room")),
    };
    here.does(PeerRequest::Ship(THEM, blob, Some(given), done)).await;
    let asked = soon("a request with bodies", there.bodies.recv()).await.expect("the listener is there");
    drop(carried);
    take_back(&here, &mut there).await;
    assert!(there.discards.try_recv().is_err(), "it would be overtaken by the body");
    asked.answer.send(Ok(vec![Ok(())])).expect("it is waited for");
    is_taken_back(&mut there).await;
}
