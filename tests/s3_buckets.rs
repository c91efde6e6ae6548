//! Buckets on the S3 port, settings that nothing can be set to, rights, and where buckets may stand.

mod common;

use common::s3::{S3, UNSIGNED, started, text, texts, told};
use common::{Conn, eventually};

#[test]
fn buckets_are_made_listed_looked_at_and_removed() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    assert_eq!(s3.ask("HEAD", "/abc", &[], b"").status, 404);
    let made = s3.ask("PUT", "/abc", &[], b"");
    assert_eq!((made.status, made.header("location"), &made.body[..]), (200, Some("/abc"), &b""[..]));
    assert_eq!(s3.ask("PUT", "/abc", &[], b"").status, 200, "as us-east-1 answers, whoever names no region");
    let configured = b"<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(s3.ask("PUT", "/def/", &[], configured).status, 200);
    let head = s3.ask("HEAD", "/abc", &[], b"");
    assert_eq!((head.status, head.header("x-amz-bucket-region")), (200, Some("us-east-1")));
    let list = s3.ask("GET", "/", &[], b"");
    assert_eq!((list.status, list.header("content-type")), (200, Some("application/xml")));
    let mut names = texts(list.text(), "Name");
    names.retain(|name| *name != "cargas");
    assert_eq!(names, ["abc", "def"]);
    s3.ask("PUT", "/abc/k", &[], b"v");
    assert_eq!(told(&s3.ask("DELETE", "/abc", &[], b"")), (409, "BucketNotEmpty".to_owned()));
    s3.ask("DELETE", "/abc/k", &[], b"");
    assert_eq!(s3.ask("DELETE", "/abc", &[], b"").status, 204);
    assert_eq!(told(&s3.ask("DELETE", "/abc", &[], b"")), (404, "NoSuchBucket".to_owned()));
    assert_eq!(told(&s3.ask("PUT", "/A", &[], b"")), (400, "InvalidBucketName".to_owned()));
    assert_eq!(told(&s3.ask("PUT", "/ghi", &[], b"<nothing/>")), (400, "MalformedXML".to_owned()));
    assert_eq!(s3.ask("HEAD", "/ghi", &[], b"").status, 404);
}

#[test]
fn a_region_is_told_and_asked_for() {
    let (node, key) = started(&[("BOVEDA_S3_REGION", "eu-west-1")]);
    let s3 = S3::new(&node, &key).of_region("eu-west-1");
    assert_eq!(s3.ask("PUT", "/abc", &[], b"").status, 200);
    assert_eq!(told(&s3.ask("PUT", "/abc", &[], b"")), (409, "BucketAlreadyOwnedByYou".to_owned()));
    let here =
        b"<CreateBucketConfiguration><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(s3.ask("PUT", "/def", &[], here).status, 200);
    let there =
        b"<CreateBucketConfiguration><LocationConstraint>us-west-2</LocationConstraint></CreateBucketConfiguration>";
    assert_eq!(told(&s3.ask("PUT", "/ghi", &[], there)), (400, "IllegalLocationConstraintException".to_owned()));
    let location = s3.ask("GET", "/abc?location", &[], b"");
    assert!(location.text().contains(">eu-west-1</LocationConstraint>"), "{}", location.text());
    assert_eq!(s3.ask("HEAD", "/abc", &[], b"").header("x-amz-bucket-region"), Some("eu-west-1"));
    let elsewhere = S3::new(&node, &key);
    assert_eq!(told(&elsewhere.ask("GET", "/abc", &[], b"")), (400, "AuthorizationHeaderMalformed".to_owned()));
}

#[test]
fn settings_that_nothing_can_be_set_to_are_told_calmly() {
    let (node, key) = started(&[]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/k", &[], b"v");
    for (target, said) in [
        ("/abc?acl", "<Permission>FULL_CONTROL</Permission>"),
        ("/abc/k?acl", "<Permission>FULL_CONTROL</Permission>"),
        ("/abc?encryption", "<SSEAlgorithm>AES256</SSEAlgorithm>"),
        ("/abc?versioning", "<VersioningConfiguration"),
        ("/abc?notification", "<NotificationConfiguration"),
        ("/abc?logging", "<BucketLoggingStatus"),
        ("/abc?accelerate", "<AccelerateConfiguration"),
        ("/abc?requestPayment", "<Payer>BucketOwner</Payer>"),
        ("/abc/k?tagging", "TagSet"),
        ("/abc?location", "<LocationConstraint"),
    ] {
        let got = s3.ask("GET", target, &[], b"");
        assert_eq!(got.status, 200, "{target}");
        assert!(got.text().contains(said), "{target}: {}", got.text());
    }
    for (target, code) in [
        ("/abcd?acl", "NoSuchBucket"),
        ("/abcd?policy", "NoSuchBucket"),
        ("/abc/none?acl", "NoSuchKey"),
        ("/abc?policy", "NoSuchBucketPolicy"),
    ] {
        assert_eq!(told(&s3.ask("GET", target, &[], b"")), (404, code.to_owned()), "{target}");
    }
}

#[test]
fn rights_count_as_on_the_other_port() {
    let (node, root) = started(&[]);
    let all = S3::new(&node, &root);
    for bucket in ["/abc", "/other"] {
        all.ask("PUT", bucket, &[], b"");
    }
    all.ask("PUT", "/abc/in/k", &[], b"v");
    all.ask("PUT", "/other/k", &[], b"v");
    let reader = node.new_key("reader", &["abc/in/:read"]);
    let lister = node.new_key("lister", &["abc:read,list"]);
    let denied = || (403, "AccessDenied".to_owned());
    let by = S3::new(&node, &reader);
    assert_eq!(by.ask("GET", "/abc/in/k", &[], b"").status, 200);
    for (method, target) in [
        ("GET", "/abc/k"),
        ("GET", "/abc/in/none"),
        ("PUT", "/abc/in/k"),
        ("DELETE", "/abc/in/k"),
        ("GET", "/abc"),
        ("GET", "/abc?prefix=in/"),
        ("PUT", "/new"),
        ("DELETE", "/abc"),
        ("GET", "/other/k"),
        ("GET", "/none/k"),
        ("GET", "/abc?policy"),
    ] {
        assert_eq!(told(&by.ask(method, target, &[], b"")), denied(), "{method} {target}");
    }
    assert_eq!(by.ask("HEAD", "/abc", &[], b"").status, 403);
    assert_eq!(texts(by.ask("GET", "/", &[], b"").text(), "Name"), ["abc"]);
    let by = S3::new(&node, &lister);
    assert_eq!(told(&by.ask("GET", "/abc/in/none", &[], b"")), (404, "NoSuchKey".to_owned()), "who lists may know");
    assert_eq!(by.ask("HEAD", "/abc/in/none", &[], b"").status, 404);
    assert_eq!(told(&by.ask("PUT", "/abc/k", &[("x-amz-copy-source", "other/k")], b"")), denied());
    // Who may not list learns of nothing that it is missing, neither by a read nor as the source of a copy.
    let writer = node.new_key("writer", &["abc/in/:read", "other:write"]);
    let copier = node.new_key("copier", &["abc/in/:read,list", "other:write"]);
    let copied = |by: &S3<'_>, name: &str| {
        told(&by.ask("PUT", "/other/copy", &[("x-amz-copy-source", &format!("/abc/in/{name}"))], b""))
    };
    let (by_writer, by_copier) = (S3::new(&node, &writer), S3::new(&node, &copier));
    assert_eq!(by_writer.ask("HEAD", "/abc/in/none", &[], b"").status, 403);
    assert_eq!((copied(&by_writer, "none"), copied(&by_writer, "k").0), (denied(), 200));
    assert_eq!((copied(&by_copier, "none"), copied(&by_copier, "k").0), ((404, "NoSuchKey".to_owned()), 200));
    // Who may write the target has to be let in at the source, too.
    all.ask("PUT", "/abc/out", &[], b"v");
    let out = by_copier.ask("PUT", "/other/copy", &[("x-amz-copy-source", "/abc/out")], b"");
    assert_eq!(told(&out), denied());
    // Lists are of what the right is on, and of no more.
    let some = node.new_key("some", &["abc/in/:list"]);
    let by_some = S3::new(&node, &some);
    for version in ["", "list-type=2&"] {
        let list = |prefix: &str| by_some.ask("GET", &format!("/abc?{version}prefix={prefix}"), &[], b"");
        assert_eq!(texts(list("in/").text(), "Key"), ["in/k"], "{version}");
        assert_eq!(
            (told(&list("")), told(&list("i")), told(&list("out"))),
            (denied(), denied(), denied()),
            "{version}"
        );
    }
    // A key that is not in force, and none.
    node.ask("DELETE", &format!("/v1/access/{}", lister.id), &[], b"");
    assert_eq!(told(&by.ask("GET", "/abc/in/k", &[], b"")), (403, "InvalidAccessKeyId".to_owned()));
    let mut conn = Conn::open(node.s3()).expect("it takes connections");
    assert_eq!(told(&conn.ask("GET", "/abc/in/k", &[], b"").expect("an answer")), denied());
    let mut wrong = root.clone();
    wrong.secret = wrong.secret.chars().rev().collect();
    let by = S3::new(&node, &wrong);
    assert_eq!(told(&by.ask("GET", "/abc/in/k", &[], b"")), (403, "SignatureDoesNotMatch".to_owned()));
    // Every digit of a signature counts.
    let mut signed = all.signed(Conn::HOST, "GET", "/abc/in/k", &[]);
    let by_head = |headers: &[(String, String)]| {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        told(
            &Conn::open(node.s3())
                .expect("it takes connections")
                .ask("GET", "/abc/in/k", &headers, b"")
                .expect("an answer"),
        )
    };
    assert_eq!(by_head(&signed).0, 200);
    let (_, authorization) = signed.last_mut().expect("it is last");
    let last = authorization.pop().expect("a digit");
    authorization.push(if last == '0' { '1' } else { '0' });
    assert_eq!(by_head(&signed), (403, "SignatureDoesNotMatch".to_owned()));
    // What was refused is written down.
    eventually("lines of refusals", || {
        let lines = node.get("/v1/audit?action=object:read").text().to_owned();
        lines.contains("refused").then_some(())
    });
}

#[test]
fn buckets_may_stand_before_a_domain() {
    let (node, key) = started(&[("BOVEDA_S3_DOMAINS", "s3.example.org")]);
    let s3 = S3::new(&node, &key);
    s3.ask("PUT", "/abc", &[], b"");
    s3.ask("PUT", "/abc/a/k", &[], b"v");
    let at = |host: &str, target: &str| s3.ask_at(host, "GET", target, &[("x-amz-content-sha256", UNSIGNED)], b"");
    assert_eq!(at("abc.s3.example.org", "/a/k").body, b"v");
    assert_eq!(text(at("abc.S3.Example.org:5001", "/").text(), "Key"), Some("a/k"));
    assert_eq!(at("s3.example.org", "/abc/a/k").body, b"v");
    assert_eq!(told(&at("abc.other.example", "/a/k")).0, 403, "no name of this node");
}

#[test]
fn buckets_are_listed_page_by_page() {
    let (node, key) = started(&[("BOVEDA_S3_REGION", "eu-west-1")]);
    let s3 = S3::new(&node, &key).of_region("eu-west-1");
    for bucket in ["b-1", "a-1", "a-3", "a-2"] {
        assert_eq!(s3.ask("PUT", &format!("/{bucket}"), &[], b"").status, 200, "{bucket}");
    }
    let list = |query: &str| s3.ask("GET", &format!("/?{query}"), &[], b"");
    let plain = s3.ask("GET", "/", &[], b"");
    assert!(!plain.text().contains("BucketRegion") && !plain.text().contains("<Prefix>"), "nothing was asked");
    for (query, names) in [
        ("prefix=a-", &["a-1", "a-2", "a-3"][..]),
        ("prefix=b&bucket-region=eu-west-1", &["b-1"]),
        ("bucket-region=us-east-1", &[]),
        ("prefix=a-&max-buckets=2", &["a-1", "a-2"]),
    ] {
        assert_eq!(texts(list(query).text(), "Name"), names, "{query}");
    }
    let first = list("prefix=a-&max-buckets=2");
    assert_eq!((text(first.text(), "Prefix"), text(first.text(), "BucketRegion")), (Some("a-"), Some("eu-west-1")));
    let token = text(first.text(), "ContinuationToken").expect("there is more").to_owned();
    let last = list(&format!("prefix=a-&max-buckets=2&continuation-token={token}"));
    assert_eq!((texts(last.text(), "Name"), text(last.text(), "ContinuationToken")), (vec!["a-3"], None));
    assert_eq!(text(list("prefix=a-&max-buckets=3").text(), "ContinuationToken"), None, "no page is empty");
    for query in [
        "max-buckets=0",
        "max-buckets=10001",
        "max-buckets=x",
        "continuation-token=x",
        &*format!("prefix=b-&continuation-token={token}"),
        &*format!("continuation-token={token}"),
    ] {
        assert_eq!(told(&list(query)), (400, "InvalidArgument".to_owned()), "{query}");
    }
    // Whoever reaches some of them has pages of these.
    let few = node.new_key("few", &["a-1:read", "a-3:list"]);
    let by = S3::new(&node, &few).of_region("eu-west-1");
    let page = by.ask("GET", "/?max-buckets=1", &[], b"");
    let token = text(page.text(), "ContinuationToken").expect("there is more").to_owned();
    let next = by.ask("GET", &format!("/?max-buckets=1&continuation-token={token}"), &[], b"");
    assert_eq!((texts(page.text(), "Name"), texts(next.text(), "Name")), (vec!["a-1"], vec!["a-3"]));
    assert_eq!(text(next.text(), "ContinuationToken"), None);
}
