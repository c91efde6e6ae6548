//! Large bodies reach the other nodes while they arrive, and nothing is lost when a stream is.

mod common;

use common::cluster::{Cluster, Expected, path};
use common::relay::{Fate, Way};
use common::{Conn, Dice, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const STREAM: &str = "/peer/v1/stream";
const MIB: usize = 1024 * 1024;

/// Bytes that lie under a node's staged files.
fn staged(cluster: &Cluster, at: usize) -> u64 {
    let dir = cluster.nodes[at].data().join("staged");
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}

fn blobs(cluster: &Cluster, at: usize) -> usize {
    let dir = cluster.nodes[at].data().join("blobs");
    let folders = std::fs::read_dir(dir).into_iter().flatten().flatten();
    folders.map(|folder| std::fs::read_dir(folder.path()).into_iter().flatten().count()).sum()
}

fn received(cluster: &Cluster, at: usize) -> u64 {
    cluster.status(at)["gate"]["received"]["blobs"].as_u64().expect("a number")
}

/// A connection with the head of an upload and its first bytes sent.
fn begun(cluster: &Cluster, at: usize, key: &str, body: &[u8], first: usize) -> Conn {
    let mut conn = cluster.nodes[at].connect();
    let head = format!("PUT {} HTTP/1.1\r\nHost: boveda\r\nContent-Length: {}\r\n\r\n", path(key), body.len());
    conn.send(head).expect("the head is taken");
    conn.send(&body[..first]).expect("the beginning is taken");
    conn
}

#[test]
fn a_body_is_at_its_peers_before_it_has_ended() {
    let cluster = Cluster::voting(3);
    cluster.put(0, "first", b"the links are up");
    let body = Dice(1).bytes(8 * MIB);
    let mut conn = begun(&cluster, 0, "large", &body, 5 * MIB);
    for at in [1, 2] {
        eventually("most of what was sent to be there", || (staged(&cluster, at) > 3 * MIB as u64).then_some(()));
    }
    conn.send(&body[5 * MIB..]).expect("the rest is taken");
    assert_eq!(conn.answer(false).expect("an answer").status, 201);
    let expected =
        Expected::from([("first".to_owned(), Some(b"the links are up".to_vec())), ("large".to_owned(), Some(body))]);
    cluster.holds(&expected);
    for at in [1, 2] {
        assert_eq!((received(&cluster, at), blobs(&cluster, at), staged(&cluster, at)), (1, 1, 0), "it came once");
    }
}

#[test]
fn a_body_that_comes_in_larger_pieces_than_it_travels_in_is_the_same_everywhere() {
    let cluster = Cluster::voting(3);
    let body = Dice(7).bytes(17 * MIB + 5);
    cluster.put(0, "large", &body);
    cluster.holds(&Expected::from([("large".to_owned(), Some(body))]));
    assert_eq!((received(&cluster, 1), received(&cluster, 2)), (1, 1), "it came once, while it arrived");
}

#[test]
fn a_client_that_goes_away_leaves_nothing_anywhere() {
    let cluster = Cluster::voting(3);
    cluster.put(0, "first", b"the links are up");
    let body = Dice(2).bytes(8 * MIB);
    let conn = begun(&cluster, 0, "large", &body, 5 * MIB);
    for at in 0..3 {
        eventually("some of it to be there", || (staged(&cluster, at) > 0).then_some(()));
    }
    drop(conn);
    for at in 0..3 {
        eventually("nothing to be left", || (staged(&cluster, at) == 0).then_some(()));
        assert_eq!(blobs(&cluster, at), 0);
    }
    cluster.get(1, "large").expect_error(404, "NoSuchKey");
}

#[test]
fn a_damaged_or_broken_stream_is_made_good_from_the_whole() {
    let cluster = Cluster::voting(3);
    cluster.put(0, "first", b"the links are up");
    let mut expected = Expected::from([("first".to_owned(), Some(b"the links are up".to_vec()))]);
    for (n, harm) in [Fate::Pass, Fate::Cut(0)].into_iter().enumerate() {
        let seen = Arc::new(AtomicUsize::new(0));
        for to in [1, 2] {
            let seen = Arc::clone(&seen);
            cluster.link(0, to).judge(move |way, on, chunk| {
                // The third chunk of each stream: the head is behind it, the end is not reached.
                if way == Way::Request && on == STREAM && chunk.len() > 1000 && seen.fetch_add(1, Ordering::SeqCst) < 2
                {
                    chunk[500] ^= 1;
                    return harm;
                }
                Fate::Pass
            });
        }
        let (key, body) = (format!("large/{n}"), Dice(3).bytes(4 * MIB));
        cluster.put(0, &key, &body);
        assert!(seen.load(Ordering::SeqCst) >= 2, "both streams were harmed");
        expected.insert(key, Some(body));
    }
    cluster.holds(&expected);
}

#[test]
fn a_peer_that_dies_in_the_middle_has_it_later() {
    let mut cluster = Cluster::voting(3);
    cluster.put(0, "first", b"the links are up");
    let body = Dice(4).bytes(8 * MIB);
    let mut conn = begun(&cluster, 0, "large", &body, 4 * MIB);
    eventually("some of it to be there", || (staged(&cluster, 2) > 0).then_some(()));
    cluster.kill9(2);
    conn.send(&body[4 * MIB..]).expect("the rest is taken");
    assert_eq!(conn.answer(false).expect("an answer").status, 201);
    cluster.begin(2);
    let expected =
        Expected::from([("first".to_owned(), Some(b"the links are up".to_vec())), ("large".to_owned(), Some(body))]);
    cluster.holds(&expected);
}

#[test]
fn a_body_that_is_refused_does_not_stay_with_the_peers() {
    let cluster = Cluster::voting(3);
    cluster.put(0, "there", b"already");
    let body = Dice(5).bytes(4 * MIB);
    // Known to fail before it begins: it does not travel.
    let answer = cluster.nodes[0].ask("PUT", &path("there"), &[("If-None-Match", "*")], &body);
    answer.expect_error(412, "PreconditionFailed");
    assert_eq!((received(&cluster, 1), received(&cluster, 2)), (0, 0));
    // It fails in the end: somebody else was faster.
    let mut conn = cluster.nodes[0].connect();
    let head = format!(
        "PUT {} HTTP/1.1\r\nHost: boveda\r\nIf-None-Match: *\r\nContent-Length: {}\r\n\r\n",
        path("race"),
        body.len()
    );
    conn.send(head).expect("the head is taken");
    conn.send(&body[..2 * MIB]).expect("the beginning is taken");
    eventually("some of it to be there", || (staged(&cluster, 1) > 0).then_some(()));
    cluster.put(1, "race", b"faster");
    conn.send(&body[2 * MIB..]).expect("the rest is taken");
    conn.answer(false).expect("an answer").expect_error(412, "PreconditionFailed");
    for at in 0..3 {
        eventually("it to be gone", || (blobs(&cluster, at) == 0 && staged(&cluster, at) == 0).then_some(()));
    }
}

#[test]
fn a_node_that_does_not_know_the_bucket_yet_asks_the_others() {
    let cluster = Cluster::voting(3);
    // n3 hears of nothing that it does not ask for.
    cluster.link(0, 2).lead_to(None);
    cluster.link(1, 2).lead_to(None);
    assert_eq!(cluster.nodes[0].put("/v1/buckets/papers", b"").status, 201);
    let body = Dice(6).bytes(4 * MIB);
    assert_eq!(cluster.nodes[2].put("/v1/objects/papers/large", &body).status, 201);
    cluster.nodes[2].put("/v1/objects/letters/large", &body).expect_error(404, "NoSuchBucket");
    assert!(cluster.nodes[1].get("/v1/objects/papers/large").body == body);
}
