//! Nodes that decide together while disks are full down to the reserve.

mod common;

use common::cluster::{Cluster, path};
use common::eventually;
use rustix::process::Resource;
use std::time::{Duration, Instant};

/// Above any body in a record.
const BLOB: usize = 100_000;
/// Less than the time for a decision, which nothing here is to wait for, and far more than an answer takes.
const AT_ONCE: Duration = Duration::from_secs(8);

/// A reserve that the disk below the temporary directory does not have free, and could have.
fn more_than_is_free(cluster: &Cluster) -> String {
    let disk = cluster.status(0)["store"]["disk"].clone();
    let number = |name: &str| disk[name].as_u64().expect("a number");
    let (total, free) = (number("total"), number("free"));
    assert!(free < total, "nothing lies on this disk");
    (free + (total - free) / 2).to_string() + "B"
}

#[test]
fn with_a_majority_of_full_disks_what_makes_room_goes_on() {
    let mut cluster = Cluster::voting_with(3, &[("BOVEDA_CLUSTER_DECIDE_TIMEOUT", "10s")]);
    cluster.put(0, "small", b"small");
    cluster.put(0, "large", &[7; BLOB]);
    cluster.converged();
    let reserve = more_than_is_free(&cluster);
    for at in [1, 2] {
        assert!(cluster.nodes[at].stop().success());
        cluster.nodes[at].set("BOVEDA_STORE_RESERVE_BYTES", &reserve);
        cluster.begin(at);
    }
    let told = |at: usize, to: usize| at == to || cluster.peer(at, to)["health"]["full"] == true;
    eventually("all to hear of it", || (0..3).all(|at| told(at, 1) && told(at, 2)).then_some(()));
    for at in 0..3 {
        let node = &cluster.nodes[at];
        let ready = eventually("it to be ready", || Some(node.get("/readyz")).filter(|ready| ready.status == 200));
        assert_eq!(ready.json()["degraded"]["disk"].is_string(), at > 0, "{}", ready.text());
        let began = Instant::now();
        for (target, body) in [
            (path("new"), &b"new"[..]),
            (path("new-and-large"), &[7; BLOB][..]),
            ("/v1/buckets/new".to_owned(), &b""[..]),
        ] {
            let answer = node.put(&target, body);
            assert_eq!(answer.status, 507, "n{}: PUT {target}: {}", at + 1, answer.text());
        }
        assert_eq!(cluster.get(at, "large").body.len(), BLOB, "reads go on");
        assert!(began.elapsed() < AT_ONCE, "n{}: {:?}", at + 1, began.elapsed());
    }
    let began = Instant::now();
    assert_eq!(cluster.nodes[0].delete(&path("small")).status, 204);
    assert_eq!(cluster.nodes[1].delete(&path("large")).status, 204);
    assert!(began.elapsed() < AT_ONCE, "deletes go on: {:?}", began.elapsed());
    for at in 0..3 {
        cluster.get(at, "small").expect_error(404, "NoSuchKey");
        cluster.get(at, "large").expect_error(404, "NoSuchKey");
    }
}

/// Room for the log and the index, and for no large body.
const FILE_MAX: u64 = 10 << 20;

#[test]
fn a_body_that_no_majority_has_room_for_is_refused_at_once_and_leaves_nothing() {
    let settings = [
        ("BOVEDA_CLUSTER_DECIDE_TIMEOUT", "30s"),
        ("BOVEDA_STORE_LOG_BYTES", "8MiB"),
        ("BOVEDA_STORE_CHECKPOINT_BYTES", "256KiB"),
    ];
    let cluster = Cluster::voting_with(3, &settings);
    cluster.put(0, "first", b"the links are up");
    let large = vec![7; 11 << 20];
    let began = Instant::now();
    cluster.put(0, "none-short", &large);
    let taken = began.elapsed();
    let refused = || {
        let began = Instant::now();
        cluster.nodes[0].put(&path("large"), &large).expect_error(507, "InsufficientStorage");
        // A form does not say how long its file is.
        cluster.nodes[0].upload("large", &large).expect_error(507, "InsufficientStorage");
        assert!(began.elapsed() < 2 * (taken + AT_ONCE), "{:?}", began.elapsed());
        assert!(cluster.nodes[0].files_in("staged").is_empty());
        cluster.get(0, "large").expect_error(404, "NoSuchKey");
    };
    let before = cluster.nodes[2].limit(Resource::Fsize, FILE_MAX);
    cluster.put(0, "one-short", &large);
    cluster.nodes[1].limit(Resource::Fsize, FILE_MAX);
    refused();
    for at in [1, 2] {
        let why = cluster.nodes[at].get("/readyz").json()["degraded"]["file_size"].clone();
        assert!(why.as_str().is_some_and(|why| why.contains("ulimit -f")), "n{}: {why}", at + 1);
    }
    cluster.put(0, "small", &[7; BLOB]);
    assert!(cluster.metric(0, "boveda_voting_majority") == 1, "nobody was taken for lost");
    cluster.nodes[2].limit(Resource::Fsize, before.current.unwrap_or(u64::MAX));
    eventually("it to be taken", || (cluster.nodes[0].put(&path("large"), &large).status < 300).then_some(()));
}

#[test]
fn a_body_that_is_longer_than_what_is_left_above_the_reserve_is_refused_before_it_comes() {
    let mut cluster = Cluster::voting_with(3, &[("BOVEDA_CLUSTER_DECIDE_TIMEOUT", "10s")]);
    let free = cluster.status(0)["store"]["disk"]["free"].as_u64().expect("a number");
    for at in [1, 2] {
        assert!(cluster.nodes[at].stop().success());
        cluster.nodes[at].set("BOVEDA_STORE_RESERVE_BYTES", &format!("{}B", free / 2));
        cluster.begin(at);
    }
    for at in 0..3 {
        cluster.ready(at);
    }
    let told = |to: usize| cluster.peer(0, to)["peer_free"].as_u64();
    eventually("the first to hear of it", || {
        [1, 2].map(told).iter().all(|told| *told < Some(free * 3 / 4)).then_some(())
    });
    let head = format!("PUT {} HTTP/1.1\r\nHost: boveda\r\nContent-Length: {}\r\n\r\n", path("vast"), free / 4 * 3);
    // A node that has just started may not be asked yet whether it has room: the body is begun then, and has an end here.
    eventually("it to be refused", || {
        let began = Instant::now();
        let mut conn = cluster.nodes[0].connect();
        conn.send(&head).expect("the head is taken");
        conn.end_sending();
        let answer = conn.answer(false).expect("an answer");
        let is_refused = answer.status == 507;
        if is_refused {
            answer.expect_error(507, "InsufficientStorage");
            assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
        }
        is_refused.then_some(())
    });
    for at in [1, 2] {
        let degraded = || cluster.nodes[at].get("/readyz").json()["degraded"]["disk"].clone();
        let why = eventually("it to be told", || degraded().as_str().map(str::to_owned));
        assert!(why.contains("above the reserve") && why.contains("507"), "{why}");
    }
    cluster.put(0, "small", &[7; BLOB]);
}

/// One disk is full and another one is lost: whatever was written meanwhile is on one node alone, and has to go to the
/// full one before the place of the lost one can be given away.
#[test]
fn a_lost_node_gets_its_place_beside_a_full_disk() {
    let mut cluster = Cluster::voting_with(3, &[("BOVEDA_CLUSTER_DECIDE_TIMEOUT", "10s")]);
    cluster.put(0, "before", &[7; BLOB]);
    cluster.converged();
    let free = cluster.status(0)["store"]["disk"]["free"].as_u64().expect("a number");
    assert!(cluster.nodes[1].stop().success());
    // Full, and not down to half of its reserve.
    cluster.nodes[1].set("BOVEDA_STORE_RESERVE_BYTES", &format!("{}B", free / 2 * 3));
    cluster.begin(1);
    cluster.ready(1);
    eventually("it to be seen as full", || (cluster.peer(0, 1)["health"]["full"] == true).then_some(()));
    for n in 0..4u8 {
        cluster.put(0, &format!("small/{n}"), &[n; 100]);
        cluster.put(0, &format!("large/{n}"), &[n; BLOB]);
    }
    cluster.kill9(2);
    cluster.wipe(2);
    cluster.begin(2);
    cluster.ready(2);
    cluster.put(0, "new", b"of those with room");
    // What was on one node alone is on two.
    cluster.kill9(0);
    for n in 0..4u8 {
        assert_eq!(cluster.get(2, &format!("small/{n}")).body, [n; 100]);
        assert_eq!(cluster.get(2, &format!("large/{n}")).body, [n; BLOB]);
    }
}
