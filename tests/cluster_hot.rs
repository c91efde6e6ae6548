//! Many writers of one key: each is told what became of its write, and hardly any that nobody knows.

mod common;

use common::Conn;
use common::cluster::{Cluster, path};
use std::collections::BTreeMap;

const CLIENTS: usize = 24;
const PUTS: usize = 25;

/// So many clients put one key again and again, each at a node of `nodes`; how often which status and code came.
fn put_at(cluster: &Cluster, nodes: usize, clients: usize) -> BTreeMap<(u16, String), usize> {
    let one = |client: usize| {
        let mut conn = Conn::open(cluster.nodes[client % nodes].http()).expect("a connection");
        let answers = (0..PUTS).map(|turn| {
            let body = format!("{client}-{turn}");
            let answer = conn.ask("PUT", &path("hot"), &[], body.as_bytes()).expect("an answer");
            let code = if answer.status < 300 { String::new() } else { answer.json()["code"].to_string() };
            (answer.status, code)
        });
        answers.collect::<Vec<_>>()
    };
    let mut seen = BTreeMap::new();
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..clients).map(|client| scope.spawn(move || one(client))).collect();
        for answers in all {
            for answer in answers.join().expect("a client") {
                *seen.entry(answer).or_default() += 1;
            }
        }
    });
    seen
}

fn done(seen: &BTreeMap<(u16, String), usize>) -> usize {
    seen.iter().filter(|((status, _), _)| matches!(status, 200 | 201)).map(|(_, count)| count).sum()
}

#[test]
fn writers_of_one_key_at_one_node_all_succeed() {
    let cluster = Cluster::voting(3);
    let seen = put_at(&cluster, 1, 8);
    assert_eq!(done(&seen), 8 * PUTS, "{seen:?}");
}

#[test]
fn writers_of_one_key_at_all_nodes_hardly_ever_hear_of_an_unknown_outcome() {
    let cluster = Cluster::voting(3);
    let seen = put_at(&cluster, 3, CLIENTS);
    // One in a hundred is what is wanted; one in twenty is far from the half it was.
    assert!(done(&seen) * 20 >= CLIENTS * PUTS * 19, "{seen:?}");
}

#[test]
fn writers_that_wait_for_a_node_without_a_majority_hear_that_nothing_was_written() {
    let mut cluster = Cluster::voting(3);
    cluster.kill9(1);
    cluster.kill9(2);
    let addr = cluster.nodes[0].http();
    let put = || Conn::open(addr).expect("a connection").ask("PUT", &path("hot"), &[], b"x").expect("an answer");
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..6).map(|_| scope.spawn(put)).collect();
        for answer in all {
            answer.join().expect("a client").expect_error(503, "NoMajority");
        }
    });
}
