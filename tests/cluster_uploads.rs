//! Uploads in parts on real nodes: what is done behind the answers. (How clients meet them: `s3_multipart.rs`.)

mod common;

use boveda::base::Mark;
use common::s3::{S3, path, started, text, texts};
use common::{Node, eventually};

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
