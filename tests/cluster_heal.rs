//! Copies that heal: a body that is damaged on one node's disk is served from another's within the same
//! request, and stands right on the disk again afterwards.

mod common;

use boveda::base::Mark;
use common::cluster::{Cluster, Expected, path};
use common::{Dice, Node, copy_dir, eventually};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

const SMALL_BLOB: usize = 60_000;
const LARGE_BLOB: usize = 3_300_000;

/// Every body that does not come with its record is a file.
const FILES: [(&str, &str); 1] = [("BOVEDA_STORE_SEGMENT_MAX", "0")];

/// The only blob on a node's disk.
fn only_blob(node: &Node) -> PathBuf {
    let folders = fs::read_dir(node.data().join("blobs")).expect("a folder").flatten();
    let mut files = folders.flat_map(|folder| fs::read_dir(folder.path()).expect("a folder").flatten());
    let file = files.next().expect("a blob").path();
    assert!(files.next().is_none(), "more than one blob");
    file
}

/// Damages one byte where it lies: a file that is written anew is empty for a moment, which the node may see.
fn flip(file: &PathBuf, at: usize) {
    let file = fs::OpenOptions::new().read(true).write(true).open(file).expect("a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, at as u64).expect("a byte");
    file.write_all_at(&[byte[0] ^ 0x10], at as u64).expect("it can be written");
}

/// Two nodes that have one object, whose body is a file.
fn two_with(len: usize) -> (Cluster, Vec<u8>) {
    one_object_on(Cluster::with_settings(2, &FILES), len)
}

fn one_object_on(cluster: Cluster, len: usize) -> (Cluster, Vec<u8>) {
    let body = Dice(len as u64).bytes(len);
    cluster.put(cluster.nodes.len() - 1, "k", &body);
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
        assert_eq!(cluster.metric(0, &format!("boveda_rare_{}", Mark::BlobSetAside.name())), mended);

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
fn a_damaged_body_in_a_segment_is_mended_within_the_request_and_has_another_place() {
    let (mut cluster, body) = one_object_on(Cluster::start(2), SMALL_BLOB);
    let segment = cluster.nodes[0].data().join("segments/00000001");
    // Behind the head of the segment and that of its only entry.
    let first = 4096 + 64;
    flip(&segment, first + 500);
    let answer = cluster.get(0, "k");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body == body, "other bytes");
    assert_eq!(cluster.metric(0, "boveda_healing_mended_blobs"), 1, "within the request");
    assert_eq!(cluster.nodes[0].files_in("quarantine").len(), 1, "the damaged one is kept");
    for _ in 0..2 {
        // Whatever happens to where it was is nothing to it any more, over a restart too.
        flip(&segment, first + 1_000);
        assert!(cluster.get(0, "k").body == body, "other bytes");
        assert_eq!(cluster.status(0)["healing"]["unmended"], 0);
        cluster.kill9(0);
        cluster.begin(0);
    }
    // A place that was taken away counts as dead once the index has heard of it, and that it has when a node has stopped.
    cluster.stop(0);
    cluster.begin(0);
    assert_eq!(cluster.metric(0, "boveda_healing_mended_blobs"), 0, "since its last start");
    let segments = cluster.status(0)["store"]["segments"].clone();
    assert!(segments["files"] == 1 && segments["dead_bytes"].as_u64() > Some(SMALL_BLOB as u64), "{segments}");
}

#[test]
fn a_damaged_small_body_comes_again_from_a_peer() {
    let (mut cluster, body) = one_object_on(Cluster::start(2), 1_000);
    // At a stop it is brought to a segment, and afterwards it is in no memory.
    cluster.stop(0);
    flip(&cluster.nodes[0].data().join("segments/00000001"), 4096 + 64 + 500);
    cluster.begin(0);
    let answer = cluster.get(0, "k");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body == body, "other bytes");
    assert_eq!(cluster.metric(0, "boveda_healing_mended_blobs"), 1, "by the reader, or by the scrubber before it");
    assert_eq!(cluster.nodes[0].files_in("quarantine").len(), 1, "the damaged one is kept");
    cluster.stop(0);
    cluster.begin(0);
    assert!(cluster.get(0, "k").body == body, "other bytes");
    assert_eq!(cluster.metric(0, "boveda_healing_mended_blobs"), 0, "since its last start");
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
    assert_eq!((&healing["unmended"], &healing["refused"]), (&1.into(), &1.into()), "{healing}");
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

#[test]
fn a_peer_that_lost_what_it_had_acknowledged_is_found_and_gets_it_again() {
    let mut cluster = Cluster::start(3);
    let mut expected = Expected::new();
    let mut dice = Dice(5);
    let mut write = |cluster: &Cluster, expected: &mut Expected, from: usize, to: usize| {
        for key in from..to {
            let body = dice.bytes(if key.is_multiple_of(20) { SMALL_BLOB } else { 700 });
            cluster.put(key % 3, &format!("k{key:03}"), &body);
            expected.insert(format!("k{key:03}"), Some(body));
        }
    };
    write(&cluster, &mut expected, 0, 100);
    cluster.holds(&expected);
    cluster.nodes[1].stop();
    let (data, older) = (cluster.nodes[1].data(), cluster.nodes[1].home().join("older"));
    copy_dir(&data, &older);
    cluster.begin(1);
    // All of this, and a tombstone, is acknowledged and then lost on n2.
    write(&cluster, &mut expected, 80, 200);
    assert_eq!(cluster.nodes[0].delete(&path("k003")).status, 204);
    expected.insert("k003".to_owned(), None);
    cluster.holds(&expected);
    cluster.nodes[1].stop();
    fs::remove_dir_all(&data).expect("it can be removed");
    fs::rename(&older, &data).expect("in its place");
    cluster.begin(1);

    eventually("the lost records to come back", || (cluster.listing(1) == cluster.listing(0)).then_some(()));
    cluster.holds(&expected);
    let repaired =
        || (cluster.peer(0, 1)["compare"]["repaired"].as_u64(), cluster.peer(2, 1)["compare"]["repaired"].as_u64());
    let (first, second) = repaired();
    // Both have all of it; what one has given the other need not.
    assert!(first.zip(second).is_some_and(|(a, b)| a + b >= 100), "{:?}", repaired());
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        eventually("a round that finds no difference", || {
            (cluster.peer(from, to)["compare"]["equal"] == true).then_some(())
        });
    }
    let last = cluster.peer(0, 1)["compare"].clone();
    assert_eq!((&last["last_leaves"], last["last_age_s"].as_u64() < Some(30)), (&0.into(), true), "{last}");
    // Whoever came first found it.
    let found = [0, 2].map(|at| cluster.peer(at, 1)["compare"]["differing_leaves"].as_u64());
    assert!(found.iter().any(|leaves| *leaves > Some(0)), "{found:?}");
}

#[test]
fn nodes_that_hold_the_same_exchange_nothing_but_heartbeats() {
    let cluster = Cluster::start(2);
    for key in 0..50 {
        cluster.put(key % 2, &format!("k{key}"), b"some bytes");
    }
    cluster.converged();
    let equal = || cluster.peer(0, 1)["compare"]["equal"] == true && cluster.peer(1, 0)["compare"]["equal"] == true;
    eventually("both to be found equal", || equal().then_some(()));
    // A difference that was seen while the last records were on their way may still be looked into.
    let seen = || {
        let peer = cluster.peer(0, 1);
        let sent = ["offers", "learns", "blobs", "hellos", "trees", "fetches"].map(|kind| peer["sent"][kind].clone());
        (sent, peer["compare"]["rounds"].as_u64().expect("a number"))
    };
    let mut before = seen();
    eventually("three rounds in which nothing is sent but heartbeats", || {
        let now = seen();
        if now.0 != before.0 {
            before = now;
            return None;
        }
        (now.1 >= before.1 + 3).then_some(())
    });
}

/// Runs of the scrubber one right after the other, over files.
const EAGER: [(&str, &str); 2] = [("BOVEDA_SCRUB_PERIOD", "20ms"), FILES[0]];

/// What a node shows of its scrubber.
fn scrub(cluster: &Cluster, at: usize) -> serde_json::Value {
    cluster.status(at)["store"]["scrub"].clone()
}

#[test]
fn the_scrubber_finds_and_mends_what_nobody_reads() {
    for len in [SMALL_BLOB, LARGE_BLOB] {
        let (cluster, body) = one_object_on(Cluster::with_settings(2, &EAGER), len);
        eventually("a run over the object", || (scrub(&cluster, 0)["last"]["objects"] == 1).then_some(()));
        assert_eq!(scrub(&cluster, 0)["last"]["damaged"], 0, "{len} bytes");
        let file = only_blob(&cluster.nodes[0]);
        let good = fs::read(&file).expect("a file");
        flip(&file, good.len() - 10);
        eventually("it to be mended", || (cluster.metric(0, "boveda_healing_mended_blobs") == 1).then_some(()));
        assert!(fs::read(&file).expect("it is back") == good, "{len} bytes");
        assert_eq!(cluster.nodes[0].files_in("quarantine").len(), 1, "the damaged one is kept");
        assert_eq!(cluster.metric(0, "boveda_store_damaged_reads"), 0, "nobody else has read it");
        assert!(cluster.get(0, "k").body == body);
        // The run that found it counts it, and later ones find nothing.
        let told = || cluster.nodes[0].log().matches("damaged=1 repaired=1").count();
        eventually("the run to end", || (told() > 0).then_some(()));
        eventually("a run that finds all right", || {
            let last = scrub(&cluster, 0)["last"].clone();
            (last["objects"] == 1 && last["damaged"] == 0).then_some(())
        });
        assert_eq!((told(), &cluster.status(0)["healing"]["unmended"]), (1, &0.into()));
        // The other one shows it of this one.
        eventually("the peer to be told", || {
            let health = cluster.peer(1, 0)["health"].clone();
            let all = [&health["mended"], &health["quarantined"], &health["unmended"], &health["tentative"]];
            (all == [1, 1, 0, 0] && health["scrub"]["last"]["damaged"] == 0).then_some(())
        });
        assert_eq!(cluster.metric(1, "boveda_peers_health_quarantined{peer=\"n1\"}"), 1);
    }
}

#[test]
fn what_nobody_has_a_good_copy_of_is_reported_and_not_repaired() {
    let (cluster, _) = one_object_on(Cluster::with_settings(1, &EAGER), SMALL_BLOB);
    cluster.put(0, "other", b"fine");
    flip(&only_blob(&cluster.nodes[0]), 1_000);
    let last = eventually("a run that has met it", || {
        let last = scrub(&cluster, 0)["last"].clone();
        (last["damaged"] == 1).then_some(last)
    });
    assert_eq!((&last["repaired"], &last["objects"]), (&0.into(), &2.into()), "{last}");
    assert_eq!(cluster.nodes[0].files_in("quarantine").len(), 1, "kept, not removed");
    assert!(cluster.metric(0, "boveda_healing_unmended") >= 1);
    assert_eq!(cluster.metric(0, "boveda_store_scrub_last_damaged"), 1);
    assert!(cluster.nodes[0].log().contains("a damaged copy could not be mended"));
    cluster.get(0, "k").expect_error(500, "Corrupt");
    assert_eq!(cluster.get(0, "other").body, b"fine");
}

#[test]
fn a_restart_goes_on_where_the_scrubber_was() {
    let slow = [("BOVEDA_SCRUB_BYTES_PER_SECOND", "64KiB"), ("BOVEDA_SCRUB_PERIOD", "20ms")];
    let mut cluster = Cluster::with_settings(1, &slow);
    for key in 0..100 {
        cluster.put(0, &format!("k{key:03}"), &[7; 10_000]);
    }
    // A piece holds tens of them and is paid for by seconds of rest.
    let before = eventually("a run to be under way", || {
        let now = scrub(&cluster, 0);
        (now["state"] == "reading" && now["objects"].as_u64() >= Some(20)).then_some(now)
    });
    assert!(before["position"].as_f64().is_some_and(|share| share > 0.1 && share < 1.0), "{before}");
    assert!(cluster.nodes[0].stop().success());
    cluster.begin(0);
    let after = eventually("the scrubber", || {
        let now = scrub(&cluster, 0);
        (now["state"] == "reading").then_some(now)
    });
    assert_eq!(after["started_ms"], before["started_ms"], "the same run: {after}");
    assert!(after["objects"].as_u64() >= before["objects"].as_u64(), "{before} {after}");
}

#[test]
fn a_scrubber_that_is_switched_off_reads_nothing() {
    let settings = [EAGER[0], ("BOVEDA_SCRUB_ENABLED", "false")];
    let (cluster, _) = one_object_on(Cluster::with_settings(1, &settings), SMALL_BLOB);
    let scrub = scrub(&cluster, 0);
    assert_eq!((&scrub["state"], &scrub["started_ms"]), (&"off".into(), &serde_json::Value::Null), "{scrub}");
    assert!(!cluster.nodes[0].data().join("scrub").exists());
}
