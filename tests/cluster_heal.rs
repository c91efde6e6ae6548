//! Copies that heal: a body that is damaged on one node's disk is served from another's within the same
//! request, and stands right on the disk again afterwards.

mod common;

use common::cluster::{Cluster, path};
use common::{Dice, Node, eventually};
use std::fs;
use std::path::PathBuf;

const SMALL_BLOB: usize = 60_000;
const LARGE_BLOB: usize = 3_300_000;

/// The only blob on a node's disk.
fn only_blob(node: &Node) -> PathBuf {
    let folders = fs::read_dir(node.data().join("blobs")).expect("a folder").flatten();
    let mut files = folders.flat_map(|folder| fs::read_dir(folder.path()).expect("a folder").flatten());
    let file = files.next().expect("a blob").path();
    assert!(files.next().is_none(), "more than one blob");
    file
}

fn flip(file: &PathBuf, at: usize) {
    let mut bytes = fs::read(file).expect("a file");
    bytes[at] ^= 0x10;
    fs::write(file, bytes).expect("it can be written");
}

/// Two nodes that have one object, whose body is a file.
fn two_with(len: usize) -> (Cluster, Vec<u8>) {
    let cluster = Cluster::start(2);
    let body = Dice(len as u64).bytes(len);
    cluster.put(1, "k", &body);
    cluster.converged();
    (cluster, body)
}

#[test]
fn a_damaged_or_missing_blob_is_served_and_mended_within_the_request() {
    for len in [SMALL_BLOB, LARGE_BLOB] {
        let (cluster, body) = two_with(len);
        let file = only_blob(&cluster.nodes[0]);
        let good = fs::read(&file).expect("a file");
        // In the header, in the first chunk, in the last one.
        let mut mended = 0;
        for at in [20, 500, good.len() - 10] {
            flip(&file, at);
            let answer = cluster.get(0, "k");
            assert_eq!(answer.status, 200, "{len} bytes, damaged at {at}: {answer:?}");
            assert!(answer.body == body, "{len} bytes, damaged at {at}: other bytes");
            mended += 1;
            assert_eq!(cluster.metric(0, "boveda_healing_mended_blobs"), mended, "within the request");
            assert!(fs::read(&file).expect("it is back") == good, "{len} bytes, damaged at {at}");
        }
        assert_eq!(cluster.nodes[0].files_in("quarantine").len(), 1, "the damaged one is kept");

        fs::remove_file(&file).expect("it can be removed");
        let range = [("Range", "bytes=100-50099")];
        let answer = cluster.nodes[0].ask("GET", &path("k"), &range, b"");
        assert_eq!(answer.status, 206, "{answer:?}");
        assert!(answer.body == body[100..50_100]);
        assert!(fs::read(&file).expect("it is back") == good);

        let status = cluster.status(0);
        assert_eq!(status["healing"]["mended_blobs"], mended + 1, "{status}");
        assert_eq!(status["healing"]["unmended"], 0);
        assert!(cluster.status(1)["gate"]["received"]["fetches"].as_u64() > Some(0));
        assert!(cluster.nodes[0].files_in("staged").is_empty());
    }
}

#[test]
fn many_readers_of_one_damaged_blob_cost_one_mending() {
    let (cluster, body) = two_with(LARGE_BLOB);
    let file = only_blob(&cluster.nodes[0]);
    fs::remove_file(&file).expect("it can be removed");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(cluster.get(0, "k").body == body));
        }
    });
    assert_eq!(cluster.status(0)["healing"]["mended_blobs"], 1);
}

#[test]
fn without_a_good_copy_anywhere_there_is_an_error_and_no_bytes() {
    let (mut cluster, _) = two_with(SMALL_BLOB);
    for at in [0, 1] {
        flip(&only_blob(&cluster.nodes[at]), 1_000);
    }
    cluster.get(0, "k").expect_error(500, "Corrupt");
    let healing = cluster.status(0)["healing"].clone();
    assert_eq!(healing["unmended"], 1, "{healing}");
    assert!(healing["last_error"].is_string() && healing["mended_blobs"] == 0, "{healing}");

    // Nor when nobody is there to ask; and what is not damaged is served all the time.
    cluster.put(0, "other", b"fine");
    cluster.kill9(1);
    cluster.get(0, "k").expect_error(500, "Corrupt");
    assert_eq!(cluster.get(0, "other").body, b"fine");
    assert!(eventually("both tries", || cluster.metric(0, "boveda_healing_unmended").checked_sub(1)) >= 1);
}

#[test]
fn a_peer_that_restarted_is_asked_again_by_a_fresh_session() {
    let (mut cluster, body) = two_with(SMALL_BLOB);
    let file = only_blob(&cluster.nodes[0]);
    for _ in 0..2 {
        flip(&file, 5_000);
        assert!(cluster.get(0, "k").body == body);
        cluster.kill9(1);
        cluster.begin(1);
    }
}
