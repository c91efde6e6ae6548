//! Buckets that come and go under writes, on three real nodes: every history of clients is that of one bucket which is
//! there or not, and what was written into a former life shows in no later one.

mod common;
#[path = "model_fence/judge.rs"]
mod judge;
#[allow(dead_code)]
mod lin;

use boveda::base::Mark;
use common::cluster::Cluster;
use common::{Answer, Conn, Dice, eventually};
use judge::Op;
use lin::{Call, linearizable};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bodies above this do not come with their records.
const LARGE: usize = 70_000;

/// What a client calls.
#[derive(Clone, Copy, Debug)]
enum Wish {
    Put(u8),
    PutNew(u8),
    Get,
    List,
    Delete,
    Create,
    DeleteBucket,
}

/// An object of this value, which its length says: small, or apart from its record.
fn body(value: u8) -> Vec<u8> {
    vec![b'v'; usize::from(value) + if value % 4 == 3 { LARGE } else { 0 }]
}

fn value_of(len: usize) -> Option<u8> {
    u8::try_from(if len >= LARGE { len - LARGE } else { len }).ok()
}

fn code(answer: &Answer) -> String {
    answer.json()["code"].as_str().unwrap_or_default().to_owned()
}

/// What a call did, by its answer; none where nobody knows, and `Err` where it did nothing.
fn op_of(wish: Wish, answer: &Answer) -> Result<Option<Op>, ()> {
    let code = if answer.status >= 400 { code(answer) } else { String::new() };
    Ok(Some(match (wish, answer.status, code.as_str()) {
        (_, 404, "NoSuchBucket") => Op::NoBucket,
        (Wish::Put(value), 200 | 201, _) => Op::Put { value, only_new: false },
        (Wish::PutNew(value), 201, _) => Op::Put { value, only_new: true },
        (Wish::PutNew(_), 412, _) => Op::RefusedAsThere,
        (_, 409, "Conflict") => return Err(()),
        (Wish::Get, 200, _) => Op::Get(value_of(answer.body.len())),
        (Wish::Get, 404, "NoSuchKey") => Op::Get(None),
        (Wish::List, 200, _) => {
            let page = answer.json();
            let sizes: Vec<_> =
                page["objects"].as_array().expect("a list").iter().map(|o| o["size"].as_u64()).collect();
            assert!(sizes.len() < 2, "there is one key");
            Op::Get(sizes.first().and_then(|size| value_of(usize::try_from((*size)?).ok()?)))
        }
        (Wish::Delete, 204, _) => Op::Delete { existed: Some(true) },
        (Wish::Delete, 404, "NoSuchKey") => Op::Delete { existed: Some(false) },
        (Wish::Create, 201, _) => Op::Create { existed: Some(false) },
        (Wish::Create, 200, _) => Op::Create { existed: Some(true) },
        (Wish::DeleteBucket, 204, _) => Op::DeleteBucket,
        (Wish::DeleteBucket, 409, "BucketNotEmpty") => Op::Bucket,
        (_, 503, "UnknownOutcome") => return Ok(None),
        (_, 503, "SlowDown" | "NoMajority") => return Err(()),
        _ => panic!("{wish:?}: {answer:?}"),
    }))
}

/// What may have come of a call without an answer.
fn unanswered(wish: Wish) -> Option<Op> {
    match wish {
        Wish::Put(value) => Some(Op::Put { value, only_new: false }),
        Wish::PutNew(value) => Some(Op::Put { value, only_new: true }),
        Wish::Delete => Some(Op::Delete { existed: None }),
        Wish::Create => Some(Op::Create { existed: None }),
        Wish::DeleteBucket => Some(Op::DeleteBucket),
        Wish::Get | Wish::List => None,
    }
}

/// A race for one bucket: its name, and what its clients have called so far.
struct Race {
    bucket: String,
    clock: AtomicU64,
    calls: Mutex<Vec<Call<Op>>>,
    unknown: AtomicU64,
}

impl Race {
    fn new(n: usize) -> Self {
        let (clock, unknown) = (AtomicU64::new(0), AtomicU64::new(0));
        Race { bucket: format!("race-{n}"), clock, calls: Mutex::default(), unknown }
    }

    /// A client calls a node; what it is answered.
    fn call(&self, to: SocketAddr, wish: Wish) -> Answer {
        let (bucket, objects) = (format!("/v1/buckets/{}", self.bucket), format!("/v1/objects/{}", self.bucket));
        let object = format!("{objects}/k");
        let (method, target, body) = match wish {
            Wish::Put(value) | Wish::PutNew(value) => ("PUT", &object, body(value)),
            Wish::Get => ("GET", &object, Vec::new()),
            Wish::List => ("GET", &objects, Vec::new()),
            Wish::Delete => ("DELETE", &object, Vec::new()),
            Wish::Create => ("PUT", &bucket, Vec::new()),
            Wish::DeleteBucket => ("DELETE", &bucket, Vec::new()),
        };
        let headers: &[_] = if matches!(wish, Wish::PutNew(_)) { &[("if-none-match", "*")] } else { &[] };
        let from = self.clock.fetch_add(1, Ordering::SeqCst);
        let answer = Conn::open(to).and_then(|mut conn| conn.ask(method, target, headers, &body)).expect("an answer");
        let to = Some(self.clock.fetch_add(1, Ordering::SeqCst));
        let call = match op_of(wish, &answer) {
            Ok(Some(op)) => Some(Call { op, from, to }),
            Ok(None) => {
                self.unknown.fetch_add(1, Ordering::SeqCst);
                unanswered(wish).map(|op| Call { op, from, to: None })
            }
            Err(()) => None,
        };
        self.calls.lock().expect("no panic").extend(call);
        answer
    }

    /// All that was answered is that of one bucket which is there or not; at the end all nodes say the same.
    fn judge(&self, nodes: &[SocketAddr]) {
        nodes.iter().for_each(|node| drop(self.call(*node, Wish::Get)));
        nodes.iter().for_each(|node| drop(self.call(*node, Wish::List)));
        let calls = self.calls.lock().expect("no panic");
        assert!(linearizable(None, &calls), "{}: {calls:#?}", self.bucket);
    }
}

fn addresses(cluster: &Cluster) -> Vec<SocketAddr> {
    cluster.nodes.iter().map(|node| node.http()).collect()
}

#[test]
fn of_a_put_and_a_deletion_of_its_bucket_not_both_succeed() {
    const RACES: usize = 300;
    let cluster = Cluster::voting(3);
    let nodes = addresses(&cluster);
    let (mut put_won, mut deletion_won, mut unknown) = (0, 0, 0);
    for n in 0..RACES {
        let (race, value) = (Race::new(n), u8::try_from(n % 200).expect("small") + 1);
        assert_eq!(race.call(nodes[n % 3], Wish::Create).status, 201);
        // By the same node, or by two.
        let (putter, deleter) = (nodes[n / 3 % 3], nodes[n / 9 % 3]);
        let (put, deleted) = std::thread::scope(|scope| {
            let put = scope.spawn(|| race.call(putter, Wish::Put(value)));
            let deleted = race.call(deleter, Wish::DeleteBucket);
            (put.join().expect("no panic"), deleted)
        });
        let (put, deleted) = (matches!(put.status, 200 | 201), deleted.status == 204);
        assert!(!(put && deleted), "{n}: both were answered as done");
        if put {
            let page = cluster.nodes[(n + 1) % 3].get(&format!("/v1/objects/{}", race.bucket)).json();
            assert_eq!(page["objects"].as_array().map(Vec::len), Some(1), "{n}: an object that was written is listed");
        }
        race.judge(&nodes);
        (put_won, deletion_won) = (put_won + usize::from(put), deletion_won + usize::from(deleted));
        unknown += race.unknown.load(Ordering::SeqCst);
    }
    println!("{put_won} puts, {deletion_won} deletions, {unknown} unknown");
    assert!(put_won > RACES / 20 && deletion_won > RACES / 20, "{put_won} puts, {deletion_won} deletions");
    // What was sent is looked for behind the end of its bucket, so nobody is told that it may have had its effect.
    assert!(unknown < RACES as u64 / 50, "{unknown} unknown outcomes");
}

#[test]
fn a_bucket_that_is_made_while_it_is_deleted_is_not_said_to_hold_something() {
    const RACES: usize = 100;
    let cluster = Cluster::voting(3);
    let nodes = addresses(&cluster);
    for n in 0..RACES {
        let race = Race::new(n);
        assert_eq!(race.call(nodes[n % 3], Wish::Create).status, 201);
        let (maker, deleter) = (nodes[n / 3 % 3], nodes[n / 9 % 3]);
        let deleted = std::thread::scope(|scope| {
            scope.spawn(|| race.call(maker, Wish::Create));
            race.call(deleter, Wish::DeleteBucket)
        });
        assert_eq!(deleted.status, 204, "{n}: {deleted:?}");
        race.judge(&nodes);
    }
}

#[test]
fn deletions_that_a_killed_node_leaves_behind_are_ended_by_others() {
    const BUCKETS: usize = 48;
    let mut cluster = Cluster::voting(3);
    let bucket = |round: usize, n: usize| format!("/v1/buckets/left-{round}-{n}");
    let resumed = |cluster: &Cluster| -> u64 {
        let rare = |at: usize| cluster.status(at)["rare"][Mark::DeletionResumed.name()].as_u64().unwrap_or_default();
        (1..3).map(rare).sum()
    };
    // As a rule the first kill leaves some behind; where all were ended, or none begun, there is another one.
    let round = (0..10).find(|round| {
        let names: Vec<_> = (0..BUCKETS).map(|n| bucket(*round, n)).collect();
        let to = cluster.nodes[0].http();
        names.iter().for_each(|name| assert_eq!(cluster.nodes[1].put(name, b"").status, 201));
        let (ended, first) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            for name in &names {
                let ended = ended.clone();
                scope.spawn(move || {
                    // It has an answer, or the node is killed.
                    let _ = Conn::open(to).and_then(|mut conn| conn.ask("DELETE", name, &[], b""));
                    let _ = ended.send(());
                });
            }
            first.recv().expect("one of them ends");
            cluster.kill9(0);
        });
        // A bucket that is closed takes nothing until somebody has ended its deletion.
        for name in &names {
            let object = format!("{}/k", name.replace("buckets", "objects"));
            eventually("it is deleted, or open again", || {
                matches!(cluster.nodes[1].put(&object, b"a body").status, 201 | 200 | 404).then_some(())
            });
        }
        cluster.begin(0);
        cluster.ready(0);
        resumed(&cluster) > 0
    });
    assert!(round.is_some(), "no deletion was ever left behind");
}

#[test]
fn buckets_that_are_deleted_and_made_again_under_writes_have_one_history() {
    const RACES: usize = 100;
    let cluster = Cluster::voting(3);
    let nodes = addresses(&cluster);
    let mut unknown = 0;
    for n in 0..RACES {
        let race = Race::new(n);
        let clients: Vec<Vec<(usize, Wish)>> = {
            let mut dice = Dice(n as u64 + 1);
            let mut wish = |client: u8, at: u8| match dice.below(10) {
                0..3 => Wish::Put(client * 8 + at + 1),
                3 => Wish::PutNew(client * 8 + at + 1),
                4 => Wish::Get,
                5 => Wish::List,
                6 => Wish::Delete,
                7 => Wish::Create,
                _ => Wish::DeleteBucket,
            };
            (0..4)
                .map(|client| (0..4).map(|at| (usize::from(client * 7 + at) + n, wish(client, at))).collect())
                .collect()
        };
        race.call(nodes[n % 3], Wish::Create);
        std::thread::scope(|scope| {
            for client in &clients {
                let (race, nodes) = (&race, &nodes);
                scope.spawn(move || client.iter().for_each(|(node, wish)| drop(race.call(nodes[node % 3], *wish))));
            }
        });
        race.judge(&nodes);
        unknown += race.unknown.load(Ordering::SeqCst);
    }
    println!("{unknown} unknown");
    let rare = |at: usize, mark: Mark| cluster.status(at)["rare"][mark.name()].as_u64().unwrap_or_default();
    for mark in [Mark::Fenced, Mark::BucketTaught] {
        let count: u64 = (0..3).map(|at| rare(at, mark)).sum();
        assert!(count > 0, "{mark:?} never happened");
    }
}

#[test]
fn a_node_that_missed_the_end_of_a_bucket_shows_nothing_of_its_former_life() {
    let mut cluster = Cluster::voting(3);
    let bucket = "/v1/buckets/papers";
    let old = |key: &str| format!("/v1/objects/papers/{key}");
    assert_eq!(cluster.nodes[0].put(bucket, b"").status, 201);
    assert_eq!(cluster.nodes[2].put(&old("old"), b"of the former life").status, 201);
    eventually("all to hold it", || {
        let held = |at: usize| cluster.nodes[at].get(&format!("{}?consistency=local", old("old"))).status == 200;
        (0..3).all(held).then_some(())
    });
    cluster.kill9(2);
    assert_eq!(cluster.nodes[0].delete(&old("old")).status, 204);
    assert_eq!(cluster.nodes[1].delete(bucket).status, 204);
    cluster.nodes[0].put(&old("lost"), b"nowhere").expect_error(404, "NoSuchBucket");
    assert_eq!(cluster.nodes[0].put(bucket, b"").status, 201);
    assert_eq!(cluster.nodes[1].put(&old("new"), b"of this life").status, 201);
    cluster.begin(2);
    cluster.ready(2);
    let away = &cluster.nodes[2];
    let names = |at: usize| {
        let page = cluster.nodes[at].get("/v1/objects/papers").json();
        page["objects"].as_array().expect("a list").iter().map(|o| o["key"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(2), ["new"], "the node that was away");
    away.get(&old("old")).expect_error(404, "NoSuchKey");
    assert_eq!(away.get(&old("new")).body, b"of this life");
    away.delete(&old("old")).expect_error(404, "NoSuchKey");
    assert_eq!(away.put(&old("old"), b"again").status, 201);
    assert_eq!((0..3).map(names).collect::<Vec<_>>(), vec![vec!["new", "old"]; 3]);
    away.delete(bucket).expect_error(409, "BucketNotEmpty");
}
