//! Who may decide: the directory of a node says which cluster it is a member of, and a node whose directory is an older
//! copy of itself has no vote until it was given its place anew.

mod common;

use common::cluster::{Cluster, path};
use common::{copy_dir, eventually};
use std::process::{Child, Command, Stdio};

/// A process that is not left behind when a test fails.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command that must end by itself with this code; what it said.
#[track_caller]
fn ends(mut command: Command, code: i32) -> String {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
    let mut child = Started(child);
    let status = eventually("its end", || child.0.try_wait().expect("it can be asked"));
    let mut said = String::new();
    for out in [child.0.stdout.take().map(std::io::read_to_string), child.0.stderr.take().map(std::io::read_to_string)]
    {
        said.push_str(&out.expect("a pipe").expect("UTF-8"));
    }
    assert_eq!(status.code(), Some(code), "{said}");
    said
}

fn serve(cluster: &Cluster, at: usize, settings: &[(&str, &str)]) -> Command {
    let mut command = cluster.nodes[at].serve();
    command.env("BOVEDA_NODE_LOG", "error").envs(settings.iter().copied());
    command
}

#[track_caller]
fn refused(cluster: &Cluster, settings: &[(&str, &str)], parts: &[&str]) {
    let said = ends(serve(cluster, 2, settings), 1);
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}

#[test]
fn a_member_starts_as_one_of_its_cluster_or_not_at_all() {
    let mut cluster = Cluster::voting(3);
    cluster.put(0, "old", b"old");
    cluster.stop(2);
    let list = ["n1, n2", "boveda leave"];
    refused(&cluster, &[("BOVEDA_CLUSTER_PEERS", "")], &[list[0], list[1], "cluster.peers names no other node"]);
    let itself = [("BOVEDA_CLUSTER_PEERS", "n3=http://127.0.0.1:1")];
    refused(&cluster, &itself, &[list[0], list[1], "cluster.peers names no other node"]);
    let strangers = [("BOVEDA_CLUSTER_PEERS", "n8=http://127.0.0.1:1,n9=http://127.0.0.1:2")];
    refused(&cluster, &strangers, &[list[0], list[1], "cluster.peers names n8, n9"]);
    let local = [("BOVEDA_CLUSTER_DURABILITY", "local")];
    refused(&cluster, &local, &[list[0], list[1], "cluster.durability is local"]);
    refused(&cluster, &[("BOVEDA_NODE_NAME", "n2")], &["data directory of n3", "named n2"]);
    // It goes on as what it is.
    cluster.begin(2);
    cluster.put(2, "new", b"new");
    assert_eq!(cluster.get(0, "new").text(), "new");
}

/// What a node says of a condition.
fn told(cluster: &Cluster, at: usize, under: &str, what: &str) -> Option<String> {
    cluster.nodes[at].get("/readyz").json()[under][what].as_str().map(str::to_owned)
}

#[test]
fn a_member_without_an_address_here_is_named_and_counted() {
    let mut cluster = Cluster::voting(3);
    cluster.stop(0);
    cluster.know_first(0, 2);
    cluster.begin(0);
    cluster.ready(0);
    let why = told(&cluster, 0, "degraded", "addresses").expect("it is told");
    assert!(why.starts_with("n3 of the member list"), "{why}");
    let mut status = Command::new(env!("CARGO_BIN_EXE_boveda"));
    status.args(["status", "--url", &format!("http://{}", cluster.nodes[0].http())]);
    let page = ends(status, 3);
    assert!(page.contains("! addresses: n3 of the member list"), "{page}");
    let answer = cluster.nodes[0].put(&path("k"), b"k");
    assert_eq!((answer.status, answer.header("x-boveda-replicas")), (201, Some("2/3")), "{answer:?}");
    assert_eq!(told(&cluster, 1, "degraded", "addresses"), None);
}

#[test]
fn a_majority_that_lost_its_disks_is_told_as_that_everywhere() {
    let mut cluster = Cluster::voting(3);
    cluster.put(0, "k", b"k");
    for at in [1, 2] {
        cluster.stop(at);
        cluster.wipe(at);
    }
    for at in [1, 2] {
        cluster.begin(at);
    }
    for (at, under, what) in [(0, "degraded", "majority"), (1, "missing", "place"), (2, "missing", "place")] {
        eventually("the loss to be told", || {
            told(&cluster, at, under, what)
                .filter(|why| why.contains("lost its memory") && why.contains("boveda leave"))
        });
    }
}

#[test]
fn who_leaves_a_lost_cluster_goes_on_alone_and_nothing_passes_between_the_two() {
    let mut cluster = Cluster::voting(3);
    cluster.put(0, "kept", b"kept");
    cluster.converged();
    cluster.stop(2);
    let life = |cluster: &Cluster, at: usize| cluster.status(at)["voting"]["members"]["life"].clone();
    let first = life(&cluster, 0);
    let asked = ends(cluster.nodes[2].command(&["leave"]), 2);
    assert!(asked.contains("n1, n2, n3") && asked.contains("--yes"), "{asked}");
    let done = ends(cluster.nodes[2].command(&["leave", "--yes"]), 0);
    assert!(done.contains("n3 has left the cluster of n1, n2, n3"), "{done}");
    assert!(ends(cluster.nodes[2].command(&["leave", "--yes"]), 1).contains("nothing to leave"));
    cluster.put(0, "theirs", b"theirs");
    // With the addresses of those that it left: nothing passes.
    cluster.begin(2);
    for (at, of) in [(2, 0), (0, 2)] {
        eventually("the two to refuse each other", || (cluster.peer(at, of)["link"] == "refused").then_some(()));
        let error = cluster.peer(at, of)["last_error"].to_string();
        assert!(error.contains("boveda leave"), "{error}");
    }
    assert_ne!(life(&cluster, 2), first);
    assert_eq!(cluster.get(2, "kept").text(), "kept", "what it held is served");
    cluster.put(2, "kept", b"alone");
    cluster.get(2, "theirs").expect_error(404, "NoSuchKey");
    assert_eq!(cluster.get(1, "kept").text(), "kept");
    let members = cluster.status(0)["voting"]["members"].clone();
    assert_eq!((&members["life"], members["epoch"].as_u64()), (&first, Some(1)), "they did not give its place away");
    // The others are lost: empty nodes come into their places.
    for at in [0, 1] {
        cluster.kill9(at);
        cluster.wipe(at);
    }
    cluster.stop(2);
    (0..3).for_each(|at| cluster.begin(at));
    let grown = eventually("the new nodes to be heard", || {
        let answer = cluster.nodes[2].ask("PUT", "/v1/cluster/members?names=n1,n2,n3", &[], b"");
        (answer.status == 200).then(|| answer.json())
    });
    assert_eq!(grown["life"], life(&cluster, 2));
    cluster.put(0, "more", b"more");
    assert_eq!(cluster.get(1, "kept").text(), "alone");
}

/// Waits until a node has begun another life than this one.
fn reborn(cluster: &mut Cluster, at: usize, was: &serde_json::Value) -> serde_json::Value {
    eventually("it to give up its incarnation", || {
        cluster.look_again(at);
        let answer = cluster.nodes[at].connect_if_up()?.ask("GET", "/v1/cluster", &[], b"").ok()?;
        let status = answer.json();
        (status["incarnation"] != *was).then_some(status)
    })
}

#[test]
fn an_older_copy_of_a_directory_has_no_vote_until_it_has_its_place_anew() {
    let mut cluster = Cluster::voting(3);
    cluster.put(0, "x", b"x");
    let was = cluster.status(2)["incarnation"].clone();
    cluster.stop(2);
    let copy = tempfile::tempdir().expect("a directory");
    copy_dir(&cluster.nodes[2].data(), copy.path());
    // It goes on, and n2 hears that it has started again.
    cluster.begin(2);
    eventually("n2 to meet it", || (cluster.peer(1, 2)["peer_starts"].as_u64() == Some(2)).then_some(()));
    cluster.kill9(1);
    let create = |cluster: &Cluster, at: usize, body: &[u8]| {
        cluster.nodes[at].ask("PUT", &path("k"), &[("if-none-match", "*")], body)
    };
    let first = eventually("a majority", || Some(create(&cluster, 0, b"first")).filter(|answer| answer.status != 503));
    assert!(matches!(first.status, 201 | 412), "{first:?}");
    cluster.kill9(0);
    cluster.kill9(2);
    std::fs::remove_dir_all(cluster.nodes[2].data()).expect("it can be removed");
    copy_dir(copy.path(), &cluster.nodes[2].data());

    cluster.begin(1);
    cluster.begin(2);
    let status = reborn(&mut cluster, 2, &was);
    assert_eq!(status["voting"]["former"], was);
    create(&cluster, 1, b"second").expect_error(503, "NoMajority");
    cluster.get(1, "k").expect_error(503, "NoMajority");
    for (at, part) in [(1, "peer has forgotten what it had said"), (2, "gives up its incarnation")] {
        let log = cluster.nodes[at].log();
        assert!(log.lines().any(|line| line.contains("WARN") && line.contains(part)), "{log}");
    }
    let url = format!("http://{}", cluster.nodes[2].http());
    let page = Command::new(env!("CARGO_BIN_EXE_boveda")).args(["status", "--url", &url]).output().expect("it runs");
    let page = String::from_utf8(page.stdout).expect("UTF-8");
    assert!(page.contains("! this node gave up its incarnation"), "{page}");

    // With n1 there is a majority of the old list: it gives the place to the new life, and nothing was lost.
    cluster.begin(0);
    let life = status["incarnation"].clone();
    eventually("its place", || {
        let members = cluster.status(0)["voting"]["members"].clone();
        let seats = members["seats"].as_array()?.clone();
        let ended = members["before"].as_array()?.is_empty();
        (ended && seats.iter().any(|seat| seat["incarnation"] == life)).then_some(())
    });
    for at in 0..3 {
        let read = eventually("an answer", || Some(cluster.get(at, "k")).filter(|answer| answer.status != 503));
        assert_eq!(read.text(), "first", "n{}", at + 1);
    }
    cluster.kill9(0);
    let last = eventually("its vote", || {
        let answer = cluster.nodes[1].put(&path("last"), b"with its vote");
        (answer.status != 503).then_some(answer)
    });
    assert!(matches!(last.status, 200 | 201), "{last:?}");
}

#[test]
fn a_member_s_restart_is_no_reason_to_doubt() {
    let mut cluster = Cluster::voting(3);
    let life = |cluster: &Cluster, at: usize| cluster.status(at)["incarnation"].clone();
    let lives: Vec<_> = (0..3).map(|at| life(&cluster, at)).collect();
    for round in 0..4usize {
        for at in 0..3 {
            cluster.kill9(at);
            if round % 2 == 0 {
                cluster.begin(at);
            }
        }
        (0..3).filter(|_| round % 2 == 1).for_each(|at| cluster.begin(at));
        let put = eventually("a majority", || {
            let answer = cluster.nodes[round % 3].put(&path("k"), &[round as u8]);
            (answer.status != 503).then_some(answer)
        });
        assert!(matches!(put.status, 200 | 201), "{put:?}");
    }
    for (at, before) in lives.iter().enumerate() {
        assert_eq!(life(&cluster, at), *before);
        assert_eq!(cluster.status(at)["voting"]["starts"], 5);
        assert!(!cluster.nodes[at].log().contains("has forgotten"), "{}", cluster.nodes[at].log());
    }
}

/// Changes the list, which needs the new nodes to have been heard lately.
#[track_caller]
fn change(cluster: &Cluster, at: usize, names: &str) {
    eventually("the change to be done", || {
        let target = format!("/v1/cluster/members?names={names}");
        let answer = cluster.nodes[at].ask("PUT", &target, &[], b"");
        (answer.status == 200).then_some(())
    });
}

/// A copy of a stopped node's directory.
fn copy_of(cluster: &Cluster, at: usize) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    copy_dir(&cluster.nodes[at].data(), copy.path());
    copy
}

/// The node goes on with an older copy of its directory.
fn put_back(cluster: &mut Cluster, at: usize, copy: &tempfile::TempDir) {
    cluster.kill9(at);
    std::fs::remove_dir_all(cluster.nodes[at].data()).expect("it can be removed");
    copy_dir(copy.path(), &cluster.nodes[at].data());
    cluster.begin(at);
}

#[track_caller]
fn writes(cluster: &Cluster, at: usize, key: &str) {
    eventually("a write", || Some(cluster.nodes[at].put(&path(key), key.as_bytes()).status).filter(|s| *s < 300));
}

#[test]
fn one_of_two_that_has_forgotten_something_takes_part_in_a_change_to_three() {
    let mut cluster = Cluster::voting(3);
    writes(&cluster, 0, "of-three");
    change(&cluster, 0, "n1,n2");
    let was = cluster.status(1)["incarnation"].clone();
    cluster.stop(1);
    let copy = copy_of(&cluster, 1);
    cluster.begin(1);
    cluster.ready(1);
    writes(&cluster, 1, "of-two");
    // n3, without a place, remembers more of n2 than n2 will know.
    eventually("n3 to meet it", || (cluster.peer(2, 1)["peer_starts"].as_u64() == Some(2)).then_some(()));
    put_back(&mut cluster, 1, &copy);
    writes(&cluster, 1, "after");
    eventually("n3 to see it", || cluster.nodes[2].log().contains("peer has forgotten").then_some(()));
    change(&cluster, 0, "n1,n2,n3");
    assert_eq!(cluster.status(1)["incarnation"], was, "it did not give up its place");
    cluster.ready(2);
    writes(&cluster, 2, "of-three-again");
    // What n1 alone knew is on two.
    cluster.kill9(0);
    for key in ["of-three", "of-two", "after", "of-three-again"] {
        let read = eventually("a majority", || Some(cluster.get(1, key)).filter(|answer| answer.status != 503));
        assert_eq!(read.text(), key);
    }
}

#[test]
fn an_older_copy_from_before_the_list_became_one_of_two_is_judged_by_that_list() {
    let mut cluster = Cluster::voting(3);
    writes(&cluster, 0, "of-three");
    let was = cluster.status(1)["incarnation"].clone();
    cluster.stop(1);
    let copy = copy_of(&cluster, 1);
    cluster.begin(1);
    cluster.ready(1);
    change(&cluster, 0, "n1,n2");
    writes(&cluster, 1, "of-two");
    put_back(&mut cluster, 1, &copy);
    writes(&cluster, 1, "after");
    assert_eq!(cluster.status(1)["incarnation"], was, "nobody could give it its place anew");
    for key in ["of-three", "of-two", "after"] {
        assert_eq!(cluster.get(1, key).text(), key);
    }
}
