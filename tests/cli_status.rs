//! `boveda status` asks real nodes.

mod common;

use common::cluster::Cluster;
use common::eventually;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::{Command, Output};

fn status(args: &[&str]) -> (i32, String, String) {
    let ran = Command::new(env!("CARGO_BIN_EXE_boveda")).arg("status").args(args).output().expect("the program runs");
    let Output { status, stdout, stderr } = ran;
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("ends by itself"), text(stdout), text(stderr))
}

#[test]
fn a_node_and_its_peers_are_shown() {
    let mut cluster = Cluster::start(3);
    cluster.put(0, "k", &[7; 60_000]);
    cluster.converged();
    for to in [1, 2] {
        eventually("a comparison", || (cluster.peer(0, to)["compare"]["equal"] == true).then_some(()));
        eventually("what it tells of its first run", || {
            cluster.peer(0, to)["health"]["scrub"]["last"].is_object().then_some(())
        });
    }
    let url = format!("http://{}", cluster.nodes[0].http());
    let (code, page, errors) = status(&["--url", &url]);
    assert_eq!((code, errors.as_str()), (0, ""), "{page}");
    let shown = cluster.status(0);
    for part in ["cluster", "incarnation"] {
        let id = shown[part].as_str().expect("an id");
        assert!(page.contains(id), "{id} is not in\n{page}");
    }
    let line = |begin: &str| {
        let found = page.lines().find(|line| line.starts_with(begin));
        found.unwrap_or_else(|| panic!("no {begin} in\n{page}")).to_owned()
    };
    assert!(line("cluster").ends_with("durability local"));
    assert!(line("node").contains("n1") && line("node").contains(env!("CARGO_PKG_VERSION")));
    assert!(line("disk").contains(" free of "));
    assert!(line("store").contains("1 objects, 58.5 KiB, 1 buckets"), "{page}");
    assert!(line("ready").ends_with("yes") && line("voting").ends_with("each node for itself"), "{page}");
    assert!(line("scrub").ends_with("resting") && page.contains("0 damaged, 0 repaired"), "{page}");
    assert!(line("healing").starts_with("healing     0 blobs and 0 records mended, 0 copies"), "{page}");
    assert!(line("key").contains("  seals and opens; ") && line("key").ends_with(" keys"), "{page}");
    for peer in ["n2", "n3"] {
        let row = line(peer);
        let cells: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(cells[..3], [peer, "up", "0"], "{page}");
        assert!(row.contains("  same  equal, "), "{page}");
        let told = page.lines().filter(|line| line.starts_with(peer)).nth(1).unwrap_or_default();
        assert!(told.contains("iB  0          0       0         0           resting; "), "{page}");
        assert!(told.ends_with(" ago 0 damaged, 0 repaired"), "{page}");
    }
    assert!(!page.contains('!'), "nothing wants attention:\n{page}");

    let (code, raw, _) = status(&["--url", &url, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&raw).expect("JSON");
    assert_eq!((code, &json["node"]), (0, &shown["node"]));

    cluster.kill9(2);
    eventually("the loss to be seen", || (cluster.peer(0, 2)["link"] == "down").then_some(()));
    let (code, page, _) = status(&["--url", &url]);
    assert!(code == 3 && page.lines().last().is_some_and(|line| line.starts_with("! n3: link ")), "{page}");
}

/// A server that answers everything with these bytes, once.
fn answering(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a caller");
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(bytes);
    });
    url
}

#[test]
fn what_is_no_answer_of_a_node_is_one_line_and_exit_1() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    for (url, part) in [
        (format!("http://{free}"), "no node answers at http://127.0.0.1:"),
        (answering(b"SSH-2.0-x\r\n"), "not as a node of Boveda does: no HTTP"),
        (answering(b"HTTP/1.1 404 Not Found\r\n\r\n{}"), "status 404"),
        (answering(b"HTTP/1.1 200 OK\r\n\r\n<html>"), "not as a node"),
        (answering(b"HTTP/1.1 200 OK\r\n\r\n{}"), "its answer has no node"),
        (answering(b""), "was lost"),
    ] {
        let (code, out, errors) = status(&["--url", &url]);
        assert_eq!((code, out.as_str()), (1, ""), "{part}");
        assert!(errors.starts_with("boveda: ") && errors.contains(part), "{part}: {errors}");
        assert_eq!(errors.trim_end().lines().count(), 1, "{errors}");
    }
    assert_eq!(status(&["--url", "localhost"]).0, 2, "not a URL");
}
