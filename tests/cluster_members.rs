//! Member lists change while the cluster serves: growing, shrinking, replacing, and a node that lost its disk.

mod common;

use common::cluster::{Cluster, Expected, path};
use common::{Conn, eventually};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

const LARGE: usize = 100 * 1024;
/// Keys that the writer goes round.
const KEYS: usize = 50;

fn change(cluster: &Cluster, at: usize, names: &str) -> u64 {
    let answer = cluster.nodes[at].ask("PUT", &format!("/v1/cluster/members?names={names}"), &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    let list = answer.json();
    assert!(list["before"].as_array().expect("a list").is_empty(), "{list}");
    list["epoch"].as_u64().expect("a number")
}

fn seated(cluster: &Cluster, at: usize) -> Vec<String> {
    let status = cluster.status(at);
    let seats = status["voting"]["members"]["seats"].as_array().cloned().unwrap_or_default();
    seats.iter().map(|seat| seat["name"].as_str().expect("a name").to_owned()).collect()
}

/// Writes until told to stop, each write again until it is answered; the answers that said no, and when.
fn write_on(to: SocketAddr, stop: &AtomicBool, written: &AtomicUsize) -> Vec<String> {
    let mut conn = Conn::open(to).expect("a connection");
    let (mut refused, began) = (Vec::new(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let n = written.load(Ordering::Relaxed);
        let body = if n % 10 == 9 { vec![1; LARGE] } else { n.to_string().into_bytes() };
        let answer = conn.ask("PUT", &path(&format!("w/{}", n % KEYS)), &[], &body).expect("an answer");
        match answer.status {
            200 | 201 => drop(written.fetch_add(1, Ordering::Relaxed)),
            // Of an object that is made while the list changes: written again.
            503 if answer.text().contains("UnknownOutcome") => {}
            503 => refused.push(format!("{:?} {n}: {}", began.elapsed(), answer.text())),
            _ => panic!("{answer:?}"),
        }
    }
    refused
}

#[test]
fn a_cluster_that_shrank_to_one_refuses_a_large_upload_before_its_body_comes() {
    let cluster = Cluster::voting(3);
    change(&cluster, 0, "n1");
    cluster.put(0, "there", b"already");
    let begin = |key, condition| {
        let mut conn = cluster.nodes[0].connect();
        let head =
            format!("PUT {} HTTP/1.1\r\nHost: boveda\r\n{condition}\r\nContent-Length: {LARGE}\r\n\r\n", path(key));
        conn.send(head).expect("the head is taken");
        conn
    };
    for (key, condition) in [("there", "If-None-Match: *"), ("there", "If-Match: \"other\""), ("new", "If-Match: *")] {
        let answer = begin(key, condition).answer(false).expect("an answer without the body");
        answer.expect_error(412, "PreconditionFailed");
    }
    let mut conn = begin("there", "If-Match: *");
    conn.send(vec![1; LARGE]).expect("the body is taken");
    assert_eq!(conn.answer(false).expect("an answer").status, 200);
}

#[test]
fn a_cluster_shrinks_grows_and_replaces_a_node_while_it_serves() {
    let mut cluster = Cluster::voting(5);
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut expected = Expected::new();
    for n in 0..40 {
        let body = if n % 8 == 7 { vec![9; LARGE] } else { vec![n; 20] };
        cluster.put(usize::from(n) % 5, &format!("a/{n}"), &body);
        expected.insert(format!("a/{n}"), Some(body));
    }
    let refused = std::thread::scope(|scope| {
        let to = cluster.nodes[0].http();
        let (stop, written) = (&stop, &written);
        let writer = scope.spawn(move || write_on(to, stop, written));
        let mut epoch = 1;
        for (at, names) in [(0, "n1,n2,n3"), (1, "n1,n2,n4"), (0, "n1"), (0, "n1,n2,n3"), (2, "n1,n2,n3,n4,n5")] {
            let (before, now) = (written.load(Ordering::Relaxed), change(&cluster, at, names));
            assert!(now >= epoch + 2, "a change takes two lists: {epoch} to {now}");
            epoch = now;
            eventually("writes to go on", || (written.load(Ordering::Relaxed) > before + 3).then_some(()));
            for node in 0..5 {
                eventually("the list to be known", || {
                    (seated(&cluster, node) == names.split(',').collect::<Vec<_>>()).then_some(())
                });
            }
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer ends")
    });
    assert!(refused.is_empty(), "writes were refused: {refused:#?}");
    for n in 0..written.load(Ordering::Relaxed) {
        let body = if n % 10 == 9 { vec![1; LARGE] } else { n.to_string().into_bytes() };
        expected.insert(format!("w/{}", n % KEYS), Some(body));
    }
    cluster.holds(&expected);
    // Five vote: two may be away.
    cluster.kill9(0);
    cluster.kill9(3);
    cluster.put(1, "last", b"of three");
    assert_eq!(cluster.get(4, "last").text(), "of three");
}

/// Waits until the list has the present life of a node and nothing of an older one.
#[track_caller]
fn seated_anew(cluster: &Cluster, by: usize, at: usize) {
    let life = cluster.status(at)["incarnation"].clone();
    eventually("its place to be given to its new life", || {
        let members = &cluster.status(by)["voting"]["members"];
        let done = members["before"].as_array().is_some_and(Vec::is_empty);
        let seats = members["seats"].as_array()?;
        (done && seats.iter().any(|seat| seat["incarnation"] == life)).then_some(())
    });
}

/// What an empty node says of a range must not pass for what its former life held of it: who gathers all registers
/// before its place is given away would miss what only one of the others has.
#[test]
fn a_wiped_node_does_not_speak_for_its_former_life() {
    let mut cluster = Cluster::voting(3);
    let mut expected = Expected::new();
    // n1 hears of nothing that it does not ask for.
    cluster.link(1, 0).lead_to(None);
    // By chance the right node may be asked first: several times, then.
    for round in 0..4 {
        cluster.link(2, 0).lead_to(None);
        for (key, len) in [("small", 20), ("large", LARGE)] {
            let (key, body) = (format!("{key}/{round}"), vec![round; len]);
            cluster.put(2, &key, &body);
            expected.insert(key, Some(body));
        }
        cluster.kill9(2);
        cluster.wipe(2);
        cluster.begin(2);
        seated_anew(&cluster, 0, 2);
        assert!(cluster.listing(0).keys().eq(expected.keys()), "{round}: {:?}", cluster.listing(0).keys());
    }
    cluster.heal();
    cluster.holds(&expected);
}

#[test]
fn a_node_that_lost_its_disk_votes_again_by_itself() {
    let mut cluster = Cluster::voting(3);
    let mut expected = Expected::new();
    for n in 0..30u8 {
        let body = if n % 10 == 9 { vec![n; LARGE] } else { vec![n; 30] };
        cluster.put(usize::from(n) % 3, &format!("k/{n}"), &body);
        expected.insert(format!("k/{n}"), Some(body));
    }
    cluster.kill9(2);
    cluster.wipe(2);
    cluster.begin(2);
    seated_anew(&cluster, 0, 2);
    eventually("it to vote", || (cluster.status(2)["voting"]["votes"] == true).then_some(()));
    cluster.kill9(1);
    cluster.put(0, "after", b"with the vote of the new life");
    assert_eq!(cluster.get(2, "after").text(), "with the vote of the new life");
    expected.insert("after".into(), Some(b"with the vote of the new life".to_vec()));
    cluster.begin(1);
    cluster.holds(&expected);
}

/// Members take nothing from a node without a place: it must not try for ever, nor be shown as behind.
#[test]
fn a_node_without_a_place_comes_to_rest_and_is_heard_again_when_it_has_one() {
    let cluster = Cluster::voting(3);
    let mut expected = Expected::new();
    let mut put = |at: usize, key: String, len: usize| {
        cluster.put(at, &key, &vec![3; len]);
        expected.insert(key, Some(vec![3; len]));
    };
    put(2, "first".into(), 20);
    change(&cluster, 0, "n1,n2");
    for n in 0..20 {
        put(n % 3, format!("{n}"), if n % 5 == 0 { LARGE } else { 20 });
    }
    for to in [0, 1] {
        eventually("it to have nothing to say", || {
            let peer = cluster.peer(2, to);
            (peer["changes_behind"] == 0 && peer["in_flight"] == 0 && peer["link"] == "up").then_some(())
        });
        eventually("it to have all", || (cluster.peer(to, 2)["changes_behind"] == 0).then_some(()));
    }
    change(&cluster, 1, "n1,n2,n3");
    put(2, "last".into(), LARGE);
    cluster.holds(&expected);
}

#[test]
fn who_is_away_is_not_given_a_place() {
    let mut cluster = Cluster::voting(3);
    cluster.kill9(2);
    eventually("it to be missed", || (cluster.peer(0, 2)["link"] == "down").then_some(()));
    let answer = cluster.nodes[0].ask("PUT", "/v1/cluster/members?names=n1,n3", &[], b"");
    assert!(answer.expect_error(503, "NodeAway").starts_with("n3 was not heard lately"));
    for (names, status, code, why) in [
        ("n1,n2,n9", 400, "UnknownNode", "n9 is not among cluster.peers"),
        ("n1,n2,n1", 400, "InvalidQuery", "n1 is named twice"),
        ("n1,n2&epoch=7", 409, "MembersChanged", "the member list is of epoch 1 by now"),
    ] {
        let answer = cluster.nodes[0].ask("PUT", &format!("/v1/cluster/members?names={names}"), &[], b"");
        assert!(answer.expect_error(status, code).starts_with(why), "{names}: {answer:?}");
    }
    for bad in ["", "?names=", "?names=n1,,n2", "?names=n1&x=1", "?names=n1&epoch=x"] {
        let answer = cluster.nodes[0].ask("PUT", &format!("/v1/cluster/members{bad}"), &[], b"");
        answer.expect_error(400, "InvalidQuery");
    }
    assert_eq!(seated(&cluster, 0), ["n1", "n2", "n3"]);
}
