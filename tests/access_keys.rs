//! Who gets in at one node: every operation of the API by every sort of caller; the life of a key; the first key.

mod common;

use common::s3::{link, now_s};
use common::{Answer, Key, Node, eventually};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

/// A node with a root key, by which it is asked, a bucket `docs` and an object `docs/k`.
fn guarded() -> (Node, Key) {
    let mut node = Node::start();
    assert_eq!(node.put("/v1/buckets/docs", b"").status, 201);
    assert_eq!(node.put("/v1/objects/docs/k", b"kept").status, 201);
    let root = node.new_key("root", &["*:read,write,list,delete,admin,bypass,metrics"]);
    node.ask_by(&root);
    (node, root)
}

/// One request that brings no key, whatever the node is asked by.
fn without(node: &Node, method: &str, target: &str) -> Answer {
    node.connect().ask(method, target, &[], b"").expect("an answer")
}

fn with(node: &Node, authorization: &str, method: &str, target: &str) -> Answer {
    node.ask(method, target, &[("Authorization", authorization)], b"")
}

#[test]
fn the_first_key_ends_open_access_for_good() {
    let node = Node::start();
    assert_eq!(node.get("/v1/buckets").status, 200);
    eventually("the warning", || node.log().contains("open to everybody on this machine").then_some(()));
    let key = node.new_key("root", &["*:read,write,list,delete,admin"]);
    let refused = node.get("/v1/buckets");
    refused.expect_error(401, "Unauthorized");
    assert!(refused.header("www-authenticate").is_some_and(|text| text.starts_with("Basic realm=")), "{refused:?}");
    assert!(node.get("/descargar/n").expect_error(401, "Unauthorized").contains("clave de acceso"));
    assert_eq!(node.ask_as(&key, "GET", "/v1/buckets", b"").status, 200);
    use base64::Engine as _;
    let basic = base64::prelude::BASE64_STANDARD.encode(format!("{}:{}", key.id, key.secret));
    assert_eq!(with(&node, &format!("Basic {basic}"), "GET", "/v1/buckets").status, 200);
    assert!(!node.log().contains(&key.secret));
}

/// What the API describes: methods and paths, and whether they are open to all.
fn operations(node: &Node) -> Vec<(String, String, bool)> {
    let document = node.get("/openapi.json").json();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let methods = item.as_object().expect("methods");
        for (method, operation) in methods.iter().filter(|(name, _)| *name != "parameters" && *name != "description") {
            let open = operation["security"].as_array().is_some_and(Vec::is_empty);
            all.push((method.to_ascii_uppercase(), path.clone(), open));
        }
    }
    assert!(all.len() > 25, "the document is read as it is written");
    all
}

/// Who gets through where, besides root. An operation that stands in no row is one that nobody has thought about.
const ROWS: [(&str, &str, &[&str]); 51] = [
    ("GET", "/v1/objects/{bucket}/{missing}", &["anybody", "link"]),
    ("HEAD", "/v1/objects/{bucket}/{missing}", &["anybody", "link"]),
    ("POST", "/cargar", &[]),
    ("GET", "/descargar/{nombre}", &[]),
    ("HEAD", "/descargar/{nombre}", &[]),
    ("DELETE", "/eliminar/{nombre}", &[]),
    ("GET", "/v1/objects/{bucket}/{key}", &["reader", "anybody", "link"]),
    ("HEAD", "/v1/objects/{bucket}/{key}", &["reader", "anybody", "link"]),
    ("PUT", "/v1/objects/{bucket}/{key}", &["link"]),
    ("DELETE", "/v1/objects/{bucket}/{key}", &[]),
    ("GET", "/v1/objects/{bucket}", &["lister", "anybody"]),
    ("HEAD", "/v1/objects/{bucket}", &["lister", "anybody"]),
    ("GET", "/v1/buckets", &["reader", "lister", "admin of another", "foreign", "scraper"]),
    ("HEAD", "/v1/buckets", &["reader", "lister", "admin of another", "foreign", "scraper"]),
    ("GET", "/v1/buckets/{bucket}", &["lister", "anybody"]),
    ("HEAD", "/v1/buckets/{bucket}", &["lister", "anybody"]),
    ("PUT", "/v1/buckets/{bucket}", &[]),
    ("DELETE", "/v1/buckets/{bucket}", &[]),
    ("PUT", "/v1/buckets/{bucket}/public", &[]),
    ("DELETE", "/v1/buckets/{bucket}/public", &[]),
    ("POST", "/v1/links", &["reader", "lister", "admin of another", "foreign", "scraper"]),
    ("PUT", "/v1/buckets/{bucket}/quota", &[]),
    ("DELETE", "/v1/buckets/{bucket}/quota", &[]),
    ("PUT", "/v1/buckets/{bucket}/etag", &[]),
    ("GET", "/v1/access", &[]),
    ("HEAD", "/v1/access", &[]),
    ("POST", "/v1/access", &[]),
    ("GET", "/v1/access/{id}", &[]),
    ("HEAD", "/v1/access/{id}", &[]),
    ("PUT", "/v1/access/{id}", &[]),
    ("DELETE", "/v1/access/{id}", &[]),
    ("POST", "/v1/access/{id}/rotate", &[]),
    ("GET", "/v1/audit", &[]),
    ("HEAD", "/v1/audit", &[]),
    ("GET", "/v1/audit/check", &[]),
    ("HEAD", "/v1/audit/check", &[]),
    ("PUT", "/v1/audit/check", &[]),
    ("GET", "/v1/cluster", &[]),
    ("HEAD", "/v1/cluster", &[]),
    ("GET", "/v1/cluster/members", &[]),
    ("HEAD", "/v1/cluster/members", &[]),
    ("PUT", "/v1/cluster/members", &[]),
    ("GET", "/v1/cluster/keys", &[]),
    ("HEAD", "/v1/cluster/keys", &[]),
    ("POST", "/v1/cluster/keys", &[]),
    ("GET", "/v1/cluster/scrub", &[]),
    ("HEAD", "/v1/cluster/scrub", &[]),
    ("PUT", "/v1/cluster/scrub", &[]),
    ("GET", "/metrics", &["scraper"]),
    ("HEAD", "/metrics", &["scraper"]),
    ("GET", "/v1/nowhere", &[]),
];

fn filled(template: &str) -> String {
    let names = [
        ("{bucket}", "docs"),
        ("{key}", "k"),
        ("{missing}", "no"),
        ("{nombre}", "n"),
        ("{id}", "ABCDEFGHIJKLMNOPQRST"),
    ];
    names.iter().fold(template.to_owned(), |path, (name, value)| path.replace(name, value))
}

#[test]
fn every_operation_refuses_every_caller_who_has_not_its_right() {
    let (node, root) = guarded();
    let expired = {
        let wanted = json!({ "name": "expired", "grants": ["*:read,write,list,delete,admin"], "expires_ms": 1 });
        Key::of(&node.ask("POST", "/v1/access", &[], wanted.to_string().as_bytes()).json())
    };
    let disabled = node.new_key("disabled", &["*:read,write,list,delete,admin"]);
    assert_eq!(node.ask("PUT", &format!("/v1/access/{}?state=disabled", disabled.id), &[], b"").status, 200);
    let wrong = Key { secret: disabled.secret.clone(), ..root.clone() };
    let unknown = Key { id: "ABCDEFGHIJKLMNOPQRST".to_owned(), ..root.clone() };
    let nobody = [
        ("none", None),
        ("wrong secret", Some(wrong)),
        ("unknown id", Some(unknown)),
        ("expired", Some(expired)),
        ("disabled", Some(disabled)),
    ];
    let known = [
        ("reader", node.new_key("reader", &["docs:read"])),
        ("lister", node.new_key("lister", &["docs:list"])),
        ("admin of another", node.new_key("admin", &["other:admin,read,write,list,delete"])),
        ("foreign", node.new_key("foreign", &["other*:read,write,list,delete"])),
        ("scraper", node.new_key("scraper", &["*:metrics"])),
    ];
    let rows: BTreeSet<_> = ROWS.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    for (method, path, open) in operations(&node) {
        assert!(open || rows.contains(&(method.clone(), path.clone())), "{method} {path} stands in no row");
        if open {
            assert_eq!(without(&node, &method, &filled(&path)).status, 200, "{method} {path}");
        }
        assert_eq!(without(&node, "OPTIONS", &filled(&path)).status, 200, "OPTIONS {path}");
    }
    for (method, path, through) in ROWS {
        let target = filled(path);
        if path == "/v1/nowhere" {
            assert_eq!(without(&node, method, &target).status, 404, "what there is not is no secret");
            continue;
        }
        let mut told = BTreeSet::new();
        for (who, key) in &nobody {
            let answer = match key {
                None => without(&node, method, &target),
                Some(key) => with(&node, &key.bearer(), method, &target),
            };
            assert_eq!(answer.status, 401, "{who}: {method} {path}: {answer:?}");
            if method != "HEAD" {
                told.insert(answer.expect_error(401, "Unauthorized"));
            }
        }
        assert!(told.len() <= 1, "all are told the same: {told:?}");
        for (who, key) in &known {
            let answer = with(&node, &key.bearer(), method, &target);
            let refused = answer.status == 403;
            assert_ne!(answer.status, 401, "{who}: {method} {path}");
            assert_eq!(refused, !through.contains(who), "{who}: {method} {path}: {answer:?}");
            if refused && method != "HEAD" {
                answer.expect_error(403, "AccessDenied");
            }
        }
        let answer = with(&node, &root.bearer(), method, &target);
        assert!(!matches!(answer.status, 401 | 403), "root: {method} {path}: {answer:?}");
    }
}

#[test]
fn every_operation_refuses_who_has_no_key_but_for_what_is_open_and_what_a_link_is_for() {
    let (node, root) = guarded();
    let opened = node.ask("PUT", "/v1/buckets/docs/public?rights=read,list", &[], b"");
    assert_eq!(opened.status, 200, "{opened:?}");
    let revoked = node.new_key("revoked", &["*:read,write,list,delete,admin"]);
    assert_eq!(node.delete(&format!("/v1/access/{}", revoked.id)).status, 200);
    let wrong = Key { secret: revoked.secret.clone(), ..root.clone() };
    let now = now_s();
    for (method, path, through) in ROWS.iter().filter(|(_, path, _)| *path != "/v1/nowhere") {
        let target = filled(path);
        let anybody = without(&node, method, &target);
        assert_eq!(anybody.status != 401, through.contains(&"anybody"), "{method} {path}: {anybody:?}");
        assert_eq!(with(&node, &wrong.bearer(), method, &target).status, 401, "a wrong credential: {method} {path}");
        // A link counts where links may lead, whatever it was signed for.
        let leads = path.starts_with("/v1/objects/{bucket}/") && *method != "DELETE";
        for (whose, at, status, code) in [
            (&root, now, if leads { 0 } else { 400 }, "InvalidLink"),
            (&root, now - 601, if leads { 403 } else { 400 }, if leads { "LinkExpired" } else { "InvalidLink" }),
            (&revoked, now, if leads { 403 } else { 400 }, if leads { "LinkRefused" } else { "InvalidLink" }),
            (&wrong, now, if leads { 403 } else { 400 }, if leads { "LinkRefused" } else { "InvalidLink" }),
        ] {
            let answer = without(&node, method, &link(whose, method, &target, &[], at));
            if status == 0 {
                assert!(
                    through.contains(&"link") && !matches!(answer.status, 400 | 401 | 403),
                    "{method} {path}: {answer:?}"
                );
            } else if *method == "HEAD" {
                assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
            } else {
                answer.expect_error(status, code);
            }
        }
    }
}

#[test]
fn who_may_not_list_is_not_told_what_is_missing() {
    let (node, _) = guarded();
    let reader = node.new_key("reader", &["docs:read,delete"]);
    let lister = node.new_key("lister", &["docs:read,delete", "docs/seen/:list"]);
    for method in ["GET", "DELETE"] {
        node.ask_as(&reader, method, "/v1/objects/docs/missing", b"").expect_error(403, "AccessDenied");
        node.ask_as(&lister, method, "/v1/objects/docs/seen/missing", b"").expect_error(404, "NoSuchKey");
        node.ask_as(&lister, method, "/v1/objects/docs/unseen", b"").expect_error(403, "AccessDenied");
    }
    assert_eq!(node.ask_as(&reader, "GET", "/v1/objects/docs/k", b"").text(), "kept");
}

#[test]
fn a_grant_on_a_prefix_is_for_what_lies_below_it() {
    let (node, _) = guarded();
    let key = node.new_key("prefix", &["docs/in/:read,write,list,delete"]);
    let ask = |method: &str, target: &str| node.ask_as(&key, method, target, b"x");
    assert_eq!(ask("PUT", "/v1/objects/docs/in/a").status, 201);
    for outside in
        ["/v1/objects/docs/in", "/v1/objects/docs/in%2e/a", "/v1/objects/docs/other", "/v1/objects/docs/IN/a"]
    {
        ask("PUT", outside).expect_error(403, "AccessDenied");
    }
    // What is escaped is what is meant: one object, by whatever spelling.
    assert_eq!(ask("PUT", "/v1/objects/docs/in%2Fb").status, 201);
    let list = |query: &str| node.ask_as(&key, "GET", &format!("/v1/objects/docs{query}"), b"");
    assert_eq!(list("?prefix=in/").json()["objects"].as_array().map(Vec::len), Some(2));
    assert_eq!(list("?prefix=in/a&delimiter=/").status, 200);
    for outside in ["", "?prefix=", "?prefix=in", "?prefix=k", "?delimiter=/"] {
        list(outside).expect_error(403, "AccessDenied");
    }
    let buckets = node.ask_as(&key, "GET", "/v1/buckets", b"").json();
    let names: Vec<_> = buckets["buckets"].as_array().expect("a list").iter().map(|b| b["name"].clone()).collect();
    assert_eq!(names, ["docs"], "what any grant reaches is shown, and nothing else");
    node.ask_as(&key, "DELETE", "/v1/buckets/docs", b"").expect_error(403, "AccessDenied");
}

#[test]
fn the_notebooks_routes_ask_for_rights_on_their_bucket() {
    let (node, _) = guarded();
    let (all, one) = (node.new_key("all", &["cargas:read,write,delete"]), node.new_key("one", &["cargas/mine:write"]));
    let upload = |key: &Key, name: &str| {
        let form = common::form(&[common::file_part("archivo", name, b"bytes")]);
        node.ask("POST", "/cargar", &[("Authorization", &key.bearer()), ("Content-Type", common::FORM)], &form)
    };
    assert_eq!(upload(&all, "a.txt").status, 200);
    assert_eq!(upload(&one, "mine.txt").status, 200);
    assert!(upload(&one, "yours.txt").expect_error(403, "AccessDenied").contains("permiso"));
    assert_eq!(node.ask_as(&all, "GET", "/descargar/a.txt", b"").text(), "bytes");
    assert_eq!(node.ask_as(&one, "GET", "/descargar/mine.txt", b"").status, 403);
    assert_eq!(node.ask_as(&all, "DELETE", "/eliminar/a.txt", b"").status, 200);
    node.get("/descargar/yours.txt").expect_error(404, "NoSuchKey");
}

fn shown(node: &Node, key: &Key) -> Value {
    node.get(&format!("/v1/access/{}", key.id)).json()
}

#[test]
fn a_key_is_rotated_disabled_and_revoked() {
    let (node, root) = guarded();
    let key = node.new_key("app", &["docs:read"]);
    let reads = |key: &Key| node.ask_as(key, "GET", "/v1/objects/docs/k", b"").status;
    let rotate = |query: &str| node.ask("POST", &format!("/v1/access/{}/rotate{query}", key.id), &[], b"");
    let rotated = rotate("");
    assert_eq!((rotated.status, rotated.header("cache-control")), (200, Some("no-store")));
    let new = Key::of(&rotated.json());
    assert!(new.id == key.id && new.secret != key.secret);
    assert_eq!((reads(&key), reads(&new), shown(&node, &key)["secrets"].as_u64()), (200, 200, Some(2)));
    rotate("").expect_error(409, "KeyIsRotating");
    rotate("?drop=all").expect_error(400, "InvalidQuery");
    assert_eq!(rotate("?drop=old").status, 200);
    assert_eq!((reads(&key), reads(&new), shown(&node, &key)["secrets"].as_u64()), (401, 200, Some(1)));
    let set = |key: &Key, state: &str| node.ask("PUT", &format!("/v1/access/{}?state={state}", key.id), &[], b"");
    assert_eq!((set(&key, "disabled").json()["in_force"].as_bool(), reads(&new)), (Some(false), 401));
    assert_eq!((set(&key, "enabled").json()["in_force"].as_bool(), reads(&new)), (Some(true), 200));
    let revoke = |key: &Key| node.delete(&format!("/v1/access/{}", key.id));
    assert_eq!((revoke(&key).status, reads(&new)), (200, 401));
    revoke(&key).expect_error(404, "NoSuchAccessKey");
    rotate("").expect_error(404, "NoSuchAccessKey");
    set(&key, "enabled").expect_error(404, "NoSuchAccessKey");
    // Nobody locks everybody out.
    revoke(&root).expect_error(409, "LastAdminKey");
    set(&root, "disabled").expect_error(409, "LastAdminKey");
    let other = node.new_key("other root", &["*:admin"]);
    assert_eq!(node.ask_as(&other, "DELETE", &format!("/v1/access/{}", root.id), b"").status, 200);
    assert_eq!(reads(&root), 401);
    let ids: Vec<Value> =
        node.ask_as(&other, "GET", "/v1/access", b"").json()["keys"].as_array().expect("a list").clone();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[test]
fn what_is_no_key_is_not_made() {
    let (node, _) = guarded();
    let make = |wanted: &str| node.ask("POST", "/v1/access", &[], wanted.as_bytes());
    for bad in [
        "",
        "[]",
        r#"{"name": "x"}"#,
        r#"{"name": "", "grants": []}"#,
        r#"{"name": "x", "grants": ["docs"]}"#,
        r#"{"name": "x", "grants": ["DOCS:read"]}"#,
        r#"{"name": "x", "grants": ["docs:fly"]}"#,
        r#"{"name": "x", "grants": [], "expires": 5}"#,
        r#"{"name": "x", "grants": [], "expires_ms": -5}"#,
    ] {
        make(bad).expect_error(400, "InvalidDocument");
    }
    make(&format!(r#"{{"name": "x", "grants": [], "more": "{}"}}"#, "x".repeat(200_000)))
        .expect_error(413, "EntityTooLarge");
    assert_eq!(node.get("/v1/access").json()["keys"].as_array().map(Vec::len), Some(1));
}

#[test]
fn rights_are_asked_again_before_something_comes_of_a_body() {
    let (node, _) = guarded();
    for len in [2_000usize, 100_000, 3_000_000] {
        let key = node.new_key("writer", &["docs:write"]);
        let mut upload = node.connect();
        let head = format!(
            "PUT /v1/objects/docs/late HTTP/1.1\r\nHost: boveda\r\nAuthorization: {}\r\nContent-Length: {len}\r\n\
             Expect: 100-continue\r\n\r\n",
            key.bearer()
        );
        upload.send(head).expect("it takes the head");
        // It was let in, and its body is wanted.
        upload.told_to_go_on();
        upload.send(vec![b'x'; len / 2]).expect("it takes half");
        assert_eq!(node.delete(&format!("/v1/access/{}", key.id)).status, 200);
        upload.send(vec![b'x'; len - len / 2]).expect("it takes the rest");
        upload.answer(false).expect("an answer").expect_error(401, "Unauthorized");
        node.get("/v1/objects/docs/late").expect_error(404, "NoSuchKey");
    }
}

#[test]
fn whoever_lost_the_right_while_a_document_came_makes_no_key_by_it() {
    let (node, root) = guarded();
    let other = node.new_key("other root", &["*:admin"]);
    let wanted = json!({ "name": "mine", "grants": ["*:admin"] }).to_string();
    let mut slow = node.connect();
    let head = format!(
        "POST /v1/access HTTP/1.1\r\nHost: boveda\r\nAuthorization: {}\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        other.bearer(),
        wanted.len()
    );
    slow.send(head).expect("it takes the head");
    slow.told_to_go_on();
    assert_eq!(node.delete(&format!("/v1/access/{}", other.id)).status, 200);
    slow.send(&wanted).expect("it takes the document");
    slow.answer(false).expect("an answer").expect_error(401, "Unauthorized");
    let keys = node.ask_as(&root, "GET", "/v1/access", b"").json()["keys"].as_array().map(Vec::len);
    assert_eq!(keys, Some(1), "who was let in once makes no way in for later");
}

#[test]
fn the_first_key_is_one_that_can_make_others() {
    let node = Node::start();
    let make = |wanted: Value| node.ask("POST", "/v1/access", &[], wanted.to_string().as_bytes());
    for grants in [&["cargas:read,write"][..], &["*:read,write,list,delete"], &["*/k:admin"], &["a*:admin"], &[]] {
        let told = make(json!({ "name": "app", "grants": grants })).expect_error(409, "FirstKeyNotAdmin");
        assert!(told.contains("admin on *"), "{told}");
    }
    make(json!({ "name": "root", "grants": ["*:admin"], "expires_ms": u64::MAX }))
        .expect_error(409, "FirstKeyNotAdmin");
    assert_eq!(node.get("/v1/buckets").status, 200, "it is as open as it was");
    let root = node.new_key("root", &["*:admin"]);
    node.get("/v1/buckets").expect_error(401, "Unauthorized");
    let wanted = json!({ "name": "app", "grants": ["cargas:read"], "expires_ms": u64::MAX }).to_string();
    assert_eq!(node.ask_as(&root, "POST", "/v1/access", wanted.as_bytes()).status, 201);
}

/// A figure of the metrics, by its name and labels.
fn figure(node: &Node, scraper: &Key, name: &str) -> u64 {
    let text = node.ask_as(scraper, "GET", "/metrics", b"").text().to_owned();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}

#[test]
fn keys_and_those_who_were_not_let_in_are_counted() {
    let (node, root) = guarded();
    let scraper = node.new_key("prometheus", &["*:metrics"]);
    let refused =
        |reason: &str| figure(&node, &scraper, &format!("boveda_access_refused_total{{reason=\"{reason}\"}}"));
    assert_eq!(figure(&node, &scraper, "boveda_access_keys"), 2);
    assert_eq!(figure(&node, &scraper, "boveda_access_fresh"), 1);
    let before = ["no_key", "no_such_key", "no_right"].map(refused);
    without(&node, "GET", "/v1/buckets").expect_error(401, "Unauthorized");
    with(&node, &format!("Bearer {}.{}", root.id, "B".repeat(40)), "GET", "/v1/buckets")
        .expect_error(401, "Unauthorized");
    node.ask_as(&scraper, "GET", "/v1/access", b"").expect_error(403, "AccessDenied");
    assert_eq!(["no_key", "no_such_key", "no_right"].map(refused), before.map(|count| count + 1));
    let buckets = node.ask_as(&scraper, "GET", "/v1/buckets", b"").json();
    assert_eq!(buckets["buckets"].as_array().map(Vec::len), Some(0), "a scraper learns no name of a bucket");
}

/// Every byte below a directory.
fn all_bytes(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        all.extend(if path.is_dir() { all_bytes(&path) } else { fs::read(&path).unwrap_or_default() });
    }
    all
}

#[test]
fn keys_outlive_the_process_and_lie_nowhere_in_the_clear() {
    let (mut node, root) = guarded();
    let key = node.new_key("backups of the house", &["docs:read"]);
    let gone = node.new_key("gone", &["docs:read"]);
    assert_eq!(node.delete(&format!("/v1/access/{}", gone.id)).status, 200);
    let reads = |node: &Node, key: &Key| node.ask_as(key, "GET", "/v1/objects/docs/k", b"").status;
    for ends_in_order in [false, true] {
        if ends_in_order {
            assert!(node.stop().success());
        } else {
            node.kill9();
        }
        node.begin();
        assert_eq!((reads(&node, &key), reads(&node, &gone), reads(&node, &root)), (200, 401, 200));
        without(&node, "GET", "/v1/buckets").expect_error(401, "Unauthorized");
    }
    assert!(node.stop().success());
    let bytes = all_bytes(&node.data());
    for text in [&root.secret, &key.secret, &key.id, "backups of the house"] {
        assert!(!bytes.windows(text.len()).any(|part| part == text.as_bytes()), "{text} lies in the clear");
    }
    assert!(!node.log().contains(&key.secret) && !node.log().contains(&root.secret));
    let verified = node.command(&["verify"]).output().expect("the program runs");
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    node.begin();
}

/// A node that other machines could reach.
fn beyond_loopback(settings: &[(&str, &str)]) -> Node {
    let mut node = Node::prepared(settings, None);
    node.listen_at("0.0.0.0:0");
    node.begin();
    node
}

#[test]
fn a_node_that_others_reach_makes_a_root_key_and_lets_nobody_in_without() {
    let mut node = beyond_loopback(&[]);
    let file = node.data().join("root-key");
    without(&node, "GET", "/v1/buckets").expect_error(401, "Unauthorized");
    eventually("the root key", || file.exists().then_some(()));
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o7777, 0o600);
    let root = Key::in_file(&file);
    eventually("the root key to open", || (node.ask_as(&root, "GET", "/v1/cluster", b"").status == 200).then_some(()));
    eventually("the path in the log", || node.log().contains(&file.display().to_string()).then_some(()));
    assert!(!node.log().contains(&root.secret));
    node.kill9();
    // Somebody has opened it to others: that is told, and takes nobody's way in.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("ours");
    node.begin();
    eventually("the file to be passed over", || node.log().contains("chmod 0400").then_some(()));
    assert!(!node.log().contains("there is no first access key"), "{}", node.log());
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("ours");
    assert_eq!(Key::in_file(&file), root, "it is made once");
    assert_eq!(node.ask_as(&root, "GET", "/metrics", b"").status, 200);
    node.ask_by(&root);
    // Another secret: what lies in the file opens nothing any more, and goes.
    let new = Key::of(&node.ask("POST", &format!("/v1/access/{}/rotate", root.id), &[], b"").json());
    assert_eq!(node.ask_as(&new, "POST", &format!("/v1/access/{}/rotate?drop=old", root.id), b"").status, 200);
    assert!(node.stop().success());
    node.begin();
    eventually("the file to go", || (!file.exists()).then_some(()));
    assert_eq!(node.ask_as(&new, "GET", "/v1/buckets", b"").status, 200);
}

#[test]
fn a_root_key_from_a_file_is_made_once_and_stays_revoked() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("root.json");
    let generated = boveda(&["access", "generate"], &[]);
    assert!(generated.status.success());
    fs::write(&file, &generated.stdout).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).expect("ours");
    let root = Key::in_file(&file);
    let mut node = beyond_loopback(&[("BOVEDA_ACCESS_ROOT_KEY_FILE", file.to_str().expect("UTF-8"))]);
    let opens = |node: &Node, key: &Key| node.ask_as(key, "GET", "/v1/cluster", b"").status == 200;
    eventually("the key of the file to open", || opens(&node, &root).then_some(()));
    assert!(!node.data().join("root-key").exists(), "none is made beside it");
    node.ask_by(&root);
    let other = node.new_key("other", &["*:admin"]);
    assert_eq!(node.ask_as(&other, "DELETE", &format!("/v1/access/{}", root.id), b"").status, 200);
    node.kill9();
    node.begin();
    eventually("the node to look at its file", || node.log().contains("was revoked, and stays so").then_some(()));
    assert!(!opens(&node, &root) && opens(&node, &other));
    // A lost key is made up for by another file.
    fs::remove_file(&file).expect("ours");
    fs::write(&file, boveda(&["access", "generate"], &[]).stdout).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).expect("ours");
    assert!(node.stop().success());
    node.begin();
    eventually("the new key of the file to open", || opens(&node, &Key::in_file(&file)).then_some(()));
}

#[test]
fn insecure_open_is_said_aloud_and_ends_with_the_first_key() {
    let mut node = beyond_loopback(&[("BOVEDA_HTTP_INSECURE_OPEN", "true")]);
    assert_eq!(node.get("/v1/buckets").status, 200);
    eventually("the warning", || node.log().contains("OPEN TO EVERYBODY").then_some(()));
    assert!(!node.data().join("root-key").exists());
    let key = node.new_key("root", &["*:admin,list"]);
    node.get("/v1/buckets").expect_error(401, "Unauthorized");
    node.kill9();
    node.begin();
    node.get("/v1/buckets").expect_error(401, "Unauthorized");
    assert_eq!(node.ask_as(&key, "GET", "/v1/buckets", b"").status, 200);
    eventually("the remark", || node.log().contains("changes nothing any more").then_some(()));
}

fn boveda(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boveda"));
    command.args(args).env_clear().envs(env.iter().copied());
    command.output().expect("the program runs")
}

#[test]
fn the_command_makes_shows_rotates_and_revokes_keys() {
    let node = Node::start();
    let url = format!("http://{}", node.http());
    let dir = tempfile::tempdir().expect("a directory");
    let profile = dir.path().join("profile");
    let text = |output: &Output| String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let made = boveda(&["access", "create", "root", "--grant", "*:admin,list", "--json", "--url", &url], &[]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let root = Key::of(&serde_json::from_str(&text(&made)).expect("JSON"));
    fs::write(&profile, &made.stdout).expect("a file");
    fs::set_permissions(&profile, fs::Permissions::from_mode(0o600)).expect("ours");
    let profile = profile.to_str().expect("UTF-8");
    for command in [&["status"][..], &["access", "list"], &["scrub", "status"], &["members", "list"]] {
        let refused = boveda(&[command, &["--url", &url]].concat(), &[]);
        let why = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(1) && why.contains("an access key is needed"), "{command:?}: {why}");
    }
    let env = [("BOVEDA_ACCESS_KEY", root.id.as_str()), ("BOVEDA_SECRET_KEY", root.secret.as_str())];
    for command in [&["status"][..], &["access", "list"], &["scrub", "status"]] {
        let by_env = boveda(&[command, &["--url", &url]].concat(), &env);
        assert!(by_env.status.success(), "{command:?}: {}", String::from_utf8_lossy(&by_env.stderr));
        let by_profile = boveda(&[command, &["--url", &url, "--profile", profile]].concat(), &[]);
        assert!(by_profile.status.success(), "{command:?}: {}", String::from_utf8_lossy(&by_profile.stderr));
    }
    let access = |args: &[&str]| {
        let ran = boveda(&[&["access"], args, &["--url", &url, "--profile", profile]].concat(), &[]);
        assert!(ran.status.success(), "{args:?}: {}", String::from_utf8_lossy(&ran.stderr));
        text(&ran)
    };
    let page = access(&["create", "app", "--grant", "cargas/x:read", "--expires", "1h"]);
    let word = |page: &str, name: &str| {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {page}"));
        line.split_whitespace().nth(1).expect("a word").to_owned()
    };
    let app = Key { id: word(&page, "id"), secret: word(&page, "secret") };
    let list = access(&["list"]);
    assert!(list.contains(&app.id) && list.contains("cargas/x:read") && !list.contains(&app.secret), "{list}");
    let new = word(&access(&["rotate", &app.id]), "secret");
    assert!(access(&["show", &app.id]).contains("two secrets"));
    access(&["rotate", &app.id, "--drop-old"]);
    assert!(access(&["disable", &app.id]).contains("disabled") && access(&["enable", &app.id]).contains("in force"));
    let key = Key { secret: new, ..app.clone() };
    assert_eq!(node.ask_as(&key, "GET", "/v1/buckets", b"").status, 200);
    access(&["revoke", &app.id]);
    assert_eq!(node.ask_as(&key, "GET", "/v1/buckets", b"").status, 401);
}
