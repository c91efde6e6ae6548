//! The audit log of one node: each change has its lines, refusals have theirs, no secret is in them, and what is taken away
//! is found.

mod common;

use common::s3::{S3, link, md5_of, now_s, started};
use common::{Conn, Key, Node, eventually};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Output;

/// A node with a root key, by which it is asked.
fn guarded() -> (Node, Key) {
    let mut node = Node::start();
    let root = node.new_key("root", &["*:read,write,list,delete,admin,bypass,metrics"]);
    node.ask_by(&root);
    (node, root)
}

/// All lines that match, as the node tells them.
fn lines(node: &Node, query: &str) -> Vec<Value> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let more = if query.is_empty() { String::new() } else { format!("&{query}") };
        let page = node.get(&format!("/v1/audit?after={after}&limit=7{more}"));
        assert_eq!(page.status, 200, "{page:?}");
        all.extend(page.json()["lines"].as_array().expect("lines").iter().cloned());
        match page.json()["next"].as_u64() {
            Some(next) => after = next,
            None => return all,
        }
    }
}

fn run(node: &Node, args: &[&str]) -> Output {
    node.command(args).output().expect("the program runs")
}

fn files(node: &Node) -> Vec<PathBuf> {
    let all = fs::read_dir(node.data().join("audit")).expect("a log").flatten().map(|entry| entry.path());
    let mut logs: Vec<_> = all.filter(|path| path.extension().is_some_and(|ext| ext == "log")).collect();
    logs.sort();
    logs
}

/// Every operation of the API that is no read: how it is asked for, and whether it is of an object.
const WRITES: [(&str, &str, &str, &str); 20] = [
    ("PUT", "/v1/buckets/{bucket}", "/v1/buckets/docs", "bucket:create docs"),
    ("PUT", "/v1/buckets/{bucket}/public", "/v1/buckets/docs/public?rights=read", "bucket:open docs"),
    ("DELETE", "/v1/buckets/{bucket}/public", "/v1/buckets/docs/public", "bucket:close docs"),
    ("PUT", "/v1/buckets/{bucket}/quota", "/v1/buckets/docs/quota?objects=9", "bucket:quota docs"),
    ("DELETE", "/v1/buckets/{bucket}/quota", "/v1/buckets/docs/quota", "bucket:quota docs"),
    ("PUT", "/v1/buckets/{bucket}/etag", "/v1/buckets/docs/etag?mode=fast", "bucket:etag docs"),
    ("POST", "/v1/links", "/v1/links", "link:create"),
    ("POST", "/v1/cluster/keys", "/v1/cluster/keys?generation=1", "keys:rotate"),
    ("PUT", "/v1/objects/{bucket}/{key}", "/v1/objects/docs/k", ""),
    ("DELETE", "/v1/objects/{bucket}/{key}", "/v1/objects/docs/k", ""),
    ("POST", "/cargar", "/cargar", ""),
    ("DELETE", "/eliminar/{nombre}", "/eliminar/n", ""),
    ("DELETE", "/v1/buckets/{bucket}", "/v1/buckets/docs", "bucket:delete docs"),
    ("POST", "/v1/access", "/v1/access", "access:create {id}"),
    ("PUT", "/v1/access/{id}", "/v1/access/{id}?state=disabled", "access:set {id}"),
    ("POST", "/v1/access/{id}/rotate", "/v1/access/{id}/rotate", "access:rotate {id}"),
    ("DELETE", "/v1/access/{id}", "/v1/access/{id}", "access:revoke {id}"),
    ("PUT", "/v1/cluster/scrub", "/v1/cluster/scrub?state=paused", "scrub:set"),
    ("PUT", "/v1/cluster/members", "/v1/cluster/members?names=n1", "members:change"),
    ("PUT", "/v1/audit/check", "/v1/audit/check?accept=n1", "audit:accept n1"),
];

#[test]
fn each_operation_that_changes_something_has_its_lines_and_none_has_a_secret() {
    let (node, root) = guarded();
    let document = node.get("/openapi.json").json();
    let mut described = 0;
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("methods").keys().map(|method| method.to_ascii_uppercase()) {
            if ["PUT", "POST", "DELETE", "PATCH"].contains(&method.as_str()) {
                described += 1;
                let has_row = WRITES.iter().any(|(known, template, ..)| *known == method && template == path);
                assert!(has_row, "{method} {path} changes something: nobody has thought of its line");
            }
        }
    }
    assert_eq!(described, WRITES.len(), "the document is read as it is written");
    let (mut id, mut secrets) = (String::new(), vec![root.secret]);
    for (method, _, target, told) in WRITES {
        let body = match target {
            "/v1/access" => json!({ "name": "n", "grants": ["docs:read"] }).to_string(),
            _ => String::new(),
        };
        let answer = node.ask(method, &target.replace("{id}", &id), &[], body.as_bytes());
        if let Some(secret) =
            Some(&answer).filter(|a| a.status < 300 && target.contains("access")).map(|a| a.json()["secret"].clone())
        {
            secrets.extend(secret.as_str().map(str::to_owned));
        }
        if target == "/v1/access" {
            id = answer.json()["id"].as_str().expect("an id").to_owned();
        }
        let request = answer.header("x-request-id").expect("an id").to_owned();
        let of_it: Vec<Value> =
            lines(&node, "").into_iter().filter(|line| line["request"] == request.as_str()).collect();
        if told.is_empty() {
            assert!(of_it.is_empty(), "{method} {target} is of an object: {of_it:?}");
            continue;
        }
        let shown: Vec<String> = of_it
            .iter()
            .map(|line| {
                format!("{} {}", line["action"].as_str().unwrap_or("-"), line["target"].as_str().unwrap_or_default())
            })
            .collect();
        let told = told.replace("{id}", &id);
        assert_eq!(of_it.len(), 2, "{method} {target}: {of_it:?}");
        assert_eq!(shown[1].trim_end(), told, "{method} {target}");
        assert_eq!(of_it[0]["outcome"], "asked");
        let outcome = if answer.status < 300 { "done" } else { "failed" };
        assert_eq!(
            (&of_it[1]["outcome"], &of_it[1]["status"]),
            (&json!(outcome), &json!(answer.status)),
            "{method} {target}"
        );
        assert!(
            of_it.iter().all(|line| line["actor"] == root.id.as_str() && line["address"] == "127.0.0.1"),
            "{of_it:?}"
        );
    }
    let all = lines(&node, "");
    let revoked = all.iter().rfind(|line| line["action"] == "access:revoke").expect("a line");
    assert_eq!(revoked["change"], json!({ "old": { "name": "n", "grants": ["docs:read"] } }));
    let quotas = all.iter().filter(|line| line["action"] == "bucket:quota" && line["outcome"] == "done");
    let [none, nine] = [Value::Null, json!(9)].map(|objects| json!({ "objects": objects, "bytes": null }));
    let changes: Vec<_> = quotas.map(|line| (&line["change"]["old"], &line["change"]["new"])).collect();
    assert_eq!(changes, [(&none, &nine), (&nine, &none)]);
    let etag = all.iter().rfind(|line| line["action"] == "bucket:etag").expect("a line");
    assert_eq!(etag["change"], json!({ "old": "md5", "new": "fast" }));
    assert!(all.iter().any(|line| line["action"] == "node:start"));
    assert_eq!(secrets.len(), 3, "the root's, one that was made, one that was rotated to");
    let text = Value::from(all).to_string();
    for secret in secrets {
        assert!(!text.contains(&secret) && !text.contains(&secret[..20]));
    }
}

#[test]
fn who_is_refused_has_a_line_and_who_does_not_stop_has_a_number() {
    let (node, _) = guarded();
    node.put("/v1/buckets/docs", b"");
    let reader = node.new_key("reader", &["docs:read"]);
    let wrong = Key { secret: "A".repeat(40), ..reader.clone() };
    assert_eq!(node.connect().ask("GET", "/v1/buckets", &[], b"").expect("an answer").status, 401);
    assert_eq!(node.ask_as(&wrong, "PUT", "/v1/objects/docs/k", b"x").status, 401);
    assert_eq!(node.ask_as(&reader, "PUT", "/v1/objects/docs/k?token=sesame", b"x").status, 403);
    assert_eq!(
        node.ask_as(&reader, "GET", "/v1/objects/docs/k", b"").status,
        403,
        "there is none, and it may not know"
    );
    let refused = |action: &str| {
        let one = eventually("its line", || lines(&node, &format!("action={action}")).into_iter().next());
        (one["actor"].clone(), one["claims"].clone(), one["target"].clone(), one["code"].clone())
    };
    assert_eq!(refused("bucket:list"), (json!("anonymous"), Value::Null, Value::Null, json!("Unauthorized")));
    let write = eventually("both", || Some(lines(&node, "action=object:write")).filter(|lines| lines.len() == 2));
    assert_eq!((&write[0]["claims"], &write[0]["actor"]), (&json!(reader.id), &json!("anonymous")));
    assert_eq!((&write[1]["actor"], &write[1]["code"]), (&json!(reader.id), &json!("AccessDenied")));
    assert_eq!(write[1]["target"], "docs/k");
    assert_eq!(refused("object:read").0, json!(reader.id));
    let mut conn = node.connect();
    for _ in 0..100 {
        assert_eq!(conn.ask("GET", "/v1/cluster", &[], b"").expect("an answer").status, 401);
    }
    let counted = |lines: &[Value]| lines.iter().map(|line| line["count"].as_u64().unwrap_or(1)).sum::<u64>();
    let all = eventually("all of them", || {
        let all = [lines(&node, "action=cluster:show"), lines(&node, "action=requests")].concat();
        Some(all).filter(|all| counted(all) == 100)
    });
    assert!(all.len() < 100, "{} lines", all.len());
    let text = Value::from(lines(&node, "")).to_string();
    assert!(!text.contains("sesame") && !text.contains(&wrong.secret) && !text.contains(&reader.secret));
    let status = node.get("/v1/cluster").json()["audit"].clone();
    assert!(status["suppressed"].as_u64() > Some(0) && status["unwritten"] == 0, "{status}");
    let metrics = node.get("/metrics");
    assert!(metrics.text().contains("boveda_audit_suppressed ") && metrics.text().contains("boveda_audit_findings 0"));
}

#[test]
fn who_is_turned_away_at_the_peer_port_has_a_line_and_who_does_not_stop_has_a_number() {
    let node = Node::start();
    for _ in 0..60 {
        let mut stranger = common::Conn::open(node.peer()).expect("it listens");
        let told = stranger.ask("POST", "/peer/v1/hello", &[], b"let me in").expect("an answer");
        assert!(matches!(told.status, 400 | 403), "{told:?}");
    }
    let all = eventually("all of them", || {
        let all = [lines(&node, "action=peer:call"), lines(&node, "action=requests")].concat();
        let counted = all.iter().map(|line| line["count"].as_u64().unwrap_or(1)).sum::<u64>();
        (counted == 60).then_some(all)
    });
    assert!(all.len() < 60, "{} lines", all.len());
    let first = &all[0];
    assert_eq!((&first["actor"], &first["address"]), (&json!("anonymous"), &json!("127.0.0.1")));
    assert_eq!((&first["outcome"], &first["request"]), (&json!("refused"), &Value::Null));
    let code = first["code"].as_str().expect("a reason");
    assert!(["malformed", "protocol"].contains(&code), "{code}");
    // As status has it.
    assert_eq!(node.get("/v1/cluster").json()["gate"]["refused"][0]["reason"], code);
}

#[test]
fn a_link_has_a_line_when_it_is_made_and_when_it_is_refused() {
    let (node, _) = guarded();
    node.put("/v1/buckets/docs", b"");
    let app = node.new_key("app", &["docs:read"]);
    let made = |key: &str, method: &str| {
        let wanted = json!({ "method": method, "bucket": "docs", "key": key, "expires_s": 60 }).to_string();
        node.ask_as(&app, "POST", "/v1/links", wanted.as_bytes())
    };
    let link = made("k", "GET").json();
    assert_eq!(made("w", "PUT").status, 403);
    let target = link["target"].as_str().expect("a target").to_owned();
    let tried = |target: &str| node.connect().ask("GET", target, &[], b"").expect("an answer").status;
    assert_eq!(tried(&target.replace("docs/k", "docs/other")), 403);
    assert_eq!(tried(&target.replace("X-Amz-Expires=60", "X-Amz-Expires=0")), 400, "it is no link, whoever brings it");
    assert_eq!(node.delete(&format!("/v1/access/{}", app.id)).status, 200);
    assert_eq!(tried(&target), 403);
    let of_links: Vec<Value> = lines(&node, "action=link").into_iter().filter(|l| l["outcome"] != "asked").collect();
    let told = |line: &Value| (line["target"].clone(), line["outcome"].clone(), line["actor"].clone());
    assert_eq!(told(&of_links[0]), (json!("docs/k"), json!("done"), json!(app.id)));
    assert_eq!(of_links[0]["change"]["new"], json!({ "method": "GET", "expires": link["expires"] }));
    assert_eq!(told(&of_links[1]), (json!("docs/w"), json!("refused"), json!(app.id)));
    let refused = eventually("both", || Some(lines(&node, "action=object:read")).filter(|lines| lines.len() == 2));
    for (line, target) in refused.iter().zip(["docs/other", "docs/k"]) {
        assert_eq!(told(line), (json!(target), json!("refused"), json!("anonymous")));
        assert_eq!((&line["claims"], &line["code"]), (&json!(app.id), &json!("LinkRefused")), "{line}");
    }
    let text = Value::from(lines(&node, "")).to_string();
    assert!(!text.contains("X-Amz") && !text.contains(&target[target.len() - 64..]), "a signature is in no line");
    assert!(node.get("/metrics").text().contains("boveda_access_refused_total{reason=\"link_refused\"} 2"));
}

#[test]
fn objects_have_lines_where_a_setting_says_so() {
    let mut node = Node::with(&[("BOVEDA_AUDIT_OBJECTS", "true")]);
    let root = node.new_key("root", &["*:read,write,list,admin"]);
    node.ask_by(&root);
    node.put("/v1/buckets/docs", b"");
    assert_eq!(node.put("/v1/objects/docs/k", b"x").status, 201);
    assert_eq!(node.get("/v1/objects/docs/k").status, 200);
    assert_eq!(node.get("/v1/objects/docs/none").status, 404);
    let wanted = json!({ "method": "GET", "bucket": "docs", "key": "k", "expires_s": 60 }).to_string();
    let link = node.ask("POST", "/v1/links", &[], wanted.as_bytes()).json();
    let target = link["target"].as_str().expect("a target");
    assert_eq!(node.connect().ask("GET", target, &[], b"").expect("an answer").status, 200);
    let all = eventually("four lines", || Some(lines(&node, "action=object")).filter(|lines| lines.len() == 4));
    let told = |line: &Value| (line["action"].clone(), line["target"].clone(), line["status"].clone());
    assert_eq!(told(&all[0]), (json!("object:write"), json!("docs/k"), json!(201)));
    assert_eq!(told(&all[1]), (json!("object:read"), json!("docs/k"), json!(200)));
    assert_eq!((told(&all[2]).2, &all[2]["outcome"]), (json!(404), &json!("failed")));
    assert_eq!(told(&all[3]), told(&all[1]));
    assert!(all.iter().all(|line| line["actor"] == root.id.as_str()), "a link is its key's: {all:?}");
    let by_link: Vec<_> = all.iter().map(|line| line["by_link"].clone()).collect();
    assert_eq!(by_link, [Value::Null, Value::Null, Value::Null, json!(true)]);
}

/// What a line says of an object, and how it went.
fn brief(line: &Value) -> String {
    let text = |name: &str| line[name].as_str().unwrap_or("-");
    format!("{} {} {} {}", text("action"), text("target"), text("outcome"), text("code"))
}

#[test]
fn on_the_s3_port_lines_say_what_was_told_and_name_each_object_and_the_source_of_a_copy() {
    for wants_objects in ["false", "true"] {
        let (node, root) = started(&[("BOVEDA_AUDIT_OBJECTS", wants_objects)]);
        let s3 = S3::new(&node, &root);
        for (target, body) in [("/docs", &b""[..]), ("/docs/in/a", b"v"), ("/docs/k", b"v")] {
            assert_eq!(s3.ask("PUT", target, &[], body).status, 200);
        }
        let few = node.new_key("few", &["docs/in/:read,write,delete"]);
        let by = S3::new(&node, &few);
        let each: String = ["in/a", "k"].map(|key| format!("<Object><Key>{key}</Key></Object>")).concat();
        let document = format!("<Delete>{each}</Delete>");
        let md5 = md5_of(document.as_bytes());
        let answers = [
            by.ask("PUT", "/docs/in/b", &[("x-amz-copy-source", "/docs/in/a")], b""),
            by.ask("PUT", "/docs/in/c", &[("x-amz-copy-source", "/docs/k")], b""),
            by.ask("POST", "/docs?delete", &[("content-md5", &md5)], document.as_bytes()),
            Conn::open(node.s3()).expect("a port").ask("GET", "/docs/k", &[], b"").expect("an answer"),
            Conn::open(node.s3())
                .expect("a port")
                .ask("PUT", &link(&root, "PUT", "/docs/x", &[], now_s()), &[("x-amz-meta-a", "1")], b"v")
                .expect("an answer"),
        ];
        assert_eq!(answers.each_ref().map(|answer| answer.status), [200, 403, 200, 403, 403]);
        let ids = answers.map(|answer| answer.header("x-amz-request-id").expect("an id").to_owned());
        let of = |all: &[Value], at: usize| -> Vec<Value> {
            all.iter().filter(|line| line["request"] == ids[at].as_str()).cloned().collect()
        };
        let all = eventually("the last line", || Some(lines(&node, "")).filter(|all| !of(all, 4).is_empty()));
        let told = |at: usize| of(&all, at).iter().map(brief).collect::<Vec<_>>();
        assert_eq!(told(1), ["object:write docs/in/c refused AccessDenied"]);
        assert_eq!(told(3), ["object:read docs/k refused AccessDenied"]);
        assert_eq!(of(&all, 3)[0]["status"], json!(403), "as it was told on that port");
        assert_eq!(told(4), ["object:write docs/x refused AccessDenied"]);
        let refused = "object:delete docs/k refused AccessDenied";
        if wants_objects == "false" {
            assert_eq!((told(0), told(2)), (vec![], vec![refused.to_owned()]));
            continue;
        }
        assert_eq!(
            (told(0), told(2)),
            (
                vec!["object:write docs/in/b done -".into()],
                vec!["object:delete docs/in/a done -".into(), refused.to_owned()]
            )
        );
        let source = |at: usize| of(&all, at)[0]["change"]["new"]["source"].clone();
        assert_eq!((source(0), source(1)), (json!("docs/in/a"), json!("docs/k")));
    }
}

#[test]
fn what_was_answered_is_there_after_kill_9_and_the_log_is_whole() {
    let mut node = Node::start();
    let mut answered = Vec::new();
    for round in 0..4 {
        let address = node.http();
        let clients: Vec<_> = (0..4)
            .map(|client| {
                std::thread::spawn(move || {
                    let mut done = Vec::new();
                    let Ok(mut conn) = common::Conn::open(address) else { return done };
                    for n in 0.. {
                        let name = format!("b-{round}-{client}-{n}");
                        match conn.ask("PUT", &format!("/v1/buckets/{name}"), &[], b"") {
                            Ok(answer) if answer.status == 201 => done.push(name),
                            _ => break,
                        }
                    }
                    done
                })
            })
            .collect();
        eventually("some lines", || {
            let status = node.get("/v1/cluster").json();
            (status["audit"]["lines"].as_u64() > Some(40)).then_some(())
        });
        node.kill9();
        answered.extend(clients.into_iter().flat_map(|client| client.join().expect("it ends")));
        let verified = run(&node, &["verify"]);
        let text = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(verified.status.success() && text.contains("; 0 findings"), "{text}");
        node.begin();
    }
    assert!(answered.len() > 40, "{} changes", answered.len());
    let mut done: BTreeMap<String, bool> = BTreeMap::new();
    for line in lines(&node, "action=bucket:create") {
        let name = line["target"].as_str().expect("a name").to_owned();
        *done.entry(name).or_default() |= line["outcome"] == "done";
    }
    let lost: Vec<_> = answered.iter().filter(|name| done.get(*name) != Some(&true)).collect();
    assert!(lost.is_empty(), "answered, and without a line: {lost:?}");
    assert!(lines(&node, "action=node:start").len() == 5 && lines(&node, "action=node:stop").is_empty());
    assert!(node.stop().success());
    let shown = run(&node, &["audit", "show", "--offline", "--action", "node:stop", "--json"]);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let line: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("one line: {error}: {text}"));
    assert_eq!((&line["actor"], &line["outcome"]), (&json!("node"), &json!("done")));
}

#[test]
fn what_is_taken_away_or_changed_is_found_by_verify() {
    let (mut node, root) = guarded();
    for n in 0..4 {
        node.put(&format!("/v1/buckets/docs-{n}"), b"");
    }
    let url = format!("http://{}", node.http());
    let asked = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_boveda"));
        command
            .args(args)
            .args(["--url", &url])
            .env("BOVEDA_ACCESS_KEY", &root.id)
            .env("BOVEDA_SECRET_KEY", &root.secret);
        let output = command.output().expect("the program runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = asked(&["audit", "check"]);
    assert!(code == Some(0) && text.contains("nothing is missing"), "{text}");
    let (code, text) = asked(&["audit", "show", "--since", "1h", "--action", "bucket", "--actor", &root.id]);
    assert_eq!((code, text.lines().count()), (Some(0), 8), "{text}");
    assert_eq!(asked(&["audit", "show", "--until", "2020-01-01"]), (Some(0), String::new()));
    let busy = run(&node, &["audit", "show", "--offline"]);
    assert_eq!(busy.status.code(), Some(11), "a node uses it");
    assert!(node.stop().success());
    assert!(run(&node, &["verify"]).status.success());
    let [file] = &files(&node)[..] else { panic!("one file") };
    let whole = fs::read(file).expect("a file");
    let cases: [(&str, Vec<u8>); 3] = [
        ("a byte", whole.iter().enumerate().map(|(at, byte)| if at == 2_000 { byte ^ 1 } else { *byte }).collect()),
        ("a piece", [&whole[..1_900], &whole[2_100..]].concat()),
        ("the end", whole[..whole.len() - 300].to_vec()),
    ];
    for (what, bytes) in cases {
        fs::write(file, bytes).expect("it is written");
        let verified = run(&node, &["verify"]);
        let text = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(verified.status.code() == Some(3) && text.contains("AUDIT "), "{what}: {text}");
    }
    fs::remove_file(file).expect("a file");
    assert_eq!(run(&node, &["verify"]).status.code(), Some(3), "all of it");
    fs::write(file, &whole[..whole.len() - 300]).expect("it is written");
    node.begin();
    let ready = eventually("it to say so", || {
        let ready = node.get("/readyz").json();
        ready["degraded"]["audit"].is_string().then_some(ready)
    });
    assert!(ready["degraded"]["audit"].as_str().is_some_and(|why| why.contains("boveda audit check")), "{ready}");
    assert_eq!(node.put("/v1/buckets/docs-9", b"").status, 201, "the node serves, and the log goes on");
}
