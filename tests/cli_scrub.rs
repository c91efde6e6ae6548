//! `boveda scrub` pauses a real node's scrubber and lets it go on.

mod common;

use common::cluster::path;
use common::{Node, eventually};
use serde_json::Value;
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

/// Runs of the scrubber one right after the other, over files.
const EAGER: [(&str, &str); 2] = [("BOVEDA_SCRUB_PERIOD", "20ms"), ("BOVEDA_STORE_SEGMENT_MAX", "0")];

fn scrub(args: &[&str]) -> (i32, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_boveda")).arg("scrub").args(args).output().expect("the program runs");
    let Output { status, stdout, stderr } = ran;
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("ends by itself"), text(stdout), text(stderr))
}

fn url(node: &Node) -> String {
    format!("http://{}", node.http())
}

fn shown(node: &Node) -> Value {
    node.get("/v1/cluster/scrub").json()
}

#[test]
fn a_pause_holds_over_restarts_and_ends_when_told_to() {
    let mut node = Node::with(&EAGER);
    assert_eq!(node.put(&path("k"), &[7; 100_000]).status, 201);
    eventually("a run over the object", || (shown(&node)["last"]["objects"] == 1).then_some(()));

    let (code, page, errors) = scrub(&["pause", "--url", &url(&node)]);
    assert_eq!((code, errors.as_str()), (0, ""), "{page}");
    assert!(page.starts_with("scrub       paused"), "{page}");
    assert!(page.contains("\n! scrubbing is paused: `boveda scrub resume`"), "{page}");
    // The piece that was under way may still count; after a restart nothing is.
    node.kill9();
    node.begin();
    let before = eventually("the place to be loaded", || {
        let now = shown(&node);
        (now["state"] == "paused").then_some(now)
    });
    let status = node.get("/v1/cluster").json();
    assert_eq!(status["store"]["scrub"]["state"], "paused");
    let page = Command::new(env!("CARGO_BIN_EXE_boveda")).args(["status", "--url", &url(&node)]).output();
    let page = String::from_utf8(page.expect("the program runs").stdout).expect("UTF-8");
    assert!(page.lines().last().is_some_and(|line| line.starts_with("! scrubbing is paused")), "{page}");

    // Damage that nobody reads stays unseen, over another restart and many periods.
    let folders = fs::read_dir(node.data().join("blobs")).expect("a folder").flatten();
    let mut files = folders.flat_map(|folder| fs::read_dir(folder.path()).expect("a folder").flatten());
    let file = files.next().expect("a blob").path();
    let mut bytes = fs::read(&file).expect("a file");
    bytes[50_000] ^= 1;
    fs::write(&file, bytes).expect("it can be written");
    assert!(node.stop().success());
    node.begin();
    let after = eventually("the place to be loaded", || {
        let now = shown(&node);
        (now["state"] == "paused").then_some(now)
    });
    for name in ["started_ms", "registers", "objects", "damaged"] {
        assert_eq!(after[name], before[name], "{name}: {before} {after}");
    }

    let (code, raw, _) = scrub(&["resume", "--json", "--url", &url(&node)]);
    let json: Value = serde_json::from_str(&raw).expect("JSON");
    assert!(code == 0 && json["state"].is_string() && json["state"] != "paused", "{json}");
    eventually("the damage to be found", || (shown(&node)["last"]["damaged"] == 1).then_some(()));
    let (code, page, _) = scrub(&["status", "--url", &url(&node)]);
    assert!(code == 0 && page.starts_with("scrub       ") && page.contains("last run ended "), "{page}");
    assert!(page.contains("! 1 damaged objects without a good copy"), "{page}");
    let log = node.log();
    for part in ["paused=true", "paused=false"] {
        assert_eq!(log.matches(part).count(), 1, "{part} in\n{log}");
    }
}

#[test]
fn a_scrubber_that_is_off_stays_off() {
    let node = Node::with(&[("BOVEDA_SCRUB_ENABLED", "false")]);
    for command in ["pause", "resume", "status"] {
        let (code, page, errors) = scrub(&[command, "--url", &url(&node)]);
        assert_eq!((code, page.as_str(), errors.as_str()), (0, "scrub       off\n", ""), "{command}");
    }
}

#[test]
fn what_cannot_be_done_is_one_line_and_a_code() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    for command in ["status", "pause", "resume"] {
        let (code, out, errors) = scrub(&[command, "--url", &format!("http://{free}")]);
        assert_eq!((code, out.as_str(), errors.trim_end().lines().count()), (1, "", 1), "{errors}");
        assert!(errors.starts_with("boveda: no node answers at "), "{errors}");
        assert_eq!(scrub(&[command, "--url", "localhost"]).0, 2, "not a URL");
    }
    assert_eq!((scrub(&[]).0, scrub(&["stop"]).0), (2, 2));

    let node = Node::start();
    for bad in ["", "?state=", "?state=off", "?state=paused&x=1", "?state=paused&state=paused"] {
        node.put(&format!("/v1/cluster/scrub{bad}"), b"").expect_error(400, "InvalidQuery");
    }
    node.ask("POST", "/v1/cluster/scrub", &[], b"").expect_error(405, "MethodNotAllowed");
    assert_eq!(node.ask("HEAD", "/v1/cluster/scrub", &[], b"").status, 200);

    // Where it cannot be kept it holds all the same, and the command says so.
    let place = node.data().join("scrub");
    eventually("the first run to be kept", || place.exists().then_some(()));
    fs::remove_file(&place).and_then(|()| fs::create_dir_all(place.join("x"))).expect("something is in the way");
    let (code, out, errors) = scrub(&["pause", "--url", &url(&node)]);
    assert!(code == 1 && out.is_empty() && errors.contains("(NotKept)"), "{code} {out} {errors}");
    assert_eq!(shown(&node)["state"], "paused");
}
