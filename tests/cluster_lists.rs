//! Two nodes with different member lists exchange no votes, and both say so: in the status, in the log, for people.

mod common;

use common::cluster::{Cluster, new_ring, path};
use common::{copy_dir, eventually};
use serde_json::Value;
use std::process::Command;

fn page(cluster: &Cluster, at: usize) -> String {
    let url = format!("http://{}", cluster.nodes[at].http());
    let ran = Command::new(env!("CARGO_BIN_EXE_boveda")).args(["status", "--url", &url]).output();
    String::from_utf8(ran.expect("the program runs").stdout).expect("UTF-8")
}

/// What a node shows of another one's list, once it differs.
#[track_caller]
fn differing(cluster: &Cluster, at: usize, of: usize) -> Value {
    eventually("the difference to be shown", || {
        let list = cluster.peer(at, of)["list"].clone();
        (list["differs"] == true).then_some(list)
    })
}

const TOLD: &str = "peer has another member list";

#[test]
fn nodes_that_were_founded_apart_exchange_no_votes_and_both_say_so() {
    // One ring, so one cluster id and names that fit. The second node begins twice from the very same data
    // directory, as after somebody put an old copy back: both first lists give that life of it a place.
    let ring = new_ring();
    let mut first = Cluster::voting_to_be(2, ring.path());
    let mut second = Cluster::voting_to_be(2, ring.path());
    first.begin(1);
    assert!(first.nodes[1].stop().success());
    copy_dir(&first.nodes[1].data(), &second.nodes[1].data());
    for cluster in [&mut first, &mut second] {
        cluster.begin(0);
        cluster.begin(1);
        (0..2).for_each(|at| cluster.formed(at));
    }
    first.put(0, "of/first", b"1");
    second.put(1, "of/second", b"2");
    first.kill9(1);
    second.kill9(0);
    eventually("it to be missed", || (second.peer(1, 0)["link"] == "down").then_some(()));

    // n1 of the first is led to n2 of the second, which cannot call back.
    first.link(0, 1).lead_to(Some(second.nodes[1].peer()));
    for (cluster, at, of) in [(&first, 0, 1), (&second, 1, 0)] {
        let list = differing(cluster, at, of);
        assert_eq!((&list["is"], &list["epoch"]), (&"other".into(), &1.into()), "{list}");
        assert_ne!(list["digest"], cluster.status(at)["voting"]["list"]["digest"]);
    }
    assert_eq!(first.peer(0, 1)["link"], "up", "they talk, and do not vote");
    // It was called, and knows all the same. Between two tries it is not down, but about to be.
    eventually("it to be down from here", || (second.peer(1, 0)["link"] == "down").then_some(()));

    // Its votes are sent, since that life of n2 has a place in its list, and refused.
    let counts = || {
        let status = second.status(1);
        let number = |at: &str| status.pointer(at).and_then(Value::as_u64).expect("a number");
        let received = ["votes", "scans", "configs"].map(|kind| number(&format!("/gate/received/{kind}")));
        let came: u64 = received.iter().sum();
        (came, number("/peers/0/list/refused_here"))
    };
    let before = counts();
    first.nodes[0].put(&path("x"), b"x").expect_error(503, "NoMajority");
    first.get(0, "of/first").expect_error(503, "NoMajority");
    first.nodes[0].get("/v1/objects/cargas").expect_error(503, "NoMajority");
    // One that was not refused would stay one too many. (Chores ask as well, and the two counts are read one by one.)
    let refused = eventually("every single one to be refused", || {
        let after = counts();
        let (came, refused) = (after.0 - before.0, after.1 - before.1);
        (came == refused && refused > 0).then_some(refused)
    });
    eventually("the caller to count them", || {
        (differing(&first, 0, 1)["refused_there"].as_u64() >= Some(refused)).then_some(())
    });
    assert_eq!(second.status(1)["store"]["tentative"], 0, "nothing of it was stored");
    assert_eq!(first.metric(0, "boveda_peers_list_differs{peer=\"n2\"}"), 1);

    // The other way round, too.
    second.link(1, 0).lead_to(Some(first.nodes[0].peer()));
    eventually("the link back", || (second.peer(1, 0)["link"] == "up").then_some(()));
    second.nodes[1].put(&path("y"), b"y").expect_error(503, "NoMajority");
    second.get(1, "of/second").expect_error(503, "NoMajority");
    for (cluster, at, of, name) in [(&first, 0, 1, "n2"), (&second, 1, 0, "n1")] {
        differing(cluster, at, of);
        let beats = || cluster.peer(at, of)["sent"]["heartbeats"].as_u64().expect("a number");
        let later = beats() + 5;
        eventually("more heartbeats", || (beats() >= later).then_some(()));
        let page = page(cluster, at);
        let line = page.lines().find(|line| line.starts_with(&format!("! {name}: another member list")));
        assert!(line.is_some_and(|line| line.contains("epoch 1")), "{page}");
        let log = cluster.nodes[at].log();
        let told: Vec<&str> = log.lines().filter(|line| line.contains(TOLD)).collect();
        assert!(told.len() == 1 && told[0].contains("WARN") && told[0].contains(name), "{told:?}");
    }
    // The feed goes on: whichever of them is to begin with an empty directory, nothing that was answered is lost.
    for (cluster, at) in [(&first, 0), (&second, 1)] {
        for (key, body) in [("of/first", "1"), ("of/second", "2")] {
            let local = || cluster.nodes[at].get(&(path(key) + "?consistency=local"));
            eventually("what was answered", || (local().status == 200).then_some(()));
            assert_eq!(local().text(), body);
        }
    }
}

#[test]
fn what_an_operator_did_to_a_peer_is_seen_from_here() {
    let cluster = Cluster::start(2);
    let scrub = || cluster.peer(0, 1)["health"]["scrub"]["state"].clone();
    eventually("the first run", || (scrub() == "resting").then_some(()));
    assert_eq!(cluster.nodes[1].put("/v1/cluster/scrub?state=paused", b"").status, 200);
    eventually("the pause", || (scrub() == "paused").then_some(()));
    assert_ne!(cluster.status(0)["store"]["scrub"]["state"], "paused", "one node was asked");
}

#[test]
fn a_list_that_is_taken_over_is_no_difference() {
    let mut cluster = Cluster::voting(3);
    cluster.kill9(2);
    let answer = cluster.nodes[0].ask("PUT", "/v1/cluster/members?names=n1,n2", &[], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    cluster.begin(2);
    for (at, of) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
        eventually("the list to be taken over", || {
            let list = cluster.peer(at, of)["list"].clone();
            (list["is"] == "same" && list["epoch"].as_u64() >= Some(3)).then_some(())
        });
        assert_eq!(cluster.peer(at, of)["list"]["differs"], false);
    }
    for node in &cluster.nodes {
        assert!(!node.log().contains(TOLD), "{}", node.log());
    }
    eventually("the links", || (cluster.peer(0, 2)["link"] == "up").then_some(()));
    assert!(!page(&cluster, 0).contains('!'), "{}", page(&cluster, 0));
}
