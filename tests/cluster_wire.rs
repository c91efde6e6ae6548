//! What stands between two nodes and listens, changes, cuts and repeats: it can delay, and nothing else.
//!
//! Two real nodes talk through a relay. What is sent to the second one's peer port besides goes there directly.

mod common;

use common::cluster::{Cluster, Expected};
use common::relay::{Fate, Way};
use common::{Answer, Conn, Dice, eventually};
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

const HELLO: &str = "/peer/v1/hello";
const CALL: &str = "/peer/v1/call";
const BLOB: &str = "/peer/v1/blob";
const BODIES: &str = "/peer/v1/bodies";
/// Session and counter in front of a frame.
const CLEAR_BYTES: usize = 16;
/// How often a damaged message is tried before the damage ends.
const TRIES: u64 = 6;
/// A body that travels with others, and one that travels alone.
const MIDDLE: usize = 300_000;
const LARGE: usize = 1_500_000;

/// Two nodes that have agreed on a first object.
fn two(expected: &mut Expected) -> Cluster {
    // Large bodies are files, which the tests count.
    let cluster = Cluster::with_settings(2, &[("BOVEDA_STORE_SEGMENT_MAX", "100KiB")]);
    put(&cluster, expected, "first", b"before anything happens");
    cluster.holds(expected);
    cluster
}

fn put(cluster: &Cluster, expected: &mut Expected, key: &str, body: &[u8]) {
    cluster.put(0, key, body);
    expected.insert(key.to_owned(), Some(body.to_vec()));
}

/// Sends a body to the peer port of the second node.
fn post(cluster: &Cluster, path: &str, body: &[u8]) -> Answer {
    let mut conn = Conn::open(cluster.nodes[1].peer()).expect("the peer port takes connections");
    conn.ask("POST", path, &[], body).unwrap_or_else(|error| panic!("{path}, {} bytes: {error}", body.len()))
}

/// What the second node did for its peers, without heartbeats and handshakes, and where its store stands.
fn applied(cluster: &Cluster) -> Value {
    let status = cluster.status(1);
    let received = &status["gate"]["received"];
    serde_json::json!([received["offers"], received["learns"], received["blobs"], status["store"]["head"]])
}

fn refused(cluster: &Cluster, at: usize, reason: &str) -> u64 {
    let status = cluster.status(at);
    let all = status["gate"]["refused"].as_array().expect("a list").clone();
    all.iter().filter(|caller| caller["reason"] == reason).filter_map(|caller| caller["count"].as_u64()).sum()
}

/// Gives every message of one kind between the two to `damage`; the number that it was given.
fn damage(
    cluster: &Cluster,
    way: Way,
    path: &'static str,
    mut damage: impl FnMut(u64, &mut Vec<u8>) -> Fate + Send + 'static,
) -> Arc<AtomicU64> {
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    cluster.link(0, 1).judge(move |at, on, body| {
        if (at, on) != (way, path) {
            return Fate::Pass;
        }
        damage(counted.fetch_add(1, Ordering::SeqCst), body)
    });
    count
}

fn until_tried(count: &AtomicU64, times: u64) {
    eventually("damaged messages", || (count.load(Ordering::SeqCst) >= times).then_some(()));
}

#[track_caller]
fn lives_and_heals(cluster: &Cluster, expected: &Expected, pid: u32) {
    assert_eq!(cluster.nodes[1].get("/readyz").status, 200);
    cluster.link(0, 1).pass();
    cluster.holds(expected);
    assert_eq!(cluster.nodes[1].pid(), pid, "the same process all the time");
    eventually("nothing staged is left", || cluster.nodes[1].files_in("staged").is_empty().then_some(()));
    let log = cluster.nodes[1].log();
    assert!(!log.contains("panicked"), "{log}");
}

#[test]
fn replayed_frames_are_refused() {
    let mut expected = Expected::new();
    let mut cluster = two(&mut expected);
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    // Nothing of the sessions from before: a fresh one, from its hello on.
    let node = cluster.nodes[1].peer();
    cluster.link(0, 1).judge(move |way, path, body| {
        if way == Way::Request {
            keep.lock().expect("no panic holds it").push((path.to_owned(), body.clone()));
        }
        Fate::Pass
    });
    cluster.link(0, 1).lead_to(None);
    eventually("the link to break", || (cluster.peer(0, 1)["link"] != "up").then_some(()));
    cluster.link(0, 1).lead_to(Some(node));
    for key in 0..6 {
        put(&cluster, &mut expected, &format!("small{key}"), &[7; 500]);
        put(&cluster, &mut expected, &format!("middle{key}"), &vec![key; MIDDLE]);
        put(&cluster, &mut expected, &format!("large{key}"), &vec![key; LARGE]);
    }
    cluster.nodes[0].delete(&common::cluster::path("small0"));
    expected.insert("small0".to_owned(), None);
    cluster.holds(&expected);

    let frames = std::mem::take(&mut *kept.lock().expect("no panic holds it"));
    for path in [HELLO, CALL, BLOB, BODIES] {
        assert!(frames.iter().any(|(on, _)| on == path), "{path} was recorded");
    }
    let replay = |cluster: &Cluster, why: &str| {
        let before = applied(cluster);
        for (path, body) in &frames {
            let answer = post(cluster, path, body);
            // A hello proves nothing, and the session that it gets is of no use to whoever repeats it.
            let status = if path == HELLO { 200 } else { 401 };
            assert_eq!(answer.status, status, "{why}: {path}, {} bytes", body.len());
        }
        assert_eq!(applied(cluster), before, "{why}: nothing was applied");
    };
    replay(&cluster, "in the session's own life");
    assert!(refused(&cluster, 1, "bad_frame") >= 6, "{}", cluster.status(1)["gate"]);
    // On another path, where the counter may even be fresh.
    for (path, body) in frames.iter().filter(|(path, _)| path != HELLO) {
        let other = match path.as_str() {
            CALL => BLOB,
            BLOB => BODIES,
            _ => CALL,
        };
        let status = post(&cluster, other, body).status;
        assert!(matches!(status, 400 | 401), "{path} on {other}: {status}");
    }
    cluster.kill9(1);
    cluster.begin(1);
    cluster.holds(&expected);
    replay(&cluster, "after a restart");
    put(&cluster, &mut expected, "later", b"and the real ones still pass");
    let pid = cluster.nodes[1].pid();
    lives_and_heals(&cluster, &expected, pid);
}

#[test]
fn a_frame_with_a_flipped_bit_is_refused() {
    let mut expected = Expected::new();
    let cluster = two(&mut expected);
    let pid = cluster.nodes[1].pid();
    let before = applied(&cluster);
    let (session, frame) = (refused(&cluster, 1, "unknown_session"), refused(&cluster, 1, "bad_frame"));
    let mut dice = Dice(11);
    let flips = damage(&cluster, Way::Request, CALL, move |nth, body| {
        // The first ones in the clear part, the others anywhere behind it.
        let clear = CLEAR_BYTES as u64 * 8;
        let bit = if nth % 4 == 0 { dice.below(clear) } else { clear + dice.below(body.len() as u64 * 8 - clear) };
        body[bit as usize / 8] ^= 1 << (bit % 8);
        Fate::Pass
    });
    put(&cluster, &mut expected, "small", b"must not arrive changed");
    until_tried(&flips, 3 * TRIES);
    assert_eq!(applied(&cluster), before, "nothing was applied");
    cluster.get(1, "small").expect_error(404, "NoSuchKey");
    assert!(refused(&cluster, 1, "bad_frame") > frame);
    assert_eq!(refused(&cluster, 1, "unknown_session"), session, "everyday life is not shown as an attack");
    assert!(cluster.peer(0, 1)["changes_behind"].as_u64().is_some_and(|behind| behind > 0));
    lives_and_heals(&cluster, &expected, pid);
}

#[test]
fn a_blob_with_a_flipped_bit_gets_no_name() {
    flipped(BLOB, LARGE);
    flipped(BODIES, MIDDLE);
}

fn flipped(path: &'static str, len: usize) {
    let mut expected = Expected::new();
    let cluster = two(&mut expected);
    let pid = cluster.nodes[1].pid();
    let mut dice = Dice(12);
    let flips = damage(&cluster, Way::Request, path, move |nth, body| {
        // In its head, which is sealed; in its first and its last byte; anywhere.
        let len = body.len() as u64;
        let at = [dice.below(100), 110 + dice.below(len - 110), len - 1][nth as usize % 3];
        body[at as usize] ^= 1 << dice.below(8);
        Fate::Pass
    });
    put(&cluster, &mut expected, "large", &Dice(1).bytes(len));
    until_tried(&flips, TRIES);
    cluster.get(1, "large").expect_error(404, "NoSuchKey");
    assert_eq!(blobs(&cluster), 0, "no damaged file has a blob's name");
    assert!(cluster.peer(0, 1)["changes_behind"].as_u64().is_some_and(|behind| behind > 0));
    // The records lane has a session of its own: small objects pass meanwhile.
    put(&cluster, &mut expected, "small", b"not held up by a blob");
    eventually("a small object to arrive", || (cluster.get(1, "small").status == 200).then_some(()));
    lives_and_heals(&cluster, &expected, pid);
    assert_eq!(blobs(&cluster), 1);
}

/// Files with a blob's name on the second node.
fn blobs(cluster: &Cluster) -> usize {
    fn files(dir: &std::path::Path) -> usize {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { 1 }).sum()
    }
    files(&cluster.nodes[1].data().join("blobs"))
}

#[test]
fn an_answer_with_a_flipped_bit_acknowledges_nothing() {
    let mut expected = Expected::new();
    let cluster = two(&mut expected);
    let pid = cluster.nodes[1].pid();
    let acked = cluster.peer(0, 1)["acked_seq"].clone();
    let mut dice = Dice(13);
    let flips = damage(&cluster, Way::Answer, CALL, move |_, body| {
        let bit = dice.below(body.len() as u64 * 8);
        body[bit as usize / 8] ^= 1 << (bit % 8);
        Fate::Pass
    });
    put(&cluster, &mut expected, "small", b"whether it arrived is unknown");
    until_tried(&flips, TRIES);
    let peer = cluster.peer(0, 1);
    assert_eq!(peer["acked_seq"], acked, "the cursor stays: {peer}");
    assert!(peer["changes_behind"].as_u64().is_some_and(|behind| behind > 0), "{peer}");
    lives_and_heals(&cluster, &expected, pid);
}

#[test]
fn messages_cut_short_leave_nothing_behind() {
    let mut expected = Expected::new();
    let cluster = two(&mut expected);
    let pid = cluster.nodes[1].pid();
    for (way, path) in
        [(Way::Request, CALL), (Way::Request, BLOB), (Way::Request, BODIES), (Way::Request, HELLO), (Way::Answer, CALL)]
    {
        let mut dice = Dice(14);
        let before = applied(&cluster);
        let [small, middle, large] = ["s", "m", "l"].map(|kind| format!("{way:?}{path}{kind}").replace('/', "."));
        let cuts = damage(&cluster, way, path, move |_, body| Fate::Cut(dice.below(body.len() as u64) as usize));
        if path == HELLO {
            // Sessions are open; they have to be made anew first.
            let node = cluster.nodes[1].peer();
            cluster.link(0, 1).lead_to(None);
            eventually("the link to break", || (cluster.peer(0, 1)["link"] != "up").then_some(()));
            cluster.link(0, 1).lead_to(Some(node));
        }
        put(&cluster, &mut expected, &small, b"a small one");
        put(&cluster, &mut expected, &middle, &Dice(3).bytes(MIDDLE));
        put(&cluster, &mut expected, &large, &Dice(2).bytes(LARGE));
        until_tried(&cuts, TRIES);
        match (way, path) {
            (Way::Answer, _) => {}
            (_, BLOB) => assert_eq!(cluster.get(1, &large).status, 404),
            (_, BODIES) => assert_eq!(cluster.get(1, &middle).status, 404),
            _ => assert_eq!(applied(&cluster), before, "{path}: nothing was applied"),
        }
        lives_and_heals(&cluster, &expected, pid);
    }
}

#[test]
fn garbage_is_refused_and_harms_nobody() {
    let mut expected = Expected::new();
    let cluster = two(&mut expected);
    let pid = cluster.nodes[1].pid();
    let session = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&session);
    let calls = damage(&cluster, Way::Request, CALL, move |_, body| {
        *seen.lock().expect("no panic holds it") = body[..CLEAR_BYTES].to_vec();
        Fate::Pass
    });
    until_tried(&calls, 1);
    let (before, hellos) = (applied(&cluster), cluster.peer(0, 1)["sent"]["hellos"].clone());

    let mut dice = Dice(15);
    for path in [HELLO, CALL, BLOB, BODIES] {
        for len in [0, 1, 15, 16, 17, 22, 100, 1024, 1025, 60_000] {
            let answer = post(&cluster, path, &dice.bytes(len));
            assert!(matches!(answer.status, 400 | 401 | 403), "{path}, {len} bytes: {}", answer.status);
        }
    }
    // In the open session of the other node, with a counter that it has not reached.
    let mut forged = session.lock().expect("no panic holds it").clone();
    forged[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
    forged.extend_from_slice(&dice.bytes(200));
    assert_eq!(post(&cluster, CALL, &forged).status, 401);
    let mut blob = 200u32.to_le_bytes().to_vec();
    blob.extend_from_slice(&forged[..200]);
    blob.extend_from_slice(&dice.bytes(5_000));
    assert_eq!(post(&cluster, BLOB, &blob).status, 401);
    assert_eq!(post(&cluster, BODIES, &blob).status, 401);
    // Lengths that lie, paths that are not there, and what is no HTTP at all.
    let mut endless = Conn::open(cluster.nodes[1].peer()).expect("the peer port takes connections");
    endless.send(format!("POST {CALL} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", u64::MAX)).expect("sent");
    assert_eq!(endless.answer(false).expect("an answer").status, 400);
    let mut chunked = Conn::open(cluster.nodes[1].peer()).expect("the peer port takes connections");
    chunked.send(format!("POST {CALL} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")).expect("sent");
    assert_eq!(chunked.answer(false).expect("an answer").status, 400);
    assert_eq!(post(&cluster, "/peer/v2/call", &forged).status, 404);
    for len in [1, 100, 10_000] {
        let mut noise = Conn::open(cluster.nodes[1].peer()).expect("the peer port takes connections");
        // It may hang up before it has read all.
        let _ = noise.send(dice.bytes(len)).and_then(|()| noise.send("\r\n\r\n"));
        noise.end_sending();
        let _ = noise.rest();
    }

    assert_eq!(applied(&cluster), before, "nothing was applied");
    put(&cluster, &mut expected, "small", b"in the session that was attacked");
    lives_and_heals(&cluster, &expected, pid);
    assert_eq!(cluster.peer(0, 1)["sent"]["hellos"], hellos, "no session was lost to it");
}
