//! Uploads in parts on three nodes: each step at another one, with nodes killed in between.

mod common;

use common::cluster::Cluster;
use common::multipart::{MIN, begin, bytes, etag};
use common::s3::{S3, text, told};
use common::{Key, eventually};

/// Three nodes with a bucket, and a key for everything.
fn three() -> (Cluster, Key) {
    let mut cluster = Cluster::voting(3);
    let key = cluster.nodes[0].new_key("root", &["*:read,write,list,delete,admin"]);
    cluster.nodes.iter_mut().for_each(|node| node.ask_by(&key));
    eventually("the key to be known", || {
        (S3::new(&cluster.nodes[0], &key).ask("PUT", "/abc", &[], b"").status == 200).then_some(())
    });
    (0..3).for_each(|at| knows(&cluster, at, &key));
    (cluster, key)
}

/// Waits until a node knows the key, and has a majority.
fn knows(cluster: &Cluster, at: usize, key: &Key) {
    eventually("the node to take requests", || {
        (S3::new(&cluster.nodes[at], key).ask("HEAD", "/abc", &[], b"").status == 200).then_some(())
    });
}

#[test]
fn each_step_is_taken_at_another_node() {
    let (cluster, key) = three();
    let [one, two, three] = [0, 1, 2].map(|at| S3::new(&cluster.nodes[at], &key));
    let parts = [bytes(1, MIN), bytes(2, MIN + 70_001), bytes(3, 5)];
    let begun = begin(&one, "/abc/k", &[("x-amz-checksum-algorithm", "CRC32C")]);
    let tags = [
        (1, begun.send(&three, 1, &parts[0])),
        (2, begun.send(&two, 2, &parts[1])),
        (3, begun.send(&one, 3, &parts[2])),
    ];
    let listed = two.ask("GET", "/abc?uploads", &[], b"");
    assert_eq!(text(listed.text(), "UploadId"), Some(&*begun.id));
    let done = begun.complete(&two, &tags, &[("if-none-match", "*")]);
    assert_eq!(done.status, 200, "{}", done.text());
    for s3 in [&one, &two, &three] {
        let got = s3.ask("GET", "/abc/k", &[], b"");
        assert!(got.body == parts.concat());
        assert_eq!(got.header("etag"), Some(&*etag(&[&parts[0], &parts[1], &parts[2]])));
        let again = begun.complete(s3, &tags, &[("if-none-match", "*")]);
        assert_eq!(again.status, 200, "{}", again.text());
        assert_eq!(told(&begun.abort(s3)), (404, "NoSuchUpload".to_owned()));
    }
    let begun = begin(&two, "/abc/k", &[]);
    begun.send(&one, 1, b"part");
    assert_eq!(begun.abort(&three).status, 204);
    for s3 in [&one, &two, &three] {
        assert_eq!(told(&s3.ask("GET", &begun.target(), &[], b"")), (404, "NoSuchUpload".to_owned()));
        assert!(s3.ask("GET", "/abc/k", &[], b"").body == parts.concat());
    }
    let copied = three.ask("PUT", "/abc/copy", &[("x-amz-copy-source", "/abc/k")], b"");
    assert_eq!(copied.status, 200, "{}", copied.text());
    assert!(one.ask("GET", "/abc/copy", &[], b"").body == parts.concat());
}

#[test]
fn nodes_die_between_the_parts_and_before_it_is_completed() {
    let (mut cluster, key) = three();
    let parts = [bytes(1, MIN), bytes(2, MIN + 1), bytes(3, 70_000)];
    let begun = begin(&S3::new(&cluster.nodes[0], &key), "/abc/k", &[]);
    let mut tags = vec![(1, begun.send(&S3::new(&cluster.nodes[0], &key), 1, &parts[0]))];
    cluster.kill9(0);
    knows(&cluster, 1, &key);
    tags.push((2, begun.send(&S3::new(&cluster.nodes[1], &key), 2, &parts[1])));
    cluster.begin(0);
    knows(&cluster, 0, &key);
    cluster.kill9(1);
    knows(&cluster, 2, &key);
    tags.push((3, begun.send(&S3::new(&cluster.nodes[2], &key), 3, &parts[2])));
    cluster.begin(1);
    knows(&cluster, 1, &key);
    cluster.kill9(2);
    // No single node was there for all of them.
    knows(&cluster, 0, &key);
    let done = begun.complete(&S3::new(&cluster.nodes[0], &key), &tags, &[]);
    assert_eq!(done.status, 200, "{}", done.text());
    cluster.begin(2);
    for at in 0..3 {
        knows(&cluster, at, &key);
        let got = S3::new(&cluster.nodes[at], &key).ask("GET", "/abc/k", &[], b"");
        assert!(got.body == parts.concat(), "n{}", at + 1);
    }
    // Whoever was away comes to all of its bodies, and serves it without the others.
    cluster.converged();
    let last = S3::new(&cluster.nodes[2], &key);
    assert_eq!(begun.complete(&last, &tags, &[]).status, 200);
}

#[test]
fn two_that_complete_and_one_that_aborts_leave_one_outcome() {
    let (cluster, key) = three();
    for round in 0..12u64 {
        let clients = [0, 1, 2].map(|at| S3::new(&cluster.nodes[at], &key));
        let path = format!("/abc/race-{round}");
        let begun = begin(&clients[0], &path, &[]);
        let tags = [(1, begun.send(&clients[1], 1, b"part"))];
        let (first, second, aborted) = std::thread::scope(|scope| {
            let first = scope.spawn(|| begun.complete(&clients[0], &tags, &[]).status);
            let second = scope.spawn(|| begun.complete(&clients[1], &tags, &[]).status);
            let third = scope.spawn(|| begun.abort(&clients[2]).status);
            (first.join().expect("an answer"), second.join().expect("an answer"), third.join().expect("an answer"))
        });
        let statuses = (first, second, aborted);
        assert!([first, second].iter().all(|status| [200, 404].contains(status)), "{statuses:?}");
        assert!([204, 404].contains(&aborted), "{statuses:?}");
        let became = aborted == 404;
        assert_eq!(first == 200 || second == 200, became, "one of the two came to be: {statuses:?}");
        for s3 in &clients {
            assert_eq!(s3.ask("GET", &path, &[], b"").status, if became { 200 } else { 404 }, "{statuses:?}");
        }
    }
}
