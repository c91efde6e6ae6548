//! A node whose index is damaged on its disk: it says so and what to do, and counts as absent; nobody else suffers.

mod common;

use common::cluster::{Cluster, path};
use common::eventually;
use std::os::unix::fs::FileExt;
use std::process::Command;

const PAGE: u64 = 4096;
const OBJECTS: usize = 400;
/// Above any body in a record.
const BLOB: usize = 300_000;

fn key(n: usize) -> String {
    format!("kept/{n:04}")
}

/// Flips a byte of some pages of a stopped node's index that are in use, and without which it still opens.
fn rot(cluster: &Cluster, at: usize) {
    let file = std::fs::File::options().read(true).write(true).open(cluster.nodes[at].data().join("index"));
    let file = file.expect("an index");
    let flip = |page: u64| {
        let mut byte = [0];
        file.read_exact_at(&mut byte, page * PAGE + 99).expect("it can be read");
        file.write_all_at(&[byte[0] ^ 1], page * PAGE + 99).expect("it can be written");
    };
    let pages = file.metadata().expect("a length").len() / PAGE;
    let mut rotten = 0;
    for page in (pages / 8..pages).step_by(7) {
        flip(page);
        let found = cluster.nodes[at].command(&["verify"]).output().expect("it runs");
        match String::from_utf8_lossy(&found.stdout).contains("does not open") {
            true => rotten += 1,
            false => flip(page),
        }
        if rotten == 3 {
            assert_eq!(found.status.code(), Some(3), "{}", String::from_utf8_lossy(&found.stderr));
            return;
        }
    }
    panic!("{rotten} of {pages} pages were found to be in use");
}

/// What `boveda status` shows.
fn shown(cluster: &Cluster, at: usize) -> String {
    let url = format!("http://{}", cluster.nodes[at].http());
    let page = Command::new(env!("CARGO_BIN_EXE_boveda")).args(["status", "--url", &url]).output().expect("it runs");
    String::from_utf8(page.stdout).expect("UTF-8")
}

/// Frames of votes that the third node has sent.
fn calls(cluster: &Cluster) -> u64 {
    (0..2).map(|to| cluster.peer(2, to)["sent"]["votes"].as_u64().expect("a number")).sum()
}

/// The others write as if it were away.
fn others_write(cluster: &Cluster, round: usize) {
    for n in 0..8 {
        for at in 0..2 {
            for target in [format!("new/{round}/{at}/{n}"), key(OBJECTS / 2 + 8 * at + n)] {
                let put = cluster.nodes[at].put(&path(&target), &vec![n as u8; BLOB]);
                assert!(put.status < 300, "n{}: {target}: {}", at + 1, put.text());
            }
        }
    }
}

#[test]
fn a_damaged_index_is_told_and_costs_nobody_else_anything() {
    let mut cluster = Cluster::voting_with(3, &[("BOVEDA_STORE_CHECKPOINT_BYTES", "256KiB")]);
    let note = "n".repeat(1_500);
    let mut conn = cluster.nodes[0].connect();
    for n in 0..OBJECTS {
        let put = conn.ask("PUT", &path(&key(n)), &[("x-boveda-meta-note", &note)], key(n).as_bytes());
        assert_eq!(put.expect("an answer").status, 201);
    }
    cluster.converged();
    cluster.stop(2);
    rot(&cluster, 2);
    for round in 0..2 {
        cluster.begin(2);
        // It reaches the others whatever it can read of its own, and before anybody asks it for anything.
        cluster.ready(2);
        let why = eventually("it to be told", || {
            let ready = cluster.nodes[2].get("/readyz").json();
            ready["degraded"]["store"].as_str().map(str::to_owned)
        });
        assert!(why.contains("no restart mends") && why.contains("start it with an empty one"), "{why}");
        assert!(shown(&cluster, 2).contains("its index is damaged"), "{}", shown(&cluster, 2));
        others_write(&cluster, round);
        let mut conn = cluster.nodes[2].connect();
        for n in 0..OBJECTS / 2 {
            let read = conn.ask("GET", &path(&key(n)), &[], b"").expect("an answer");
            assert_eq!((read.status, read.text()), (200, key(n).as_str()));
        }
        let asked = calls(&cluster);
        assert_eq!(cluster.listing(2), cluster.listing(0), "its lists are those of the others");
        let asked = calls(&cluster) - asked;
        // About 30 as a rule; beside other work they travel in more.
        assert!(asked < OBJECTS as u64 / 5, "many registers travel in one frame: {asked} frames for {OBJECTS}");
        let refused = eventually("it to take no writes", || {
            let put = cluster.nodes[2].put(&path("own"), &[7; BLOB]);
            put.text().contains("ReadOnly").then_some(put)
        });
        assert!(refused.status == 503 && refused.text().contains("/readyz"), "{}", refused.text());
        let told = || shown(&cluster, 0).lines().find(|line| line.starts_with("! n3: its store")).map(str::to_owned);
        let told = eventually("the others to hear of it", told);
        assert!(told.contains("its own status says") && !told.contains("restart it"), "{told}");
        cluster.kill9(2);
    }
    // The way out.
    cluster.wipe(2);
    cluster.begin(2);
    cluster.ready(2);
    cluster.converged();
    assert!(cluster.nodes[2].get("/readyz").json()["degraded"]["store"].is_null());
}
