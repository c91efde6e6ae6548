//! Names that try to be more than names: paths in every encoding, on every route, and beside the grants of a key.

mod common;

use common::{Answer, Key, Node, escape, file_part, form};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const CANARY: &[u8] = b"what lies beside the data and is nobody's object";

/// What climbs, as clients have written it where servers took it for a path: `{}` is where it wants to go.
const CLIMBS: [&str; 22] = [
    "../{}",
    "../../../../../../{}",
    "..%2f{}",
    "%2e%2e/{}",
    "%2e%2e%2f{}",
    "%2E%2E%2F..%2F{}",
    ".%2e/{}",
    "%252e%252e%252f{}",
    "%25252e%25252e%25252f{}",
    "..%5c{}",
    "..\\{}",
    "%2e%2e%5c..%5c{}",
    "..;/{}",
    "..%00/{}",
    "{}%00.txt",
    "./{}",
    "a/../../{}",
    "a/%2e%2e/%2e%2e/{}",
    "/{}",
    "//{}",
    "%2f{}",
    "file:///{}",
];

/// What is no UTF-8, or no escape: refused wherever a name stands.
const BROKEN: [&str; 8] =
    ["%c0%ae%c0%ae/{}", "%e0%80%ae/{}", "%ff{}", "%u002e%u002e/{}", "%2/{}", "%{}", "%zz{}", "%ed%a0%80{}"];

fn files_below(dir: &Path) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(dir).expect("a directory").flatten() {
        let path = entry.path();
        all.insert(path.display().to_string());
        if path.is_dir() {
            all.extend(files_below(&path));
        }
    }
    all
}

/// Checks what no answer to such a name may be.
#[track_caller]
fn harmless(asked: &str, answer: &Answer) {
    let has = |text: &[u8]| answer.body.windows(text.len()).any(|part| part == text);
    assert!(answer.status < 500, "{asked}: {answer:?}");
    assert!(!has(CANARY) && !has(b"root:x:0:0"), "{asked}: {answer:?}");
}

#[test]
fn no_name_becomes_a_path_in_whatever_encoding_and_on_whatever_route() {
    let node = Node::start();
    let canary = node.home().join("canary");
    fs::write(&canary, CANARY).expect("written");
    let absolute = canary.display().to_string();
    let targets = ["canary", "keys/kek-0001", "etc/passwd", absolute.trim_start_matches('/')];
    for climb in CLIMBS.iter().chain(&BROKEN) {
        for target in targets {
            let name = climb.replace("{}", target);
            for route in
                ["/v1/objects/cargas/", "/descargar/", "/eliminar/", "/v1/objects/", "/v1/buckets/", "/v1/access/", "/"]
            {
                let asked = format!("{route}{name}");
                for method in ["GET", "HEAD", "DELETE"] {
                    harmless(&asked, &node.ask(method, &asked, &[], b""));
                }
            }
        }
        let asked = format!("/v1/objects/cargas/{}", climb.replace("{}", "written"));
        let put = node.put(&asked, b"by its name alone");
        harmless(&asked, &put);
        if BROKEN.contains(climb) {
            assert_eq!(put.status, 400, "{asked}: {put:?}");
        } else {
            // Two spellings of one name are one object.
            assert!(matches!(put.status, 200 | 201), "each is a name of its own: {asked}: {put:?}");
            assert_eq!(node.get(&asked).text(), "by its name alone", "{asked}");
        }
        let raw = climb.replace("{}", "formed");
        let loaded =
            node.ask("POST", "/cargar", &[("Content-Type", common::FORM)], &form(&[file_part("archivo", &raw, b"x")]));
        harmless(&raw, &loaded);
    }
    assert_eq!(fs::read(&canary).expect("it is there"), CANARY);
    let files = files_below(node.home());
    for taken in ["written", "formed"] {
        let named: Vec<_> = files.iter().filter(|file| file.contains(taken)).collect();
        assert!(named.is_empty(), "a name became one of a file: {named:?}");
    }
    let beside: BTreeSet<_> =
        fs::read_dir(node.home()).expect("ours").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(beside, ["canary", "data", "keys", "log"].map(Into::into).into(), "nothing new lies beside the data");
    let keys: Vec<_> = fs::read_dir(node.keys()).expect("ours").flatten().collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
}

/// A node with a root key, and objects inside and outside of what others are granted.
fn guarded() -> Node {
    let mut node = Node::start();
    for bucket in ["docs", "docs-2", "a-1", "b-1"] {
        assert_eq!(node.put(&format!("/v1/buckets/{bucket}"), b"").status, 201);
        for key in ["in/k", "inside", "out", "in"] {
            assert_eq!(node.put(&format!("/v1/objects/{bucket}/{}", escape(key)), b"guarded").status, 201);
        }
    }
    let root = node.new_key("root", &["*:read,write,list,delete,admin,bypass,metrics"]);
    node.ask_by(&root);
    node
}

#[track_caller]
fn statuses(node: &Node, key: &Key, target: &str) -> [u16; 4] {
    ["GET", "HEAD", "PUT", "DELETE"].map(|method| node.ask_as(key, method, target, b"").status)
}

#[test]
fn no_spelling_of_a_name_passes_a_grant() {
    let node = guarded();
    let key = node.new_key("inside", &["docs/in/:read,write,list,delete"]);
    for outside in [
        "/v1/objects/docs/out",
        "/v1/objects/docs/inside",
        "/v1/objects/docs/in",
        "/v1/objects/docs/%69n",
        "/v1/objects/docs/in%252Fk",
        "/v1/objects/docs/in%5Ck",
        "/v1/objects/docs/IN/k",
        "/v1/objects/docs//in/k",
        "/v1/objects/docs/./in/k",
        "/v1/objects/docs/%2Fin/k",
        "/v1/objects/docs/x/../in/k",
        "/v1/objects/docs/i\u{301}n/k",
        "/v1/objects/docs/in\u{2215}k",
        "/v1/objects/docs/in%E2%88%95k",
        "/v1/objects/docs/in%00/k",
        "/v1/objects/docs-2/in/k",
        "/v1/objects/%64ocs-2/in/k",
        "/v1/objects/a-1/in/k",
    ] {
        let told = statuses(&node, &key, outside);
        assert!(told.iter().all(|status| matches!(status, 400 | 403)), "{outside}: {told:?}");
    }
    // What climbs out by its spelling stays below by its name, and is nobody else's.
    for inside in ["/v1/objects/docs/in/../out", "/v1/objects/docs/in/..%2Fout", "/v1/objects/docs/in%2F%2e%2e%2Fout"] {
        assert!(matches!(node.ask_as(&key, "PUT", inside, b"mine").status, 200 | 201), "{inside}");
    }
    assert_eq!(node.get("/v1/objects/docs/out").text(), "guarded");
    assert_eq!(
        node.ask_as(&key, "GET", "/v1/objects/%64%6fcs/%69n%2fk", b"").text(),
        "guarded",
        "the same by each spelling"
    );
    for query in ["prefix=in%2F&after=a", "prefix=in/&after=zzz", "prefix=in/&delimiter=n", "prefix=%69%6E%2F"] {
        let page = node.ask_as(&key, "GET", &format!("/v1/objects/docs?{query}"), b"");
        assert_eq!(page.status, 200, "{query}");
        let page = page.json();
        let below = |list: &str, name: &dyn Fn(&serde_json::Value) -> String| {
            page[list].as_array().expect("a list").iter().all(|entry| name(entry).starts_with("in/"))
        };
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        assert!(below("objects", &|entry| text(&entry["key"])) && below("prefixes", &text), "{query}: {page}");
    }
    for query in
        ["prefix=in", "prefix=In/", "prefix=in%252F", "prefix=in%5C", "after=in/", "prefix=in/&prefix=", "prefix="]
    {
        let told = node.ask_as(&key, "GET", &format!("/v1/objects/docs?{query}"), b"").status;
        assert!(matches!(told, 400 | 403), "{query}: {told}");
    }
}

#[test]
fn a_pattern_is_of_the_buckets_whose_names_begin_so_and_of_no_others() {
    let node = guarded();
    let key = node.new_key("a", &["a*:read"]);
    let exact = node.new_key("docs", &["docs:read"]);
    let read = |key: &Key, bucket: &str| node.ask_as(key, "GET", &format!("/v1/objects/{bucket}/out"), b"").status;
    assert_eq!((read(&key, "a-1"), read(&exact, "docs")), (200, 200));
    assert_eq!((read(&key, "%61-1"), read(&exact, "do%63s")), (200, 200), "the same bucket");
    for other in ["b-1", "docs", "cargas", "%62-1", "nowhere"] {
        assert_eq!(read(&key, other), 403, "{other}");
    }
    for other in ["docs-2", "doc", "a-1", "nowhere"] {
        assert_eq!(read(&exact, other), 403, "{other}");
    }
    for none in ["a%2Fb", "a*", "*", "A-1", "a-1%00", "a-1%20", "..", "%2e%2e", "docs%2Fin", "a\\1"] {
        assert_eq!(read(&key, none), 400, "{none} is no bucket");
    }
    // The notebook's routes lead to one bucket, whatever stands behind them.
    for name in ["../docs/out", "..%2Fdocs%2Fout", "docs/out", "%2Fv1%2Fobjects%2Fdocs%2Fout"] {
        let told = node.ask_as(&exact, "GET", &format!("/descargar/{name}"), b"").status;
        assert!(matches!(told, 400 | 403), "{name}: {told}");
    }
    let loader = node.new_key("loader", &["cargas/mine/:write"]);
    for (name, status) in [
        ("mine/a", 200),
        ("mine", 403),
        ("yours", 403),
        ("mine/../yours", 400),
        ("./mine/a", 400),
        ("Mine/a", 403),
        ("/mine/a", 403),
        ("mine%2Fa", 403),
    ] {
        let body = form(&[file_part("archivo", name, b"x")]);
        let headers = [("Authorization", loader.bearer()), ("Content-Type", common::FORM.to_owned())];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        assert_eq!(node.ask("POST", "/cargar", &headers, &body).status, status, "{name}");
    }
}
