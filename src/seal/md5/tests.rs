use super::lanes::{LANES_MAX, advance};
use super::lockstep::Lockstep;
use super::*;
use ::md5::{Digest as _, Md5 as Known};
use std::sync::Arc;

/// The same numbers each time, none of them like the one before.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % end as u64).expect("it is small")
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }

    /// The bytes cut at random, also into nothing, and often near the ends of blocks.
    fn cut(&mut self, bytes: &[u8]) -> Vec<Bytes> {
        let (mut pieces, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let len = [self.below(3), 63 + self.below(3), 64 * self.below(9), self.below(700)][self.below(4)];
            let (piece, later) = rest.split_at(len.min(rest.len()));
            pieces.push(Bytes::copy_from_slice(piece));
            rest = later;
        }
        pieces
    }
}

/// By another implementation.
fn known(bytes: &[u8]) -> [u8; MD5_BYTES] {
    Known::digest(bytes).into()
}

#[test]
fn any_length_in_any_pieces_comes_to_what_is_known() {
    let mut numbers = Numbers(1);
    let lengths = (0..=200).chain((0..60).map(|_| numbers.below(5000))).collect::<Vec<_>>();
    for len in lengths {
        let bytes = numbers.bytes(len);
        let mut md5 = Md5::default();
        numbers.cut(&bytes).iter().for_each(|piece| md5.update(piece));
        assert_eq!(md5.finalize(), known(&bytes), "{len} bytes");
    }
}

#[test]
fn bodies_side_by_side_come_to_what_each_comes_to_alone() {
    let mut numbers = Numbers(2);
    for turn in 0..300 {
        let count = 1 + turn % LANES_MAX;
        let mut body = || {
            let len = numbers.below(4000);
            numbers.bytes(len)
        };
        let bodies: Vec<Vec<u8>> = (0..count).map(|_| body()).collect();
        let mut works: Vec<Work> = bodies
            .iter()
            .map(|body| {
                // Some of it was taken in before.
                let (before, rest) = body.split_at(numbers.below(body.len() + 1));
                let mut md5 = Md5::default();
                md5.update(before);
                Work::new(md5, &numbers.cut(rest))
            })
            .collect();
        loop {
            let mut left: Vec<&mut Work> =
                works.iter_mut().filter_map(|work| (work.ready() > 0).then_some(work)).collect();
            if left.is_empty() {
                break;
            }
            advance(&mut left, 1 + numbers.below(20));
        }
        for (work, body) in works.into_iter().zip(&bodies) {
            assert!(work.pieces.is_empty(), "their memory is let go of");
            assert_eq!(work.finish().finalize(), known(body), "{count} side by side, {} bytes", body.len());
        }
    }
}

#[test]
fn who_comes_works_for_those_beside_it_and_no_longer_than_for_itself() {
    let lockstep = Lockstep::default();
    let body = |len: usize| Numbers(3).bytes(len);
    let hand_in = |len: usize| lockstep.hand_in(Md5::default(), &[body(len).into()]);
    let (same, long, short, given_up) = (hand_in(64_000), hand_in(640_000), hand_in(64), hand_in(64_000));
    drop(given_up);
    assert_eq!(lockstep.left(), [64_000, 640_000, 64]);
    let own = hand_in(64_000);
    assert_eq!(own.finish().finalize(), known(&body(64_000)));
    assert_eq!(lockstep.left(), [640_000 - 64_000], "what is left of the long one, and nothing of what was as long");
    drop(hand_in(1));
    for (handed, len) in [(same, 64_000), (short, 64), (long, 640_000)] {
        assert_eq!(handed.finish().finalize(), known(&body(len)));
    }
    assert_eq!(hand_in(0).finish().finalize(), known(b""));
    assert!(lockstep.left().is_empty());
}

#[test]
fn many_threads_at_once_have_each_its_own() {
    let lockstep = Arc::new(Lockstep::default());
    let threads: Vec<_> = (0..3 * LANES_MAX as u64)
        .map(|seed| {
            let lockstep = Arc::clone(&lockstep);
            std::thread::spawn(move || {
                let mut numbers = Numbers(seed);
                for turn in 0..20 {
                    let (mut md5, mut all) = (Md5::default(), Vec::new());
                    for _ in 0..1 + numbers.below(5) {
                        let len = numbers.below(40_000);
                        let bytes = numbers.bytes(len);
                        let handed = lockstep.hand_in(md5.clone(), &numbers.cut(&bytes));
                        if numbers.below(4) == 0 {
                            // As an upload that fails.
                            drop(handed);
                            continue;
                        }
                        all.extend_from_slice(&bytes);
                        md5 = handed.finish();
                    }
                    assert_eq!(md5.finalize(), known(&all), "thread {seed}, turn {turn}");
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("a thread ends well"));
    assert!(lockstep.left().is_empty());
}
