//! A node that lost its disk gets its place in the member list again; a node that is away gets none.

mod common;

use common::cluster::{Cluster, Expected};
use common::eventually;

const LARGE: usize = 100 * 1024;

fn seated(cluster: &Cluster, at: usize) -> Vec<String> {
    let status = cluster.status(at);
    let seats = status["voting"]["members"]["seats"].as_array().cloned().unwrap_or_default();
    seats.iter().map(|seat| seat["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn a_node_that_lost_its_disk_votes_again_by_itself() {
    let mut cluster = Cluster::voting(3);
    let mut expected = Expected::new();
    for n in 0..30u8 {
        let body = if n % 10 == 9 { vec![n; LARGE] } else { vec![n; 30] };
        cluster.put(usize::from(n) % 3, &format!("k/{n}"), &body);
        expected.insert(format!("k/{n}"), Some(body));
    }
    cluster.kill9(2);
    cluster.wipe(2);
    cluster.begin(2);
    let life = cluster.status(2)["incarnation"].clone();
    eventually("its place to be given to its new life", || {
        let members = &cluster.status(0)["voting"]["members"];
        let done = members["before"].as_array().is_some_and(Vec::is_empty);
        let seats = members["seats"].as_array()?;
        (done && seats.iter().any(|seat| seat["incarnation"] == life)).then_some(())
    });
    eventually("it to vote", || (cluster.status(2)["voting"]["votes"] == true).then_some(()));
    cluster.kill9(1);
    cluster.put(0, "after", b"with the vote of the new life");
    assert_eq!(cluster.get(2, "after").text(), "with the vote of the new life");
    expected.insert("after".into(), Some(b"with the vote of the new life".to_vec()));
    cluster.begin(1);
    cluster.holds(&expected);
}

#[test]
fn who_is_away_is_not_given_a_place() {
    let mut cluster = Cluster::voting(3);
    cluster.kill9(2);
    eventually("it to be missed", || (cluster.peer(0, 2)["link"] == "down").then_some(()));
    let answer = cluster.nodes[0].ask("PUT", "/v1/cluster/members?names=n1,n3", &[], b"");
    answer.expect_error(503, "NoMajority");
    for bad in ["", "?names=", "?names=n1,,n2", "?names=n1&x=1"] {
        let answer = cluster.nodes[0].ask("PUT", &format!("/v1/cluster/members{bad}"), &[], b"");
        answer.expect_error(400, "InvalidQuery");
    }
    assert_eq!(seated(&cluster, 0), ["n1", "n2", "n3"]);
}
