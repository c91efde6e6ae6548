//! Bodies with sums: what is kept of them, and what does not fit, of which nothing is left anywhere.

use super::decisions::files;
use super::*;
use crate::actors::peer::peer_request::Piece;
use crate::base::checksum::Sum;
use crate::base::{Algorithm, Checksum};
use bytes::Bytes;

/// RFC 1321's MD5 of "abc", and FIPS 180-2's SHA-256.
const MD5_OF_ABC: &str = "900150983cd24fb0d6963f7d28e17f72";
const SHA256_OF_ABC: &str = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

fn wanted() -> WantedSums {
    WantedSums { md5: true, for_etag: false, sha256: true, checksum: Some(Algorithm::Sha256) }
}

/// What a body is refused for, each with one sum that is another's.
fn wrong() -> [(ExpectedSums, Sum); 3] {
    let none = ExpectedSums::default();
    let checksum = Checksum::of_all(Algorithm::Sha256, &[7; 32]);
    [
        (ExpectedSums { md5: Some([7; 16]), ..none }, Sum::Md5),
        (ExpectedSums { sha256: Some([7; 32]), ..none }, Sum::Sha256),
        (ExpectedSums { checksum, ..none }, Sum::Checksum(Algorithm::Sha256)),
    ]
}

impl Rig {
    async fn put_with(&self, body: &[u8], expected: ExpectedSums) -> Result<Written, ObjectError> {
        let (at, head, body) = (object("k"), ObjectHead::default(), vec![Bytes::copy_from_slice(body)]);
        let put = PutSmall { at, condition: Condition::NONE, head, body, sums: wanted(), expected, permit: None };
        soon("an answer", self.actor.send(put)).await.expect("it is there")
    }

    /// An upload of these bytes, up to its end.
    async fn upload_with(&self, body: Vec<u8>) -> Upload {
        let (at, head) = (object("k"), ObjectHead::default());
        let begin = BeginUpload {
            at,
            condition: Condition::NONE,
            head,
            len_hint: None,
            sums: wanted(),
            permit: None,
            part: None,
        };
        let upload = soon("an answer", self.actor.send(begin)).await.expect("it is there").expect("it begins");
        let append = AppendUpload { upload, data: vec![body.into()] };
        soon("an answer", self.actor.send(append)).await.expect("it is there").expect("it goes on")
    }

    async fn finish_with(&self, upload: Upload, expected: ExpectedSums) -> Result<Written, ObjectError> {
        soon("an answer", self.actor.send(FinishUpload { upload, expected })).await.expect("it is there")
    }
}

fn is_mismatch(refused: Result<Written, ObjectError>, of: Sum) -> bool {
    matches!(refused, Err(ObjectError::Store(StoreError::SumMismatch(sum))) if sum == of)
}

/// Bytes of bodies on the disk, and whatever else lies where they come to.
fn lying(node: &Node) -> usize {
    files(&node.dir.path().join("blobs")) + files(&node.dir.path().join("staged"))
}

#[actix_rt::test]
async fn sums_are_kept_with_an_object_and_told_to_its_writer_and_its_readers() {
    let node = Node::new(true);
    let (rig, _) = coordinator(&node, 0, false, LONG);
    let kept = Checksum::parse(Algorithm::Sha256, SHA256_OF_ABC);
    let large = vec![7; 200_000];
    let small = rig.put_with(b"abc", ExpectedSums { checksum: kept, ..Default::default() }).await.expect("it fits");
    assert_eq!((small.etag.as_str(), small.checksum), (MD5_OF_ABC, kept));
    let (info, _) = node.store.open_object(&object("k")).expect("it is there");
    assert_eq!((info.etag.as_str(), info.checksum), (MD5_OF_ABC, kept));
    let upload = rig.upload_with(large.clone()).await;
    let written = rig.finish_with(upload, ExpectedSums::default()).await.expect("nothing is expected");
    let (info, _) = node.store.open_object(&object("k")).expect("it is there");
    assert_eq!((&info.etag, info.checksum), (&written.etag, written.checksum));
    let of_large = crate::seal::digest::digest_of(&large);
    assert!(written.etag.len() == 32 && written.checksum.is_some_and(|sum| sum.value.as_bytes() != of_large));
    // What fits once more is taken once more, by the condition that clients can make of the ETag.
    let upload = rig.upload_with(large).await;
    let again = rig.finish_with(upload, ExpectedSums { checksum: written.checksum, ..Default::default() }).await;
    assert_eq!(again.expect("it fits").etag, written.etag, "the same bytes keep their tag");
}

#[actix_rt::test]
async fn a_body_whose_sum_is_another_leaves_nothing_on_a_node_alone() {
    let node = Node::new(true);
    let (rig, _) = coordinator(&node, 0, false, LONG);
    for (expected, sum) in wrong() {
        assert!(is_mismatch(rig.put_with(b"abc", expected).await, sum), "small: {sum}");
        let upload = rig.upload_with(vec![7; 200_000]).await;
        assert!(lying(&node) > 0, "it is on its way");
        assert!(is_mismatch(rig.finish_with(upload, expected).await, sum), "large: {sum}");
        assert!(!holds(&node, &object("k")));
        assert_eq!((lying(&node), node.store.status().uploads_open), (0, 0));
    }
}

#[actix_rt::test]
async fn a_body_whose_sum_is_another_is_put_to_no_vote_and_its_streams_have_no_end() {
    let [here, second, third] = Node::three().await;
    let (rig, mut lanes) = coordinator(&here, 2, true, LONG);
    for (n, node) in [(2, &second), (3, &third)] {
        rig.reach.answered(&name(n), node.store.incarnation());
    }
    for (expected, sum) in wrong() {
        assert!(is_mismatch(rig.put_with(b"abc", expected).await, sum), "small: {sum}");
        let upload = rig.upload_with(vec![7; 200_000]).await;
        let finished = rig.finish_with(upload, expected).await;
        assert!(is_mismatch(finished, sum), "large: {sum}");
        for lane in &mut lanes {
            // The first that a peer hears of either: the small one has asked for nothing.
            let PeerRequest::Stream(mut stream) = lane.next().await else { panic!("no stream") };
            let mut pieces = 0;
            while let Some(piece) = soon("a piece, or the end of them", stream.pieces.recv()).await {
                assert!(matches!(piece, Piece::Bytes(_)), "no end of a body that nobody wants");
                pieces += 1;
            }
            assert!(pieces > 0 && !stream.whole.load(std::sync::atomic::Ordering::Acquire), "it was given up");
        }
        assert!(!holds(&here, &object("k")));
        assert_eq!((lying(&here), here.store.status().uploads_open), (0, 0));
    }
}
