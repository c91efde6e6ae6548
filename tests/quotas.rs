//! What buckets hold and how much they may, on real nodes: told everywhere alike, through kills, and how far many writers
//! through several nodes get beyond a quota.

mod common;

use common::cluster::Cluster;
use common::{Answer, Node};
use serde_json::{Value, json};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bodies above this come in pieces, and are announced.
const LARGE: usize = 2 << 20;

fn usage(node: &Node, bucket: &str) -> (u64, u64) {
    let shown = node.get(&format!("/v1/buckets/{bucket}")).json();
    let number = |name: &str| shown["usage"][name].as_u64().expect("a number");
    (number("objects"), number("bytes"))
}

fn code(answer: &Answer) -> Option<String> {
    (answer.status >= 400).then(|| answer.json()["code"].as_str().expect("a code").to_owned())
}

/// Stores an object whose length is announced nowhere.
fn stream(node: &Node, key: &str, len: usize) -> Answer {
    let mut conn = node.connect();
    let head =
        format!("PUT /v1/objects/docs/{key} HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n{len:x}\r\n");
    conn.send([head.as_bytes(), &vec![7; len], b"\r\n0\r\n\r\n"].concat()).expect("it takes the body");
    conn.answer(false).expect("an answer")
}

/// What the command says of the node.
fn bucket(node: &Node, args: &[&str]) -> (Option<i32>, String) {
    let url = format!("http://{}", node.http());
    let out = Command::new(env!("CARGO_BIN_EXE_boveda")).arg("bucket").args(args).args(["--url", &url]).output();
    let out = out.expect("the binary starts");
    (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

/// A bucket of three objects, a byte short of its quota of 5 MiB, wherever buckets are told.
fn is_told_alike(node: &Node, life: &str) {
    assert_eq!(usage(node, "docs"), (3, (5 << 20) - 1), "{life}");
    let all = node.get("/v1/buckets").json();
    let docs = all["buckets"].as_array().expect("a list").iter().find(|bucket| bucket["name"] == "docs");
    let docs = docs.expect("it is there");
    assert_eq!(docs["usage"], json!({ "objects": 3, "bytes": (5 << 20) - 1 }));
    assert_eq!(docs["quota"], json!({ "objects": 3, "bytes": 5 << 20 }));
    let status = node.get("/v1/cluster").json();
    assert_eq!(status["store"]["filling"]["at_quota"], 1);
    assert_eq!(status["store"]["filling"]["largest"][0]["name"], "docs");
    let metrics = node.get("/metrics");
    for line in [
        "boveda_bucket_objects{bucket=\"docs\"} 3",
        "boveda_bucket_bytes{bucket=\"docs\"} 5242879",
        "boveda_bucket_quota_bytes{bucket=\"docs\"} 5242880",
        "boveda_bucket_objects{bucket=\"cargas\"} 0",
    ] {
        assert!(metrics.text().lines().any(|l| l == line), "{line}, {life}");
    }
}

#[test]
fn a_node_alone_lets_in_what_fits_to_the_byte_and_tells_it_everywhere_alike() {
    let mut node = Node::start();
    assert_eq!(bucket(&node, &["create", "docs"]).0, Some(0));
    let (done, said) = bucket(&node, &["quota", "docs", "--objects", "3", "--bytes", "5MiB"]);
    assert_eq!((done, said.as_str()), (Some(0), "docs may hold 3 objects and 5.0 MiB at most\n"));
    let put = |node: &Node, key: &str, len: usize| node.put(&format!("/v1/objects/docs/{key}"), &vec![7; len]);
    put(&node, "a", 100).expect_written(201);
    put(&node, "large", LARGE).expect_written(201);
    assert_eq!(usage(&node, "docs"), (2, LARGE as u64 + 100));
    put(&node, "b", 3 << 20).expect_error(403, "QuotaExceeded");
    put(&node, "b", (3 << 20) - 100).expect_written(201);
    put(&node, "c", 0).expect_error(403, "QuotaExceeded");
    put(&node, "a", 101).expect_error(403, "QuotaExceeded");
    put(&node, "a", 99).expect_written(200);
    // Before a byte of it is sent, by its announced length.
    let mut conn = node.connect();
    conn.send("PUT /v1/objects/docs/c HTTP/1.1\r\nHost: n\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n")
        .expect("it listens");
    let refused = conn.answer(false).expect("an answer");
    assert_eq!((refused.status, code(&refused).as_deref()), (403, Some("QuotaExceeded")));
    // And where nobody announces it, when it is whole.
    stream(&node, "c", LARGE).expect_error(403, "QuotaExceeded");
    stream(&node, "large", LARGE + 2).expect_error(403, "QuotaExceeded");
    stream(&node, "large", LARGE).expect_written(200);
    for life in ["as it is", "after a kill", "after a stop"] {
        is_told_alike(&node, life);
        match life {
            "as it is" => node.kill9(),
            _ => assert!(node.stop().success()),
        }
        let verified = node.command(&["verify", "--json"]).output().expect("the binary starts");
        let told = String::from_utf8_lossy(&verified.stdout);
        let sum: Value = serde_json::from_str(told.lines().last().expect("a summary")).expect("JSON");
        assert_eq!((verified.status.code(), &sum["miscounted"]), (Some(0), &json!(0)), "{told}");
        node.begin();
    }
    node.put("/v1/buckets/docs/quota?objects=1&bytes=10", b"").expect_written(200);
    put(&node, "large", LARGE - 1).expect_written(200);
    put(&node, "large", LARGE).expect_error(403, "QuotaExceeded");
    assert_eq!(node.delete("/v1/objects/docs/large").status, 204);
    assert_eq!(usage(&node, "docs"), (2, (3 << 20) - 1), "what is gone counts no more");
    assert_eq!(node.delete("/v1/buckets/docs/quota").json()["quota"], json!({ "objects": null, "bytes": null }));
    put(&node, "large", LARGE).expect_written(201);
    let (_, list) = bucket(&node, &["list"]);
    assert!(list.lines().any(|line| line.starts_with("docs ") && line.ends_with("no quota")), "{list}");
    for bad in ["", "?objects=-1", "?bytes=1k", "?objects=1&more=2"] {
        node.put(&format!("/v1/buckets/docs/quota{bad}"), b"").expect_error(400, "InvalidQuery");
    }
    node.put("/v1/buckets/nowhere/quota?objects=1", b"").expect_error(404, "NoSuchBucket");
    node.put("/v1/buckets/cargas/quota?objects=0", b"").expect_written(200);
    let told = node.upload("x.txt", b"x");
    assert_eq!(told.status, 403);
    assert!(told.json()["error"].as_str().is_some_and(|told| told.contains("cuota")), "{told:?}");
}

/// Writers at each node, each with keys of its own.
const WRITERS: usize = 12;
const NODES: usize = 3;
/// More than there is room for, by far.
const WRITES_MAX: usize = 200;

/// All of them write until they are told of the quota three times running. How many writes were answered as done.
fn race(cluster: &Cluster, prefix: &str, len: usize) -> u64 {
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for (at, writer) in (0..NODES).flat_map(|at| (0..WRITERS).map(move |writer| (at, writer))) {
            let done = &done;
            scope.spawn(move || {
                let mut refused = 0;
                let mut conn = cluster.nodes[at].connect();
                for n in 0..WRITES_MAX {
                    let target = format!("/v1/objects/docs/{prefix}-{at}-{writer}-{n}");
                    let answer = conn.ask("PUT", &target, &[], &vec![7; len]).expect("an answer");
                    match (answer.status, code(&answer).as_deref()) {
                        (200 | 201, _) => _ = done.fetch_add(1, Ordering::Relaxed),
                        // A body that is not taken ends its connection.
                        (403, Some("QuotaExceeded")) => (refused, conn) = (refused + 1, cluster.nodes[at].connect()),
                        (503, Some("SlowDown")) => {}
                        _ => panic!("{answer:?}"),
                    }
                    if refused == 3 {
                        return;
                    }
                }
                panic!("nobody was told of the quota");
            });
        }
    });
    done.into_inner()
}

/// What all nodes hold when they have come to the same.
fn settled(cluster: &Cluster) -> (u64, u64) {
    cluster.converged();
    let all: Vec<_> = cluster.nodes.iter().map(|node| usage(node, "docs")).collect();
    assert!(all.iter().all(|one| *one == all[0]), "each node counts what it holds: {all:?}");
    all[0]
}

#[test]
fn many_writers_through_three_nodes_stay_within_what_is_on_its_way() {
    let mut cluster = Cluster::voting(NODES);
    assert_eq!(cluster.nodes[0].put("/v1/buckets/docs", b"").status, 201);
    const OBJECTS: u64 = 300;
    assert_eq!(cluster.nodes[1].put(&format!("/v1/buckets/docs/quota?objects={OBJECTS}"), b"").status, 200);
    let done = race(&cluster, "small", 900);
    let (objects, bytes) = settled(&cluster);
    eprintln!("{objects} objects by a quota of {OBJECTS}");
    assert_eq!((objects, bytes), (done, done * 900), "what was refused is not there");
    let beyond = ((NODES - 1) * WRITERS) as u64;
    assert!((OBJECTS..=OBJECTS + beyond).contains(&objects), "{objects} objects");
    // Where the quota is known, nothing more goes in, and what is there can be replaced by as much, and go.
    for node in &cluster.nodes {
        node.put("/v1/objects/docs/more", b"x").expect_error(403, "QuotaExceeded");
    }
    let page = cluster.nodes[2].get("/v1/objects/docs?limit=1").json();
    let key = format!("/v1/objects/docs/{}", page["objects"][0]["key"].as_str().expect("a key"));
    assert_eq!(cluster.nodes[2].put(&key, &[8; 900]).status, 200);
    assert_eq!(cluster.nodes[0].delete(&key).status, 204);
    // In bytes, with bodies that are announced and travel before they are decided on.
    let (bytes_now, len) = (settled(&cluster).1, 100_000);
    let most = bytes_now + 40 * len;
    assert_eq!(cluster.nodes[2].put(&format!("/v1/buckets/docs/quota?bytes={most}"), b"").status, 200);
    race(&cluster, "middle", len as usize);
    let (_, bytes) = settled(&cluster);
    eprintln!("{bytes} bytes by a quota of {most}");
    assert!((most - len..=most + beyond * len).contains(&bytes), "{bytes} of {most}");
    for node in &cluster.nodes {
        stream(node, "unannounced", LARGE).expect_error(403, "QuotaExceeded");
    }
    assert_eq!(settled(&cluster).1, bytes, "nothing of it is there");
    // A node that is killed under way counts what it holds, and what it is brought.
    cluster.kill9(1);
    assert_eq!(cluster.nodes[0].delete("/v1/buckets/docs/quota").status, 200);
    for n in 0..20 {
        assert_eq!(cluster.nodes[n % 2 * 2].put(&format!("/v1/objects/docs/away-{n}"), &[1; 50]).status, 201);
    }
    cluster.begin(1);
    cluster.ready(1);
    assert_eq!(settled(&cluster).1, bytes + 20 * 50);
}
