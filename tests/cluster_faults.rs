//! Three nodes as processes under kill -9, and a node that does not belong to them.

mod common;

use common::cluster::{Cluster, Expected, next_millisecond, put_is_answered};
use common::{DEADLINE, Dice, eventually};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// What the writers and whoever kills the nodes share.
#[derive(Default)]
struct Round {
    /// Where each node takes requests at present.
    addresses: Mutex<Vec<SocketAddr>>,
    answered: AtomicU64,
    enough: AtomicBool,
}

impl Round {
    fn addresses(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tries node after node until one says that it is done. What an earlier one did with the same bytes is
    /// unknown, and the same.
    fn put(&self, turn: &mut usize, key: &str, body: &[u8]) {
        let until = Instant::now() + DEADLINE;
        loop {
            *turn += 1;
            let to = {
                let addresses = self.addresses();
                addresses[*turn % addresses.len()]
            };
            if put_is_answered(to, key, body).unwrap_or(false) {
                break;
            }
            assert!(Instant::now() < until, "no node took {key}");
            std::thread::yield_now();
        }
        self.answered.fetch_add(1, Ordering::SeqCst);
    }

    /// Writes keys of its own until it is enough; returns what was answered.
    fn write(&self, writer: usize) -> Expected {
        let (mut dice, mut turn, mut written) = (Dice(writer as u64), writer, Expected::new());
        for n in 0.. {
            if self.enough.load(Ordering::SeqCst) {
                break;
            }
            // Every fifth write changes an earlier key, most likely on another node.
            let key = if n % 5 == 4 { dice.below(n) } else { n };
            let key = format!("w{writer}/{key:05}");
            let len = if n % 12 == 0 { 70_000 + dice.below(200_000) } else { dice.below(4_000) };
            let body = dice.bytes(len as usize);
            next_millisecond();
            self.put(&mut turn, &key, &body);
            written.insert(key, Some(body));
        }
        written
    }

    fn more_answers(&self, count: u64) {
        let before = self.answered.load(Ordering::SeqCst);
        eventually("writes to be answered", || (self.answered.load(Ordering::SeqCst) >= before + count).then_some(()));
    }
}

#[test]
fn nodes_killed_one_after_another_lose_no_answered_write() {
    const WRITERS: usize = 3;
    const KILLS: usize = 6;
    /// Answered writes between two blows.
    const BETWEEN: u64 = 60;
    let mut cluster = Cluster::start(3);
    let round = Round::default();
    *round.addresses() = cluster.nodes.iter().map(|node| node.http()).collect();
    let mut expected = Expected::new();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn({
                    let round = &round;
                    move || round.write(writer)
                })
            })
            .collect();
        /// Lets the writers go also when something here fails.
        struct Enough<'a>(&'a AtomicBool);
        impl Drop for Enough<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        let enough = Enough(&round.enough);
        for kill in 0..KILLS {
            let at = kill % 3;
            round.more_answers(BETWEEN);
            cluster.kill9(at);
            round.more_answers(BETWEEN / 2);
            cluster.begin(at);
            round.addresses()[at] = cluster.nodes[at].http();
        }
        round.more_answers(BETWEEN);
        drop(enough);
        for writer in writers {
            expected.append(&mut writer.join().expect("the writer ends"));
        }
    });
    assert!(expected.len() as u64 > KILLS as u64 * BETWEEN / 2);
    cluster.holds(&expected);
}

#[test]
fn a_node_with_another_key_is_refused_and_shown() {
    let cluster = Cluster::with_rings(&[0, 0, 1]);
    cluster.put(0, "ours", b"of the two");
    cluster.put(2, "theirs", b"of the stranger");
    eventually("the two have it", || (cluster.get(1, "ours").status == 200).then_some(()));
    for (from, to) in [(0, 2), (1, 2), (2, 0), (2, 1)] {
        // The one that calls hears it, the one that is called notes it.
        let peer =
            eventually("refused by name", || Some(cluster.peer(from, to)).filter(|peer| peer["link"] == "refused"));
        let told = peer["last_error"].as_str().unwrap_or_default();
        assert!(told.contains("another key ring"), "{peer}");
        eventually("shown at the gate", || {
            let status = cluster.status(to);
            let refused = status["gate"]["refused"].as_array().expect("a list").iter();
            let mut shown = refused.filter(|caller| caller["reason"] == "foreign_key" && caller["from"] == "127.0.0.1");
            shown.any(|caller| caller["count"].as_u64().is_some_and(|count| count > 0)).then_some(())
        });
    }
    let line = eventually("a line in the audit log", || {
        cluster.nodes[0].get("/v1/audit?action=peer:call").json()["lines"].as_array()?.first().cloned()
    });
    assert_eq!((&line["actor"], &line["address"]), (&"anonymous".into(), &"127.0.0.1".into()));
    assert_eq!((&line["outcome"], &line["code"]), (&"refused".into(), &"foreign_key".into()));
    assert_eq!(cluster.peer(0, 1)["link"], "up", "the two go on");
    cluster.get(2, "ours").expect_error(404, "NoSuchKey");
    for at in [0, 1] {
        cluster.get(at, "theirs").expect_error(404, "NoSuchKey");
    }
    // A refused node is behind, and says so.
    assert!(cluster.peer(0, 2)["changes_behind"].as_u64().is_some_and(|behind| behind > 0));
}
