//! What works without a key: parts of buckets that are open to everybody, and links that somebody with a key has made.

mod common;

use boveda::base::{BucketName, Credential, ObjectKey, ObjectName};
use boveda::sign::object_link::{ObjectLink, Use};
use common::cluster::Cluster;
use common::{Answer, Conn, Key, Node, eventually};
use std::process::Output;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Within so long a change is in force everywhere.
const EVERYWHERE: Duration = Duration::from_secs(1);

/// A node with a root key, by which it is asked, and objects in `docs`.
fn guarded() -> (Node, Key) {
    let mut node = Node::with(&[("BOVEDA_NODE_LOG", "debug")]);
    assert_eq!(node.put("/v1/buckets/docs", b"").status, 201);
    for key in ["k", "site/index.html", "site/b"] {
        assert_eq!(node.put(&format!("/v1/objects/docs/{key}"), key.as_bytes()).status, 201);
    }
    let root = node.new_key("root", &["*:read,write,list,delete,admin,bypass,metrics"]);
    node.ask_by(&root);
    (node, root)
}

/// One request without a key.
fn anybody(node: &Node, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    node.connect().ask(method, target, headers, body).expect("an answer")
}

fn reads(node: &Node, target: &str) -> u16 {
    anybody(node, "GET", target, &[], b"").status
}

#[track_caller]
fn open(node: &Node, query: &str) -> Answer {
    let opened = node.ask("PUT", &format!("/v1/buckets/docs/public?{query}"), &[], b"");
    assert_eq!(opened.status, 200, "{opened:?}");
    opened
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// A link to an object in `docs`, made by that key at that second, for a minute.
fn link(key: &Key, object: &str, to: &Use, at_s: u64) -> String {
    let bucket = BucketName::parse("docs").expect("a name");
    let at = ObjectName { bucket, key: ObjectKey::parse(object).expect("a key") };
    let by = Credential::of(&key.id, &key.secret).expect("a key");
    ObjectLink { at: &at, to, host: "boveda", at_s, expires_s: 60 }.target_by(&by).expect("a link")
}

fn get() -> Use {
    Use::Get { file_name: None }
}

fn put() -> Use {
    Use::Put { content_type: None, bytes_max: None }
}

#[test]
fn a_part_of_a_bucket_is_open_to_everybody_until_it_is_closed() {
    let (node, root) = guarded();
    let refused = anybody(&node, "GET", "/v1/objects/docs/site/b", &[], b"");
    refused.expect_error(401, "Unauthorized");
    let shown = open(&node, "prefix=site/&rights=read").json();
    assert_eq!(shown.to_string(), r#"{"bucket":"docs","public":[{"prefix":"site/","rights":["read"]}]}"#);
    assert_eq!(anybody(&node, "GET", "/v1/objects/docs/site/b", &[("Range", "bytes=0-3")], b"").text(), "site");
    assert_eq!(anybody(&node, "HEAD", "/v1/objects/docs/site/b", &[], b"").status, 200);
    for closed in
        ["/v1/objects/docs/k", "/v1/objects/docs?prefix=site/", "/v1/buckets/docs", "/v1/buckets", "/v1/access"]
    {
        assert_eq!(reads(&node, closed), 401, "{closed}");
    }
    for (method, target) in [
        ("PUT", "/v1/objects/docs/site/b"),
        ("DELETE", "/v1/objects/docs/site/b"),
        ("DELETE", "/v1/buckets/docs"),
        ("DELETE", "/v1/buckets/docs/public"),
    ] {
        anybody(&node, method, target, &[], b"x").expect_error(401, "Unauthorized");
    }
    // Who may not list is not told what is missing; a credential that is wrong is refused, and one without the right is
    // let in as everybody is.
    anybody(&node, "GET", "/v1/objects/docs/site/missing", &[], b"").expect_error(403, "AccessDenied");
    let wrong = Key { id: root.id.clone(), secret: "A".repeat(40) };
    node.ask_as(&wrong, "GET", "/v1/objects/docs/site/b", b"").expect_error(401, "Unauthorized");
    let stranger = node.new_key("stranger", &["other:read"]);
    assert_eq!(node.ask_as(&stranger, "GET", "/v1/objects/docs/site/b", b"").status, 200);
    node.ask_as(&stranger, "GET", "/v1/objects/docs/k", b"").expect_error(403, "AccessDenied");
    open(&node, "prefix=site/&rights=read,list");
    // How full the bucket is, and what is open to whoever knows names, is told to those who have a grant in it.
    open(&node, "prefix=unlisted/&rights=read");
    let seen = r#"[{"prefix":"site/","rights":["read","list"]}]"#;
    for shown in
        [anybody(&node, "GET", "/v1/buckets/docs", &[], b""), node.ask_as(&stranger, "GET", "/v1/buckets/docs", b"")]
    {
        let shown = shown.json();
        assert_eq!(shown["public"].to_string(), seen);
        assert!(shown.get("usage").is_none() && shown.get("quota").is_none(), "{shown}");
    }
    let all = node.get("/v1/buckets/docs").json();
    assert_eq!((&all["usage"]["objects"], all["public"].as_array().map(Vec::len)), (&3.into(), Some(2)), "{all}");
    node.delete("/v1/buckets/docs/public?prefix=unlisted/");
    let listed = anybody(&node, "GET", "/v1/objects/docs?prefix=site/", &[], b"").json();
    assert_eq!(listed["objects"].as_array().map(Vec::len), Some(2), "{listed}");
    assert_eq!(reads(&node, "/v1/objects/docs"), 401, "a list goes no further than what is open");
    anybody(&node, "GET", "/v1/objects/docs/site/missing", &[], b"").expect_error(404, "NoSuchKey");
    assert_eq!(node.delete("/v1/buckets/docs/public?prefix=si").json()["public"].as_array().map(Vec::len), Some(0));
    assert_eq!(reads(&node, "/v1/objects/docs/site/b"), 401, "closed at once where it was closed");
}

#[test]
fn what_is_open_is_seen_by_operators_and_logged() {
    let (node, root) = guarded();
    open(&node, "rights=list");
    open(&node, "prefix=site/&rights=read");
    let both = r#"[{"prefix":"","rights":["list"]},{"prefix":"site/","rights":["read"]}]"#;
    let buckets = node.get("/v1/buckets").json();
    let of = |name: &str| buckets["buckets"].as_array().expect("a list").iter().find(|b| b["name"] == name).cloned();
    assert_eq!(of("docs").expect("it is there")["public"].to_string(), both);
    assert_eq!(of("cargas").expect("it is there")["public"].to_string(), "[]");
    assert_eq!(node.get("/v1/buckets/docs").json()["public"].to_string(), both);
    let status = node.get("/v1/cluster").json();
    assert_eq!(status["public_buckets"].to_string(), r#"{"count":1,"names":["docs"]}"#);
    assert_eq!(node.get("/v1/access").json()["public"][0]["grants"].to_string(), both);
    assert!(node.get("/metrics").text().contains("boveda_public_buckets_count 1"), "{}", node.get("/metrics").text());
    node.delete("/v1/buckets/docs/public");
    let log = node.log();
    for line in ["is open to everybody without a key", "is not open to everybody any more"] {
        let line = log.lines().find(|l| l.contains(line)).unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains("docs") && line.contains(&root.id), "{line}");
    }
}

#[test]
fn a_bucket_that_is_made_again_is_open_to_nobody() {
    let (node, _) = guarded();
    open(&node, "rights=read,list");
    assert_eq!(reads(&node, "/v1/objects/docs/k"), 200);
    for key in ["k", "site/index.html", "site/b"] {
        assert_eq!(node.delete(&format!("/v1/objects/docs/{key}")).status, 204);
    }
    assert_eq!(node.delete("/v1/buckets/docs").status, 204);
    assert_eq!(node.put("/v1/buckets/docs", b"").status, 201);
    assert_eq!(node.put("/v1/objects/docs/k", b"secret").status, 201);
    eventually("the next life to be closed", || (reads(&node, "/v1/objects/docs/k") == 401).then_some(()));
    assert_eq!(node.get("/v1/buckets/docs").json()["public"].to_string(), "[]");
}

#[test]
fn what_may_not_be_opened_is_refused_and_a_bucket_has_so_many_parts() {
    let (node, _) = guarded();
    let set = |method: &str, target: &str| node.ask(method, target, &[], b"");
    for query in ["", "?rights=", "?rights=write", "?rights=read,write", "?rights=read&x=1", "?rights=read&rights=read"]
    {
        set("PUT", &format!("/v1/buckets/docs/public{query}")).expect_error(400, "InvalidQuery");
    }
    set("PUT", &format!("/v1/buckets/docs/public?rights=read&prefix={}", "k".repeat(1025)))
        .expect_error(400, "InvalidQuery");
    set("DELETE", "/v1/buckets/docs/public?all=1").expect_error(400, "InvalidQuery");
    set("PUT", "/v1/buckets/nowhere/public?rights=read").expect_error(404, "NoSuchBucket");
    set("DELETE", "/v1/buckets/nowhere/public").expect_error(404, "NoSuchBucket");
    for part in 0..16 {
        open(&node, &format!("prefix={part}/&rights=read"));
    }
    set("PUT", "/v1/buckets/docs/public?rights=read&prefix=more/").expect_error(409, "TooManyGrants");
    open(&node, "prefix=3/&rights=list");
    // Many at a time: what was answered as open is open, and no more than there may be.
    assert_eq!(set("DELETE", "/v1/buckets/docs/public").status, 200);
    let opened: Vec<String> = std::thread::scope(|scope| {
        let one = |n: usize| {
            let answer = set("PUT", &format!("/v1/buckets/docs/public?rights=read&prefix=r{n:02}/"));
            assert!(matches!(answer.status, 200 | 409), "{answer:?}");
            (answer.status == 200).then(|| format!("r{n:02}/"))
        };
        let all: Vec<_> = (0..32).map(|n| scope.spawn(move || one(n))).collect();
        all.into_iter().filter_map(|one| one.join().expect("an answer")).collect()
    });
    let shown = node.get("/v1/buckets/docs").json()["public"].clone();
    let shown: Vec<_> = shown.as_array().expect("a list").iter().map(|grant| grant["prefix"].clone()).collect();
    assert_eq!(shown, opened);
    let admin = node.new_key("admin of it", &["docs:admin"]);
    assert_eq!(node.ask_as(&admin, "DELETE", "/v1/buckets/docs/public", b"").status, 200);
    let writer = node.new_key("writer", &["docs:read,write,list,delete", "docs/x:admin"]);
    node.ask_as(&writer, "PUT", "/v1/buckets/docs/public?rights=read", b"").expect_error(403, "AccessDenied");
}

#[test]
fn a_link_reads_one_object_and_nothing_else() {
    let (node, root) = guarded();
    let to = link(&root, "site/b", &get(), now_s());
    assert_eq!(anybody(&node, "GET", &to, &[], b"").text(), "site/b");
    let part = anybody(&node, "GET", &to, &[("Range", "bytes=5-")], b"");
    assert_eq!((part.status, part.text()), (206, "b"));
    let tag = anybody(&node, "GET", &to, &[], b"").header("etag").expect("a tag").to_owned();
    assert_eq!(anybody(&node, "GET", &to, &[("If-None-Match", &tag)], b"").status, 304);
    assert_eq!(anybody(&node, "HEAD", &to, &[], b"").status, 403, "another method");
    anybody(&node, "PUT", &to, &[], b"x").expect_error(403, "LinkRefused");
    anybody(&node, "GET", &to.replacen("site/b", "k", 1), &[], b"").expect_error(403, "LinkRefused");
    anybody(&node, "GET", &format!("{to}&consistency=local"), &[], b"").expect_error(403, "LinkRefused");
    anybody(&node, "GET", &format!("{to}&X-Amz-Expires=60"), &[], b"").expect_error(400, "InvalidLink");
    node.ask_as(&root, "GET", &to, b"").expect_error(400, "InvalidLink");
    anybody(&node, "GET", &link(&root, "site/b", &get(), now_s() - 61), &[], b"").expect_error(403, "LinkExpired");
    anybody(&node, "GET", &link(&root, "site/b", &get(), now_s() + 1000), &[], b"").expect_error(403, "LinkNotYet");
    let mut other_host = node.connect();
    other_host.send(format!("GET {to} HTTP/1.1\r\nHost: other\r\n\r\n")).expect("it is sent");
    other_host.answer(false).expect("an answer").expect_error(403, "LinkRefused");
    let named = link(&root, "site/b", &Use::Get { file_name: Some("ñ.txt".to_owned()) }, now_s());
    let named = anybody(&node, "GET", &named, &[], b"");
    assert!(named.header("content-disposition").is_some_and(|text| text.starts_with("attachment; ")), "{named:?}");
    // Who may not list through it is not told what is missing; root may.
    anybody(&node, "GET", &link(&root, "missing", &get(), now_s()), &[], b"").expect_error(404, "NoSuchKey");
    let reader = node.new_key("reader", &["docs/site/:read"]);
    anybody(&node, "GET", &link(&reader, "site/missing", &get(), now_s()), &[], b"").expect_error(403, "AccessDenied");
    anybody(&node, "GET", &link(&reader, "k", &get(), now_s()), &[], b"").expect_error(403, "AccessDenied");
    let signature = to.rsplit('=').next().expect("it is last");
    let log = node.log();
    assert!(log.contains("GET objects 200"), "requests are logged at this level");
    assert!(!log.contains(signature) && !log.contains("X-Amz-") && !log.contains(&root.secret));
}

#[test]
fn a_link_stores_what_it_says_and_nothing_else() {
    let (node, root) = guarded();
    let to = link(&root, "in/a", &put(), now_s());
    assert_eq!(anybody(&node, "PUT", &to, &[], b"stored").status, 201);
    assert_eq!(anybody(&node, "PUT", &to, &[("If-None-Match", "*")], b"again").status, 412, "conditions hold");
    assert_eq!(node.get("/v1/objects/docs/in/a").text(), "stored");
    anybody(&node, "PUT", &to, &[("x-boveda-meta-a", "b")], b"x").expect_error(400, "InvalidLink");
    anybody(&node, "DELETE", &to, &[], b"").expect_error(400, "InvalidLink");
    anybody(&node, "PUT", &to, &[("Sec-Fetch-Site", "cross-site")], b"x").expect_error(403, "ForeignOrigin");
    let bound = Use::Put { content_type: Some("text/plain".to_owned()), bytes_max: Some(5) };
    let to = link(&root, "in/b", &bound, now_s());
    let typed = [("Content-Type", "text/plain")];
    anybody(&node, "PUT", &to, &[], b"12345").expect_error(400, "InvalidLink");
    anybody(&node, "PUT", &to, &[("Content-Type", "text/html")], b"12345").expect_error(403, "LinkRefused");
    anybody(&node, "PUT", &to, &typed, b"123456").expect_error(413, "EntityTooLarge");
    let chunked = format!(
        "PUT {to} HTTP/1.1\r\nHost: boveda\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\n123\r\n3\r\n456\r\n0\r\n\r\n"
    );
    let mut conn = node.connect();
    conn.send(chunked).expect("it is sent");
    conn.answer(false).expect("an answer").expect_error(413, "EntityTooLarge");
    anybody(&node, "PUT", &to.replacen("Bytes=5", "Bytes=9", 1), &typed, b"123456").expect_error(403, "LinkRefused");
    node.get("/v1/objects/docs/in/b").expect_error(404, "NoSuchKey");
    assert_eq!(anybody(&node, "PUT", &to, &typed, b"12345").status, 201);
    assert_eq!(node.get("/v1/objects/docs/in/b").header("content-type"), Some("text/plain"));
}

#[test]
fn a_quota_binds_links_and_leaves_open_what_is_open() {
    let (node, root) = guarded();
    open(&node, "prefix=site/&rights=read");
    assert_eq!(node.ask("PUT", "/v1/buckets/docs/quota?objects=3", &[], b"").status, 200);
    let shown = || node.get("/v1/buckets/docs").json();
    assert_eq!(shown()["public"].to_string(), r#"[{"prefix":"site/","rights":["read"]}]"#);
    assert_eq!((&shown()["quota"]["objects"], &shown()["usage"]["objects"]), (&3.into(), &3.into()));
    assert_eq!(reads(&node, "/v1/objects/docs/site/b"), 200);
    let to = link(&root, "new", &put(), now_s());
    anybody(&node, "PUT", &to, &[], b"x").expect_error(403, "QuotaExceeded");
    assert_eq!(node.ask("DELETE", "/v1/buckets/docs/public", &[], b"").status, 200);
    assert_eq!((&shown()["quota"]["objects"], shown()["public"].to_string().as_str()), (&3.into(), "[]"));
    assert_eq!(node.ask("DELETE", "/v1/buckets/docs/quota", &[], b"").status, 200);
    assert_eq!(anybody(&node, "PUT", &to, &[], b"x").status, 201);
}

#[test]
fn a_link_ends_with_its_key() {
    let (node, _) = guarded();
    let key = node.new_key("app", &["docs:read"]);
    let to = link(&key, "k", &get(), now_s());
    let told = |to: &str| anybody(&node, "GET", to, &[], b"").status;
    assert_eq!(told(&to), 200);
    let set = |state: &str| node.ask("PUT", &format!("/v1/access/{}?state={state}", key.id), &[], b"").status;
    assert_eq!((set("disabled"), told(&to)), (200, 403));
    assert_eq!((set("enabled"), told(&to)), (200, 200));
    let rotate = |query: &str| node.ask("POST", &format!("/v1/access/{}/rotate{query}", key.id), &[], b"");
    let new = Key::of(&rotate("").json());
    assert_eq!((told(&to), told(&link(&new, "k", &get(), now_s()))), (200, 200));
    assert_eq!((rotate("?drop=old").status, told(&to)), (200, 403));
    let refused = anybody(&node, "GET", &to, &[], b"").expect_error(403, "LinkRefused");
    let unknown = Key { id: "A".repeat(20), ..new.clone() };
    let told_unknown = anybody(&node, "GET", &link(&unknown, "k", &get(), now_s()), &[], b"");
    assert_eq!(told_unknown.expect_error(403, "LinkRefused"), refused, "who it was is not told");
    assert_eq!(node.delete(&format!("/v1/access/{}", key.id)).status, 200);
    assert_eq!(told(&link(&new, "k", &get(), now_s())), 403);
}

#[test]
fn a_node_makes_links_for_who_has_a_key() {
    let (node, _) = guarded();
    let key = node.new_key("app", &["docs:read"]);
    let make = |wanted: &str| node.ask_as(&key, "POST", "/v1/links", wanted.as_bytes());
    let made = make(r#"{"method": "GET", "bucket": "docs", "key": "site/b", "expires_s": 60, "file_name": "b"}"#);
    assert_eq!((made.status, made.header("cache-control")), (201, Some("no-store")), "{made:?}");
    let made = made.json();
    assert_eq!((made["method"].as_str(), made["host"].as_str()), (Some("GET"), Some("boveda")));
    let read = anybody(&node, "GET", made["target"].as_str().expect("a target"), &[], b"");
    assert_eq!((read.status, read.text()), (200, "site/b"));
    make(r#"{"method": "PUT", "bucket": "docs", "key": "k", "expires_s": 60}"#).expect_error(403, "AccessDenied");
    make(r#"{"method": "GET", "bucket": "other", "key": "k", "expires_s": 60}"#).expect_error(403, "AccessDenied");
    for bad in [
        "",
        r#"{"method": "GET", "bucket": "docs", "key": "k"}"#,
        r#"{"method": "DELETE", "bucket": "docs", "key": "k", "expires_s": 60}"#,
        r#"{"method": "GET", "bucket": "docs", "key": "k", "expires_s": 0}"#,
        r#"{"method": "GET", "bucket": "docs", "key": "k", "expires_s": 604801}"#,
        r#"{"method": "GET", "bucket": "docs", "key": "k", "expires_s": 60, "bytes_max": 1}"#,
        r#"{"method": "GET", "bucket": "docs", "key": "k", "expires_s": 60, "host": "a b"}"#,
        r#"{"method": "GET", "bucket": "docs", "key": "k", "expires_s": 60, "more": 1}"#,
    ] {
        make(bad).expect_error(400, "InvalidDocument");
    }
    anybody(&node, "POST", "/v1/links", &[], b"{}").expect_error(401, "Unauthorized");
    let open = Node::start();
    open.ask("POST", "/v1/links", &[], b"{}").expect_error(400, "NoAccessKey");
}

fn run(node: &Node, key: Option<&Key>, args: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_boveda"));
    command.args(args).args(["--url", &format!("http://{}", node.http())]);
    command.env_remove("BOVEDA_ACCESS_KEY").env_remove("BOVEDA_SECRET_KEY");
    if let Some(key) = key {
        command.env("BOVEDA_ACCESS_KEY", &key.id).env("BOVEDA_SECRET_KEY", &key.secret);
    }
    command.output().expect("it runs")
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn commands_make_links_and_open_buckets() {
    let (node, root) = guarded();
    let url = printed(&run(&node, Some(&root), &["link", "docs/site/b", "--expires", "10min"]));
    let (host, target) = url.trim_end().strip_prefix("http://").and_then(|u| u.split_once('/')).expect("an address");
    let mut conn = Conn::open(node.http()).expect("it is there");
    conn.send(format!("GET /{target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).expect("it is sent");
    assert_eq!(conn.answer(false).expect("an answer").text(), "site/b");
    let nobody = run(&node, None, &["link", "docs/k"]);
    assert_eq!(nobody.status.code(), Some(2), "{nobody:?}");
    assert!(String::from_utf8_lossy(&nobody.stderr).contains("BOVEDA_ACCESS_KEY"), "{nobody:?}");
    let access = |args: &[&str]| printed(&run(&node, Some(&root), &[&["access"], args].concat()));
    assert_eq!(
        access(&["public", "docs/site/", "--read"]),
        "docs  open to everybody without a key\n    docs/site/:read\n"
    );
    assert_eq!(reads(&node, "/v1/objects/docs/site/b"), 200);
    assert!(access(&["list"]).ends_with("docs  open to everybody without a key\n    docs/site/:read\n"));
    let status = printed(&run(&node, Some(&root), &["status"]));
    assert!(status.contains("public      open to everybody without a key: docs\n"), "{status}");
    assert!(access(&["public", "docs", "--none"]).starts_with("docs  closed"));
    assert_eq!(reads(&node, "/v1/objects/docs/site/b"), 401);
}

/// Three nodes with a root key, by which they are asked, and an object in `docs`.
fn three() -> (Cluster, Key) {
    let mut cluster = Cluster::voting(3);
    let root = cluster.nodes[0].new_key("root", &["*:read,write,list,delete,admin,bypass,metrics"]);
    cluster.nodes.iter_mut().for_each(|node| node.ask_by(&root));
    eventually("the key everywhere", || {
        cluster.nodes.iter().all(|node| node.get("/v1/buckets").status == 200).then_some(())
    });
    assert_eq!(cluster.nodes[0].put("/v1/buckets/docs", b"").status, 201);
    assert_eq!(cluster.nodes[0].put("/v1/objects/docs/k", b"k").status, 201);
    (cluster, root)
}

/// Waits until all nodes answer that so; how long that took.
fn everywhere(cluster: &Cluster, target: &str, wanted: u16) -> Duration {
    let start = Instant::now();
    for node in &cluster.nodes {
        eventually("all nodes", || (reads(node, target) == wanted).then_some(()));
    }
    start.elapsed()
}

#[test]
fn what_is_opened_and_closed_is_so_on_every_node_within_a_second() {
    let (cluster, root) = three();
    const OBJECT: &str = "/v1/objects/docs/k";
    for round in 0..4 {
        open(&cluster.nodes[round % 3], "rights=read");
        assert_eq!(reads(&cluster.nodes[round % 3], OBJECT), 200, "at once where it was opened");
        let took = everywhere(&cluster, OBJECT, 200);
        assert!(took < EVERYWHERE, "{took:?}");
        assert_eq!(cluster.nodes[(round + 1) % 3].delete("/v1/buckets/docs/public").status, 200);
        assert_eq!(reads(&cluster.nodes[(round + 1) % 3], OBJECT), 401, "at once where it was closed");
        let took = everywhere(&cluster, OBJECT, 401);
        assert!(took < EVERYWHERE, "{took:?}");
    }
    let key = cluster.nodes[0].new_key("app", &["docs:read"]);
    let to = link(&key, "k", &get(), now_s());
    let took = everywhere(&cluster, &to, 200);
    assert!(took < EVERYWHERE, "{took:?}");
    assert_eq!(cluster.nodes[1].delete(&format!("/v1/access/{}", key.id)).status, 200);
    let took = everywhere(&cluster, &to, 403);
    assert!(took < EVERYWHERE, "{took:?}");
    assert_eq!(cluster.nodes[2].ask_as(&root, "GET", OBJECT, b"").status, 200);
}

#[test]
fn a_node_that_is_cut_off_shows_nothing_to_anybody_and_one_that_missed_it_learns() {
    let (mut cluster, root) = three();
    const OBJECT: &str = "/v1/objects/docs/k";
    open(&cluster.nodes[0], "rights=read");
    everywhere(&cluster, OBJECT, 200);
    let to = link(&root, "k", &get(), now_s());
    for other in 0..2 {
        cluster.link(2, other).lead_to(None);
        cluster.link(other, 2).lead_to(None);
    }
    let cut = Instant::now();
    assert_eq!(cluster.nodes[0].delete("/v1/buckets/docs/public").status, 200);
    let closed = Instant::now();
    while cut.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        for target in [&format!("{OBJECT}?consistency=local"), &to] {
            let told = reads(&cluster.nodes[2], target);
            if asked.duration_since(closed) > EVERYWHERE {
                assert_eq!(told, 503, "{target}");
            }
        }
    }
    cluster.heal();
    eventually("the node to be back", || {
        let told = reads(&cluster.nodes[2], OBJECT);
        assert_ne!(told, 200, "it was closed long ago");
        (told == 401).then_some(())
    });
    // What is open outlives crashes, and a node that was away hears of it.
    cluster.kill9(2);
    open(&cluster.nodes[0], "rights=read,list");
    cluster.begin(2);
    eventually("the node to hear of it", || (reads(&cluster.nodes[2], OBJECT) == 200).then_some(()));
    (0..3).for_each(|at| cluster.kill9(at));
    (0..3).for_each(|at| cluster.begin(at));
    everywhere(&cluster, OBJECT, 200);
}
