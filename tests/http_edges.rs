//! What clients do wrong, by accident or on purpose.

mod common;

use common::{Conn, Dice, Node, eventually};
use std::time::{Duration, Instant};

fn nothing_is_left(node: &Node, path: &str) {
    node.get(path).expect_error(404, "NoSuchKey");
    eventually("the staged files to go", || node.files_in("staged").is_empty().then_some(()));
    eventually("the permits to come back", || (metric(node, "boveda_budget_bytes") == Some(0.0)).then_some(()));
}

fn metric(node: &Node, name: &str) -> Option<f64> {
    let text = node.get("/metrics").text().to_owned();
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_client_that_leaves_in_mid_upload_leaves_nothing() {
    for node in Node::on_both_wires(&[]) {
        let path = "/v1/objects/cargas/left";
        for announced in ["Content-Length: 5000000", "Content-Length: 5000", "Transfer-Encoding: chunked"] {
            for politely in [false, true] {
                let mut conn = node.connect();
                let chunk_head = if announced.starts_with('T') { "100000\r\n" } else { "" };
                conn.send(format!("PUT {path} HTTP/1.1\r\nHost: x\r\n{announced}\r\n\r\n{chunk_head}")).unwrap();
                let most = if announced.ends_with("5000") { 4999 } else { 1_000_000 };
                conn.send(vec![7; most]).unwrap();
                if politely {
                    // The sending side ends, so an answer could still be read; there may be one or none.
                    conn.end_sending();
                    if let Ok(answer) = conn.answer(false) {
                        answer.expect_error(400, "IncompleteBody");
                    }
                }
                drop(conn);
                nothing_is_left(&node, path);
            }
        }
    }
}

#[test]
fn a_silent_sender_gets_408_and_leaves_nothing() {
    for node in Node::on_both_wires(&[("BOVEDA_HTTP_IDLE_TIMEOUT", "300ms")]) {
        let path = "/v1/objects/cargas/silent";
        let mut refused = Vec::new();
        for (head, some) in [
            ("Content-Length: 10", &b"12345"[..]),
            ("Content-Length: 10", b""),
            ("Content-Length: 10000000", b"12345"),
            ("Transfer-Encoding: chunked", b"5\r\n12345\r\n"),
        ] {
            let mut conn = node.connect();
            conn.send(format!("PUT {path} HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n")).unwrap();
            conn.send(some).unwrap();
            let answer = conn.answer(false).unwrap();
            answer.expect_error(408, "RequestTimeout");
            assert_eq!(answer.header("connection"), Some("close"), "{head}");
            refused.push(conn);
            nothing_is_left(&node, path);
        }
        for mut conn in refused {
            assert!(conn.rest().is_empty(), "closed after a while of listening");
        }
        // A slow sender is not a silent one.
        let mut conn = node.connect();
        conn.send(format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n")).unwrap();
        for byte in *b"123456" {
            let until = Instant::now() + Duration::from_millis(100);
            while Instant::now() < until {
                std::thread::park_timeout(until - Instant::now());
            }
            conn.send([byte]).unwrap();
        }
        conn.answer(false).unwrap().expect_written(201);
    }
}

#[test]
fn bodies_beyond_the_limit_are_refused() {
    let node = Node::with(&[("BOVEDA_HTTP_BODY_MAX", "1MiB")]);
    let path = "/v1/objects/cargas/large";
    node.put(path, &vec![1; 1 << 20]).expect_written(201);
    node.delete(path).expect_written(204);

    // Announced: refused before a byte is read, and the answer arrives though the body is being sent.
    let mut conn = node.connect();
    conn.send(format!("PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1048577\r\n\r\n")).unwrap();
    let answer = conn.answer(false).unwrap();
    answer.expect_error(413, "EntityTooLarge");
    assert_eq!(answer.header("connection"), Some("close"));
    node.ask("PUT", path, &[], &vec![1; 8 << 20]).expect_error(413, "EntityTooLarge");
    let form = common::form(&[common::file_part("archivo", "large", &vec![1; 2 << 20])]);
    let answer = node.ask("POST", "/cargar", &[("Content-Type", common::FORM)], &form);
    assert!(answer.expect_error(413, "EntityTooLarge").contains("mayor"));

    // Counted.
    let mut conn = node.connect();
    conn.send(format!("PUT {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")).unwrap();
    let chunk = [b"10000\r\n", &[2; 65_536][..], b"\r\n"].concat();
    for _ in 0..17 {
        conn.send(&chunk).unwrap();
    }
    conn.answer(false).unwrap().expect_error(413, "EntityTooLarge");
    nothing_is_left(&node, path);
}

#[test]
fn bodies_that_are_not_what_they_say() {
    let node = Node::start();
    for (head, body) in [
        ("Content-Length: 5\r\nContent-Length: 6", "123456"),
        ("Content-Length: 5\r\nContent-Length: 5", "12345"),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
        ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n"),
        ("Content-Length: -1", ""),
        ("Content-Length: +5", "12345"),
        ("Content-Length: 5x", "12345"),
        ("Content-Length: 99999999999999999999999", "12345"),
        ("Transfer-Encoding: chunked", "zz\r\n12345\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "5\r\n1234567890\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "ffffffffffffffffff\r\n1"),
    ] {
        let mut conn = node.connect();
        conn.send(format!("PUT /v1/objects/cargas/odd HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n{body}")).unwrap();
        conn.end_sending();
        // Heads that are not HTTP are refused below our routes: a 400, then the end.
        assert_eq!(conn.head().unwrap().status, 400, "{head}: {body}");
        drop(conn);
        nothing_is_left(&node, "/v1/objects/cargas/odd");
    }
}

#[test]
fn expect_and_pipelining() {
    for node in Node::on_both_wires(&[]) {
        let mut conn = node.connect();
        conn.send("PUT /v1/objects/cargas/e HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
            .unwrap();
        conn.told_to_go_on();
        conn.send("abc").unwrap();
        conn.answer(false).unwrap().expect_written(201);

        let get = "GET /v1/objects/cargas/e HTTP/1.1\r\nHost: x\r\n\r\n";
        let put = "PUT /v1/objects/cargas/e HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz";
        conn.send([get, put, get, "GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", get].concat()).unwrap();
        assert_eq!(conn.answer(false).unwrap().text(), "abc");
        conn.answer(false).unwrap().expect_written(200);
        assert_eq!(conn.answer(false).unwrap().text(), "xyz");
        conn.answer(false).unwrap().expect_error(404, "NoSuchRoute");
        assert_eq!(conn.answer(false).unwrap().text(), "xyz");
    }
}

#[test]
fn answers_come_in_step_whatever_is_sent_behind_a_request() {
    for node in Node::on_both_wires(&[]) {
        node.put("/v1/objects/cargas/t", b"0123456789").expect_written(201);
        let big = Dice(8).bytes(300_000);
        node.put("/v1/objects/cargas/big", &big).expect_written(201);
        let line = |method: &str, name: &str, version: &str| {
            format!("{method} /v1/objects/cargas/{name} HTTP/{version}\r\nHost: x\r\n\r\n")
        };
        let (get, head) = (line("GET", "t", "1.1"), line("HEAD", "t", "1.1"));
        let none = line("HEAD", "none", "1.1");
        let put = "PUT /v1/objects/cargas/p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nxyz".to_owned();
        let chunked = "PUT /v1/objects/cargas/p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n\
                   4;e\r\nGET \r\n0\r\nA: b\r\n\r\n"
            .to_owned();
        let large = line("GET", "big", "1.1");
        for order in [
            vec![&get, &head],
            vec![&head, &get],
            vec![&none, &get, &head, &head, &get],
            vec![&large, &head, &large, &none, &get],
            vec![&chunked, &head, &put, &head, &get, &chunked, &head],
        ] {
            let all: String = order.iter().map(|request| request.as_str()).collect();
            // In one piece, and in pieces that end anywhere.
            for pieces in [all.len(), 1, 7, 61] {
                let mut conn = node.connect();
                for piece in all.as_bytes().chunks(pieces) {
                    conn.send(piece).unwrap();
                }
                for request in &order {
                    let to_head = request.starts_with("HEAD");
                    let answer = conn.answer(to_head).unwrap();
                    let wanted: (u16, &[u8]) = match request {
                        r if **r == none => (404, b""),
                        r if to_head || r.starts_with("PUT") => (answer.status, b""),
                        r if **r == large => (200, &big),
                        _ => (200, b"0123456789"),
                    };
                    assert!(answer.status == wanted.0 && answer.body == wanted.1, "{request}: {}", answer.status);
                    assert!(answer.status == 404 || answer.status / 100 == 2);
                }
                assert_eq!(conn.ask("GET", "/healthz", &[], b"").unwrap().text(), "ok\n");
            }
        }
        let mut conn = node.connect();
        conn.send([&get, "GET /healthz HTTP/1.0\r\n\r\n", &get].concat()).unwrap();
        let answers = String::from_utf8(conn.rest()).unwrap();
        let heads: Vec<&str> = answers.match_indices("HTTP/1.").map(|(at, _)| &answers[at..at + 12]).collect();
        assert_eq!(
            heads,
            ["HTTP/1.1 200", "HTTP/1.0 200"],
            "each in its own version, and the second ends it: {answers}"
        );
    }
}

#[test]
fn who_expects_to_be_told_is_told_the_refusal_and_not_to_go_on() {
    for node in Node::on_both_wires(&[("BOVEDA_HTTP_BODY_MAX", "8MiB")]) {
        node.put("/v1/objects/cargas/t", b"x").expect_written(201);
        for (head, status) in [
            ("PUT /v1/objects/nowhere/k HTTP/1.1\r\nContent-Length: 5000000", 404),
            ("PUT /v1/objects/nowhere/k HTTP/1.1\r\nContent-Length: 5", 404),
            ("PUT /v1/objects/nowhere/k HTTP/1.1\r\nTransfer-Encoding: chunked", 404),
            ("PUT /v1/objects/cargas/k HTTP/1.1\r\nContent-Length: 50000000", 413),
            ("PUT /v1/objects/cargas/t HTTP/1.1\r\nIf-None-Match: *\r\nContent-Length: 5000000", 412),
            ("PUT /v1/objects/cargas/t HTTP/1.1\r\nIf-Match: \"x\"\r\nContent-Length: 5", 412),
            ("PUT /v1/objects/cargas/t HTTP/1.1\r\nIf-Match: \"x\r\nContent-Length: 5", 400),
            ("PUT /v1/objects/cargas/k HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: 5", 415),
            ("PUT /nowhere HTTP/1.1\r\nContent-Length: 5000000", 404),
            ("PUT /v1/buckets HTTP/1.1\r\nContent-Length: 5000000", 405),
            ("PUT /v1/objects/B_/k HTTP/1.1\r\nContent-Length: 5", 400),
            ("POST /cargar HTTP/1.1\r\nContent-Length: 5000000", 400),
        ] {
            let mut conn = node.connect();
            conn.send(format!("{head}\r\nHost: x\r\nExpect: 100-continue\r\n\r\n")).unwrap();
            let answer = conn.answer(false).unwrap();
            assert_eq!((answer.status, conn.continued), (status, 0), "{head}");
            assert_eq!(answer.header("connection"), Some("close"), "{head}: the body may come or not");
            conn.end_sending();
            assert!(conn.rest().is_empty());
        }
        // What is taken is asked for, once; who sends without waiting is not asked.
        let head = "PUT /v1/objects/cargas/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
        let mut conn = node.connect();
        for told in 1..=3 {
            conn.send(head).unwrap();
            conn.told_to_go_on();
            conn.send("hello").unwrap();
            conn.answer(false).unwrap().expect_written(if told == 1 { 201 } else { 200 });
        }
        conn.send([head, "hello", head, "again", "GET /v1/objects/cargas/k HTTP/1.1\r\nHost: x\r\n\r\n"].concat())
            .unwrap();
        conn.answer(false).unwrap().expect_written(200);
        conn.answer(false).unwrap().expect_written(200);
        assert_eq!((conn.answer(false).unwrap().text(), conn.continued), ("again", 0));
    }
}

#[test]
fn an_offered_upgrade_is_passed_over() {
    let node = Node::start();
    let mut conn = node.connect();
    for (offer, told) in [("websocket", 201), ("h2c", 200), ("h2c, websocket", 200)] {
        let upgrade = format!("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {offer}\r\n");
        conn.send(format!(
            "PUT /v1/objects/cargas/u HTTP/1.1\r\nHost: x\r\n{upgrade}Content-Length: 5\r\n\r\nhello\
             GET /v1/objects/cargas/u HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n"
        ))
        .unwrap();
        let put = conn.answer(false).unwrap();
        assert_eq!((put.status, put.header("connection")), (told, None));
        let get = conn.answer(false).unwrap();
        assert_eq!((get.text(), get.header("connection")), ("hello", None));
    }
    assert_eq!(conn.ask("GET", "/healthz", &[], b"").unwrap().text(), "ok\n");
}

#[test]
fn what_the_server_below_refuses_is_told_as_every_other_problem() {
    let node = Node::start();
    for (head, status, code) in [
        (
            "POST /cargar HTTP/1.0\r\nContent-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n",
            411,
            "LengthRequired",
        ),
        ("GET /healthz HTTP/1.1\r\n\r\n", 400, "InvalidRequest"),
        ("no request at all\r\n\r\n", 400, "InvalidRequest"),
        (&format!("GET / HTTP/1.1\r\nHost: x\r\nA: {}\r\n\r\n", "b".repeat(200_000)), 431, "HeadTooLarge"),
        (&format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(30_000)), 431, "HeadTooLarge"),
    ] {
        let mut conn = node.connect();
        conn.send(head).unwrap();
        let answer = conn.answer(false).unwrap();
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{head}");
        assert_eq!(
            (answer.json()["code"].as_str(), answer.header("content-type")),
            (Some(code), Some("application/json"))
        );
        assert!(conn.rest().is_empty(), "nothing follows: {head}");
    }
}

#[test]
fn a_body_without_a_length_is_refused_and_nothing_is_stored() {
    let node = Node::start();
    for (head, body) in [
        ("PUT /v1/objects/cargas/l HTTP/1.0\r\n", "hello"),
        ("PUT /v1/objects/cargas/l HTTP/1.1\r\nHost: x\r\n", "hello"),
        ("PUT /v1/objects/cargas/l HTTP/1.1\r\nHost: x\r\n", ""),
        ("POST /cargar HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\n", "--x\r\n"),
    ] {
        let mut conn = node.connect();
        conn.send([head, "\r\n", body].concat()).unwrap();
        let answer = conn.answer(false).unwrap();
        answer.expect_error(411, "LengthRequired");
        assert!(conn.rest().is_empty(), "what follows is no request: {head}");
    }
    node.get("/v1/objects/cargas/l").expect_error(404, "NoSuchKey");
    node.put("/v1/objects/cargas/l", b"").expect_written(201);
    // What takes no body needs no length.
    let mut conn = node.connect();
    conn.send("PUT /v1/buckets/bare HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    conn.answer(false).unwrap().expect_written(201);
}

#[test]
fn pages_of_other_sites_neither_read_nor_write() {
    let node = Node::with(&[("BOVEDA_HTTP_HOSTS", "store.example.org, *.inside.example")]);
    node.put("/v1/objects/cargas/s", b"secret").expect_written(201);
    let path = "/v1/objects/cargas/s";
    let ask = |method: &str, host: &str, headers: &str| {
        let mut conn = node.connect();
        let length = if method == "PUT" { "Content-Length: 1\r\n\r\nx" } else { "\r\n" };
        conn.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}{length}")).unwrap();
        conn.answer(method == "HEAD").unwrap()
    };
    for method in ["GET", "PUT", "DELETE"] {
        ask(method, "attacker.example", "").expect_error(403, "ForeignHost");
        ask(method, "attacker.example:5000", "Origin: http://attacker.example:5000\r\n")
            .expect_error(403, "ForeignHost");
    }
    let absolute = format!("GET http://attacker.example{path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let mut conn = node.connect();
    conn.send(absolute).unwrap();
    conn.answer(false).unwrap().expect_error(403, "ForeignHost");
    for foreign in ["Origin: https://attacker.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"] {
        ask("PUT", "127.0.0.1", foreign).expect_error(403, "ForeignOrigin");
        ask("DELETE", "127.0.0.1", foreign).expect_error(403, "ForeignOrigin");
    }
    let form = common::form(&[common::file_part("archivo", "planted", b"x")]);
    let cross = [("Content-Type", common::FORM), ("Origin", "https://attacker.example")];
    let refused = node.ask("POST", "/cargar", &cross, &form);
    assert!(refused.expect_error(403, "ForeignOrigin").contains("http.hosts"));
    node.get("/descargar/planted").expect_error(404, "NoSuchKey");
    assert_eq!(node.get(path).text(), "secret");
    for host in ["localhost:5000", "127.0.0.1", "[::1]:5000", "boveda-0", "store.example.org", "a.b.inside.example:443"]
    {
        assert_eq!(ask("GET", host, "").text(), "secret", "{host}");
    }
    ask("PUT", "store.example.org", "Origin: https://store.example.org\r\nSec-Fetch-Site: same-origin\r\n")
        .expect_written(200);
    ask("PUT", "127.0.0.1", "Origin: https://store.example.org\r\nSec-Fetch-Site: cross-site\r\n").expect_written(200);
    ask("PUT", "127.0.0.1:5000", "Origin: http://127.0.0.1:5000\r\n").expect_written(200);
}

#[test]
fn a_refusal_does_not_cost_the_connection_when_little_is_left() {
    let node = Node::start();
    let mut conn = node.connect();
    for (method, target, headers, body) in [
        ("PUT", "/v1/objects/nobucket/k", &[][..], 30_000),
        ("PUT", "/v1/objects/cargas/k", &[("If-Match", "*")][..], 1000),
        ("POST", "/cargar", &[][..], 1000),
        ("GET", "/v1/objects/cargas/k", &[][..], 1000),
        ("POST", "/nowhere", &[][..], 1000),
        ("PATCH", "/v1/buckets", &[][..], 1000),
    ] {
        let answer = conn.ask(method, target, headers, &vec![b'x'; body]).unwrap();
        assert!(answer.status >= 400, "{method} {target}");
        assert_eq!(answer.header("connection"), None, "{method} {target}");
    }
    assert_eq!(conn.ask("GET", "/healthz", &[], b"").unwrap().text(), "ok\n");
}

#[test]
fn no_permits_no_work() {
    let node = Node::with(&[("BOVEDA_HTTP_REQUESTS_MAX", "2")]);
    let mut open: Vec<Conn> = (0..2)
        .map(|n| {
            let mut conn = node.connect();
            conn.send(format!("PUT /v1/objects/cargas/{n} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab"))
                .unwrap();
            conn
        })
        .collect();
    eventually("both permits to be out", || (metric(&node, "boveda_budget_requests") == Some(2.0)).then_some(()));
    for (method, target) in [
        ("GET", "/v1/objects/cargas/x"),
        ("PUT", "/v1/objects/cargas/x"),
        ("DELETE", "/v1/objects/cargas/x"),
        ("GET", "/v1/objects/cargas"),
        ("GET", "/v1/buckets"),
        ("PUT", "/v1/buckets/abc"),
        ("POST", "/cargar"),
    ] {
        let refused = node.ask(method, target, &[], b"x");
        refused.expect_error(503, "SlowDown");
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    for target in ["/healthz", "/readyz", "/metrics", "/v1/cluster"] {
        assert_eq!(node.get(target).status, 200, "{target} answers when nothing else does");
    }
    for conn in &mut open {
        conn.send("cd").unwrap();
        conn.answer(false).unwrap().expect_written(201);
    }
    assert_eq!(node.get("/v1/objects/cargas/0").text(), "abcd");
    assert_eq!(metric(&node, "boveda_budget_refused_total"), Some(7.0));
}

#[test]
fn when_bytes_are_short_bodies_go_on_in_smaller_steps() {
    // What an upload is written from: 512 KiB, a chunk with its tag behind a header, and a block.
    const BUFFER: f64 = (512 * 1024 + 64 * 1024 + 16 + 96 + 4096) as f64;
    let node = Node::with(&[
        ("BOVEDA_HTTP_IN_FLIGHT_BYTES_MAX", "4368KiB"),
        ("BOVEDA_HTTP_TURN_TIMEOUT", "100ms"),
        // What may become a body of a segment waits in memory, and its permit has that too: not what is looked at here.
        ("BOVEDA_STORE_SEGMENT_MAX", "0"),
    ]);
    let body = Dice(7).bytes(5_000_000);
    node.put("/v1/objects/cargas/a", &body).expect_written(201);
    let mut slow = node.connect();
    slow.send("PUT /v1/objects/cargas/slow HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n").unwrap();
    slow.send(&body[..2_500_000]).unwrap();
    let slow_holds = 2.0 * 1_048_576.0 + BUFFER;
    eventually("its permit to be out", || (metric(&node, "boveda_budget_bytes") == Some(slow_holds)).then_some(()));

    // A whole window is no longer free, but one piece is.
    assert!(node.get("/v1/objects/cargas/a").body == body);
    node.put("/v1/objects/cargas/b", &body).expect_written(201);
    assert!(node.get("/v1/objects/cargas/b").body == body);
    let mut narrow = node.connect();
    narrow.send("PUT /v1/objects/cargas/c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let both_hold = slow_holds + 1_048_576.0 + BUFFER;
    eventually("its permit to be out", || (metric(&node, "boveda_budget_bytes") == Some(both_hold)).then_some(()));
    node.put("/v1/objects/cargas/d", &body).expect_error(503, "SlowDown");
    node.get("/v1/objects/cargas/a").expect_error(503, "SlowDown");
    node.put("/v1/objects/cargas/small", b"still fits").expect_written(201);

    narrow.send("5\r\n12345\r\n0\r\n\r\n").unwrap();
    narrow.answer(false).unwrap().expect_written(201);
    slow.send(&body[2_500_000..]).unwrap();
    slow.answer(false).unwrap().expect_written(201);
    assert!(node.get("/v1/objects/cargas/slow").body == body);
    eventually("all permits to come back", || (metric(&node, "boveda_budget_bytes") == Some(0.0)).then_some(()));
}

#[test]
fn stuck_connections_are_cut_off() {
    let settings = [
        ("BOVEDA_HTTP_IDLE_TIMEOUT", "500ms"),
        ("BOVEDA_HTTP_HEADER_TIMEOUT", "500ms"),
        ("BOVEDA_HTTP_KEEP_ALIVE", "500ms"),
    ];
    for node in Node::on_both_wires(&settings) {
        let body = Dice(5).bytes(64 << 20);
        node.put("/v1/objects/cargas/big", &body).expect_written(201);

        // A first head that never ends, a second one, and a reader who does not read.
        let mut first = node.connect();
        first.send("GET /healthz HTTP/1.1\r\nHo").unwrap();
        let mut second = node.connect();
        assert_eq!(second.ask("GET", "/healthz", &[], b"").unwrap().status, 200);
        second.send("GET /healthz HTTP/1.1\r\nHo").unwrap();
        let mut reader = node.connect();
        reader.send("GET /v1/objects/cargas/big HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut endless = node.connect();
        endless.send("PUT /v1/objects/nobucket/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        endless.send("5\r\n12345\r\n").unwrap();

        assert!(first.rest().starts_with(b"HTTP/1.1 408"));
        assert!(second.rest().is_empty());
        assert!(endless.rest().starts_with(b"HTTP/1.1 4"));
        eventually("the reader to be cut off", || {
            (metric(&node, "boveda_http_connections") == Some(1.0)).then_some(())
        });
        let head = reader.head().expect("the head came");
        assert_eq!(head.status, 200);
        assert!(reader.rest().len() < body.len(), "broken off, and not padded");
        assert!(metric(&node, "boveda_http_connections_cut_total") >= Some(2.0));
        assert_eq!(metric(&node, "boveda_budget_bytes"), Some(0.0));

        // A reader who reads slowly, but reads, gets everything.
        let got = node.get("/v1/objects/cargas/big");
        assert!(got.body == body);
    }
}

#[test]
fn garbage_crashes_nothing() {
    for node in Node::on_both_wires(&[]) {
        node.put("/v1/objects/cargas/k", b"v").expect_written(201);
        let mut dice = Dice(6);
        let seeds: [&[u8]; 6] = [
        b"GET /v1/objects/cargas/k HTTP/1.1\r\nHost: x\r\nRange: bytes=0-0\r\n\r\n",
        b"PUT /v1/objects/cargas/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nv",
        b"POST /cargar HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 70\r\n\r\n--x\r\nContent-Disposition: form-data; name=\"archivo\"; filename=\"k\"\r\n\r\nv",
        b"GET /v1/objects/cargas?prefix=%41&limit=5 HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"a\", W/\"b\"\r\n\r\n",
        b"PUT /v1/objects/cargas/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nv\r\n0\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    ];
        for round in 0..600 {
            let mut bytes = seeds[round % seeds.len()].to_vec();
            for _ in 0..=dice.below(4) {
                if bytes.is_empty() {
                    break;
                }
                let at = usize::try_from(dice.below(bytes.len() as u64)).unwrap();
                match dice.below(4) {
                    0 => bytes[at] = dice.roll().to_le_bytes()[0],
                    1 => drop(bytes.remove(at)),
                    2 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, b"%\0\r\n:/\"\xff"[usize::try_from(dice.below(8)).unwrap()]),
                }
            }
            let mut conn = node.connect();
            let _ = conn.send(&bytes);
            conn.end_sending();
            let answer = conn.rest();
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "round {round}: {answer:?}");
        }
        let mut huge = node.connect();
        let _ = huge.send([b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: ", &[b'a'; 300_000][..], b"\r\n\r\n"].concat());
        assert!(huge.rest().starts_with(b"HTTP/1.1 431"));
        let mut many = node.connect();
        let _ = many.send(["GET /healthz HTTP/1.1\r\nHost: x\r\n", &"a: b\r\n".repeat(5000), "\r\n"].concat());
        assert!(many.rest().starts_with(b"HTTP/1.1 4"));
        assert_eq!(node.get("/healthz").status, 200);
        assert!(!node.log().contains("panicked"), "{}", node.log());
    }
}

#[test]
fn operations() {
    let mut node = Node::start();
    assert_eq!(node.get("/healthz").text(), "ok\n");
    let ready = node.get("/readyz").json();
    assert_eq!((&ready["ready"], ready["missing"].as_object().map(serde_json::Map::len)), (&true.into(), Some(0)));
    assert!(node.get("/v1/cluster").json().is_object());
    let described = node.get("/openapi.json").json();
    assert!(described["paths"].as_object().is_some_and(|paths| paths.len() > 10));
    node.put("/v1/objects/cargas/m", b"12345").expect_written(201);
    assert_eq!(node.get("/v1/objects/cargas/m").text(), "12345");
    let text = node.get("/metrics").text().to_owned();
    assert!(text.contains("boveda_http_requests_total{route=\"objects\",method=\"PUT\",status=\"2xx\"} 1\n"), "{text}");
    assert!(text.contains("boveda_http_body_bytes_in_total 5\n"), "{text}");
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a sample is a name and a value");
        assert!(name.starts_with("boveda_") && value.parse::<f64>().is_ok(), "{line}");
    }

    let mut ids = std::collections::BTreeSet::new();
    for target in
        ["/healthz", "/readyz", "/metrics", "/v1/cluster", "/openapi.json", "/v1/buckets", "/v1/objects/cargas"]
    {
        let (get, head) = (node.get(target), node.ask("HEAD", target, &[], b""));
        assert_eq!((get.status, head.status, head.body.len()), (200, 200, 0), "{target}");
        assert_eq!(get.header("content-type"), head.header("content-type"), "{target}");
        let options = node.ask("OPTIONS", target, &[], b"");
        assert_eq!((options.status, options.header("allow")), (200, Some("GET, HEAD, OPTIONS")), "{target}");
        let refused = node.ask("POST", target, &[], b"");
        refused.expect_error(405, "MethodNotAllowed");
        assert_eq!(refused.header("allow"), Some("GET, HEAD, OPTIONS"));
        for answer in [get, head, options, refused] {
            assert!(ids.insert(answer.header("x-request-id").expect("an id").to_owned()), "an id twice");
        }
    }
    assert_eq!(node.ask("OPTIONS", "*", &[], b"").status, 200);
    for nowhere in ["/v1", "/v1/", "/V1/buckets", "/cargar//", "//healthz", "/%68ealthz", "/v1/objects", "/console"] {
        node.get(nowhere).expect_error(404, "NoSuchRoute");
    }
    assert!(node.stop().success());
}

#[test]
fn what_clients_send_wrong_is_no_error_of_ours() {
    let mut node = Node::start();
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n\r\n", b"GET /\0 HTTP/1.1\r\n\r\n"]
    {
        let mut conn = node.connect();
        conn.send(garbage).expect("a socket takes it");
        // Whatever the answer is, if there is one: the connection was looked at.
        conn.end_sending();
        let _ = conn.answer(false);
    }
    let mut cut = node.connect();
    cut.send("PUT /v1/objects/cargas/cut HTTP/1.1\r\nHost: boveda\r\nContent-Length: 9\r\n\r\nabc").expect("sends");
    cut.end_sending();
    let _ = cut.answer(false);
    let mut gone = node.connect();
    gone.send("PUT /v1/objects/cargas/gone HTTP/1.1\r\nHost: boveda\r\nContent-Length: 900000\r\n\r\nabc")
        .expect("sends");
    drop(gone);
    let mut chunked = node.connect();
    chunked
        .send("PUT /v1/objects/cargas/x HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        .expect("sends");
    let _ = chunked.answer(false);
    assert_eq!(node.upload("large", &[7; 4 << 20]).status, 200);
    let mut left = node.connect();
    left.send("GET /descargar/large HTTP/1.1\r\nHost: boveda\r\n\r\n").expect("sends");
    assert_eq!(left.head().expect("a head").status, 200);
    drop(left);
    assert_eq!(node.ask("POST", "/cargar", &[("Content-Type", common::FORM)], b"--no form").status, 400);
    // Its last request has ended when it has stopped.
    assert!(node.stop().success());
    let errors: Vec<String> = node.log().lines().filter(|line| line.contains(" ERROR ")).map(str::to_owned).collect();
    assert_eq!(errors, Vec::<String>::new());
}
