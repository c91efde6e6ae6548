//! What it costs to judge a signature in the head of a request: reading it, what was signed, and whether it fits, with
//! what secrets sign with derived for each request and remembered. One core; `BENCH_SECONDS` sets the time of each row.

mod common;

use boveda::base::{AccessKeyId, Secret, credential::secret_of};
use boveda::sign::Authorization;
use boveda::sign::canonical::Request;
use boveda::sign::sigv4::{Scope, Second, hex, signature, signed, signing_key};
use boveda::store::access_keys::{AccessKey, AccessKeys};
use boveda::store::access_signing::SignatureCheck;
use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

const DIGEST: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const TIME: &str = "20260524T112233Z";

fn main() {
    let length = common::seconds(0.5);
    let (id, secret) = (AccessKeyId::drawn([1; 20]), secret_of([2; 40]));
    let keys = AccessKeys::of([AccessKey::unstored(id, vec![Secret::new(secret)], Vec::new())]);
    let at = Second::parse(TIME).expect("a time");
    let scope = Scope { date: at.date(), region: "us-east-1".into(), service: "s3".into() };
    let pairs = [("host", "node.example:5001"), ("x-amz-content-sha256", DIGEST), ("x-amz-date", TIME)];
    let headers = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let request = Request { method: "GET", path: "/bucket/folder/key", query: &[], headers: &headers, payload: DIGEST };
    let to_sign = {
        let unsigned = format!(
            "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, \
             Signature={DIGEST}"
        );
        Authorization::parse(&unsigned).expect("it is well formed").string_to_sign(at, &request)
    };
    let good = signature(&secret, &scope, &to_sign);
    let head = format!(
        "AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={}",
        hex(&good)
    );
    let fits = |scope_text: &str| {
        let check = SignatureCheck {
            signature: &good,
            scope: scope_text,
            derive: &|secret| signing_key(secret, &scope),
            sign: &|key| signed(key, &to_sign),
        };
        assert!(keys.check_signature(Some(id), black_box(&check)).is_some(), "it is good");
    };
    let turn = Cell::new(0_u64);
    println!("microseconds a request, one core");
    row("the header is read", time(length, || drop(black_box(Authorization::parse(black_box(&head))))));
    let read = Authorization::parse(&head).expect("it is well formed");
    row("what was signed", time(length, || drop(black_box(read.string_to_sign(at, black_box(&request))))));
    let anew = || {
        // As each request would have it: both secrets of its key, of which one is there.
        for secret in [&secret, &[0; 40]] {
            black_box(signature(secret, black_box(&scope), black_box(&to_sign)));
        }
    };
    row("it fits: derived anew", time(length, anew));
    row("it fits: remembered", time(length, || fits(&scope.to_string())));
    let new_scope = || {
        turn.set(turn.get() + 1);
        fits(&format!("{scope}{}", turn.get()));
    };
    row("it fits: remembered, another scope each time", time(length, new_scope));
}

fn row(what: &str, took: Duration) {
    println!("{what:<46} {:>7.2}", took.as_secs_f64() * 1e6);
}

/// The mean time of one call.
fn time(length: Duration, mut work: impl FnMut()) -> Duration {
    (0..10).for_each(|_| work());
    let (begin, mut calls) = (Instant::now(), 0_u32);
    while begin.elapsed() < length {
        (0..10).for_each(|_| work());
        calls += 10;
    }
    begin.elapsed() / calls
}
