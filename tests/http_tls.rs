//! TLS of the port for clients: who gets a connection, what it is shown, and how a certificate is renewed.

mod common;

use common::pki::{Ca, FAR, Issued, Placed, in_days};
use common::{ANY_PORTS, Conn, DEADLINE, Node, eventually};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// A node that shows a certificate for `localhost`.
fn sealed(ca: &Ca, issued: &Issued, settings: &[(&str, &str)]) -> Node {
    let mut node = Node::prepared(settings, None);
    node.show(ca, &issued.place(&node.home().join("tls")));
    node.begin();
    node
}

/// A connection without TLS, on which nothing was said yet.
fn bare(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.http()).expect("the port is open");
    stream.set_read_timeout(Some(DEADLINE)).expect("it takes one");
    stream
}

/// All that comes until the end; a reset is an end.
fn rest(mut stream: &TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "it stays open");
    }
    rest
}

#[test]
fn objects_travel_over_tls_and_connections_are_kept() {
    let ca = Ca::new("ca");
    let node = sealed(&ca, &ca.issue(&["localhost", "127.0.0.1"], FAR), &[]);
    let big = common::Dice(1).bytes(5 << 20);
    let mut conn = node.connect();
    for round in 0..3 {
        let put = conn.ask("PUT", "/v1/objects/cargas/big", &[], &big).expect("taken");
        put.expect_written(if round == 0 { 201 } else { 200 });
        assert!(conn.ask("GET", "/v1/objects/cargas/big", &[], b"").expect("given").body == big);
        let head = conn.ask("HEAD", "/v1/objects/cargas/big", &[], b"").expect("a head");
        assert_eq!(head.header("content-length"), Some("5242880"));
    }
    let part = conn.ask("GET", "/v1/objects/cargas/big", &[("Range", "bytes=5242879-")], b"").expect("a part");
    assert_eq!((part.status, &part.body[..]), (206, &big[5_242_879..]));

    // A client of somebody else, who is also one of HTTP/1.0, and of HTTP/2 if it could.
    for version in ["--http1.1", "--http1.0", "--http2"] {
        let ran = Command::new("curl")
            .args(["-sS", version, "--cacert"])
            .arg(ca.file())
            .arg(format!("https://127.0.0.1:{}/healthz", node.http().port()))
            .output()
            .expect("curl runs");
        assert_eq!((&ran.stdout[..], String::from_utf8_lossy(&ran.stderr).as_ref()), (&b"ok\n"[..], ""), "{version}");
    }
}

#[test]
fn a_client_that_ends_its_side_still_gets_its_answer() {
    let ca = Ca::new("ca");
    let node = sealed(&ca, &ca.issue(&["localhost"], FAR), &[]);
    node.put("/v1/objects/cargas/k", &[7; 300_000]).expect_written(201);
    let mut conn = node.connect();
    conn.send("GET /v1/objects/cargas/k HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    conn.end_sending();
    assert!(conn.answer(false).expect("an answer").body == [7; 300_000]);
    assert!(conn.rest().is_empty());
}

#[test]
fn what_comes_in_one_piece_with_a_request_is_served_after_it() {
    let ca = Ca::new("ca");
    let node = sealed(&ca, &ca.issue(&["localhost"], FAR), &[]);
    let next = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut conn = node.connect();
    // Wherever the first one ends in the memory that it is read into: what is opened already makes no socket readable.
    for len in 0..8000 {
        let first = next.replace("\r\n\r\n", &format!("\r\nX: {}\r\n\r\n", "a".repeat(len)));
        conn.send([&first, next].concat()).expect("sent");
        for _ in 0..2 {
            let answer = conn.answer(false).unwrap_or_else(|error| panic!("{len}: {error}"));
            assert_eq!((answer.status, answer.text()), (200, "ok\n"), "{len}");
        }
    }
}

#[test]
fn limits_for_an_address_hold_over_tls_and_before_a_handshake() {
    let ca = Ca::new("ca");
    let settings = [("BOVEDA_HTTP_CONNECTIONS_PER_ADDRESS_MAX", "3"), ("BOVEDA_TLS_HANDSHAKE_TIMEOUT", "1min")];
    let node = sealed(&ca, &ca.issue(&["localhost"], FAR), &settings);
    // What the start has asked may take a moment to be gone.
    let mut held = eventually("two places", || {
        let mut two = [node.connect_if_up()?, node.connect_if_up()?];
        two.iter_mut().all(|conn| conn.ask("GET", "/healthz", &[], b"").is_ok()).then_some(two)
    });
    // The third place is taken by one that says nothing; the fourth connection ends, whatever it says.
    let silent = eventually("the third place", || {
        let stream = bare(&node);
        stream.set_nonblocking(true).expect("it can be");
        let mut ended = false;
        let until = Instant::now() + std::time::Duration::from_millis(100);
        while Instant::now() < until && !ended {
            ended = matches!((&stream).read(&mut [0]), Ok(0));
            std::thread::yield_now();
        }
        (!ended).then_some(stream)
    });
    assert!(node.connect_if_up().is_none(), "a fourth one comes to no terms");
    assert!(rest(&bare(&node)).is_empty());
    assert_eq!(held[0].ask("GET", "/healthz", &[], b"").expect("it is served").status, 200);
    drop(silent);
    eventually("the place to be free", || node.connect_if_up());
}

#[test]
fn who_says_nothing_holds_nobody_up() {
    let ca = Ca::new("ca");
    // Longer than anybody waits here.
    let settings = [("BOVEDA_NODE_THREADS", "1"), ("BOVEDA_TLS_HANDSHAKE_TIMEOUT", "5min")];
    let node = sealed(&ca, &ca.issue(&["localhost"], FAR), &settings);
    // More than there are turns for.
    let silent: Vec<TcpStream> = (0..300).map(|_| bare(&node)).collect();
    assert_eq!(node.get("/healthz").status, 200);
    drop(silent);
}

#[test]
fn who_does_not_begin_or_finish_a_handshake_is_hung_up_on() {
    let ca = Ca::new("ca");
    let node = sealed(&ca, &ca.issue(&["localhost"], FAR), &[("BOVEDA_TLS_HANDSHAKE_TIMEOUT", "1s")]);
    let silent = bare(&node);
    // The head of a first record, and no more.
    let mut half = bare(&node);
    half.write_all(&[0x16, 3, 1, 2]).expect("taken");
    for stream in [&silent, &half] {
        assert!(rest(stream).is_empty(), "hung up on, without a word");
    }
    assert_eq!(node.get("/healthz").status, 200);
    drop(Conn::open_with(Some(&Ca::new("another").trust()), node.http()).map(drop).expect_err("nobody's word"));
    bare(&node).write_all(b"GET / HTTP/1.1\r\n\r\n").expect("taken");
    eventually("them to be counted", || {
        let text = node.get("/metrics").text().to_owned();
        let count = |reason: &str| {
            let name = format!("boveda_tls_handshakes_failed_total{{reason=\"{reason}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<u64>().ok()).expect("a counter")
        };
        let counted = count("late") == 2 && count("plain_http") == 1 && count("no_terms") == 1;
        counted.then_some(())
    });
}

#[test]
fn plain_http_to_a_port_with_tls_is_told_so() {
    let ca = Ca::new("ca");
    let node = sealed(&ca, &ca.issue(&["localhost"], FAR), &[]);
    let big = [b"PUT /v1/objects/cargas/k HTTP/1.1\r\nContent-Length: 500000\r\n\r\n", &[b'x'; 500_000][..]].concat();
    for asked in [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".as_slice(), b"P", &big] {
        let mut stream = bare(&node);
        stream.write_all(asked).expect("taken");
        stream.shutdown(Shutdown::Write).expect("ended");
        let answer = String::from_utf8(rest(&stream)).expect("text");
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("\r\ncontent-type: text/plain\r\n"), "{answer}");
        assert!(answer.contains("https://"), "{answer}");
    }
    // What is neither is answered as TLS answers it, or not at all.
    let mut stream = bare(&node);
    stream.write_all(b"\x80\x2e\x01\x00\x02").expect("taken");
    stream.shutdown(Shutdown::Write).expect("ended");
    let told = rest(&stream);
    assert!(told.is_empty() || told[0] == 0x15, "{told:?}");
    assert!(!node.log().contains("panicked"));
}

#[test]
fn tls_to_a_plain_port_fails_at_once_and_fills_no_log() {
    let ca = Ca::new("ca");
    let node = Node::with(&[("BOVEDA_HTTP_HEADER_TIMEOUT", "1min")]);
    let began = node.log();
    for _ in 0..20 {
        let refused = Conn::open_with(Some(&ca.trust()), node.http()).map(drop).expect_err("no TLS there");
        assert!(refused.to_string().contains("does not speak TLS"), "{refused}");
    }
    assert_eq!(node.get("/healthz").status, 200);
    let log = node.log();
    let more = log.strip_prefix(&began).expect("a log only grows");
    assert!(!more.contains("WARN") && !more.contains("ERROR"), "{more}");
}

/// A directory as Kubernetes mounts a Secret: the names lead into one that is exchanged as a whole.
fn mount(dir: &Path, version: u32, issued: &Issued) -> Placed {
    issued.place(&dir.join(format!("..{version}")));
    symlink(format!("..{version}"), dir.join("..next")).expect("linked");
    fs::rename(dir.join("..next"), dir.join("..data")).expect("moved");
    let placed = Placed { cert: dir.join("tls.crt"), key: dir.join("tls.key") };
    if version == 1 {
        symlink("..data/tls.crt", &placed.cert).expect("linked");
        symlink("..data/tls.key", &placed.key).expect("linked");
    }
    placed
}

/// Ends those who go on until then, also when something failed.
struct Ended(Arc<AtomicBool>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn another_certificate_is_shown_without_a_restart_and_no_request_fails() {
    let ca = Ca::new("ca");
    let issued: Vec<Issued> = (0..3).map(|_| ca.issue(&["localhost"], FAR)).collect();
    let mut node = Node::prepared(&[], None);
    let dir = node.home().join("secret");
    fs::create_dir(&dir).expect("a directory");
    node.show(&ca, &mount(&dir, 1, &issued[0]));
    node.begin();
    node.put("/v1/objects/cargas/k", b"value").expect_written(201);
    let mut kept = node.connect();
    assert_eq!(kept.shown(), issued[0].der);
    assert_eq!(kept.ask("GET", "/v1/objects/cargas/k", &[], b"").expect("an answer").text(), "value");

    let (done, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    std::thread::scope(|scope| {
        let _ended = Ended(Arc::clone(&done));
        for on_one in [true, false] {
            let (node, done, served) = (&node, Arc::clone(&done), Arc::clone(&served));
            scope.spawn(move || {
                let mut conn = node.connect();
                while !done.load(Ordering::Relaxed) {
                    if !on_one {
                        conn = node.connect();
                    }
                    let answer = conn.ask("GET", "/v1/objects/cargas/k", &[], b"").expect("an answer");
                    assert_eq!((answer.status, answer.text()), (200, "value"));
                    served.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        // By itself, and when it is told to look.
        for (version, issued, signal) in [(2, &issued[1], false), (3, &issued[2], true)] {
            mount(&dir, version, issued);
            if signal {
                node.signal(rustix::process::Signal::HUP);
            }
            eventually("the new certificate", || (node.connect().shown() == issued.der).then_some(()));
            let before = served.load(Ordering::Relaxed);
            eventually("requests after it", || (served.load(Ordering::Relaxed) > before + 20).then_some(()));
        }
    });
    assert_eq!(kept.ask("GET", "/v1/objects/cargas/k", &[], b"").expect("an answer").text(), "value");
    assert_eq!(node.log().matches("another certificate is shown from now on").count(), 2, "{}", node.log());
    assert!(node.log().contains("expires=2199-01-01T00:00:00Z"));

    // Nothing of it is in memory alone.
    node.kill9();
    node.begin();
    assert_eq!(node.get("/v1/objects/cargas/k").text(), "value");
    assert_eq!(node.connect().shown(), issued[2].der);
}

/// What is wrong with the certificate, by the node itself.
fn finding(node: &Node) -> Option<String> {
    let status = node.get("/v1/cluster").json();
    status.pointer("/readiness/degraded/certificate")?.as_str().map(str::to_owned)
}

#[test]
fn a_pair_that_does_not_fit_changes_nothing_and_is_told() {
    let ca = Ca::new("ca");
    let (first, second) = (ca.issue(&["localhost"], FAR), ca.issue(&["localhost"], FAR));
    let node = sealed(&ca, &first, &[]);
    assert_eq!(finding(&node), None);
    let place = node.home().join("tls");
    Issued { key: second.key.clone(), ..first.clone() }.place(&place);
    node.signal(rustix::process::Signal::HUP);
    let told = eventually("the finding", || finding(&node));
    assert!(told.contains("tls.key does not fit the certificate in"), "{told}");
    let home = node.home().to_str().expect("UTF-8").to_owned();
    let ready = node.get("/readyz");
    assert!(ready.text().contains("does not fit"), "{ready:?}");
    assert!(!ready.text().contains(&home) && !told.contains(&home), "everybody reads that: {told}");
    assert_eq!(node.connect().shown(), first.der);
    assert_eq!(node.log().matches("certificate and key are not taken").count(), 1, "{}", node.log());
    assert!(node.log().contains("WARN"));

    second.place(&place);
    node.signal(rustix::process::Signal::HUP);
    eventually("the new certificate", || (node.connect().shown() == second.der).then_some(()));
    eventually("the finding to be gone", || finding(&node).is_none().then_some(()));
}

#[test]
fn a_certificate_that_ends_soon_or_has_ended_is_a_finding() {
    let ca = Ca::new("ca");
    for (days, said) in [(-2, "has ended on"), (10, "ends in 9 days"), (40, "")] {
        let mut node = Node::prepared(&[], None);
        node.show(&ca, &ca.issue(&["localhost"], &in_days(days)).place(&node.home().join("tls")));
        if days < 0 {
            // No client that looks would ask it: what it says of itself is in its log.
            let child = node.serve().stderr(std::process::Stdio::piped()).spawn();
            let mut child = child.expect("it starts");
            let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().expect("piped")));
            let begins = lines.by_ref().map_while(Result::ok).take_while(|line| !line.contains("] serving "));
            let warned = begins.collect::<Vec<_>>().into_iter().find(|line| line.contains(said));
            child.kill().expect("it runs");
            child.wait().expect("it ends");
            assert!(warned.is_some_and(|line| line.contains("WARN")));
            continue;
        }
        node.begin();
        match finding(&node) {
            None => assert!(said.is_empty()),
            Some(told) => assert!(!said.is_empty() && told.contains(said), "{days}: {told}"),
        }
        assert_eq!(node.log().contains("the certificate of the ports ends"), !said.is_empty());
        let status = node.get("/v1/cluster").json();
        let left = status["certificate"]["expires_in_s"].as_i64().expect("a number");
        assert!((left - days * 86_400).abs() <= 86_400, "{left}");
        let metrics = node.get("/metrics").text().to_owned();
        assert!(metrics.contains("\nboveda_certificate_expires_in_s "), "{metrics}");
    }
}

/// Runs `boveda status` against a port.
fn status(url: &str, args: &[&str], env: Option<&Path>) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_boveda"));
    command.args(["status", "--url", url]).args(args).env_remove("BOVEDA_CACERT");
    if let Some(cacert) = env {
        command.env("BOVEDA_CACERT", cacert);
    }
    let ran = command.output().expect("it runs");
    let text = if ran.status.success() { ran.stdout } else { ran.stderr };
    (ran.status.code().expect("it exits"), String::from_utf8(text).expect("UTF-8"))
}

#[test]
fn commands_believe_whom_they_are_told_to() {
    let (ca, other, namesake) = (Ca::new("ca"), Ca::new("another"), Ca::new("ca"));
    let node = sealed(&ca, &ca.issue(&["localhost", "node.example"], FAR), &[]);
    let port = node.http().port();
    let file = |ca: &Ca| ca.file().to_str().expect("UTF-8").to_owned();
    let (ours, theirs, like_ours) = (file(&ca), file(&other), file(&namesake));
    let by_name = format!("https://localhost:{port}");
    let (code, page) = status(&by_name, &["--cacert", &ours], None);
    assert!(code == 0 && page.starts_with("cluster "), "{page}");
    assert_eq!(status(&by_name, &[], Some(&ca.file())).0, 0, "by the environment");
    for (url, args, part) in [
        (by_name.as_str(), &["--cacert", &theirs][..], "name its authority with --cacert FILE"),
        (&by_name, &["--cacert", &like_ours], "name its authority with --cacert FILE"),
        (&by_name, &[], "--cacert FILE"),
        (&format!("https://127.0.0.1:{port}"), &["--cacert", &ours], "is for somebody else"),
        (&format!("http://localhost:{port}"), &["--cacert", &ours], "this port speaks TLS: use https://"),
        (&by_name, &["--cacert", "/nowhere"], "cannot read /nowhere"),
    ] {
        let (code, said) = status(url, args, None);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains(part) && said.trim_end().lines().count() == 1, "{part}: {said}");
    }
    let plain = Node::start();
    let (code, said) = status(&format!("https://localhost:{}", plain.http().port()), &["--cacert", &ours], None);
    assert!(code == 1 && said.contains("does not speak TLS there: write http://"), "{said}");
}

#[test]
fn a_key_goes_over_tls_and_is_warned_of_where_it_does_not() {
    let ca = Ca::new("ca");
    for sealed in [true, false] {
        let mut node = Node::prepared(&[], None);
        if sealed {
            node.show(&ca, &ca.issue(&["localhost"], FAR).place(&node.home().join("tls")));
        }
        node.begin();
        let key = node.new_key("root", &["*:read,write,list,delete,admin"]);
        let run = |url: &str, secret: &str| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_boveda"));
            command.args(["access", "list", "--url", url, "--cacert"]).arg(ca.file());
            command.env("BOVEDA_ACCESS_KEY", &key.id).env("BOVEDA_SECRET_KEY", secret);
            let ran = command.output().expect("it runs");
            let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
            (ran.status.code().expect("it exits"), text(ran.stdout), text(ran.stderr))
        };
        let (port, wrong) = (node.http().port(), "B".repeat(40));
        // The address of all is no address of loopback, and leads to this machine.
        let (here, there) = match sealed {
            true => (format!("https://localhost:{port}"), format!("https://0.0.0.0:{port}")),
            false => (format!("http://localhost:{port}"), format!("http://0.0.0.0:{port}")),
        };
        let (code, page, said) = run(&here, &key.secret);
        assert_eq!((code, said.as_str()), (0, ""), "{here}");
        assert!(page.contains(&key.id) && !page.contains(&key.secret), "{page}");
        let (code, _, said) = run(&here, &wrong);
        assert!(code == 1 && said.contains("Unauthorized") && !said.contains(&wrong), "{said}");
        let (code, page, said) = run(&there, &key.secret);
        assert!(!said.contains(&key.secret), "{said}");
        if sealed {
            assert!(code == 1 && said.contains("is for somebody else") && !said.contains("warning"), "{said}");
        } else {
            assert!(code == 0 && page.contains(&key.id), "{said}");
            assert!(
                said.starts_with("warning: ") && said.contains("can be read on its way to http://0.0.0.0:"),
                "{said}"
            );
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start_and_the_check() {
    let ca = Ca::new("ca");
    let (one, other) = (ca.issue(&["localhost"], FAR), ca.issue(&["localhost"], FAR));
    let node = Node::prepared(&[], None);
    let placed = Issued { key: other.key, ..one }.place(&node.home().join("tls"));
    let (cert, key) = (placed.cert.to_str().expect("UTF-8"), placed.key.to_str().expect("UTF-8"));
    let run = |command: &[&str], cert: &str, key: &str| {
        let mut command = node.command(command);
        if command.get_args().next().is_some_and(|first| first == "serve") {
            command.args(ANY_PORTS);
        }
        let both = [("--tls-cert", cert), ("--tls-key", key)];
        command.args(both.into_iter().filter(|(_, file)| !file.is_empty()).flat_map(|(flag, file)| [flag, file]));
        command.env("BOVEDA_NODE_LOG", "error").env("BOVEDA_CACERT", "/is/of/clients");
        let ran = command.output().expect("it runs");
        (ran.status.code().expect("it exits"), String::from_utf8(ran.stderr).expect("UTF-8"))
    };
    for (cert, key, part, code) in [
        (cert, "", "flag --tls-cert: tls.cert: there is no tls.key beside it", 2),
        ("", key, "flag --tls-key: tls.key: there is no tls.cert beside it", 2),
        (cert, key, "does not fit the certificate in", 1),
        (cert, "/nowhere", "cannot read /nowhere", 1),
        (key, key, "holds no certificate", 1),
    ] {
        let (got, said) = run(&["serve"], cert, key);
        assert_eq!((got, said.lines().count()), (code, 1), "{said}");
        assert!(said.contains(part), "{part}: {said}");
        let (got, checked) = run(&["config", "check"], cert, key);
        assert_eq!((got, checked), (2, said), "the check says what the start says");
    }
    assert!(!node.data().exists(), "nothing was touched");
}
