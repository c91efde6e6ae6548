//! A new key generation by the book: added on one node, copied to the others one after the other, while all of them
//! serve. And nodes that lack one.

mod common;

use common::cluster::{Cluster, path};
use common::{Conn, Node, eventually};
use rustix::process::Signal;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Beyond what lies in a record.
const LARGE: usize = 200_000;

/// Makes the next generation in that directory, and gives its id.
fn new_generation(keys: &Path) -> String {
    let made = Command::new(env!("CARGO_BIN_EXE_boveda")).args(["key", "new", "--key-dir"]).arg(keys).output();
    let made = made.expect("the binary starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = String::from_utf8(made.stdout).expect("text");
    text.split_whitespace().nth(3).expect("an id").to_owned()
}

fn copy(from: &Path, to: &Path, file: &str) {
    fs::copy(from.join(file), to.join(file)).expect("a copy, with its mode");
}

/// The generation that seals at a node, and who is waited for with the newest one.
fn sealing(node: &Node) -> (u64, Vec<String>) {
    let status = node.get("/v1/cluster").json();
    let all = status["key_generations"].as_array().expect("a list");
    let active = all.iter().find(|key| key["active"] == true).expect("one seals");
    let waits = all.last().expect("at least one")["waits_for"].as_array().expect("a list");
    let names = waits.iter().map(|name| name.as_str().expect("a name").to_owned());
    (active["number"].as_u64().expect("a number"), names.collect())
}

fn wait_for(cluster: &Cluster, at: usize, generation: u64, waits: &[&str]) {
    eventually(&format!("n{} to seal under {generation} and to wait for {waits:?}", at + 1), || {
        let (seals, names) = sealing(&cluster.nodes[at]);
        (seals == generation && names == waits).then_some(())
    });
}

/// Nothing that no key generation has to do with was taken for damage.
fn nothing_is_damaged(cluster: &Cluster, at: usize) {
    let status = cluster.status(at);
    let (store, healing) = (&status["store"], &status["healing"]);
    let found = [&store["damaged_reads"], &store["quarantined"], &store["scrub"]["damaged"], &healing["unmended"]];
    assert!(found.iter().all(|count| **count == 0), "n{}: {found:?}", at + 1);
}

/// Ends the load also when what it goes beside has failed.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes through one node after the other, and reads each through all, until it is told to end. A machine under load
/// may decide too late, which has an answer of its own; nothing else is taken.
fn load(nodes: &[SocketAddr], thread: usize, ended: &AtomicBool, rounds: &AtomicU64) {
    let mut conns: Vec<Conn> = nodes.iter().map(|node| Conn::open(*node).expect("it takes connections")).collect();
    let is_late = |answer: &common::Answer| {
        let code = || answer.json()["code"].as_str().map(str::to_owned).unwrap_or_default();
        answer.status == 503 && matches!(code().as_str(), "NoMajority" | "UnknownOutcome" | "SlowDown")
    };
    for n in 0_usize.. {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let key = path(&format!("load-{thread}-{n}"));
        let body = vec![b'a' + u8::try_from(n % 26).expect("small"); if n % 4 == 3 { LARGE } else { 1_000 }];
        let through = n % conns.len();
        let put = conns[through].ask("PUT", &key, &[], &body).expect("an answer");
        assert!(put.status == 201 || is_late(&put), "{put:?}");
        for conn in conns.iter_mut().filter(|_| put.status == 201) {
            let got = conn.ask("GET", &key, &[], b"").expect("an answer");
            assert!(got.status == 200 || is_late(&got), "{} {}", got.status, String::from_utf8_lossy(&got.body));
            assert!(got.status != 200 || got.body == body, "other bytes under {key}");
        }
        rounds.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_new_generation_reaches_the_nodes_one_after_the_other_and_every_read_opens() {
    let mut cluster = Cluster::voting_with_copies(3, &[]);
    cluster.put(0, "before", b"under the first");
    let newest = new_generation(cluster.keys(0));

    // Who restarts first with it does not seal under it yet: the others could not open that.
    assert!(cluster.nodes[0].stop().success());
    cluster.begin(0);
    cluster.ready(0);
    cluster.put(0, "between", b"one has two");
    cluster.put(0, "between-large", &[3; LARGE]);
    for at in 0..3 {
        for (key, body) in [("between", &b"one has two"[..]), ("between-large", &[3; LARGE])] {
            let got = cluster.get(at, key);
            assert_eq!(got.status, 200, "n{}: {}", at + 1, String::from_utf8_lossy(&got.body));
            assert!(got.body == body);
        }
    }
    wait_for(&cluster, 0, 1, &["n2", "n3"]);
    let page = Command::new(env!("CARGO_BIN_EXE_boveda"))
        .args(["status", "--url", &format!("http://{}", cluster.nodes[0].http())])
        .output()
        .expect("the binary starts");
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(page.contains("cannot seal before these open it: n2 n3") && page.contains("! key generation 2"), "{page}");

    let nodes: Vec<SocketAddr> = cluster.nodes.iter().map(Node::http).collect();
    let (ended, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _ends = Ends(&ended);
        for thread in 0..3 {
            let (nodes, ended, rounds) = (&nodes, &ended, &rounds);
            scope.spawn(move || load(nodes, thread, ended, rounds));
        }
        let some_more = |what: &str| {
            let begun = rounds.load(Ordering::Relaxed);
            eventually(what, || (rounds.load(Ordering::Relaxed) >= begun + 12).then_some(()));
        };
        some_more("load while one node has it");
        copy(cluster.keys(0), cluster.keys(1), "kek-0002");
        cluster.nodes[1].signal(Signal::HUP);
        wait_for(&cluster, 0, 1, &["n3"]);
        some_more("load while two nodes have it");
        // Nobody tells this one: it looks by itself.
        copy(cluster.keys(0), cluster.keys(2), "kek-0002");
        (0..3).for_each(|at| wait_for(&cluster, at, 1, &[]));
        some_more("load while all have it");
        cluster.nodes[1].rotate(2);
        (0..3).for_each(|at| wait_for(&cluster, at, 2, &[]));
        some_more("load while it seals");
    });

    cluster.put(1, "after", b"under the second");
    for at in 0..3 {
        for (key, body) in [("before", &b"under the first"[..]), ("after", b"under the second")] {
            let got = cluster.get(at, key);
            assert!(got.status == 200 && got.body == body, "n{}: {got:?}", at + 1);
        }
        nothing_is_damaged(&cluster, at);
        assert_eq!(cluster.nodes[at].get("/readyz").status, 200);
    }

    // A start with the old ring alone says what it lacks, and touches nothing.
    assert!(cluster.nodes[2].stop().success());
    fs::remove_file(cluster.keys(2).join("kek-0002")).expect("it is there");
    let refused = cluster.nodes[2].serve().output().expect("the binary starts");
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && why.contains(&newest) && why.contains("generations"), "{why}");
    copy(cluster.keys(0), cluster.keys(2), "kek-0002");
    cluster.begin(2);
    cluster.ready(2);
    assert_eq!(sealing(&cluster.nodes[2]).0, 2, "at once: its directory says so");
    assert_eq!(cluster.get(2, "after").status, 200);
}

#[test]
fn a_node_that_lacks_a_generation_says_so_and_takes_nothing_for_damage() {
    let mut cluster = Cluster::voting_with_copies(3, &[("BOVEDA_SCRUB_PERIOD", "20ms")]);
    let newest = new_generation(cluster.keys(0));
    for at in 1..3 {
        copy(cluster.keys(0), cluster.keys(at), "kek-0002");
    }
    (0..3).for_each(|at| cluster.nodes[at].signal(Signal::HUP));
    cluster.nodes[2].rotate(2);
    (0..3).for_each(|at| wait_for(&cluster, at, 2, &[]));
    cluster.put(0, "small", b"under the second");
    cluster.put(0, "large", &[5; LARGE]);

    // A new disk, and the ring from before.
    cluster.kill9(2);
    cluster.wipe(2);
    fs::remove_file(cluster.keys(2).join("kek-0002")).expect("it is there");
    cluster.begin(2);
    let node = &cluster.nodes[2];
    // With its place it begins with nothing, so that comes first.
    eventually("it to have its place, and to say what it lacks", || {
        let answer = node.get("/readyz");
        let missing = answer.json()["missing"].as_object()?.clone();
        let named = missing.get("keys")?.as_str()?.contains(&newest);
        (answer.status == 503 && named && missing.len() == 1).then_some(())
    });
    let local = |key: &str| node.get(&(path(key) + "?consistency=local"));
    for key in ["small", "large"] {
        eventually("its copy to be there", || (local(key).status == 503).then_some(()));
        for answer in [local(key), cluster.get(2, key)] {
            let why = answer.expect_error(503, "KeyMissing");
            assert!(why.contains(&newest) && why.contains("key directory"), "{why}");
        }
        assert_eq!(cluster.get(0, key).status, 200);
    }
    eventually("the scrubber to have passed them", || {
        let last = &cluster.status(2)["store"]["scrub"]["last"];
        (last["unread"] == 2 && last["damaged"] == 0).then_some(())
    });
    nothing_is_damaged(&cluster, 2);
    assert_eq!(cluster.metric(2, "boveda_missing{what=\"keys\"}"), 1);

    copy(cluster.keys(0), cluster.keys(2), "kek-0002");
    cluster.ready(2);
    let node = &cluster.nodes[2];
    assert_eq!(node.get(&(path("small") + "?consistency=local")).body, b"under the second");
    assert_eq!(node.get(&(path("large") + "?consistency=local")).body, [5; LARGE]);
    nothing_is_damaged(&cluster, 2);
    eventually("it to seal under it again", || (sealing(&cluster.nodes[2]).0 == 2).then_some(()));
}

#[test]
fn what_is_not_taken_from_the_key_directory_is_said_and_the_ring_stays() {
    // As Kubernetes mounts a Secret: links by way of a link to a directory, which is exchanged at once.
    let keys = tempfile::tempdir().expect("a directory");
    let version = |name: &str| {
        let dir = keys.path().join(name);
        fs::create_dir(&dir).expect("a new directory");
        dir
    };
    let exchange = |name: &str| {
        symlink(name, keys.path().join("..next")).expect("a link");
        fs::rename(keys.path().join("..next"), keys.path().join("..data")).expect("at once");
    };
    let link = |file: &str| symlink(format!("..data/{file}"), keys.path().join(file)).expect("a link");
    let first = version("..1");
    new_generation(&first);
    exchange("..1");
    link("kek-0001");
    let mut node = Node::prepared(&[], Some(keys.path()));
    node.begin();
    assert_eq!(node.put(&path("a"), b"a").status, 201);

    let refused = |count: usize| {
        eventually("it to be refused", || {
            (node.log().matches("the ring stays as it is").count() >= count).then_some(())
        });
        assert_eq!(node.get(&path("a")).body, b"a");
        assert!(matches!(node.put(&path("b"), b"b").status, 200 | 201));
    };
    let foreign = version("..2");
    new_generation(&foreign);
    exchange("..2");
    refused(1);
    assert!(node.log().contains("generation 1 holds another key"), "{}", node.log());
    fs::remove_file(keys.path().join("kek-0001")).expect("it is there");
    refused(2);
    link("kek-0001");

    let both = version("..3");
    copy(&first, &both, "kek-0001");
    new_generation(&both);
    exchange("..3");
    link("kek-0002");
    node.rotate(2);
    eventually("it to seal under the second", || (sealing(&node) == (2, vec![])).then_some(()));
    assert_eq!(node.get(&path("a")).body, b"a");
    assert_eq!(node.put(&path("c"), b"c").status, 201);
    assert!(node.stop().success());
    node.begin();
    assert_eq!((node.get(&path("a")).body, node.get(&path("c")).body), (b"a".to_vec(), b"c".to_vec()));
}
