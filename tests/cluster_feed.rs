//! Three nodes as processes: what is written on one comes to all, whoever was away meanwhile.

mod common;

use common::cluster::{Cluster, Expected, next_millisecond, path};
use common::{Dice, eventually};
use std::sync::Barrier;

const KIB: usize = 1024;
/// Up to this size a body comes with its record; a larger one is a file of its own.
const INLINE_MAX: usize = 64 * KIB;
/// Both sides of every border: nothing, inline, a whole chunk, one byte more, several pieces.
const SIZES: [usize; 8] = [0, 1, 300, 5_000, INLINE_MAX - 1, INLINE_MAX, INLINE_MAX + 1, 2_500_000];

/// Writes in turn on all nodes and keeps what should be there.
fn write(cluster: &Cluster, expected: &mut Expected, first: usize, keys: impl IntoIterator<Item = usize>, seed: u64) {
    let mut dice = Dice(seed);
    for key in keys {
        let body = dice.bytes(SIZES[dice.0 as usize % SIZES.len()]);
        let name = format!("a/{key:04}");
        cluster.put((first + key) % cluster.nodes.len(), &name, &body);
        expected.insert(name, Some(body));
    }
}

#[test]
fn writes_overwrites_and_deletes_on_every_node_reach_every_node() {
    let cluster = Cluster::start(3);
    let mut expected = Expected::new();
    write(&cluster, &mut expected, 0, 0..200, 1);
    cluster.holds(&expected);

    // The same keys on other nodes than before, in other sizes.
    write(&cluster, &mut expected, 1, (0..200).step_by(2), 2);
    cluster.holds(&expected);

    for key in (0..200).step_by(3) {
        let name = format!("a/{key:04}");
        let answer = cluster.nodes[(key + 2) % 3].delete(&path(&name));
        assert_eq!(answer.status, 204, "{answer:?}");
        expected.insert(name, None);
    }
    cluster.holds(&expected);

    // A deleted key can be written again, on whichever node.
    write(&cluster, &mut expected, 2, (0..200).step_by(9), 3);
    cluster.holds(&expected);
}

#[test]
fn concurrent_writes_of_one_key_end_as_one_record() {
    const KEYS: usize = 150;
    let cluster = Cluster::start(3);
    let body = |key: usize, at: usize| {
        // A few large ones, whose bodies arrive after other records.
        let len = if key.is_multiple_of(15) { INLINE_MAX + key } else { 40 + key };
        vec![u8::try_from(at).expect("a small number") + 1; len]
    };
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        for writer in [0, 1] {
            let (cluster, barrier) = (&cluster, &barrier);
            scope.spawn(move || {
                for key in 0..KEYS {
                    // Every pair of nodes, both writers at once.
                    let at = (key + writer) % 3;
                    let body = body(key, at);
                    barrier.wait();
                    cluster.put(at, &format!("k{key}"), &body);
                }
            });
        }
    });
    let listing = cluster.converged();
    assert_eq!(listing.len(), KEYS);
    for key in 0..KEYS {
        let answers: Vec<_> = (0..3).map(|at| cluster.get(at, &format!("k{key}"))).collect();
        let winner = (0..2).map(|writer| body(key, (key + writer) % 3)).find(|body| *body == answers[0].body);
        assert!(winner.is_some(), "k{key} holds what nobody wrote");
        for answer in &answers {
            assert!(answer.body == answers[0].body, "k{key} differs");
            assert_eq!(answer.header("etag"), answers[0].header("etag"), "k{key}");
        }
    }
}

#[test]
fn what_parted_nodes_wrote_ends_as_the_later_of_both() {
    const KEYS: usize = 120;
    let cluster = Cluster::start(3);
    let mut expected = Expected::new();
    // In the second round every key has a common past.
    for round in 0..2 {
        cluster.part();
        // None of the two knows of the other's write; which one is the later changes from key to key.
        let both = |key: usize| [key % 3, (key + 1 + key / 3 % 2) % 3];
        for nth in [0, 1] {
            next_millisecond();
            for key in 0..KEYS {
                let (name, at) = (format!("p{key}"), both(key)[nth]);
                if nth == 1 && key % 10 == 3 && round == 1 {
                    assert_eq!(cluster.nodes[at].delete(&path(&name)).status, 204, "{name}");
                    expected.insert(name, None);
                    continue;
                }
                let len = if key.is_multiple_of(15) { INLINE_MAX + key } else { 40 + key };
                let body = Dice((round * 2 + nth) as u64 * 1_000 + key as u64).bytes(len);
                cluster.put(at, &name, &body);
                expected.insert(name, Some(body));
            }
        }
        cluster.heal();
        cluster.holds(&expected);
    }
}

#[test]
fn a_killed_peer_catches_up_and_a_wiped_one_is_filled_again() {
    let mut cluster = Cluster::start(3);
    let mut expected = Expected::new();
    write(&cluster, &mut expected, 0, 0..60, 1);
    cluster.holds(&expected);

    cluster.kill9(2);
    for from in [0, 1] {
        eventually("the others to see it", || (cluster.peer(from, 2)["link"] == "down").then_some(()));
    }
    for key in 40..120 {
        let name = format!("a/{key:04}");
        let body = Dice(key).bytes(if key.is_multiple_of(5) { 200 * KIB } else { 700 });
        cluster.put(key as usize % 2, &name, &body);
        expected.insert(name, Some(body));
    }
    let behind = cluster.peer(0, 2)["changes_behind"].as_u64();
    assert!(behind.is_some_and(|behind| behind > 0), "{behind:?}");
    cluster.begin(2);
    cluster.holds(&expected);

    let life = cluster.status(2)["incarnation"].clone();
    cluster.kill9(2);
    cluster.wipe(2);
    cluster.put(1, "while-away", b"written while n3 was away");
    expected.insert("while-away".to_owned(), Some(b"written while n3 was away".to_vec()));
    cluster.begin(2);
    cluster.holds(&expected);
    assert_ne!(cluster.status(2)["incarnation"], life, "a wiped node has a new life");
    assert_eq!(cluster.peer(0, 2)["incarnation"], cluster.status(2)["incarnation"], "and its peers know");
}

/// What a node sent and received besides heartbeats, by its metrics; and how many heartbeats it sent.
fn traffic(cluster: &Cluster, at: usize) -> (Vec<(String, u64)>, u64) {
    let text = cluster.nodes[at].get("/metrics").text().to_owned();
    let (mut others, mut beats) = (Vec::new(), u64::MAX);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        let bare = name.split('{').next().unwrap_or(name);
        if !bare.starts_with("boveda_peers_sent_") && !bare.starts_with("boveda_gate_received_") {
            continue;
        }
        let value: u64 = value.parse().expect("a count");
        if !bare.ends_with("_heartbeats") {
            others.push((name.to_owned(), value));
        } else if bare.contains("_sent_") {
            beats = beats.min(value);
        }
    }
    assert!(others.len() >= 3 * 4, "the counters are there: {others:?}");
    (others, beats)
}

#[test]
fn an_idle_cluster_sends_heartbeats_and_nothing_else() {
    /// Longer than the pause between two saves of a cursor.
    const BEATS: u64 = 6;
    let cluster = Cluster::start(3);
    let mut expected = Expected::new();
    write(&cluster, &mut expected, 0, 0..90, 7);
    cluster.holds(&expected);

    let commits = || -> Vec<u64> { (0..3).map(|at| cluster.metric(at, "boveda_store_commits")).collect() };
    let some_heartbeats = || {
        let before: Vec<u64> = (0..3).map(|at| traffic(&cluster, at).1).collect();
        for (at, beats) in before.into_iter().enumerate() {
            eventually("heartbeats on every link", || (traffic(&cluster, at).1 >= beats + BEATS).then_some(()));
        }
    };
    // The last cursors are saved a little later; each is a commit.
    eventually("no more commits", || {
        let before = commits();
        some_heartbeats();
        (commits() == before).then_some(())
    });

    let (others, written) = ((0..3).map(|at| traffic(&cluster, at).0).collect::<Vec<_>>(), commits());
    some_heartbeats();
    for (at, others) in others.iter().enumerate() {
        assert_eq!(traffic(&cluster, at).0, *others, "n{} sent or received more than heartbeats", at + 1);
    }
    assert_eq!(commits(), written, "nobody wrote");
}
