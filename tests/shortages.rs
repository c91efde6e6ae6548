//! What a machine runs out of while a node runs: each is told by its name, and passes.

mod common;

use common::{Answer, Node, eventually};
use rustix::process::Resource;
use std::fs;
use std::process::Command;

const BIG: usize = 16 << 20;
/// Room for log and index, and for no big body.
const LIMIT: u64 = 12 << 20;

/// The shortage of that name is told wherever an operator looks; `ready` while reads go on.
#[track_caller]
fn is_told(node: &Node, what: &str, words: &str, ready: bool) {
    let under = if ready { "degraded" } else { "missing" };
    let seen = eventually("readiness to tell of it", || {
        let answer = node.get("/readyz");
        answer.json()[under][what].as_str().is_some_and(|why| why.contains(words)).then_some(answer)
    });
    assert_eq!(seen.status, if ready { 200 } else { 503 }, "{}", seen.text());
    let metrics = node.get("/metrics").text().to_owned();
    for line in [format!("boveda_{under}{{what=\"{what}\"}} 1"), format!("boveda_store_short_{what}_now 1")] {
        assert!(metrics.lines().any(|found| found == line), "no {line}");
    }
    let url = format!("http://{}", node.http());
    let page = Command::new(env!("CARGO_BIN_EXE_boveda")).args(["status", "--url", &url]).output().expect("it runs");
    let page = String::from_utf8_lossy(&page.stdout).into_owned();
    assert!(page.lines().any(|line| line.starts_with("! ") && line.contains(words)), "{page}");
    assert_eq!(warnings(node, words), 1, "once, not once per request:\n{}", node.log());
}

fn warnings(node: &Node, words: &str) -> usize {
    node.log().lines().filter(|line| line.contains("WARN") && line.contains(words)).count()
}

#[track_caller]
fn has_passed(node: &Node) {
    eventually("it to pass", || (node.put("/v1/objects/cargas/later", &[7; BIG]).status < 300).then_some(()));
    assert!(!node.log().contains("ERROR"), "{}", node.log());
}

#[test]
fn a_file_beyond_the_limit_ends_no_node() {
    let node = Node::with(&[("BOVEDA_STORE_LOG_BYTES", "8MiB"), ("BOVEDA_STORE_CHECKPOINT_BYTES", "256KiB")]);
    assert_eq!(node.put("/v1/objects/cargas/before", &[1; 100_000]).status, 201);
    let before = node.limit(Resource::Fsize, LIMIT);
    // Nobody knows the length of a form's file before it has come: the write itself meets the limit.
    node.upload("big.bin", &[7; BIG]).expect_error(507, "InsufficientStorage");
    let told = node.put("/v1/objects/cargas/big", &[7; BIG]).expect_error(507, "InsufficientStorage");
    assert!(told.contains("ulimit -f"), "{told}");
    assert_eq!(node.put("/v1/objects/cargas/small", &[1; 100_000]).status, 201);
    assert_eq!(node.get("/v1/objects/cargas/before").status, 200);
    is_told(&node, "file_size", "file size limit", true);
    node.limit(Resource::Fsize, before.current.unwrap_or(u64::MAX));
    has_passed(&node);
}

#[test]
fn a_node_that_may_open_no_more_files_says_so_and_goes_on() {
    // Each body has a file of its own: one in a segment is written to a file that is open already.
    let node = Node::with(&[("BOVEDA_STORE_SEGMENT_MAX", "0")]);
    let mut open = node.connect();
    let mut ask = |method: &str, key: &str, body: &[u8]| -> Answer {
        open.ask(method, &format!("/v1/objects/cargas/{key}"), &[], body).expect("an answer")
    };
    assert_eq!(ask("PUT", "before", &[1; 100_000]).status, 201);
    let before = node.limit(Resource::Nofile, 3);
    for _ in 0..3 {
        // What little is left of it is read, so that the connection goes on: no other one could be taken.
        let told = ask("PUT", "more", &[7; 50_000]);
        assert!(told.expect_error(503, "TooManyOpenFiles").contains("ulimit -n"));
        assert!(told.header("retry-after").is_some());
        ask("GET", "before", b"").expect_error(503, "TooManyOpenFiles");
    }
    assert_eq!(ask("PUT", "small", b"needs no file").status, 201);
    node.limit(Resource::Nofile, before.current.unwrap_or(u64::MAX));
    is_told(&node, "open_files", "ulimit -n", true);
    has_passed(&node);
}

#[test]
fn a_volume_that_is_gone_is_neither_written_nor_taken_for_empty() {
    let node = Node::start();
    assert_eq!(node.put("/v1/objects/cargas/before", &[1; 100_000]).status, 201);
    // What a lazy unmount looks like: open files go on, and by the path there is another directory.
    let away = node.home().join("away");
    fs::rename(node.data(), &away).expect("it is ours");
    fs::create_dir(node.data()).expect("what lies below a mount");
    for _ in 0..3 {
        node.get("/v1/objects/cargas/before").expect_error(503, "VolumeGone");
        node.put("/v1/objects/cargas/big", &[7; BIG]).expect_error(503, "VolumeGone");
        node.put("/v1/objects/cargas/small", b"s").expect_error(503, "VolumeGone");
    }
    is_told(&node, "volume", "volume is gone", false);
    assert!(node.files_in("").is_empty(), "{:?}", node.files_in(""));
    fs::remove_dir(node.data()).expect("it is empty");
    fs::rename(&away, node.data()).expect("it is ours");
    has_passed(&node);
    assert_eq!(node.get("/v1/objects/cargas/before").status, 200);
}
