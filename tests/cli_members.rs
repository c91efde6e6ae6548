//! `boveda members` asks and changes real nodes, and `boveda status` shows what follows.

mod common;

use common::cluster::{Cluster, Expected, path};
use common::eventually;
use std::process::{Command, Output, Stdio};

/// Runs a command against a node; nobody sits at the terminal.
fn boveda(cluster: &Cluster, at: usize, args: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boveda"));
    command.args(args.split(' ')).arg("--url").arg(format!("http://{}", cluster.nodes[at].http())).stdin(Stdio::null());
    let Output { status, stdout, stderr } = command.output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code().expect("ends by itself"), text(stdout), text(stderr))
}

/// Name, role and presence of each line of a list.
fn rows(page: &str) -> Vec<String> {
    let row = |line: &str| line.rsplit_once(char::is_whitespace).map(|(row, _life)| row.to_owned());
    let words = |row: String| row.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
    page.lines().skip(1).filter_map(row).map(words).collect()
}

#[test]
fn places_are_given_and_taken_by_people() {
    let mut cluster = Cluster::voting(3);
    let mut expected = Expected::new();
    for n in 0..7u8 {
        cluster.put(usize::from(n) % 3, &format!("k/{n}"), &[n; 100]);
        expected.insert(format!("k/{n}"), Some(vec![n; 100]));
    }
    let (code, page, _) = boveda(&cluster, 0, "members list");
    assert_eq!(
        (code, rows(&page)),
        (0, vec!["n1 votes there".into(), "n2 votes there".into(), "n3 votes there".into()])
    );

    let (code, out, errors) = boveda(&cluster, 0, "members remove n3");
    assert_eq!((code, out.as_str()), (2, ""), "nobody said that it is meant: {errors}");
    assert!(errors.contains("n3 loses its place") && errors.contains("--yes"), "{errors}");
    assert_eq!(rows(&boveda(&cluster, 1, "members list").1).len(), 3);
    for (args, code, why) in [
        ("members remove n9 --yes", 10, "n9 has no place"),
        ("members add n2", 2, "n2 has a place already"),
        ("members add n9", 1, "n9 is not among cluster.peers"),
        ("members replace n3 n9 --yes", 1, "n9 is not among cluster.peers"),
    ] {
        let (ended, out, errors) = boveda(&cluster, 0, args);
        assert!((ended, out.as_str()) == (code, "") && errors.contains(why), "{args}: {ended} {errors}");
    }

    let (code, page, errors) = boveda(&cluster, 0, "members remove n3 --yes");
    assert_eq!(code, 0, "{errors}");
    assert_eq!(rows(&page), ["n1 votes there", "n2 votes there", "n3 no place there"], "{page}");
    eventually("it to know", || (cluster.nodes[2].get("/readyz").status == 503).then_some(()));
    assert_eq!(cluster.status(2)["voting"]["votes"], false, "only who has a seat votes");
    let (code, page, _) = boveda(&cluster, 2, "status");
    assert!(code == 3 && page.contains("! not ready: place: no place in the member list"), "{code}: {page}");

    let (code, _, errors) = boveda(&cluster, 1, "members add n3");
    assert_eq!(code, 0, "{errors}");
    cluster.ready(2);
    cluster.holds(&expected);
    let (_, _, errors) = boveda(&cluster, 1, "members replace n2 n2 --yes");
    assert!(errors.contains("n2 is named twice"), "{errors}");

    // Everything is shown, also what only the log has; and what JSON readers would round is a text.
    eventually("all to be counted", || {
        let (code, page, _) = boveda(&cluster, 0, "status");
        (code == 0 && page.contains("7 objects, 700 B, 1 buckets")).then_some(())
    });
    let page = boveda(&cluster, 0, "status").1;
    assert!(page.contains("n1 n2 n3, epoch 5; this node votes\n"), "{page}");
    let voting = &cluster.status(0)["voting"];
    for number in ["/reserved", "/list/digest", "/members/seats/0/incarnation"] {
        assert!(voting.pointer(number).is_some_and(serde_json::Value::is_string), "{number}: {voting}");
    }
    assert_eq!(cluster.metric(0, "boveda_voting_majority"), 1);

    cluster.kill9(1);
    cluster.kill9(2);
    let refused = cluster.nodes[0].put(&path("k/0"), b"x");
    assert_eq!(refused.status, 503, "{refused:?}");
    eventually("it to be seen", || (cluster.metric(0, "boveda_voting_majority") == 0).then_some(()));
    let (code, page, _) = boveda(&cluster, 0, "status");
    assert!(code == 3 && page.contains("; no majority\n") && page.contains("! majority: no link"), "{page}");
}

/// As docs/operations.md says: a node is lost with its disk, and another one under a new name gets its place.
#[test]
fn a_lost_node_is_replaced_by_one_of_another_name() {
    let mut cluster = Cluster::voting_apart(4, 3);
    let mut expected = Expected::new();
    for n in 0..12u8 {
        let body = vec![n; if n % 3 == 2 { 100_000 } else { 100 }];
        cluster.put(usize::from(n) % 3, &format!("k/{n}"), &body);
        expected.insert(format!("k/{n}"), Some(body));
    }
    cluster.kill9(2);
    cluster.wipe(2);
    for at in [0, 1] {
        cluster.stop(at);
        cluster.know_all(at);
        cluster.begin(at);
        cluster.ready(at);
    }
    cluster.begin(3);
    let seen = |at| rows(&boveda(&cluster, at, "members list").1);
    eventually("it to be seen", || {
        (seen(0) == ["n1 votes there", "n2 votes there", "n3 votes away", "n4 no place there"]).then_some(())
    });
    assert_eq!(cluster.nodes[3].get("/readyz").status, 503, "not before it has its place");
    let (code, page, errors) = boveda(&cluster, 1, "members replace n3 n4 --yes");
    assert_eq!(
        (code, rows(&page)),
        (0, ["n1 votes there", "n2 votes there", "n4 votes there", "n3 no place away"].map(str::to_owned).to_vec()),
        "{errors}"
    );
    assert!(errors.contains("n3 loses its place"), "{errors}");
    let ready = cluster.nodes[3].get("/readyz");
    assert_eq!(ready.status, 200, "the command ends when it is ready: {}", ready.text());
    // It is worth a majority now.
    cluster.kill9(0);
    cluster.put(3, "after", b"with the new node's vote");
    for (key, body) in &expected {
        assert_eq!(Some(&cluster.get(3, key).body), body.as_ref(), "{key}");
    }
}
