//! What the audit log costs: a line in memory, lines that share a sync, and a lone line with its own.
//!
//! A line is sealed and hashed as the log's thread does it. On the disk the log is driven as a node drives it, by one thread
//! and by sixteen; each line is answered when it is durable. `BENCH_SECONDS` sets the time of each row, `BENCH_DIR` the disk.

mod common;

use boveda::audit::layout;
use boveda::audit::{Audit, Line, Outcome, Place, Setup};
use boveda::base::{AuditHead, Secret};
use boveda::disk::RealDisk;
use boveda::seal::SealingKey;
use boveda::seal::keyring::Keyring;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

fn line() -> Line {
    let mut line = Line::of("ABCDEFGHIJKLMNOPQRST", "object:write", Outcome::Done).at("docs/2026/11/report.pdf");
    line.request = Some("0123456789abcdef-12".to_owned());
    line.address = Some("10.20.30.40".to_owned());
    (line.time, line.node, line.status) = ("2026-11-24T10:20:30.000Z".to_owned(), "n1".to_owned(), Some(201));
    line
}

fn main() {
    let length = common::seconds(3.0);
    in_memory(length);
    for threads in [1, 16] {
        on_disk(threads, length);
    }
}

fn in_memory(length: Duration) {
    let (key, line, began) = (SealingKey::new(&[7; 32]), line(), Instant::now());
    let (mut head, mut lines, mut bytes) = (AuditHead::NONE, 0_u64, 0_u64);
    let mut out = Vec::new();
    while began.elapsed() < length {
        for _ in 0..1_000 {
            out.clear();
            head = layout::seal(&key, &[1; 16], head, black_box(&line).encode().as_slice(), &mut out);
            (lines, bytes) = (lines + 1, bytes + out.len() as u64);
        }
    }
    let nanos = began.elapsed().as_nanos() as f64 / lines as f64;
    println!("in memory: {nanos:.0} ns and {} bytes a line", bytes / lines);
}

fn on_disk(threads: usize, length: Duration) {
    let scratch = common::Place::new("audit");
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([7; 32]))]).expect("a ring"));
    let dir = scratch.0.join("audit");
    let (node, keep) = ("n1".to_owned(), Duration::from_secs(86_400));
    let place = Place { disk: Arc::new(RealDisk), dir, ring, node, keep, begins: Arc::default() };
    let log = Audit::start(Setup { place, objects: true, low: Box::new(|| false) }).expect("it starts");
    let began = Instant::now();
    let writers: Vec<_> = (0..threads)
        .map(|_| {
            let log = log.clone();
            std::thread::spawn(move || {
                let mut lines = 0_u64;
                while began.elapsed() < length {
                    log.change_blocking(line()).expect("it is written");
                    lines += 1;
                }
                lines
            })
        })
        .collect();
    let lines: u64 = writers.into_iter().map(|writer| writer.join().expect("it ends")).sum();
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "durable, {threads} at once: {:.0} lines/s, {:.2} ms each",
        lines as f64 / seconds,
        seconds * 1e3 * threads as f64 / lines as f64
    );
    log.stop(line());
}
