//! Requests over a live handler: whatever bytes arrive, the node answers by the book or closes, never with 500, and goes on.
//!
//! `BOVEDA_FUZZ_ROUNDS` and `BOVEDA_FUZZ_SEED` as for `fuzz_corpus`.

mod common;
#[path = "../fuzz/mutate.rs"]
mod mutate;

use boveda::disk::crash::Rng;
use common::{Conn, Node};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Requests to begin with: of each route and kind, alone and one behind the other.
fn requests() -> Vec<Vec<u8>> {
    let form = "--XX\r\nContent-Disposition: form-data; name=\"archivo\"; filename=\"a.txt\"\r\n\r\ndata\r\n--XX--\r\n";
    let put =
        "PUT /v1/objects/cargas/k HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nx-boveda-meta-a: b\r\n\r\nhello";
    let get =
        "GET /v1/objects/cargas/k HTTP/1.1\r\nHost: localhost\r\nRange: bytes=1-2\r\nIf-None-Match: \"x\"\r\n\r\n";
    let all = [
        put.to_owned(),
        get.to_owned(),
        format!("{put}{get}{}", get.replace("GET", "HEAD")),
        put.replace("Content-Length: 5", "Transfer-Encoding: chunked").replace("hello", "5\r\nhello\r\n0\r\n\r\n"),
        put.replace("Content-Length: 5", "Content-Length: 5\r\nExpect: 100-continue\r\nIf-Match: \"1\", W/\"2\""),
        "DELETE /v1/objects/cargas/k HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /v1/objects/cargas?prefix=a&delimiter=%2F&after=b&limit=2 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "PUT /v1/buckets/abc HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /descargar/a%20b.txt HTTP/1.0\r\n\r\n".to_owned(),
        format!(
            "POST /cargar HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=XX\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ),
        "PUT /v1/cluster/scrub?state=paused HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"
            .to_owned(),
    ];
    all.map(String::into_bytes).to_vec()
}

/// Sends the bytes and reads until the node closes. What it says begins with a status line, or it says nothing.
fn exchange(node: &Node, request: &[u8]) -> Vec<u8> {
    let mut conn = Conn::open(node.http()).expect("the node takes connections");
    // It may refuse early and close while bytes are still on their way.
    let _ = conn.send(request);
    conn.end_sending();
    conn.rest()
}

/// Whether these bytes are answers, or none, and none says that the node is at fault.
fn is_by_the_book(answer: &[u8]) -> bool {
    let at_fault = |code: &[u8]| answer.windows(code.len()).any(|w| w == code);
    (answer.is_empty() || answer.starts_with(b"HTTP/1.")) && !at_fault(b"HTTP/1.1 500") && !at_fault(b"HTTP/1.0 500")
}

#[test]
fn an_answer_that_is_not_by_the_book_is_seen() {
    let good = b"HTTP/1.1 204 No Content\r\n\r\n";
    assert!(is_by_the_book(good) && is_by_the_book(b""));
    assert!(!is_by_the_book(&[&good[..], b"HTTP/1.1 500 Internal Server Error\r\n\r\n"].concat()));
    assert!(!is_by_the_book(b"\r\nHTTP/1.1 204 No Content\r\n\r\n"));
}

#[test]
fn whatever_arrives_is_answered_by_the_book() {
    let node = Node::with(&[("BOVEDA_HTTP_HEADER_TIMEOUT", "2s"), ("BOVEDA_HTTP_IDLE_TIMEOUT", "2s")]);
    let (rounds, seed) = (setting("BOVEDA_FUZZ_ROUNDS", 20_000) / 10, setting("BOVEDA_FUZZ_SEED", 1));
    let inputs = requests();
    let mut rng = Rng::new(seed);
    let made: Vec<_> = (0..rounds).map(|_| mutate::changed(&inputs, &mut rng)).collect();
    let mut seen = std::collections::BTreeMap::<u8, u64>::new();
    for request in inputs.iter().chain(&made) {
        let answer = exchange(&node, request);
        let shown = || format!("seed {seed}: {} -> {}", request.escape_ascii(), answer.escape_ascii());
        assert!(is_by_the_book(&answer), "{}", shown());
        if let Some(class) = answer.get("HTTP/1.1 ".len()) {
            *seen.entry(*class).or_default() += 1;
        }
    }
    // Changed requests reach the handlers, and are refused there and before them.
    assert!([b'2', b'4'].iter().all(|class| seen.get(class).is_some_and(|n| *n > rounds / 50)), "{seen:?}");
    assert_eq!(node.get("/healthz").status, 200);
    let log = node.log();
    let faults: Vec<_> = log.lines().filter(|l| l.contains("panicked") || l.contains(" ERROR ")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}
