//! Bodies between nodes: many at once wait for their turn, and each goes once to each peer, however long that takes.

mod common;

use boveda::base::Mark;
use common::cluster::{Cluster, Expected, path};
use common::relay::{Fate, Way};
use common::{Conn, Dice, eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const BLOB: &str = "/peer/v1/blob";
const STREAM: &str = "/peer/v1/stream";
const CALL: &str = "/peer/v1/call";
const MIB: usize = 1024 * 1024;

/// How often a node took a rare path.
fn rare(cluster: &Cluster, at: usize, mark: Mark) -> u64 {
    cluster.metric(at, &format!("boveda_rare_{}", mark.name()))
}

#[test]
fn many_bodies_at_once_wait_for_their_turn_and_none_is_refused() {
    const CONNECTIONS: usize = 96;
    let cluster = Cluster::voting(3);
    cluster.put(0, "first", b"the links are up");
    let body = Dice(1).bytes(64 * 1024);
    let (to, body) = (cluster.nodes[0].http(), &body);
    let refused: Vec<String> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..CONNECTIONS)
            .map(|n| {
                scope.spawn(move || {
                    let mut conn = Conn::open(to).expect("a connection");
                    let answers = (0..6).map(|k| conn.ask("PUT", &path(&format!("{n}/{k}")), &[], body));
                    let answers = answers.map(|answer| answer.expect("an answer"));
                    answers.filter(|answer| answer.status != 201).map(|answer| answer.text().to_owned()).collect()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| -> Vec<String> { writer.join().expect("a writer ends") }).collect()
    });
    assert!(refused.is_empty(), "{} refused: {:?}", refused.len(), refused.first());
}

#[test]
fn a_body_that_takes_longer_than_a_decision_goes_once_to_each_new_member() {
    const DECIDE: Duration = Duration::from_millis(500);
    let cluster = Cluster::voting_with(3, &[("BOVEDA_CLUSTER_DECIDE_TIMEOUT", "500ms")]);
    let alone = cluster.nodes[0].ask("PUT", "/v1/cluster/members?names=n1", &[], b"");
    assert_eq!(alone.status, 200, "{alone:?}");
    cluster.part();
    let body = Dice(2).bytes(8 * MIB);
    cluster.put(0, "large", &body);
    let sent: Vec<_> = [1, 2]
        .map(|to| {
            let sent = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&sent);
            cluster.link(0, to).judge(move |way, on, _| {
                if way == Way::Request && on == BLOB {
                    count.fetch_add(1, Ordering::SeqCst);
                    return Fate::Hold;
                }
                Fate::Pass
            });
            sent
        })
        .into();
    cluster.heal();
    let begun = |to: usize| sent[to - 1].load(Ordering::SeqCst);
    for to in [1, 2] {
        eventually("the new member to be heard", || (cluster.peer(0, to)["link"] == "up").then_some(()));
    }
    std::thread::scope(|scope| {
        let change = scope.spawn(|| {
            // It was not heard lately enough at first.
            eventually("the change to be done", || {
                let answer = cluster.nodes[0].ask("PUT", "/v1/cluster/members?names=n1,n2,n3", &[], b"");
                (answer.status == 200).then(|| answer.json())
            })
        });
        for to in [1, 2] {
            eventually("the body to be under way", || (begun(to) > 0).then_some(()));
        }
        let since = Instant::now();
        eventually("a decision's time to pass, six times", || (since.elapsed() > 6 * DECIDE).then_some(()));
        assert_eq!([begun(1), begun(2)], [1, 1], "it goes once");
        for to in [1, 2] {
            cluster.link(0, to).let_go();
        }
        let list = change.join().expect("it ends");
        assert!(list["before"].as_array().expect("a list").is_empty(), "{list}");
    });
    assert_eq!([begun(1), begun(2)], [1, 1], "it went once");
    assert!(rare(&cluster, 0, Mark::TransferJoined) > 0, "a later round asked for what was under way");
    cluster.holds(&Expected::from([("large".to_owned(), Some(body))]));
}

#[test]
fn a_body_that_two_nodes_offer_comes_from_one_of_them() {
    let cluster = Cluster::voting(3);
    // The third is away while the other two decide.
    for (from, to) in [(0, 2), (1, 2), (2, 0), (2, 1)] {
        cluster.link(from, to).lead_to(None);
    }
    eventually("the third to be missed", || (cluster.peer(0, 2)["link"] == "down").then_some(()));
    let body = Dice(3).bytes(8 * MIB);
    cluster.put(0, "large", &body);
    eventually("both to have it", || cluster.get(1, "large").body.eq(&body).then_some(()));
    let hold = |way, on: &str, _: &mut Vec<u8>| {
        if way == Way::Request && on == BLOB { Fate::Hold } else { Fate::Pass }
    };
    [0, 1].into_iter().for_each(|from| cluster.link(from, 2).judge(hold));
    cluster.heal();
    eventually("the second one to be told that it comes already", || {
        (rare(&cluster, 2, Mark::ArrivalJoined) > 0).then_some(())
    });
    [0, 1].into_iter().for_each(|from| cluster.link(from, 2).let_go());
    cluster.holds(&Expected::from([("large".to_owned(), Some(body))]));
}

#[test]
fn a_peer_that_takes_the_connection_and_stops_reading_holds_no_write_up() {
    let cluster = Cluster::voting(3);
    cluster.put(0, "first", b"the links are up");
    cluster.link(0, 2).slow(BLOB, 0);
    cluster.link(0, 2).judge(|way, on, _| if way == Way::Request && on == STREAM { Fate::Hold } else { Fate::Pass });
    let (body, since) = (Dice(3).bytes(16 * MIB), Instant::now());
    cluster.put(0, "large", &body);
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    assert!(cluster.get(1, "large").body == body);
}

#[test]
fn a_put_waits_for_its_body_while_that_moves_and_no_longer() {
    const DECIDE: Duration = Duration::from_secs(3);
    let cluster = Cluster::voting_with(3, &[("BOVEDA_CLUSTER_DECIDE_TIMEOUT", "3s")]);
    cluster.put(0, "first", b"the links are up");
    // What n2 is sent while it comes is lost on the way, and what is sent then stands; to n3 it is the stream that stands.
    let streams = |fate| {
        move |way, on: &str, _: &mut Vec<u8>| if way == Way::Request && on == STREAM { fate } else { Fate::Pass }
    };
    cluster.link(0, 1).judge(streams(Fate::Cut(0)));
    cluster.link(0, 2).judge(streams(Fate::Hold));
    [1, 2].into_iter().for_each(|to| cluster.link(0, to).slow(BLOB, 0));
    let since = Instant::now();
    let answer = cluster.nodes[0].ask("PUT", &path("large"), &[], &Dice(5).bytes(2 * MIB));
    answer.expect_error(503, "NoMajority");
    assert!((DECIDE..5 * DECIDE).contains(&since.elapsed()), "it stands still: {:?}", since.elapsed());
    cluster.get(0, "large").expect_error(404, "NoSuchKey");

    // To n2 it moves, more slowly than a decision may take.
    cluster.link(0, 1).slow(BLOB, 4 * MIB);
    let (body, since) = (Dice(6).bytes(24 * MIB), Instant::now());
    cluster.put(0, "large", &body);
    assert!(since.elapsed() > DECIDE, "{:?}", since.elapsed());
    assert!(cluster.get(1, "large").body == body);
}

#[test]
fn a_decision_goes_on_while_the_body_that_it_waits_for_moves_and_no_longer() {
    const DECIDE: Duration = Duration::from_millis(1500);
    let mut cluster = Cluster::voting_with(3, &[("BOVEDA_CLUSTER_DECIDE_TIMEOUT", "1500ms")]);
    cluster.put(0, "first", b"the links are up");
    cluster.stop(2);
    // n2 takes the body and promises, and never hears of the record: it is tentative at n1 alone.
    let large = |way, on: &str, body: &Vec<u8>| way == Way::Request && on == CALL && body.len() > 4_000;
    cluster.link(0, 1).judge(move |way, on, body| if large(way, on, body) { Fate::Cut(0) } else { Fate::Pass });
    let body = Dice(4).bytes(24 * MIB);
    let note = "n".repeat(6_000);
    let answer = cluster.nodes[0].ask("PUT", &path("large"), &[("x-boveda-meta-note", &note)], &body);
    answer.expect_error(503, "UnknownOutcome");
    cluster.kill9(1);

    // Who reads it settles it with n3, which needs the body first.
    cluster.link(0, 2).slow(BLOB, 0);
    cluster.begin(2);
    cluster.ready(2);
    let since = Instant::now();
    cluster.get(0, "large").expect_error(503, "NoMajority");
    assert!(since.elapsed() < Duration::from_secs(15), "it stands still: {:?}", since.elapsed());
    cluster.link(0, 2).slow(BLOB, 6 * MIB);
    let since = Instant::now();
    let answer = cluster.get(0, "large");
    assert!(answer.status == 200 && answer.body == body, "it moves: {} after {:?}", answer.status, since.elapsed());
    assert!(since.elapsed() > DECIDE, "{:?}", since.elapsed());
}
