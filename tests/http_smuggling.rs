//! Requests that are two, or none, or never end: heads that servers read in different ways, credentials that are odd,
//! bodies that are cut off or go on for ever. Nobody gets in by one, and nobody is held up.

mod common;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use common::{Conn, Key, Node, eventually};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

/// Far more than a refused sender is listened to.
const LONGEST: Duration = Duration::from_secs(30);
const GUARDED: &str = "what nobody without a key may read";

/// A node with a root key, by which it is asked, and an object.
fn guarded(settings: &[(&str, &str)]) -> (Node, Key) {
    let mut node = Node::with(settings);
    assert_eq!(node.put("/v1/objects/cargas/k", GUARDED.as_bytes()).status, 201);
    let root = node.new_key("root", &["*:read,write,list,delete,admin,bypass,metrics"]);
    node.ask_by(&root);
    (node, root)
}

/// All that the node says to these bytes, until it closes.
fn said(node: &Node, bytes: &[u8]) -> String {
    let mut conn = node.connect();
    let _ = conn.send(bytes);
    conn.end_sending();
    String::from_utf8_lossy(&conn.rest()).into_owned()
}

#[test]
fn odd_credentials_let_nobody_in_and_are_told_the_same() {
    let (node, root) = guarded(&[]);
    let (id, secret) = (&root.id, &root.secret);
    let basic = |text: &[u8]| format!("Basic {}", BASE64_STANDARD.encode(text)).into_bytes();
    let pair = format!("{id}:{secret}");
    let odd: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b" ".to_vec(),
        b"Basic".to_vec(),
        b"Basic ".to_vec(),
        b"Bearer ".to_vec(),
        b"Basic =".to_vec(),
        b"Basic ====".to_vec(),
        basic(b""),
        basic(b":"),
        basic(id.as_bytes()),
        basic(format!("{id}{secret}").as_bytes()),
        basic(format!("{id}:").as_bytes()),
        basic(format!(":{secret}").as_bytes()),
        basic(format!("{pair}\n").as_bytes()),
        basic(format!(" {pair}").as_bytes()),
        basic(format!("{pair}\0").as_bytes()),
        basic(format!("{pair}:").as_bytes()),
        basic("\u{f1}:\u{f1}".as_bytes()),
        basic(pair.to_lowercase().as_bytes()),
        format!("Basic {pair}").into_bytes(),
        format!("Bearer {id} {secret}").into_bytes(),
        format!("Bearer {id}. {secret}").into_bytes(),
        format!("Bearer {id} .{secret}").into_bytes(),
        format!("Bearer {id}.{secret} x").into_bytes(),
        format!("Bearer \"{id}.{secret}\"").into_bytes(),
        format!("Bearer {id}.{secret},Bearer {id}.{secret}").into_bytes(),
        format!("Bearer={id}.{secret}").into_bytes(),
        format!("Digest username=\"{id}\", response=\"{secret}\"").into_bytes(),
        [b"Bearer ", "\u{f1}".repeat(60).as_bytes()].concat(),
        [b"Bearer \xff\xfe\xfd", pair.as_bytes()].concat(),
        [b"Bearer ", &[b'A'; 60_000][..]].concat(),
        basic(&[b'A'; 40_000]),
    ];
    let mut told = std::collections::BTreeSet::new();
    for value in &odd {
        let head = b"GET /v1/objects/cargas/k HTTP/1.1\r\nHost: boveda\r\nAuthorization: ";
        let mut conn = node.connect();
        conn.send([&head[..], value, b"\r\n\r\n"].concat()).expect("taken");
        let answer = conn.answer(false).expect("an answer");
        told.insert(answer.expect_error(401, "Unauthorized"));
    }
    assert_eq!(told.len(), 1, "{told:?}");
    // What is wrong with the form of a signature depends on no secret, and is told as it is.
    let malformed = format!("AWS4-HMAC-SHA256 Credential={id}/x, Signature={secret}");
    node.ask("GET", "/v1/objects/cargas/k", &[("authorization", &malformed)], b"")
        .expect_error(400, "InvalidAuthorization");
    let both = format!("Authorization: {}\r\nAuthorization: Bearer {id}.{}\r\n", root.bearer(), "B".repeat(40));
    for twice in [both.clone(), format!("Authorization: {0}\r\nauthorization: {0}\r\n", root.bearer())] {
        let answer = said(&node, format!("GET /v1/objects/cargas/k HTTP/1.1\r\nHost: x\r\n{twice}\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 401 ") && !answer.contains(GUARDED), "{answer}");
    }
    for elsewhere in ["Proxy-Authorization", "X-Authorization", "Cookie", "X-Forwarded-User", "X-Original-URL"] {
        node.connect()
            .ask("GET", "/v1/objects/cargas/k", &[(elsewhere, &root.bearer())], b"")
            .expect("an answer")
            .expect_error(401, "Unauthorized");
    }
    for good in
        [root.bearer().replace("Bearer ", "bearer   "), String::from_utf8(basic(pair.as_bytes())).expect("text")]
    {
        assert_eq!(node.ask("GET", "/v1/objects/cargas/k", &[("authorization", &good)], b"").text(), GUARDED);
    }
}

/// Heads that one server reads so and another one otherwise.
fn two_faced() -> Vec<Vec<u8>> {
    let inner = "GET /v1/objects/cargas/k HTTP/1.1\r\nHost: x\r\n\r\n";
    let len = inner.len();
    let put = |headers: &str, body: &str| {
        format!("PUT /v1/objects/cargas/odd HTTP/1.1\r\nHost: x\r\n{headers}\r\n\r\n{body}").into_bytes()
    };
    vec![
        put(&format!("Content-Length: {len}\r\nTransfer-Encoding: chunked"), &format!("0\r\n\r\n{inner}")),
        put(&format!("Transfer-Encoding: chunked\r\nContent-Length: {len}"), &format!("0\r\n\r\n{inner}")),
        put(&format!("Content-Length: 0\r\nContent-Length: {len}"), inner),
        put(&format!("Content-Length: 0, {len}"), inner),
        put("Content-Length: 0x10", inner),
        put("Content-Length : 0", inner),
        put("Content-Length:\r\n 0", inner),
        put("Transfer-Encoding : chunked", &format!("0\r\n\r\n{inner}")),
        put("Transfer-Encoding: xchunked", &format!("0\r\n\r\n{inner}")),
        put("Transfer-Encoding: chunked, identity", &format!("0\r\n\r\n{inner}")),
        put("Transfer-Encoding: identity, chunked", &format!("0\r\n\r\n{inner}")),
        put("Transfer-Encoding:\x0bchunked", &format!("0\r\n\r\n{inner}")),
        put("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", &format!("0\r\n\r\n{inner}")),
        put("Transfer-Encoding: chunked", &format!("0\n\n{inner}")),
        put("Transfer-Encoding: chunked", &format!("0 \r\nX: y\r\n{inner}")),
        put("Transfer-Encoding: chunked", &format!("-1\r\n{inner}")),
        put("Transfer-Encoding: chunked", &format!("0x0\r\n\r\n{inner}")),
        put("Transfer-Encoding: chunked", &format!("10000000000000000\r\n{inner}")),
        put("X: a\rTransfer-Encoding: chunked", &format!("0\r\n\r\n{inner}")),
        put("X: a\0b", inner),
        put("Expect: 100-continue\r\nContent-Length: 1000", inner),
        put("Connection: Content-Length\r\nContent-Length: 0", ""),
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n{inner}").into_bytes(),
        format!("GET /healthz\r\n\r\n{inner}").into_bytes(),
        format!("GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n{inner}").into_bytes(),
        format!("GET /healthz HTTP/1.1\nHost: x\n\n{inner}").into_bytes(),
        format!("GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n{inner}").into_bytes(),
        format!("GET /healthz HTTP/1.1 \r\nHost: x\r\n\r\n{inner}").into_bytes(),
        format!("CONNECT 127.0.0.1:5002 HTTP/1.1\r\nHost: x\r\n\r\n{inner}").into_bytes(),
        format!("GET http://x/healthz HTTP/1.1\r\nHost: y\r\n\r\n{inner}").into_bytes(),
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n{inner}").into_bytes(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
    ]
}

#[test]
fn whatever_a_head_is_taken_for_nothing_comes_of_it_without_a_key() {
    let (node, root) = guarded(&[("BOVEDA_HTTP_IDLE_TIMEOUT", "2s")]);
    for bytes in two_faced() {
        let answer = said(&node, &bytes);
        let shown = || format!("{} -> {answer}", bytes.escape_ascii());
        assert!(!answer.contains(GUARDED), "{}", shown());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1."), "{}", shown());
        // At most one answer is for who needs no key: all else is refused.
        let statuses: Vec<&str> = answer.match_indices("HTTP/1.").map(|(at, _)| &answer[at + 9..at + 12]).collect();
        assert!(statuses.len() <= 2 && statuses.iter().skip(1).all(|s| s.starts_with('4')), "{}", shown());
        assert!(!statuses.iter().any(|status| status.starts_with('5')), "{}", shown());
    }
    node.get("/v1/objects/cargas/odd").expect_error(404, "NoSuchKey");
    // A key opens what comes with it, and nothing that stands behind it on its connection.
    let own = format!("GET /v1/objects/cargas/k HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n\r\n", root.bearer());
    let behind = "GET /v1/objects/cargas/k HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut conn = node.connect();
    conn.send([own.as_str(), behind].concat()).expect("sent");
    assert_eq!(conn.answer(false).expect("an answer").text(), GUARDED);
    conn.answer(false).expect("an answer").expect_error(401, "Unauthorized");
    assert!(!node.log().contains("panicked"));
}

#[test]
fn heads_beyond_all_measure_are_refused_before_anybody_is_asked() {
    let (node, root) = guarded(&[]);
    let line = |text: String| format!("GET /v1/objects/cargas/k HTTP/1.1\r\nHost: x\r\n{text}\r\n");
    for (what, head) in [
        ("one header", line(format!("X: {}\r\n", "a".repeat(300_000)))),
        ("many headers", line("a: b\r\n".repeat(5_000))),
        ("a credential", line(format!("Authorization: Bearer {}\r\n", "A".repeat(300_000)))),
        ("a name", line(format!("{}: b\r\n", "a".repeat(300_000)))),
        ("a path", format!("GET /v1/objects/cargas/{} HTTP/1.1\r\nHost: x\r\n\r\n", "k".repeat(300_000))),
        ("a query", format!("GET /v1/objects/cargas?{} HTTP/1.1\r\nHost: x\r\n\r\n", "a=b&".repeat(80_000))),
        ("a method", format!("{} / HTTP/1.1\r\nHost: x\r\n\r\n", "G".repeat(300_000))),
    ] {
        let answer = said(&node, head.as_bytes());
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
    }
    assert_eq!(node.ask_as(&root, "GET", "/v1/objects/cargas/k", b"").text(), GUARDED);
}

/// Sends a piece again and again until the node hangs up; what it said.
fn endless(node: &Node, what: &str, head: &str, piece: &[u8]) -> String {
    let mut conn = node.connect();
    conn.send(head).expect("sent");
    let began = Instant::now();
    while conn.send(piece).is_ok() {
        assert!(began.elapsed() < LONGEST, "it takes whatever comes: {what}");
    }
    // What it said may be lost with the reset that ended it.
    String::from_utf8_lossy(&conn.rest()).into_owned()
}

#[test]
fn what_never_ends_is_ended_and_leaves_nothing() {
    // Bytes that are none of a body count as silence.
    let settings =
        [("BOVEDA_HTTP_BODY_MAX", "1MiB"), ("BOVEDA_HTTP_HEADER_TIMEOUT", "2s"), ("BOVEDA_HTTP_IDLE_TIMEOUT", "2s")];
    let (node, root) = guarded(&settings);
    let bearer = root.bearer();
    let put = format!("PUT /v1/objects/cargas/endless HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\n");
    let chunked = format!("{put}Transfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"10000\r\n", &[b'x'; 0x10000][..], b"\r\n"].concat();
    let form = format!(
        "POST /cargar HTTP/1.1\r\nHost: x\r\nAuthorization: {bearer}\r\nTransfer-Encoding: chunked\r\n\
         Content-Type: multipart/form-data; boundary=X\r\n\r\n"
    );
    for (what, head, piece) in [
        ("a chunked body", chunked.clone(), chunk.clone()),
        ("a body without a key", chunked.replace(&bearer, "Bearer x"), chunk.clone()),
        ("one chunk", format!("{chunked}7fffffffffffffff\r\n"), vec![b'x'; 0x10000]),
        ("a form without a boundary", form, chunk),
        ("the extension of a chunk", format!("{chunked}5;"), vec![b'a'; 0x10000]),
        ("a trailer", format!("{chunked}0\r\nX: "), vec![b'a'; 0x10000]),
        ("trailers", format!("{chunked}0\r\n"), b"a: b\r\n".repeat(8_000)),
        ("a head", put.clone(), b"a: b\r\n".repeat(8_000)),
        ("a line of a head", format!("{put}X: "), vec![b'a'; 0x10000]),
        ("a request line", "GET /".to_owned(), vec![b'a'; 0x10000]),
        (
            "a document",
            put.replace("PUT /v1/objects/cargas/endless", "POST /v1/access") + "Transfer-Encoding: chunked\r\n\r\n",
            [b"10000\r\n", &[b' '; 0x10000][..], b"\r\n"].concat(),
        ),
    ] {
        let answer = endless(&node, what, &head, &piece);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
    }
    node.get("/v1/objects/cargas/endless").expect_error(404, "NoSuchKey");
    eventually("nothing staged to be left", || node.files_in("staged").is_empty().then_some(()));
    assert!(!node.log().contains("panicked"));
}

#[test]
fn what_is_cut_off_leaves_nothing() {
    let (node, root) = guarded(&[]);
    let head = |route: &str, headers: &str| {
        format!("{route} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n{headers}\r\n\r\n", root.bearer())
    };
    let multipart =
        "--X\r\nContent-Disposition: form-data; name=\"archivo\"; filename=\"cut\"\r\n\r\nbytes\r\n--X--\r\n";
    let form = format!("Content-Type: multipart/form-data; boundary=X\r\nContent-Length: {}", multipart.len());
    let document = r#"{"name": "cut", "grants": ["*:admin"]}"#;
    for (whole, body) in [
        (head("PUT /v1/objects/cargas/cut", "Content-Length: 300000"), "x".repeat(300_000)),
        (head("PUT /v1/objects/cargas/cut", "Transfer-Encoding: chunked"), "5\r\nbytes\r\n0\r\n\r\n".to_owned()),
        (head("POST /cargar", &form), multipart.to_owned()),
        (head("POST /v1/access", &format!("Content-Length: {}", document.len())), document.to_owned()),
    ] {
        for end in [0, 1, body.len() / 2, body.len() - 1] {
            let answer = said(&node, [whole.as_bytes(), &body.as_bytes()[..end]].concat().as_slice());
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{whole} {end}: {answer}");
        }
    }
    for left in ["/v1/objects/cargas/cut", "/descargar/cut"] {
        node.get(left).expect_error(404, "NoSuchKey");
    }
    assert_eq!(node.get("/v1/access").json()["keys"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_slow_head_is_given_its_time_and_no_more() {
    let (node, _) = guarded(&[("BOVEDA_HTTP_HEADER_TIMEOUT", "1s")]);
    let mut slow = node.connect();
    let began = Instant::now();
    slow.send("GET /v1/objects/cargas/k HTTP/1.1\r\n").expect("sent");
    // A byte now and then keeps no connection.
    let ended = loop {
        if let Err(error) = slow.send("a") {
            break error;
        }
        assert!(began.elapsed() < common::DEADLINE, "it is held for as long as its client likes");
        std::thread::park_timeout(Duration::from_millis(50));
    };
    assert!(matches!(ended.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{ended}");
    assert!(Conn::open(node.http()).is_ok());
}
