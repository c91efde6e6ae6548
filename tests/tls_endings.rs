//! TLS while something ends: the node stops in order, and its certificate gives way to another, under load.

mod common;

use boveda::tls::Secured;
use common::pki::{Ca, FAR, Issued};
use common::{Conn, DEADLINE, Dice, Node, eventually};
use rustix::process::Signal;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

fn prepared(ca: &Ca, issued: &Issued, settings: &[(&str, &str)]) -> Node {
    let mut node = Node::prepared(settings, None);
    node.show(ca, &issued.place(&node.home().join("tls")));
    node
}

/// A connection over TLS, byte by byte.
fn secured(node: &Node, ca: &Ca) -> Secured {
    let socket = TcpStream::connect(node.http()).expect("the port is open");
    socket.set_read_timeout(Some(DEADLINE)).expect("it takes one");
    ca.trust().connect("localhost", socket).expect("it comes to terms")
}

/// All that comes, up to the farewell of TLS: an end without one is an error here.
fn to_the_farewell(stream: &mut Secured) -> Vec<u8> {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => rest,
        Err(error) => panic!("it ends without a farewell ({error}) behind {} bytes", rest.len()),
    }
}

#[test]
fn a_node_that_stops_in_order_ends_what_is_under_way_and_says_farewell() {
    let ca = Ca::new("ca");
    let mut node = prepared(&ca, &ca.issue(&["localhost"], FAR), &[("BOVEDA_TLS_HANDSHAKE_TIMEOUT", "5min")]);
    node.begin();
    let big = Dice(3).bytes(3 << 20);
    node.put("/v1/objects/cargas/big", &big).expect_written(201);

    let mut idle = secured(&node, &ca);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut told = Vec::new();
    while !told.ends_with(b"ok\n") {
        let mut byte = [0];
        idle.read_exact(&mut byte).expect("an answer");
        told.push(byte[0]);
    }
    let mut reader = secured(&node, &ca);
    reader.write_all(b"GET /v1/objects/cargas/big HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    let mut first = vec![0; 1000];
    reader.read_exact(&mut first).expect("the download begins");
    let mut writer = node.connect();
    let head = format!(
        "PUT /v1/objects/cargas/late HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        big.len()
    );
    writer.send(head).expect("sent");
    writer.told_to_go_on();
    writer.send(&big[..1 << 20]).expect("taken");
    // One that says nothing, and one in the middle of its handshake: neither holds the end up.
    let silent = TcpStream::connect(node.http()).expect("the port is open");
    let mut half = TcpStream::connect(node.http()).expect("the port is open");
    half.write_all(&[0x16, 3, 1, 2]).expect("taken");

    node.terminate();
    assert!(to_the_farewell(&mut idle).is_empty(), "it was idle");
    eventually("the port to close", || TcpStream::connect(node.http()).is_err().then_some(()));
    writer.send(&big[1 << 20..]).expect("the upload goes on");
    writer.answer(false).expect("an answer").expect_written(201);
    first.extend(to_the_farewell(&mut reader));
    let body = first.windows(4).position(|part| part == b"\r\n\r\n").expect("a head") + 4;
    assert!(first[body..] == big, "{} bytes of {}", first.len() - body, big.len());
    assert!(node.ended().success());
    drop((silent, half));
    assert!(!node.log().contains("panicked"));
    node.begin();
    assert!(node.get("/v1/objects/cargas/late").body == big);
}

/// Ends the load when it goes out of scope, also where something failed.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes and reads on connections of its own, some of them new each time; every answer has to be a good one.
fn load(node: &Node, worker: u64, ends: &AtomicBool, done: &AtomicU64) {
    let body = Dice(worker).bytes(if worker.is_multiple_of(2) { 900 } else { 200_000 });
    let target = format!("/v1/objects/cargas/{worker}");
    let mut conn: Option<Conn> = None;
    while !ends.load(Ordering::Relaxed) {
        let mut now = conn.take().unwrap_or_else(|| node.connect());
        let put = now.ask("PUT", &target, &[], &body).expect("an answer");
        assert!(matches!(put.status, 200 | 201), "{put:?}");
        let got = now.ask("GET", &target, &[], b"").expect("an answer");
        assert!(got.status == 200 && got.body == body, "{worker}: {}", got.status);
        done.fetch_add(2, Ordering::Relaxed);
        conn = worker.is_multiple_of(3).then_some(now);
    }
}

#[test]
fn under_load_certificates_are_replaced_however_their_files_are_written_and_no_request_fails() {
    let ca = Ca::new("ca");
    let issued: Vec<Issued> = (0..6).map(|_| ca.issue(&["localhost"], FAR)).collect();
    let mut node = prepared(&ca, &issued[0], &[]);
    node.begin();
    let place = node.home().join("tls");
    let (ends, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let _ending = Ending(&ends);
        for worker in 0..6 {
            let (node, ends, done) = (&node, &ends, &done);
            scope.spawn(move || load(node, worker, ends, done));
        }
        for next in &issued[1..] {
            let before = done.load(Ordering::Relaxed);
            // As a careless hand does it: a file that is half there, then one of the pair, and looked at each time.
            fs::write(place.join("tls.crt"), &next.cert[..next.cert.len() / 2]).expect("written");
            node.signal(Signal::HUP);
            fs::write(place.join("tls.crt"), &next.cert).expect("written");
            eventually("the half pair to be refused", || {
                node.signal(Signal::HUP);
                let status = node.get("/v1/cluster").json();
                let told = status.pointer("/readiness/degraded/certificate")?.as_str()?.contains("does not fit");
                told.then_some(())
            });
            fs::write(place.join("tls.key"), "").expect("written");
            node.signal(Signal::HUP);
            next.place(&place);
            eventually("the new certificate", || {
                node.signal(Signal::HUP);
                (node.connect().shown() == next.der).then_some(())
            });
            eventually("requests behind it", || (done.load(Ordering::Relaxed) > before + 30).then_some(()));
        }
    });
    assert_eq!(node.get("/readyz").status, 200);
    assert!(!node.log().contains("panicked"));
    let told = node.get("/v1/cluster").json();
    assert!(told.pointer("/readiness/degraded/certificate").is_none(), "{}", told["readiness"]);
}

#[test]
fn a_client_that_leaves_without_a_farewell_in_mid_body_stores_nothing() {
    let ca = Ca::new("ca");
    let mut node = prepared(&ca, &ca.issue(&["localhost"], FAR), &[]);
    node.begin();
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let mut stream = secured(&node, &ca);
        let head = format!("PUT /v1/objects/cargas/cut HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(b"5\r\nhello\r\n").expect("sent");
        stream.flush().expect("sent");
        // The connection alone ends: somebody on the way could have cut it.
        stream.sock.shutdown(std::net::Shutdown::Write).expect("ended");
        let mut rest = Vec::new();
        if let Err(error) = stream.read_to_end(&mut rest) {
            assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{error}");
        }
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{}", rest.escape_ascii());
        node.get("/v1/objects/cargas/cut").expect_error(404, "NoSuchKey");
    }
}
