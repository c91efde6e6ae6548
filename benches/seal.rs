//! Sealing and opening of whole bodies, on one core: what the cipher, the digest and the keys of a body cost.
//!
//! A body is sealed under a fresh key each time, as the store does it, and opened in two ways: with
//! its keys derived first (a record met for the first time), and with keys at hand (a cached record).
//! `BENCH_SECONDS` sets the time of each cell.

mod common;

use boveda::base::BodyId;
use boveda::seal::BodyOpener;
use boveda::seal::body::{open_whole, seal_whole};
use boveda::seal::digest::digest_of;
use bytes::Bytes;
use std::hint::black_box;
use std::time::{Duration, Instant};

fn main() {
    let length = common::seconds(0.5);
    let ring = common::ring();
    let (cluster, body) = (ring.origin().cluster, BodyId([7; 16]));
    println!("one core, microseconds a body and GB/s of plaintext");
    println!("{:>9} {:>17} {:>17} {:>17} {:>17}", "bytes", "seal", "open, new", "open, cached", "digest alone");
    for kib in [1, 4, 16, 64, 256, 1024] {
        let len = kib * 1024;
        let plain = [Bytes::from(common::noise(len))];
        let (sealed, wrap, _) = seal_whole(&ring, cluster, body, &plain);
        let opener = || BodyOpener::new(&ring, cluster, body, &wrap, &sealed).expect("just sealed");
        let cached = opener();
        let cells = [
            time(length, || drop(black_box(seal_whole(&ring, cluster, body, black_box(&plain))))),
            time(length, || drop(black_box(open_whole(&opener(), black_box(&sealed)).expect("just sealed")))),
            time(length, || drop(black_box(open_whole(&cached, black_box(&sealed)).expect("just sealed")))),
            time(length, || {
                black_box(digest_of(black_box(&sealed)));
            }),
        ];
        print!("{len:>9}");
        for each in cells {
            let s = each.as_secs_f64();
            print!(" {:>9.2} {:>7.2}", s * 1e6, len as f64 / s / 1e9);
        }
        println!();
    }
}

/// The mean time of one call.
fn time(length: Duration, mut work: impl FnMut()) -> Duration {
    for _ in 0..10 {
        work();
    }
    let (begin, mut calls) = (Instant::now(), 0u32);
    while begin.elapsed() < length {
        for _ in 0..10 {
            work();
        }
        calls += 10;
    }
    begin.elapsed() / calls
}
