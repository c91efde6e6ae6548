//! Uploads in parts on real nodes: what is done behind the answers. (How clients meet them: `s3_multipart.rs`.)

mod common;

use boveda::base::Mark;
use common::cluster::{Cluster, Expected};
use common::s3::{S3, path, started, text, texts};
use common::{Dice, Key, Node, eventually};

fn rare(node: &Node, mark: Mark) -> u64 {
    node.get("/v1/cluster").json()["rare"][mark.name()].as_u64().unwrap_or_default()
}

#[test]
fn an_upload_that_nobody_ends_is_ended_and_nothing_is_left_of_it() {
    let (node, key) = started(&[("BOVEDA_S3_STALE_UPLOAD_AGE", "10s")]);
    let s3 = S3::new(&node, &key);
    assert_eq!(s3.ask("PUT", "/abc", &[], b"").status, 200);
    let begun = s3.ask("POST", &format!("{}?uploads", path("abc", "k")), &[], b"");
    let upload = text(begun.text(), "UploadId").expect("an upload").to_owned();
    let part = format!("{}?partNumber=1&uploadId={upload}", path("abc", "k"));
    assert_eq!(s3.ask("PUT", &part, &[], &[7; 100_000]).status, 200);
    let open = || texts(s3.ask("GET", "/abc?uploads", &[], b"").text(), "UploadId").len();
    assert_eq!(open(), 1);
    eventually("it is ended", || (open() == 0).then_some(()));
    eventually("it is cleared up", || (rare(&node, Mark::UploadCleared) > 0).then_some(()));
    assert!(rare(&node, Mark::UploadExpired) > 0);
    assert_eq!(s3.ask("PUT", &part, &[], b"more").status, 404);
}

const EVERYTHING: &str = "*:read,write,list,delete,admin";
/// The least that a part has which is not the last.
const MIN: usize = 5 << 20;

/// A key for everything on all nodes, known to all of them.
fn keyed(cluster: &mut Cluster) -> Key {
    let key = cluster.nodes[0].new_key("root", &[EVERYTHING]);
    for node in &mut cluster.nodes {
        node.ask_by(&key);
        eventually("it is known", || (node.get("/v1/buckets").status == 200).then_some(()));
    }
    key
}

/// Uploads an object in these parts; what it reads.
fn uploads(s3: &S3<'_>, key: &str, parts: &[Vec<u8>]) -> Vec<u8> {
    let at = path("cargas", key);
    let begun = s3.ask("POST", &format!("{at}?uploads"), &[], b"");
    let upload = text(begun.text(), "UploadId").expect("an upload").to_owned();
    let mut document = String::from("<CompleteMultipartUpload>");
    for (number, part) in (1..).zip(parts) {
        let stored = s3.ask("PUT", &format!("{at}?partNumber={number}&uploadId={upload}"), &[], part);
        let etag = stored.header("etag").expect("an ETag").trim_matches('"');
        document += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    document += "</CompleteMultipartUpload>";
    let done = s3.ask("POST", &format!("{at}?uploadId={upload}"), &[], document.as_bytes());
    assert_eq!(done.status, 200, "{}", done.text());
    parts.concat()
}

#[test]
fn an_object_in_parts_comes_to_nodes_that_decide_by_themselves_with_all_of_them() {
    let mut cluster = Cluster::start(3);
    let (key, mut expected, mut dice) = (keyed(&mut cluster), Expected::new(), Dice(5));
    let s3 = S3::new(&cluster.nodes[0], &key);
    for (name, parts) in [
        ("large", vec![dice.bytes(MIN), dice.bytes(MIN + 1), dice.bytes(300_000)]),
        ("small", vec![dice.bytes(900)]),
        ("empty", vec![vec![]]),
        ("again", vec![dice.bytes(MIN), dice.bytes(7)]),
    ] {
        expected.insert(name.to_owned(), Some(uploads(&s3, name, &parts)));
    }
    cluster.holds(&expected);
    // What was overwritten is another one everywhere, and what is deleted is gone.
    expected.insert("again".to_owned(), Some(uploads(&s3, "again", &[dice.bytes(70_000)])));
    assert_eq!(s3.ask("DELETE", &path("cargas", "small"), &[], b"").status, 204);
    expected.insert("small".to_owned(), None);
    cluster.holds(&expected);
}

#[test]
fn a_node_that_lost_its_disk_has_all_parts_again() {
    let mut cluster = Cluster::voting(3);
    let (key, mut dice) = (keyed(&mut cluster), Dice(6));
    let parts = [dice.bytes(MIN), dice.bytes(MIN), dice.bytes(100_000)];
    cluster.kill9(2);
    let body = uploads(&S3::new(&cluster.nodes[0], &key), "k", &parts);
    cluster.wipe(2);
    cluster.begin(2);
    cluster.ready(2);
    eventually("it holds it itself", || {
        let held = cluster.nodes[2].get(&format!("{}?consistency=local", common::cluster::path("k")));
        (held.status == 200 && held.body == body).then_some(())
    });
    cluster.kill9(0);
    let s3 = S3::new(&cluster.nodes[2], &key);
    let read = s3.ask("GET", &path("cargas", "k"), &[], b"");
    assert_eq!((read.status, read.body == body), (200, true));
    // Over the border of two parts.
    let (from, to) = (MIN - 10, MIN + 9);
    let read = s3.ask("GET", &path("cargas", "k"), &[("range", &format!("bytes={from}-{to}"))], b"");
    assert_eq!((read.status, &read.body[..]), (206, &body[from..=to]));
}
