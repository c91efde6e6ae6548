//! What nodes remember of each other's audit logs: an end that was cut off, and a log that was taken away, are found by the
//! others.

mod common;

use common::cluster::Cluster;
use common::{copy_dir, eventually};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

fn logs(cluster: &Cluster, at: usize) -> PathBuf {
    cluster.nodes[at].data().join("audit")
}

fn checked(cluster: &Cluster, at: usize) -> Value {
    cluster.nodes[at].get("/v1/audit/check").json()
}

/// Whether that node remembers another one's log up to its end.
fn remembers(cluster: &Cluster, at: usize, of: usize) -> bool {
    let last = cluster.status(of)["audit"]["sequence"].as_u64();
    let known = checked(cluster, at)["remembers"].as_array().cloned().unwrap_or_default();
    known.iter().any(|one| one["node"] == format!("n{}", of + 1).as_str() && one["line"].as_u64() == last)
}

/// Stops a node, does something to its log, and starts it again.
fn tamper(cluster: &mut Cluster, at: usize, harm: impl FnOnce(PathBuf)) {
    eventually("the others to have heard", || (0..3).all(|of| of == at || remembers(cluster, of, at)).then_some(()));
    cluster.stop(at);
    harm(logs(cluster, at));
    // What the node remembers of itself goes too: whoever cuts a log off thinks of that.
    let _ = fs::remove_file(logs(cluster, at).join("heads"));
    cluster.begin(at);
    cluster.ready(at);
}

/// Makes a bucket by way of that node. One that was made though its maker was not told is there.
fn makes(cluster: &Cluster, by: usize, name: &str) {
    eventually("a bucket to be made", || {
        matches!(cluster.nodes[by].put(&format!("/v1/buckets/{name}"), b"").status, 200 | 201).then_some(())
    });
}

#[test]
fn a_cut_end_and_a_log_that_is_gone_are_found_by_the_others() {
    let mut cluster = Cluster::voting(3);
    for n in 0..5 {
        makes(&cluster, 1, &format!("docs-{n}"));
    }
    for at in 0..3 {
        assert_eq!(checked(&cluster, at)["whole"], true, "n{}", at + 1);
    }
    tamper(&mut cluster, 1, |logs| {
        let log = logs.join("000001.log");
        let whole = fs::read(&log).expect("a log");
        fs::write(&log, &whole[..whole.len() - 1_500]).expect("it is cut off");
    });
    let found = |cluster: &Cluster, at: usize| {
        eventually("a finding", || {
            let checked = checked(cluster, at);
            (checked["whole"] == false).then_some(checked)
        })
    };
    for at in [0, 2] {
        let checked = found(&cluster, at);
        let of = checked["remembers"]
            .as_array()
            .expect("a list")
            .iter()
            .find(|one| one["node"] == "n2")
            .expect("n2")
            .clone();
        assert!(of["finding"].as_str().is_some_and(|why| why.contains("are gone")), "{checked}");
    }
    // The node itself is told by the others, and says so in its readiness.
    assert!(found(&cluster, 1)["finding"].as_str().is_some_and(|why| why.contains("remembers line")));
    // A restart of who has found it changes nothing; an operator does.
    cluster.stop(0);
    cluster.begin(0);
    cluster.ready(0);
    assert_eq!(checked(&cluster, 0)["whole"], false);
    assert_eq!(cluster.nodes[0].put("/v1/audit/check?accept=n2", b"").json()["whole"], true);
    tamper(&mut cluster, 1, |logs| fs::remove_dir_all(logs).expect("a log"));
    assert!(found(&cluster, 0)["whole"] == false);
}

#[test]
fn a_directory_that_was_put_back_as_it_was_is_found_though_its_node_gets_another_life() {
    let mut cluster = Cluster::voting(3);
    makes(&cluster, 1, "docs-before");
    let copy = tempfile::tempdir().expect("a directory");
    cluster.stop(1);
    copy_dir(&cluster.nodes[1].data(), copy.path());
    cluster.begin(1);
    cluster.ready(1);
    for n in 0..5 {
        makes(&cluster, 1, &format!("docs-after-{n}"));
    }
    eventually("the others to have heard", || [0, 2].iter().all(|of| remembers(&cluster, *of, 1)).then_some(()));
    cluster.stop(1);
    fs::remove_dir_all(cluster.nodes[1].data()).expect("it is there");
    copy_dir(copy.path(), &cluster.nodes[1].data());
    cluster.begin(1);
    eventually("another life", || {
        let begun = cluster.nodes[1].log().contains("gives up its incarnation");
        // It listens at other ports then: whoever found the ones before asks nobody.
        cluster.look_again(1);
        begun.then(|| cluster.nodes[1].connect_if_up()).flatten().map(drop)
    });
    cluster.ready(1);
    for at in 0..3 {
        let whole = |at: usize| checked(&cluster, at)["whole"] == true;
        eventually("a finding", || (!whole(at)).then_some(()));
    }
}
