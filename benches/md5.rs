//! What MD5s cost that are computed side by side, on one core: one to four bodies, pieces of 1 MiB. `BENCH_SECONDS` sets the
//! time of each row.

mod common;

use boveda::seal::md5::lanes::{LANES_MAX, advance};
use boveda::seal::md5::{Md5, Work};
use bytes::Bytes;
use std::hint::black_box;
use std::time::Instant;

const PIECE_BYTES: usize = 1 << 20;

fn main() {
    let length = common::seconds(0.5);
    let piece = Bytes::from(common::noise(PIECE_BYTES));
    println!("one core");
    println!("{:>12} {:>14} {:>12}", "side by side", "GB/s in all", "s/GiB");
    for count in 1..=LANES_MAX {
        let (begin, mut turns) = (Instant::now(), 0_usize);
        while begin.elapsed() < length {
            let mut works: Vec<_> =
                (0..count).map(|_| Work::new(Md5::default(), std::slice::from_ref(&piece))).collect();
            while works.iter_mut().all(|work| work.ready() > 0) {
                advance(&mut works.iter_mut().collect::<Vec<_>>(), usize::MAX);
            }
            works.into_iter().for_each(|work| {
                black_box(work.finish().finalize());
            });
            turns += count;
        }
        let (bytes, seconds) = ((turns * PIECE_BYTES) as f64, begin.elapsed().as_secs_f64());
        println!("{count:>12} {:>14.2} {:>12.2}", bytes / seconds / 1e9, seconds / (bytes / (1_u64 << 30) as f64));
    }
}
