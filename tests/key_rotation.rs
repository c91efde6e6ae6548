//! A rotation of the cluster's key from its beginning to its end, on three nodes under load that are killed meanwhile: what
//! was written before, during and after opens all the time, and the old file goes.

mod common;

use common::cluster::{Cluster, path};
use common::{Conn, Node, eventually};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Of a size for each way in which a body lies: with its record, in a segment, as a file.
const SIZES: [usize; 4] = [900, 900, 100_000, 1_500_000];
/// Objects that are there before the rotation.
const BEFORE: usize = 700;

fn boveda(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_boveda")).args(args).output().expect("the binary starts")
}

fn new_generation(keys: &Path) {
    let made = boveda(&["key", "new", "--key-dir", keys.to_str().expect("a path")]);
    assert!(made.status.success(), "{made:?}");
}

fn copy(from: &Path, to: &Path, file: &str) {
    fs::copy(from.join(file), to.join(file)).expect("a copy, with its mode");
}

/// What a node says of a generation.
fn generation(node: &Node, number: u64) -> Option<Value> {
    let all = node.get("/v1/cluster/keys").json()["generations"].as_array()?.clone();
    all.into_iter().find(|key| key["number"] == number)
}

fn rotate(node: &Node, more: &[&str]) -> Output {
    let url = format!("http://{}", node.http());
    boveda(&[&["key", "rotate", "--url", &url], more].concat())
}

fn body_of(n: usize) -> Vec<u8> {
    let len = if n < BEFORE && n % 100 != 2 { SIZES[0] } else { SIZES[n % SIZES.len()] };
    vec![b'a' + u8::try_from(n % 26).expect("small"); len]
}

/// What was answered as written, by the number of its key.
type Written = Mutex<BTreeMap<usize, ()>>;

fn key(n: usize) -> String {
    path(&format!("o-{n:05}"))
}

/// Writes and reads through whichever node is there, until it is told to end. A node that is killed answers nothing, or
/// that it has no majority; what was answered as written opens.
fn load(nodes: &Mutex<Vec<SocketAddr>>, thread: usize, written: &Written, ended: &AtomicBool) {
    for round in 0_usize.. {
        if ended.load(Ordering::Relaxed) {
            return;
        }
        let n = BEFORE + round * 3 + thread;
        let through = |at: usize| {
            let nodes = nodes.lock().expect("no panic");
            Conn::open(nodes[at % nodes.len()]).ok()
        };
        let body = body_of(n);
        let put = through(n).and_then(|mut conn| conn.ask("PUT", &key(n), &[], &body).ok());
        let Some(put) = put else { continue };
        assert!(matches!(put.status, 201 | 503), "{put:?}");
        if put.status == 201 {
            written.lock().expect("no panic").insert(n, ());
        }
        // Something older, too.
        for m in [n, n * 7919 % BEFORE] {
            let got = through(n + 1).and_then(|mut conn| conn.ask("GET", &key(m), &[], b"").ok());
            let Some(got) = got else { continue };
            let is_known = m < BEFORE || put.status == 201;
            assert!(matches!(got.status, 200 | 503) || (!is_known && got.status == 404), "{m}: {got:?}");
            assert!(got.status == 200 || !got.text().contains("KeyMissing"), "{m}: {}", got.text());
            assert!(got.status != 200 || got.body == body_of(m), "other bytes under {m}");
        }
    }
}

/// All that was written opens at that node, by what it holds itself.
fn all_open(node: &Node, written: &Written) {
    let mut conn = node.connect();
    for n in written.lock().expect("no panic").keys() {
        let target = key(*n) + "?consistency=local";
        let got = eventually(&format!("{n} to be there"), || {
            let got = conn.ask("GET", &target, &[], b"").expect("an answer");
            (got.status != 404).then_some(got)
        });
        assert!(got.status == 200 && got.body == body_of(*n), "{n}: {}", got.status);
    }
}

/// Ends the load also when what it goes beside has failed.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_rotation_under_load_and_kills_leaves_nothing_under_the_old_generation_and_its_file_goes() {
    let mut cluster = Cluster::voting_with_copies(3, &[("BOVEDA_CLUSTER_DECIDE_TIMEOUT", "2s")]);
    let written = Written::default();
    {
        let mut conn = cluster.nodes[0].connect();
        for n in 0..BEFORE {
            assert_eq!(conn.ask("PUT", &key(n), &[], &body_of(n)).expect("an answer").status, 201);
            written.lock().expect("no panic").insert(n, ());
        }
    }

    // Refused before all members hold it, by the names of who does not.
    new_generation(cluster.keys(0));
    cluster.nodes[0].signal(Signal::HUP);
    eventually("the first node to hold it", || generation(&cluster.nodes[0], 2));
    let refused = cluster.nodes[0].ask("POST", "/v1/cluster/keys", &[], b"").expect_error(409, "KeyNotEverywhere");
    assert!(refused.contains("missing on n2, n3"), "{refused}");
    let refused = rotate(&cluster.nodes[0], &[]);
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && why.contains("missing on n2, n3"), "{why}");
    cluster.nodes[1].ask("POST", "/v1/cluster/keys?generation=2", &[], b"").expect_error(404, "NoSuchKeyGeneration");
    for at in 1..3 {
        copy(cluster.keys(0), cluster.keys(at), "kek-0002");
    }
    eventually("all to hold it", || {
        generation(&cluster.nodes[0], 2)?["waits_for"].as_array()?.is_empty().then_some(())
    });
    assert_eq!(generation(&cluster.nodes[0], 2).expect("there")["active"], false, "nobody has asked for it");

    let nodes = Mutex::new(cluster.nodes.iter().map(Node::http).collect::<Vec<_>>());
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&ended);
        for thread in 0..3 {
            let (nodes, written, ended) = (&nodes, &written, &ended);
            scope.spawn(move || load(nodes, thread, written, ended));
        }
        let rotated = rotate(&cluster.nodes[0], &["--json"]);
        assert!(rotated.status.success(), "{rotated:?}");
        let said: Value = serde_json::from_slice(&rotated.stdout).expect("JSON");
        assert_eq!(said["generation"], 2);
        // In the middle of it, one after the other: what each has done is kept, or done again.
        for (at, pause) in [(1, 0), (0, 40), (2, 150), (1, 400)] {
            std::thread::park_timeout(Duration::from_millis(pause));
            cluster.kill9(at);
            cluster.begin(at);
            cluster.ready(at);
            nodes.lock().expect("no panic")[at] = cluster.nodes[at].http();
        }
        let waited = rotate(&cluster.nodes[1], &["--wait"]);
        let said = String::from_utf8_lossy(&waited.stdout).into_owned();
        assert!(waited.status.success() && said.contains("no member needs generation 1 any more"), "{waited:?}");
        for node in &cluster.nodes {
            let first = eventually("a node to hear that nobody needs it", || {
                generation(node, 1).filter(|first| first["removable"] == true)
            });
            assert_eq!((&first["references"], &first["free"]), (&Value::from(0), &Value::from(true)));
        }
    });
    for node in &cluster.nodes {
        all_open(node, &written);
    }

    // The old file goes: from the directories, then from the nodes with their next start.
    for at in 0..3 {
        fs::remove_file(cluster.keys(at).join("kek-0001")).expect("it is there");
    }
    for at in 0..3 {
        eventually("a look at the directory", || (cluster.nodes[at].get("/readyz").status == 200).then_some(()));
        assert!(cluster.nodes[at].get("/readyz").json()["degraded"].get("keys").is_none(), "it is no fault");
        assert!(cluster.nodes[at].stop().success());
        cluster.begin(at);
        cluster.ready(at);
    }
    let count = written.lock().expect("no panic").len();
    for at in 0..3 {
        all_open(&cluster.nodes[at], &written);
        assert!(generation(&cluster.nodes[at], 1).is_none());
        let put = cluster.nodes[at].put(&path(&format!("after-{at}")), b"after");
        assert_eq!(put.status, 201);
    }
    // What each counts is what lies there.
    for at in 0..3 {
        eventually("all of it to be counted", || {
            let second = generation(&cluster.nodes[at], 2)?["references"].as_u64()?;
            // Writes of unknown outcome may be there too.
            (second >= count as u64 + 3).then_some(())
        });
        assert!(cluster.nodes[at].stop().success());
        let (data, keys) = (cluster.nodes[at].data(), cluster.keys(at));
        let verified = Command::new(env!("CARGO_BIN_EXE_boveda"))
            .args(["verify", "--json", "--data"])
            .arg(data)
            .arg("--key-dir")
            .arg(keys)
            .output()
            .expect("the binary starts");
        let said = String::from_utf8_lossy(&verified.stdout).into_owned();
        let sum: Value = serde_json::from_str(said.lines().last().expect("a summary")).expect("JSON");
        assert!(verified.status.success() && sum["damaged"] == 0 && sum["miscounted"] == 0, "{sum}");
        assert!(sum["objects"].as_u64().is_some_and(|objects| objects >= count as u64 + 3), "{sum}");
    }
}

#[test]
fn a_node_alone_rotates_and_what_it_was_told_is_kept() {
    let mut node = Node::with(&[("BOVEDA_CLUSTER_DECIDE_TIMEOUT", "100ms")]);
    assert_eq!(node.put(&path("a"), b"a").status, 201);
    let key = node.new_key("root", &["*:read,write,list,delete,admin"]);
    let ask = |node: &Node, method: &str, target: &str| node.ask_as(&key, method, target, b"");
    node.ask("POST", "/v1/cluster/keys", &[], b"").expect_error(401, "Unauthorized");
    let keys = node.keys().to_owned();
    new_generation(&keys);
    node.signal(Signal::HUP);
    eventually("it to be rotated", || {
        (ask(&node, "POST", "/v1/cluster/keys?generation=2").status == 200).then_some(())
    });
    assert_eq!(ask(&node, "POST", "/v1/cluster/keys?generation=2").status, 200, "it seals already");
    eventually("it to seal", || {
        let shown = ask(&node, "GET", "/v1/cluster/keys").json();
        (shown["generations"][1]["active"] == true).then_some(())
    });
    ask(&node, "POST", "/v1/cluster/keys?generation=1").expect_error(409, "OtherKeyGeneration");
    ask(&node, "POST", "/v1/cluster/keys?number=1").expect_error(400, "InvalidQuery");
    eventually("nothing to need the first", || {
        let shown = ask(&node, "GET", "/v1/cluster/keys").json();
        let (first, second) = (&shown["generations"][0], &shown["generations"][1]);
        // The object, and the secret of the access key.
        (first["removable"] == true && first["references"] == 0 && second["references"] == 2).then_some(())
    });
    fs::remove_file(keys.join("kek-0001")).expect("it is there");
    assert!(node.stop().success());
    node.begin();
    assert_eq!(ask(&node, "GET", &path("a")).body, b"a", "the access key opens too");
}

#[test]
fn a_file_that_goes_too_early_is_no_fault_once_nothing_needs_it() {
    let mut node = Node::with(&[("BOVEDA_CLUSTER_DECIDE_TIMEOUT", "2s")]);
    assert_eq!(node.put(&path("a"), b"a").status, 201);
    let keys = node.keys().to_owned();
    new_generation(&keys);
    node.signal(Signal::HUP);
    eventually("it to be held", || generation(&node, 2));
    assert!(rotate(&node, &[]).status.success());
    eventually("it to seal", || generation(&node, 2).filter(|second| second["active"] == true));
    fs::remove_file(keys.join("kek-0001")).expect("it is there");
    node.signal(Signal::HUP);
    let is_refused = |node: &Node| node.get("/readyz").json()["degraded"].get("keys").is_some();
    eventually("the directory to be refused", || is_refused(&node).then_some(()));
    let waited = rotate(&node, &["--wait"]);
    let said = String::from_utf8_lossy(&waited.stdout).into_owned();
    assert!(waited.status.success() && said.contains("no member needs generation 1 any more"), "{waited:?}");
    eventually("the directory to be taken", || (!is_refused(&node)).then_some(()));
    assert!(node.stop().success());
    node.begin();
    assert_eq!(node.get(&path("a")).body, b"a");
}
