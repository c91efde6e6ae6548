//! Who gets in on the S3 port: every operation of its table by every sort of caller.

mod common;

use boveda::base::Right::{self, Admin, Delete, List, Read, Write};
use boveda::http::s3::rows::{Asks, Operation, Outcome, operations};
use common::s3::{S3, link, md5_of, now_s, path, started, texts, told};
use common::{Answer, Conn, Key, Node};
use serde_json::json;

/// What each operation needs. One that is served and stands in no row is one that nobody has thought about. Copies need a
/// right on their source besides.
const ROWS: [(&str, Asks); 44] = [
    ("ListBuckets", Asks::Known),
    ("CreateBucket", Asks::All(Admin)),
    ("HeadBucket", Asks::Some(List)),
    ("DeleteBucket", Asks::All(Admin)),
    ("GetBucketLocation", Asks::Some(List)),
    ("ListObjectVersions", Asks::Some(List)),
    ("ListMultipartUploads", Asks::Some(List)),
    ("ListObjects", Asks::Some(List)),
    ("ListObjectsV2", Asks::Some(List)),
    ("DeleteObjects", Asks::Some(Delete)),
    ("GetBucketAcl", Asks::Some(List)),
    ("GetBucketPolicy", Asks::Some(List)),
    ("GetBucketPolicyStatus", Asks::Some(List)),
    ("GetBucketLifecycleConfiguration", Asks::Some(List)),
    ("GetBucketCors", Asks::Some(List)),
    ("GetBucketTagging", Asks::Some(List)),
    ("GetBucketWebsite", Asks::Some(List)),
    ("GetBucketEncryption", Asks::Some(List)),
    ("GetObjectLockConfiguration", Asks::Some(List)),
    ("GetPublicAccessBlock", Asks::Some(List)),
    ("GetBucketOwnershipControls", Asks::Some(List)),
    ("GetBucketReplication", Asks::Some(List)),
    ("GetBucketNotificationConfiguration", Asks::Some(List)),
    ("GetBucketLogging", Asks::Some(List)),
    ("GetBucketVersioning", Asks::Some(List)),
    ("GetBucketRequestPayment", Asks::Some(List)),
    ("GetBucketAccelerateConfiguration", Asks::Some(List)),
    ("CreateMultipartUpload", Asks::Object(Write)),
    ("UploadPart", Asks::Object(Write)),
    ("UploadPartCopy", Asks::Object(Write)),
    ("CompleteMultipartUpload", Asks::Object(Write)),
    ("AbortMultipartUpload", Asks::Object(Write)),
    ("ListParts", Asks::Object(Write)),
    ("GetObjectAcl", Asks::Object(Read)),
    ("GetObjectTagging", Asks::Object(Read)),
    ("GetObjectRetention", Asks::Object(Read)),
    ("GetObjectLegalHold", Asks::Object(Read)),
    ("GetObjectAttributes", Asks::Object(Read)),
    ("CopyObject", Asks::Object(Write)),
    ("PutObject", Asks::Object(Write)),
    ("GetObject", Asks::Object(Read)),
    ("HeadObject", Asks::Object(Read)),
    ("DeleteObject", Asks::Object(Delete)),
    ("PostObject", Asks::Object(Write)),
];

/// What callers ask about: an object that is there, one that is not, one of a bucket that is empty, one of a bucket that
/// is not there.
const PLACES: [(&str, &str); 4] = [("docs", "k"), ("docs", "no"), ("docs-empty", "k"), ("docs-new", "k")];

/// One request, as it would be sent by anybody.
struct Asked {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Asked {
    /// What asks for an operation on that. What it would do would be seen.
    fn of(operation: &Operation, (bucket, key): (&str, &str)) -> Self {
        let path = operation.path.replace("{bucket}", bucket).replace("{key}", key);
        let query = operation.query.map(|name| match name {
            "list-type" => "?list-type=2".to_owned(),
            // Of no upload that there is.
            "uploadId" if operation.method == "PUT" => format!("?partNumber=1&uploadId={:032x}", 7),
            "uploadId" => format!("?uploadId={:032x}", 7),
            name => format!("?{name}="),
        });
        let mut headers: Vec<_> = operation.header.iter().map(|name| (*name, "/docs/k".to_owned())).collect();
        let body = match operation.name {
            "PutObject" => b"another".to_vec(),
            "DeleteObjects" => format!("<Delete><Object><Key>{key}</Key></Object></Delete>").into_bytes(),
            _ => Vec::new(),
        };
        match operation.name {
            "DeleteObjects" => headers.push(("content-md5", md5_of(&body))),
            // Onto itself nothing is copied but with another head.
            "CopyObject" => headers.push(("x-amz-metadata-directive", "REPLACE".to_owned())),
            _ => {}
        }
        Asked { method: operation.method, target: path + &query.unwrap_or_default(), headers, body }
    }

    fn headers(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }
}

/// What somebody brings along.
#[derive(Clone)]
enum Brings {
    Nothing,
    /// A signature in the head.
    Signature(Key),
    /// A link that was made so many seconds ago.
    Link(Key, u64),
    /// A link to something else.
    LinkElsewhere(Key),
}

impl Brings {
    fn ask(&self, node: &Node, asked: &Asked) -> Answer {
        let (method, target, headers) = (asked.method, asked.target.as_str(), asked.headers());
        let target = match self {
            Brings::Signature(key) => return S3::new(node, key).ask(method, target, &headers, &asked.body),
            Brings::Nothing => target.to_owned(),
            Brings::Link(key, ago_s) => link(key, method, target, &headers, now_s() - ago_s),
            Brings::LinkElsewhere(key) => {
                let (_, query) = target.split_once('?').unwrap_or((target, ""));
                let made = link(key, method, &format!("/docs-else/k?{query}"), &headers, now_s());
                made.replace("/docs-else/k?", &format!("{}?", target.split('?').next().expect("a path")))
            }
        };
        plain(node, method, &target, &headers, &asked.body)
    }
}

/// A request as it is, to the S3 port.
fn plain(node: &Node, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let mut conn = Conn::open(node.s3()).expect("it takes connections");
    conn.ask(method, target, headers, body).expect("an answer")
}

/// A node with a root key, and buckets to ask about.
fn guarded() -> (Node, Key) {
    let (node, root) = started(&[]);
    let s3 = S3::new(&node, &root);
    for bucket in ["/docs", "/docs-empty", "/docs-else", "/other"] {
        assert_eq!(s3.ask("PUT", bucket, &[], b"").status, 200);
    }
    restore(&node, &root);
    (node, root)
}

/// Puts back what those who may have changed.
fn restore(node: &Node, root: &Key) {
    let s3 = S3::new(node, root);
    assert_eq!(s3.ask("PUT", "/docs", &[], b"").status, 200);
    assert_eq!(s3.ask("PUT", "/docs/k", &[("x-amz-meta-a", "1")], b"kept").status, 200);
}

/// All that there is, as who may do everything sees it.
fn all_there_is(node: &Node, root: &Key) -> Vec<(u16, Vec<u8>)> {
    let s3 = S3::new(node, root);
    let on_s3 = ["/", "/docs", "/docs-empty", "/docs-else", "/other", "/docs/k", "/docs-new"];
    let mut seen: Vec<_> = on_s3.iter().map(|target| s3.ask("GET", target, &[], b"")).collect();
    assert!(seen[5].status == 200 && seen[5].header("x-amz-meta-a") == Some("1"), "{:?}", seen[5]);
    seen.extend(["/v1/buckets", "/v1/access"].map(|target| node.get(target)));
    seen.iter().map(|answer| (answer.status, without_id(answer).into_bytes())).collect()
}

/// The body of an answer without what names the request, or the resource as it was asked for. When something was written
/// is told by a clock that many writes run ahead of.
fn without_id(answer: &Answer) -> String {
    let mut rest = answer.text().to_owned();
    for element in ["Resource", "RequestId", "HostId", "LastModified"] {
        for told in texts(answer.text(), element) {
            rest = rest.replace(&format!("<{element}>{told}</{element}>"), "");
        }
    }
    rest
}

/// All that an answer tells besides what the caller has said.
fn telling(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let own = ["date", "content-length", "x-request-id", "x-amz-request-id", "x-amz-id-2"];
    let headers = answer.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
    (answer.status, headers.cloned().collect(), without_id(answer))
}

/// Whoever nobody lets in, each with the code that it is told.
fn nobody(node: &Node, root: &Key) -> Vec<(&'static str, Brings, &'static str)> {
    let all = ["*:read,write,list,delete,admin,bypass,metrics"];
    let wanted = json!({ "name": "expired", "grants": all, "expires_ms": 1 });
    let expired = Key::of(&node.ask("POST", "/v1/access", &[], wanted.to_string().as_bytes()).json());
    let (disabled, revoked) = (node.new_key("disabled", &all), node.new_key("revoked", &all));
    assert_eq!(node.ask("PUT", &format!("/v1/access/{}?state=disabled", disabled.id), &[], b"").status, 200);
    assert_eq!(node.delete(&format!("/v1/access/{}", revoked.id)).status, 200);
    let wrong = Key { secret: disabled.secret.clone(), ..root.clone() };
    let unknown = Key { id: "ABCDEFGHIJKLMNOPQRST".to_owned(), ..root.clone() };
    let (nothing, unfit) = ("InvalidAccessKeyId", "SignatureDoesNotMatch");
    vec![
        ("without a credential", Brings::Nothing, "AccessDenied"),
        ("with a wrong secret", Brings::Signature(wrong.clone()), unfit),
        ("with an unknown id", Brings::Signature(unknown.clone()), nothing),
        ("by a key that has expired", Brings::Signature(expired.clone()), nothing),
        ("by a key that is disabled", Brings::Signature(disabled), nothing),
        ("by a key that was revoked", Brings::Signature(revoked.clone()), nothing),
        ("by a link that is over", Brings::Link(root.clone(), 601), "AccessDenied"),
        ("by a link of a wrong secret", Brings::Link(wrong, 0), unfit),
        ("by a link of an unknown id", Brings::Link(unknown, 0), nothing),
        ("by a link of a key that has expired", Brings::Link(expired, 0), nothing),
        ("by a link of a key that was revoked", Brings::Link(revoked, 0), nothing),
        ("by a link to something else", Brings::LinkElsewhere(root.clone()), unfit),
    ]
}

/// Somebody who may do something.
struct Known {
    who: String,
    key: Key,
    /// What, in the buckets that are asked about.
    rights: Vec<Right>,
    /// Whether it is for few keys alone, none of which is asked about.
    is_narrow: bool,
}

impl Known {
    /// Whether an operation is for this caller.
    fn may(&self, name: &str, asks: Asks) -> bool {
        let has = |right| self.rights.contains(&right);
        let reads_source = !["CopyObject", "UploadPartCopy"].contains(&name) || has(Read);
        match asks {
            Asks::Known => true,
            // On which keys is said by a parameter, and asked then.
            Asks::Some(right) => has(right) && !(self.is_narrow && is_list(name)),
            Asks::All(right) | Asks::Object(right) => has(right) && !self.is_narrow && reads_source,
        }
    }
}

/// Whether an operation lists what is in a bucket.
fn is_list(name: &str) -> bool {
    name.starts_with("ListObjects") || name == "ListMultipartUploads"
}

/// A caller for each right alone, and some who have many, but not there.
fn known(node: &Node) -> Vec<Known> {
    let somebody = |who: &str, grant: &str, rights: &[Right], is_narrow| Known {
        who: who.to_owned(),
        key: node.new_key(who, &[grant]),
        rights: rights.to_vec(),
        is_narrow,
    };
    let mut all: Vec<_> = Right::ALL
        .iter()
        .map(|right| {
            let on = if *right == Right::Metrics { "*" } else { "docs*" };
            somebody(right.word(), &format!("{on}:{}", right.word()), &[*right], false)
        })
        .collect();
    all.push(somebody("copier", "docs*:read,write", &[Read, Write], false));
    all.push(somebody("admin of another", "other*:admin,read,write,list,delete", &[], false));
    let most = [Read, Write, List, Delete, Admin];
    all.push(somebody("narrow", "docs*/else/:read,write,list,delete,admin", &most, true));
    all
}

/// What an operation of the table is held to need; `None` for one that this release has not.
fn needed(operation: &Operation) -> Option<Asks> {
    if operation.outcome == Outcome::Refused {
        return None;
    }
    let row = ROWS.iter().find(|(name, _)| *name == operation.name);
    let (_, asks) = row.unwrap_or_else(|| panic!("{} stands in no row", operation.name));
    assert_eq!(operation.asks, *asks, "{}", operation.name);
    Some(*asks)
}

/// Asks for an operation by somebody whom it is not for: told so, and alike whatever there is.
fn is_refused(node: &Node, who: &str, brings: &Brings, operation: &Operation, status: u16, code: &str) {
    let answers = PLACES.map(|place| brings.ask(node, &Asked::of(operation, place)));
    let said = if operation.method == "HEAD" { "" } else { code };
    for (answer, place) in answers.iter().zip(PLACES) {
        assert_eq!(told(answer), (status, said.to_owned()), "{who}: {} at {place:?}", operation.name);
        assert_eq!(telling(answer), telling(&answers[0]), "{who}: {} at {place:?}", operation.name);
    }
}

#[test]
fn every_operation_refuses_every_caller_who_has_not_its_right() {
    let (node, root) = guarded();
    let (nobody, known) = (nobody(&node, &root), known(&node));
    let before = all_there_is(&node, &root);
    for operation in operations() {
        let asks = needed(&operation);
        // What this release has not is told to all, without a look at who asks or what there is.
        let refusal = |code| if asks.is_some() { (403, code) } else { (501, "NotImplemented") };
        for (who, brings, code) in &nobody {
            let (status, code) = refusal(*code);
            is_refused(&node, who, brings, &operation, status, code);
        }
        for caller in known.iter().filter(|caller| asks.is_none_or(|asks| !caller.may(operation.name, asks))) {
            let (status, code) = refusal("AccessDenied");
            is_refused(&node, &caller.who, &Brings::Signature(caller.key.clone()), &operation, status, code);
            is_refused(&node, &caller.who, &Brings::Link(caller.key.clone(), 0), &operation, status, code);
        }
        if asks.is_none() {
            is_refused(&node, "root", &Brings::Signature(root.clone()), &operation, 501, "NotImplemented");
        }
        assert!(all_there_is(&node, &root) == before, "{}: something is another than before", operation.name);
    }
}

#[test]
fn every_operation_is_for_those_who_have_its_right() {
    let (node, root) = guarded();
    let mut callers = known(&node);
    callers.push(Known { who: "root".into(), key: root.clone(), rights: Right::ALL.to_vec(), is_narrow: false });
    for operation in operations() {
        let Some(asks) = needed(&operation) else { continue };
        for caller in callers.iter().filter(|caller| caller.may(operation.name, asks)) {
            let Known { who, key, is_narrow, .. } = caller;
            for brings in [Brings::Signature(key.clone()), Brings::Link(key.clone(), 0)] {
                let before = all_there_is(&node, &root);
                let answer = brings.ask(&node, &Asked::of(&operation, PLACES[0]));
                // Nobody is given a link to what depends on who asks.
                let is_for_them = asks != Asks::Known || matches!(brings, Brings::Signature(_));
                let status = answer.status;
                assert_eq!(status != 403, is_for_them, "{who}: {}: {answer:?}", operation.name);
                assert!(![401, 405, 500, 501, 503].contains(&status), "{who}: {}: {answer:?}", operation.name);
                // That would be seen, too: it is told of each key by itself.
                assert!(!is_narrow || all_there_is(&node, &root) == before, "{who}: {}", operation.name);
                restore(&node, &root);
            }
        }
    }
}

#[test]
fn what_is_no_operation_is_told_to_all_alike() {
    let (node, root) = guarded();
    let (nobody, served) = (nobody(&node, &root), operations());
    let before = all_there_is(&node, &root);
    for method in ["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "get"] {
        for (path, target) in [("/", "/"), ("/{bucket}", "/docs"), ("/{bucket}/{key}", "/docs/k")] {
            let is_left = |row: &Operation| row.query.is_none() && row.header.is_none();
            if served.iter().any(|row| (row.method, row.path) == (method, path) && is_left(row)) {
                continue;
            }
            let asked = Asked { method, target: target.to_owned(), headers: Vec::new(), body: Vec::new() };
            let all = nobody.iter().map(|(_, brings, _)| brings.clone()).chain([Brings::Signature(root.clone())]);
            for answer in all.map(|brings| brings.ask(&node, &asked)) {
                let said = if method == "HEAD" { "" } else { "MethodNotAllowed" };
                assert_eq!(told(&answer), (405, said.to_owned()), "{method} {path}");
            }
        }
    }
    assert!(all_there_is(&node, &root) == before);
}

#[test]
fn what_is_open_to_everybody_is_read_and_listed_and_no_more() {
    let (node, root) = guarded();
    let opened = node.ask("PUT", "/v1/buckets/docs/public?rights=read,list", &[], b"");
    assert_eq!(opened.status, 200, "{opened:?}");
    let stranger = node.new_key("stranger", &["other:read,write,list,delete,admin"]);
    let nobody = nobody(&node, &root);
    let before = all_there_is(&node, &root);
    for operation in operations() {
        let Some(asks) = needed(&operation) else { continue };
        let asked = Asked::of(&operation, PLACES[0]);
        let is_open = matches!(asks, Asks::Some(Read | List) | Asks::Object(Read | List));
        for (who, brings) in [("nobody", Brings::Nothing), ("a stranger", Brings::Signature(stranger.clone()))] {
            let answer = brings.ask(&node, &asked);
            let is_shown = is_open || (asks == Asks::Known && who != "nobody");
            assert_eq!(answer.status != 403, is_shown, "{who}: {}: {answer:?}", operation.name);
        }
        // Who brings a credential that lets nobody in is refused, also where everybody else may come in.
        for (who, brings, code) in nobody.iter().skip(1) {
            let said = if operation.method == "HEAD" { "" } else { *code };
            assert_eq!(told(&brings.ask(&node, &asked)), (403, said.to_owned()), "{who}: {}", operation.name);
        }
        assert!(all_there_is(&node, &root) == before, "{}", operation.name);
    }
}

#[test]
fn a_list_of_buckets_has_those_that_any_grant_reaches() {
    let (node, _) = guarded();
    for (grant, seen) in [
        ("docs:read", vec!["docs"]),
        ("docs*/else/:delete", vec!["docs", "docs-else", "docs-empty"]),
        ("other:admin", vec!["other"]),
        ("none:read", vec![]),
        ("*:metrics", vec![]),
    ] {
        let key = node.new_key("somebody", &[grant]);
        let list = S3::new(&node, &key).ask("GET", "/", &[], b"");
        assert_eq!(texts(list.text(), "Name"), seen, "{grant}");
    }
}

/// A copy by somebody: status and code.
fn copy(by: &S3<'_>, source: &str, target: &str) -> (u16, String) {
    told(&by.ask("PUT", target, &[("x-amz-copy-source", source)], b""))
}

#[test]
fn a_copy_needs_a_right_on_both_ends_by_the_names_that_they_have_once_decoded() {
    let (node, root) = guarded();
    let all = S3::new(&node, &root);
    for name in ["in/k", "in%2Fk", "in%252Fk", "in k", "in+k"] {
        assert_eq!(all.ask("PUT", &path("other", name), &[], name.as_bytes()).status, 200, "{name}");
    }
    let denied = || (403, "AccessDenied".to_owned());
    let (writer, reader) = (node.new_key("writer", &["docs:write"]), node.new_key("reader", &["other/in/:read"]));
    let both = node.new_key("both", &["docs:write,list", "other/in/:read"]);
    let before = all_there_is(&node, &root);
    // Without a right on the source nothing of it is learned, nor of its conditions.
    let by = S3::new(&node, &writer);
    for source in ["/other/in/k", "/other/in/none", "/none/k", "/docs/k", "/docs/none", "%2Fother%2Fin%2Fk"] {
        assert_eq!(copy(&by, source, "/docs/new"), denied(), "{source}");
        let condition = [("x-amz-copy-source", source), ("x-amz-copy-source-if-none-match", "*")];
        assert_eq!(told(&by.ask("PUT", "/docs/new", &condition, b"")), denied(), "{source}");
    }
    // Nor without one on the target.
    for target in ["/docs/new", "/docs/k", "/docs-new/k", "/other/in/k"] {
        assert_eq!(copy(&S3::new(&node, &reader), "/other/in/k", target), denied(), "{target}");
    }
    assert!(all_there_is(&node, &root) == before);
    let by = S3::new(&node, &both);
    for source in [
        // A key of its own, with an escape in its name.
        "/other/in%252Fk",
        "/other/in%25252Fk",
        "/other/in%20k",
        "/other/in+k",
        "/other/in",
        "/other/IN/k",
        "/other/in/../in/k/../../k",
        "/other/./in/k",
        "/docs/k",
        // Who may not list is not told what is missing.
        "/other/in/none",
    ] {
        assert_eq!(copy(&by, source, "/docs/new"), denied(), "{source}");
    }
    for source in ["/other/in/k", "other/in/k", "/other/in%2Fk", "other%2Fin%2Fk", "%2fother%2fin%2fk"] {
        assert_eq!(copy(&by, source, "/docs/new").0, 200, "{source}");
        assert_eq!(all.ask("GET", "/docs/new", &[], b"").body, b"in/k", "{source}");
    }
}

#[test]
fn nothing_that_was_not_signed_changes_what_a_signature_is_for() {
    let (node, root) = guarded();
    let before = all_there_is(&node, &root);
    let copies = ("x-amz-copy-source", "/docs/k");
    // A source that a link does not fix.
    let put = link(&root, "PUT", "/docs-else/new", &[], now_s());
    assert_eq!(told(&plain(&node, "PUT", &put, &[copies], b"")), (403, "AccessDenied".to_owned()));
    let fixed = link(&root, "PUT", "/docs-else/new", &[("x-amz-copy-source", "/docs/none")], now_s());
    assert_eq!(told(&plain(&node, "PUT", &fixed, &[copies], b"")), (403, "SignatureDoesNotMatch".to_owned()));
    // A header that the signature in the head does not cover, one more of a name that it covers, and another value.
    let asked = [("x-amz-content-sha256", common::s3::UNSIGNED), ("x-amz-meta-b", "1")];
    let signed = S3::new(&node, &root).signed(Conn::HOST, "PUT", "/docs-else/new", &asked);
    let headers: Vec<_> = signed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (more, code) in [(copies, "AccessDenied"), (("x-amz-meta-b", "2"), "SignatureDoesNotMatch")] {
        let all = [&headers[..], &[more]].concat();
        assert_eq!(told(&plain(&node, "PUT", "/docs-else/new", &all, b"")), (403, code.to_owned()), "{more:?}");
    }
    for (method, target) in [
        ("PUT", "/docs-else/other"),
        ("PUT", "/docs-else/new?acl"),
        ("PUT", "/docs-else/new?x-id=PutObject"),
        ("DELETE", "/docs-else/new"),
        ("PUT", "/docs-else/new/"),
        ("PUT", "/docs-else//new"),
        ("PUT", "/docs-else/./new"),
    ] {
        let got = told(&plain(&node, method, target, &headers, b""));
        assert!([403, 501].contains(&got.0), "{method} {target}: {got:?}");
    }
    assert!(all_there_is(&node, &root) == before);
    assert_eq!(plain(&node, "PUT", "/docs-else/new", &headers, b"").status, 200, "as it was signed it counts");
}

#[test]
fn a_name_of_the_store_in_the_target_is_the_one_that_was_signed() {
    let (node, root) = started(&[("BOVEDA_S3_DOMAINS", "s3.example.org")]);
    let s3 = S3::new(&node, &root);
    for (target, body) in [("/docs", &b""[..]), ("/open", b""), ("/docs/open/k", b"kept"), ("/open/k", b"shown")] {
        assert_eq!(s3.ask("PUT", target, &[], body).status, 200);
    }
    let (host, signed) = ("s3.example.org", s3.signed("s3.example.org", "GET", "/open/k", &[]));
    let headers: Vec<_> = signed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let ask = |target: &str| {
        let mut conn = Conn::open(node.s3()).expect("it takes connections");
        conn.ask_at(host, "GET", target, &headers, b"").expect("an answer")
    };
    assert_eq!(ask("/open/k").body, b"shown");
    assert_eq!(ask("http://s3.example.org/open/k").body, b"shown");
    // With another bucket before the name, whatever it looks like.
    for name in ["docs.s3.example.org", "docs.s3.example.org:1@s3.example.org", "x@s3.example.org", "s3.example.org:80"]
    {
        assert_eq!(told(&ask(&format!("http://{name}/open/k"))), (400, "InvalidArgument".to_owned()), "{name}");
    }
}

/// Sends the head of a request with a body, signed, and waits until the body is wanted.
fn begun(node: &Node, key: &Key, method: &str, target: &str, body: &[u8]) -> Conn {
    let mut signed = S3::new(node, key).signed(Conn::HOST, method, target, &[("content-md5", &md5_of(body))]);
    signed.push(("content-length".to_owned(), body.len().to_string()));
    signed.push(("expect".to_owned(), "100-continue".to_owned()));
    let lines: String = signed.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut conn = Conn::open(node.s3()).expect("it takes connections");
    conn.send(format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n{lines}\r\n", Conn::HOST)).expect("it is taken");
    conn
}

#[test]
fn who_is_revoked_while_a_body_is_on_its_way_changes_nothing() {
    let (node, root) = guarded();
    let delete = b"<Delete><Object><Key>k</Key></Object></Delete>";
    let before = all_there_is(&node, &root);
    for (method, target, body) in [
        ("POST", "/docs?delete", &delete[..]),
        ("PUT", "/docs-new", b"<CreateBucketConfiguration/>"),
        ("PUT", "/docs/k", b"another"),
    ] {
        let late = node.new_key("late", &["*:read,write,list,delete,admin"]);
        let mut conn = begun(&node, &late, method, target, body);
        conn.told_to_go_on();
        assert_eq!(node.delete(&format!("/v1/access/{}", late.id)).status, 200);
        conn.send(body).expect("it is taken");
        let answer = conn.answer(false).expect("an answer");
        assert_eq!(told(&answer), (403, "InvalidAccessKeyId".to_owned()), "{method} {target}");
    }
    assert!(all_there_is(&node, &root) == before);
}

#[test]
fn a_document_is_read_once_there_is_room_for_it() {
    let (node, root) = started(&[("BOVEDA_HTTP_IN_FLIGHT_BYTES_MAX", "4MiB"), ("BOVEDA_HTTP_TURN_TIMEOUT", "100ms")]);
    assert_eq!(S3::new(&node, &root).ask("PUT", "/docs", &[], b"").status, 200);
    let large = vec![b' '; 2 << 20];
    let mut held: Vec<Conn> = Vec::new();
    loop {
        let mut conn = begun(&node, &root, "POST", "/docs?delete", &large);
        if !conn.is_told_to_go_on() {
            let answer = conn.answer(false).expect("an answer");
            assert_eq!(told(&answer), (503, "SlowDown".to_owned()));
            break;
        }
        held.push(conn);
        assert!(held.len() < 4, "more is held than there is room for");
    }
}
