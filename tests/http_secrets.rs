//! Secrets are searched where none may stand: in the log at its loudest, in errors, figures, status, the process list,
//! and in what a stranger is told.

mod common;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::cluster::Cluster;
use common::pki::{Ca, FAR};
use common::{Answer, Conn, Key, Node, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const EVERYTHING: &[&str] = &["*:read,write,list,delete,admin,bypass,metrics"];

/// The forms in which a secret of so many bytes could be written down.
fn forms(secret: &[u8]) -> Vec<String> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{secret:?}");
    vec![
        String::from_utf8_lossy(secret).into_owned(),
        hex.to_uppercase(),
        hex,
        BASE64_STANDARD.encode(secret).trim_end_matches('=').to_owned(),
        list.trim_matches(['[', ']']).to_owned(),
    ]
}

/// What may stand nowhere.
struct Secrets(Vec<(String, String)>);

impl Secrets {
    fn add(&mut self, what: &str, secret: &[u8]) {
        self.0.extend(forms(secret).into_iter().filter(|form| form.len() >= 16).map(|form| (what.to_owned(), form)));
    }

    fn add_key(&mut self, what: &str, key: &Key) {
        self.add(what, key.secret.as_bytes());
        let pair = BASE64_STANDARD.encode(format!("{}:{}", key.id, key.secret));
        // Wherever the id ends in it, the rest is the secret.
        self.0.push((what.to_owned(), pair[32..].trim_end_matches('=').to_owned()));
    }

    #[track_caller]
    fn are_not_in(&self, place: &str, text: &[u8]) {
        for (what, form) in &self.0 {
            if let Some(at) = memchr::memmem::find(text, form.as_bytes()) {
                let around = &text[at.saturating_sub(200)..(at + form.len() + 50).min(text.len())];
                panic!("{what} stands in {place}: {}", String::from_utf8_lossy(around));
            }
        }
    }
}

fn whole(answer: &Answer) -> Vec<u8> {
    [format!("{:?}", answer.headers).as_bytes(), &answer.body].concat()
}

/// What the system tells others of a process: its command line.
fn command_line(node: &Node) -> Vec<u8> {
    fs::read(format!("/proc/{}/cmdline", node.pid())).expect("it runs")
}

/// The bytes of the private key behind a PEM.
fn lines_of(pem: &str) -> Vec<String> {
    pem.lines().filter(|line| line.len() >= 16 && !line.starts_with("-----")).map(str::to_owned).collect()
}

#[test]
fn a_node_that_crashes_leaves_no_core_file_behind() {
    // What a node has for a limit it has from whoever starts it.
    let most = getrlimit(Resource::Core).maximum;
    setrlimit(Resource::Core, Rlimit { current: most, maximum: most }).expect("up to the most");
    let node = Node::start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", node.pid())).expect("it runs");
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line");
    assert_eq!(cores.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{cores}");
}

#[test]
fn no_secret_stands_in_log_error_status_figure_or_process_list() {
    let ca = Ca::new("ca");
    let issued = ca.issue(&["localhost"], FAR);
    let mut node = Node::prepared(&[("BOVEDA_NODE_LOG", "trace")], None);
    let file = node.home().join("first.json");
    let generated = Command::new(env!("CARGO_BIN_EXE_boveda")).args(["access", "generate"]).output().expect("it runs");
    fs::write(&file, &generated.stdout).expect("written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).expect("ours");
    node.set("BOVEDA_ACCESS_ROOT_KEY_FILE", file.to_str().expect("UTF-8"));
    node.show(&ca, &issued.place(&node.home().join("tls")));
    node.listen_at("0.0.0.0:0");
    node.begin();
    let root = Key::in_file(&file);
    let mut secrets = Secrets(Vec::new());
    secrets.add_key("the root key", &root);
    secrets.add("the key ring", &fs::read(node.keys().join("kek-0001")).expect("a key file"));
    lines_of(&issued.key).iter().for_each(|line| secrets.add("the key of the certificate", line.as_bytes()));

    eventually("the root key to open", || (node.ask_as(&root, "GET", "/v1/access", b"").status == 200).then_some(()));
    node.ask_by(&root);
    let app = node.new_key("app", &["cargas:read,write"]);
    secrets.add_key("a key", &app);
    let rotated = Key::of(&node.ask("POST", &format!("/v1/access/{}/rotate", app.id), &[], b"").json());
    secrets.add_key("a key that was rotated", &rotated);
    let wrong = Key { secret: "WRONGWRONGWRONGWRONGWRONGWRONGWRONGWRONG".to_owned(), ..app.clone() };
    secrets.add_key("a secret that is wrong", &wrong);

    let basic = |key: &Key| format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", key.id, key.secret)));
    let mut told = Vec::new();
    for credential in [app.bearer(), basic(&app), wrong.bearer(), basic(&wrong), basic(&rotated)] {
        for (method, target) in [
            ("GET", "/v1/objects/cargas/k"),
            ("PUT", "/v1/objects/cargas/k"),
            ("PUT", "/v1/objects/cargas/k?x=y"),
            ("GET", "/v1/objects/other/k"),
            ("GET", "/v1/access"),
            ("GET", "/metrics"),
            ("POST", "/cargar"),
            ("GET", "/descargar/k"),
            ("BREW", "/v1/buckets"),
            ("GET", "/nowhere"),
        ] {
            told.push(node.ask(method, target, &[("Authorization", &credential)], b""));
        }
        // Heads that are none, with it inside.
        let mut conn = node.connect();
        conn.send(format!("GET /v1/buckets HTTP/1.1\r\nHost: x\r\nAuthorization: {credential}\r\nbroken\r\n\r\n"))
            .expect("sent");
        secrets.are_not_in("the answer to a broken head", &conn.rest());
        let in_the_path = node.get(&format!("/v1/objects/cargas/{}", common::escape(&credential)));
        assert_eq!(in_the_path.status, 404);
    }
    for target in [
        "/v1/cluster",
        "/metrics",
        "/readyz",
        "/v1/access",
        "/v1/cluster/members",
        "/v1/cluster/scrub",
        "/openapi.json",
        "/",
    ] {
        told.push(node.get(target));
    }
    told.iter().for_each(|answer| secrets.are_not_in("an answer", &whole(answer)));
    secrets.are_not_in("the command line", &command_line(&node));

    // The commands, which have it from a file or from the environment.
    let url = format!("https://localhost:{}", node.http().port());
    let ca_file = ca.file();
    for (key, code) in [(&root, 0), (&wrong, 1)] {
        let ran = Command::new(env!("CARGO_BIN_EXE_boveda"))
            .args(["access", "list", "--url", &url, "--cacert"])
            .arg(&ca_file)
            .env("BOVEDA_ACCESS_KEY", &key.id)
            .env("BOVEDA_SECRET_KEY", &key.secret)
            .output()
            .expect("it runs");
        assert_eq!(ran.status.code(), Some(code), "{}", String::from_utf8_lossy(&ran.stderr));
        secrets.are_not_in("what a command says", &[ran.stdout, ran.stderr].concat());
    }
    let checked = node.command(&["config", "check"]).env("BOVEDA_SECRET_KEY", &app.secret).output().expect("it runs");
    secrets.are_not_in("what is in force", &[checked.stdout, checked.stderr].concat());
    assert!(node.stop().success());
    let log = node.log();
    assert!(log.contains(" DEBUG ") || log.contains("DEBUG"), "it is loud");
    secrets.are_not_in("the log", log.as_bytes());
    secrets.are_not_in("the data", &all_bytes(&node.data()));
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
fn no_secret_stands_in_the_log_of_a_node_that_hears_of_it_from_others() {
    let mut cluster = Cluster::voting_with(3, &[("BOVEDA_NODE_LOG", "trace")]);
    let root = cluster.nodes[0].new_key("root", EVERYTHING);
    cluster.nodes.iter_mut().for_each(|node| node.ask_by(&root));
    let mut secrets = Secrets(Vec::new());
    secrets.add_key("the root key", &root);
    secrets.add("the key ring", &fs::read(cluster.nodes[0].keys().join("kek-0001")).expect("a key file"));
    for at in 0..3 {
        eventually("the key to open", || (cluster.nodes[at].get("/v1/buckets").status == 200).then_some(()));
        let key = cluster.nodes[at].new_key("app", &["cargas:read"]);
        secrets.add_key("a key", &key);
        assert_eq!(cluster.nodes[at].delete(&format!("/v1/access/{}", key.id)).status, 200);
        cluster.put(at, "k", b"body");
    }
    for at in 0..3 {
        secrets.are_not_in("the status", cluster.status(at).to_string().as_bytes());
        assert!(cluster.nodes[at].log().contains("DEBUG"), "it is loud");
        secrets.are_not_in("the log", cluster.nodes[at].log().as_bytes());
    }
}

#[test]
fn strangers_learn_nothing_but_that_there_is_a_node() {
    let mut node = Node::start();
    assert_eq!(node.put("/v1/buckets/secret-plans", b"").status, 201);
    assert_eq!(node.put("/v1/objects/secret-plans/k", b"x").status, 201);
    let root = node.new_key("root", EVERYTHING);
    node.ask_by(&root);
    let status = node.get("/v1/cluster").json();
    let inside = ["cluster", "incarnation"].map(|name| status[name].as_str().expect("a text").to_owned());
    let home = node.home().to_str().expect("UTF-8").to_owned();
    let stranger = |method: &str, target: &str| {
        Conn::open(node.http()).expect("it is there").ask(method, target, &[], b"").expect("an answer")
    };
    // What there is and what there is not looks the same without a key.
    for (there, not) in [
        ("/v1/objects/secret-plans/k", "/v1/objects/nowhere/k"),
        ("/v1/objects/secret-plans/k", "/v1/objects/secret-plans/none"),
        ("/v1/buckets/secret-plans", "/v1/buckets/nowhere"),
        ("/descargar/k", "/descargar/none"),
        (&*format!("/v1/access/{}", root.id), "/v1/access/ABCDEFGHIJKLMNOPQRST"),
    ] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"] {
            let seen = |target| {
                let mut answer = stranger(method, target);
                answer.headers.retain(|(name, _)| name != "x-request-id" && name != "date");
                answer.headers.sort();
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                // The id of the request stands in the body too.
                let text = text.split("\"request_id\"").next().map(str::to_owned);
                (answer.status, answer.headers, text)
            };
            assert_eq!(seen(there), seen(not), "{method} {there} {not}");
        }
    }
    for target in
        ["/", "/healthz", "/readyz", "/openapi.json", "/v1/buckets", "/metrics", "/v1/cluster", "/nowhere", "*"]
    {
        let answer = stranger(if target == "*" { "OPTIONS" } else { "GET" }, target);
        let all = String::from_utf8(whole(&answer)).expect("text");
        for text in inside.iter().chain([&home, &root.id, &root.secret]) {
            assert!(!all.contains(text.as_str()), "{target}: {text}");
        }
        assert!(!all.contains("secret-plans"), "{target}");
        assert_eq!(answer.header("server"), None, "{target}");
    }
}
