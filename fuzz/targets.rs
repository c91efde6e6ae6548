//! What is fuzzed: one function for each decoder, which takes any bytes and panics where something is broken.
//!
//! `tests/fuzz_corpus.rs` drives these over the stored corpus and over changed copies of it, in the gate;
//! `fuzz/run` drives them with libFuzzer, guided by coverage.
//!
//! Decoders behind a seal get what an attacker could not make: bytes that open. So nothing rests on the seal alone.

use boveda::audit::memory::{Memory, Said};
use boveda::audit::{Line, Outcome, layout};
use boveda::base::{
    AccessRecord, Algorithm, AuditHead, Ballot, BlobRef, BodyAt, BodyId, BucketId, BucketRecord, Checksum, ClusterId,
    Credential, Etag, Grant, Incarnation, Lineage, NodeName, ObjectHead, ObjectKey, ObjectRecord, Part, Parts,
    PublicGrants, Quota, Record, RegisterKey, Right, Rights, Secret, Stamp, State, UploadId, Uploads, Wrap, WriteId,
};
use boveda::disk::{CrashDisk, Disk};
use boveda::http::fuzzing;
use boveda::register::{Kept, Roster};
use boveda::seal::{BodyOpener, Hello, Keyring, Me, SealingKey, body};
use boveda::sign::presign::Link;
use boveda::store::entry::{self, Encoded, Held, NodeRecord, Op};
use boveda::store::pages::{create_database, open_database};
use boveda::wire::{Answer, BODIES_HEAD_BYTES_MAX, BodiesHead, Call, Frame, Refusal, StreamHead, frame};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// A target: its name, its function, and bytes to begin with.
pub struct Target {
    /// As `fuzz/run` and `fuzz/corpus` name it.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Well-formed inputs, made by the encoders.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them; requests over a live handler are `tests/fuzz_http.rs`.
pub const TARGETS: [Target; 25] = [
    Target { name: "record", run: record, seeds: records },
    Target { name: "held", run: held, seeds: || records().into_iter().map(|r| held_of(&r)).collect() },
    Target { name: "node_record", run: node_record, seeds: node_records },
    Target { name: "roster", run: roster, seeds: rosters },
    Target { name: "log_frame", run: log_frame, seeds: log_frames },
    Target { name: "sealed_body", run: sealed_body, seeds: || vec![vec![0; 8], vec![0, 0, 0, 40, 1]] },
    Target { name: "index_file", run: index_file, seeds: || vec![vec![0; 8], vec![0, 0, 32, 0, 255]] },
    Target { name: "peer_frame", run: peer_frame, seeds: || vec![vec![7; 64]] },
    Target { name: "call", run: call, seeds: calls },
    Target { name: "answer", run: answer, seeds: answers },
    Target { name: "hello", run: hello, seeds: hellos },
    Target { name: "form", run: fuzzing::form, seeds: forms },
    Target { name: "disposition", run: fuzzing::disposition, seeds: dispositions },
    Target { name: "range", run: fuzzing::range, seeds: ranges },
    Target { name: "conditions", run: fuzzing::conditions, seeds: conditions },
    Target { name: "request_target", run: fuzzing::target, seeds: paths },
    Target { name: "authorization", run: fuzzing::authorization, seeds: authorizations },
    Target { name: "presigned_query", run: fuzzing::presigned, seeds: presigned_queries },
    Target { name: "signature", run: fuzzing::signature, seeds: signatures },
    Target { name: "chunks", run: fuzzing::chunks, seeds: chunked_bodies },
    Target { name: "s3_xml", run: fuzzing::s3_xml, seeds: s3_documents },
    Target { name: "copy_source", run: fuzzing::copy_source, seeds: copy_sources },
    Target { name: "list_query", run: fuzzing::list_query, seeds: list_queries },
    Target { name: "config", run: config, seeds: configs },
    Target { name: "audit", run: audit, seeds: audits },
];

/// The target of that name.
pub fn named(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

fn key() -> SealingKey {
    SealingKey::new(&[5; 32])
}

fn ring() -> &'static Keyring {
    static RING: OnceLock<Keyring> = OnceLock::new();
    RING.get_or_init(|| Keyring::new(vec![(1, Secret::new([7; 32]))]).expect("a ring of one key"))
}

fn record(data: &[u8]) {
    if let Ok(record) = Record::decode(data) {
        assert_eq!(record.encode(), data, "a record has one encoding");
    }
}

/// Headers and lines of audit files as they lie there, and what is in their seals.
fn audit(data: &[u8]) {
    if let Ok(header) = layout::Header::decode(data) {
        assert!(data.starts_with(&header.encode()), "a header has one encoding");
        assert!(header.open(ring(), data).is_err(), "nobody makes a box without the key");
    }
    layout::is_padded(data);
    if let Ok(raw) = layout::Raw::read(data) {
        assert!(raw.size() <= data.len() && raw.open(&key(), &[1; 16]).is_err());
        assert_eq!(raw.head().sequence, raw.sequence);
    }
    if let Some(line) = Line::decode(data) {
        assert_eq!(Line::decode(&line.encode()), Some(line), "a line survives the trip");
    }
    let _ = Memory::decode(data);
}

fn audits() -> Vec<Vec<u8>> {
    let before = AuditHead { sequence: 7, hash: [9; 32] };
    let line = Line::of("A", "bucket:create", Outcome::Refused).at("b");
    let mut sealed = Vec::new();
    layout::seal(&key(), &[2; 16], before, &line.encode(), &mut sealed);
    let mut memory = Memory::default();
    let name = NodeName::parse("n1").expect("a name");
    memory.heard(&name, Said { incarnation: Incarnation(1), start: 2, opened: before, head: before });
    let plain = ring().open_box(b"boveda/audit-memory/v1", &memory.seal(ring())).expect("it opens");
    vec![layout::Header::begin(1, 2, before).encode(), sealed, line.encode(), plain]
}

fn held(data: &[u8]) {
    if let Ok(held) = Held::decode(data) {
        assert_eq!(held.encode(), data, "a held record has one encoding");
    }
}

fn node_record(data: &[u8]) {
    if let Ok(node) = NodeRecord::decode(data) {
        assert_eq!(node.encode(), data, "the node's state has one encoding");
    }
}

fn roster(data: &[u8]) {
    if let Ok(roster) = Roster::decode(data) {
        assert_eq!(roster.encode(), data, "a member list has one encoding");
        let _ = roster.members();
    }
}

fn log_frame(data: &[u8]) {
    if let (Ok(sequence), Ok((ops, whole))) = (entry::frame_sequence(data), entry::decode_frame(data)) {
        let mut batch = Encoded::default();
        ops.iter().for_each(|op| batch.push(op));
        // One that goes on in the next frame is told apart by one byte.
        let mut again = batch.frames(sequence, usize::MAX).remove(0);
        again[8] = u8::from(!whole);
        assert_eq!(again, data, "a frame has one encoding");
    }
    if let Ok(kept) = Kept::decode(data) {
        assert_eq!(kept.encode(), data, "what is remembered has one encoding");
    }
}

/// A good body with bytes exchanged: place (4 bytes, big-endian) and byte, again and again. It opens as it was, or not at all.
fn sealed_body(data: &[u8]) {
    const PLAIN: &[u8] = &[42; 5_000];
    static SEALED: OnceLock<(Vec<u8>, Wrap)> = OnceLock::new();
    let (cluster, id) = (ClusterId([1; 16]), BodyId([2; 16]));
    let (sealed, wrap) = SEALED.get_or_init(|| {
        let (sealed, wrap, _) = body::seal_whole(ring(), cluster, id, &[bytes::Bytes::from_static(PLAIN)]);
        (sealed, wrap)
    });
    let mut changed = sealed.clone();
    patch(&mut changed, data);
    if let Ok(opener) = BodyOpener::new(ring(), cluster, id, wrap, &changed)
        && let Ok(plain) = body::open_whole(&opener, &changed)
    {
        assert_eq!((plain.as_slice(), &changed), (PLAIN, sealed), "changed bytes opened");
    }
    // All of it from outside: nothing but an error is possible.
    assert!(BodyOpener::new(ring(), cluster, id, wrap, data).is_err(), "bytes from nowhere opened");
}

/// A good index with bytes exchanged, as above: it opens and reads what was stored, or says that it is damaged.
fn index_file(data: &[u8]) {
    const TABLE: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("t");
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    let (path, id) = (Path::new("/index"), [9; 16]);
    let good = FILE.get_or_init(|| {
        let disk = CrashDisk::new(1);
        let (db, _) = create_database(&disk, path, key(), id, 1 << 20).expect("a new index");
        let write = db.begin_write().expect("a transaction");
        for n in 0..200u32 {
            let mut table = write.open_table(TABLE).expect("a table");
            table.insert(n.to_be_bytes().as_slice(), [3u8; 40].as_slice()).expect("an entry");
        }
        write.commit().expect("a commit");
        drop(db);
        disk.read_raw(path).expect("the file")
    });
    let mut changed = good.clone();
    patch(&mut changed, data);
    let disk = CrashDisk::new(1);
    disk.create_new(path).and_then(|file| file.write_at(0, &changed)).expect("a file in memory");
    let Ok(Ok((db, _))) = boveda::store::pages::guarded(|| open_database(&disk, path, key(), id, 0, 1 << 20)) else {
        return;
    };
    let _ = boveda::store::pages::guarded(|| {
        use redb::{ReadableDatabase, ReadableTable};
        let Ok(read) = db.begin_read() else { return };
        let Ok(table) = read.open_table(TABLE) else { return };
        let Ok(entries) = table.iter() else { return };
        for (_, value) in entries.flatten() {
            assert_eq!(value.value(), [3u8; 40], "the index handed out other bytes");
        }
    });
}

/// Four bytes of place, modulo the length, and a byte for that place; what is left over cuts the end off.
fn patch(bytes: &mut Vec<u8>, changes: &[u8]) {
    let mut rest = changes;
    while let Some((change, later)) = rest.split_first_chunk::<5>() {
        let place = u32::from_be_bytes([change[0], change[1], change[2], change[3]]) as usize % bytes.len();
        bytes[place] = change[4];
        rest = later;
    }
    if let [cut] = rest {
        bytes.truncate(bytes.len().saturating_sub(usize::from(*cut) * 16).max(1));
    }
}

fn peer_frame(data: &[u8]) {
    let _ = Frame::peek(data);
    if let Ok(frame) = Frame::decode(data) {
        assert_eq!(frame.encode(), data, "a frame has one encoding");
    }
    let _ = frame::read_welcome(data);
    let _ = frame::blob_prefix_len(data, BODIES_HEAD_BYTES_MAX);
    let _ = Refusal::decode(data);
    let _ = StreamHead::decode(data);
    if let Ok(head) = BodiesHead::decode(data) {
        assert_eq!(head.encode(), data, "a head of bodies has one encoding");
    }
    let _ = BlobRef::decode(data);
}

fn call(data: &[u8]) {
    if let Ok(call) = Call::decode(data) {
        assert_eq!(call.encode(), data, "a call has one encoding");
    }
}

fn answer(data: &[u8]) {
    if let Ok(answer) = Answer::decode(data) {
        assert_eq!(answer.encode(), data, "an answer has one encoding");
    }
}

fn me() -> Me<'static> {
    Me { name: "n2", cluster: ClusterId([1; 16]), incarnation: 2 }
}

fn a_hello() -> Hello<'static> {
    Hello {
        from: "n1",
        to: "n2",
        cluster: ClusterId([1; 16]),
        incarnation: 1,
        nonce: [3; boveda::seal::session::HELLO_NONCE_BYTES],
    }
}

fn hello(data: &[u8]) {
    let keys = ring().peer_keys();
    let peer = keys.offers().remove(0);
    let _ = keys.answer(me(), data);
    let _ = keys.tell(&NodeName::parse("n2").expect("a name"), ring().origin(), data);
    assert!(peer.complete(a_hello().pending(), data).is_err(), "an answer from nowhere was believed");
}

fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = boveda::config::load(Some((Path::new("boveda.toml"), text)), &BTreeMap::new(), &[]);
    let environment: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    let _ = boveda::config::load(None, &environment, &[]);
    let _ = NodeName::parse(text);
}

// Bytes to begin with.

fn access_key() -> AccessRecord {
    AccessRecord {
        name: "backups".to_owned(),
        created_ms: 5,
        expires_ms: 9,
        disabled: false,
        secrets: vec![[1; 85].into(), [2; 85].into()],
        grants: vec![Grant::everything(), "logs-*/2026/:read,list".parse().expect("a grant")],
    }
}

fn records() -> Vec<Vec<u8>> {
    let md5 = [9; 16];
    let sums = |etag, checksum, object| ObjectRecord { etag, checksum, ..object };
    let object = |at| ObjectRecord {
        number: 1,
        len: 3,
        etag: Etag::Digest,
        checksum: None,
        head: ObjectHead {
            content_type: "text/plain".to_owned(),
            meta: vec![("a".to_owned(), "b".to_owned())],
            cache_control: "no-store".to_owned(),
            expires: "0".to_owned(),
            ..ObjectHead::default()
        },
        body: BodyId([2; 16]),
        sealed_len: 115,
        digest: [4; 32],
        wrap: Wrap { kek: boveda::base::KekId([5; 16]), nonce: [6; 12], sealed: [7; 48] },
        at,
        uploads: Uploads::NONE,
    };
    let two = [UploadId([1; 16]), UploadId([2; 16])];
    let uploads = two.iter().fold(Uploads::NONE, |all, id| all.with(*id).expect("there is room"));
    let states = [
        State::Nothing,
        State::Deleted,
        State::Bucket(BucketRecord::made(BucketId(7), 1)),
        State::Bucket(public_bucket()),
        State::Members(rosters().remove(0).into()),
        State::AccessKey(Box::new(access_key())),
        State::Settings(Box::new(boveda::base::SettingsRecord {
            active: Some(boveda::base::ActiveKey { number: 2, kek: boveda::base::KekId([5; 16]) }),
        })),
        State::Object(Box::new(object(BodyAt::Blob))),
        State::Object(Box::new(sums(
            Etag::Md5(md5),
            Checksum::of_all(Algorithm::Sha1, &[3; 20]),
            object(BodyAt::Blob),
        ))),
        State::Object(Box::new(sums(Etag::Parts { md5, parts: 2 }, None, object(BodyAt::Blob)))),
        State::Uploads(uploads.clone()),
        State::Object(Box::new(ObjectRecord { uploads, ..object(BodyAt::Blob) })),
        State::Object(Box::new(object(BodyAt::Part { upload: UploadId([2; 16]), number: 10_000 }))),
        State::Object(Box::new(in_parts(None, object(BodyAt::Blob)))),
        State::Object(Box::new(in_parts(Some(Algorithm::Crc32), object(BodyAt::Blob)))),
        // The last: others put its body beside it.
        State::Object(Box::new(object(BodyAt::Small(bytes::Bytes::from(vec![8; 115]).into())))),
    ];
    let record = |state| Record {
        ballot: Ballot { stamp: Stamp(9), node: Incarnation(1) },
        lineage: Lineage::NOTHING.then(WriteId([1; 8]), 8),
        written_ms: 5,
        state,
    };
    states.into_iter().map(|state| record(state).encode()).collect()
}

/// An object of two parts, whose checksums are by that algorithm.
fn in_parts(algorithm: Option<Algorithm>, object: ObjectRecord) -> ObjectRecord {
    let part = |number: u16, len| Part {
        number,
        offset: 0,
        len,
        blob: BlobRef { body: BodyId([3; 16]), sealed_len: len + 112, digest: [4; 32] },
        checksum: algorithm.and_then(|algorithm| boveda::base::checksum::Value::new(&vec![5; algorithm.bytes()])),
    };
    let parts = Parts::new(algorithm, [part(1, 5), part(7, 3)]).expect("a list");
    let etag = Etag::Parts { md5: [9; 16], parts: 2 };
    ObjectRecord { len: parts.len(), sealed_len: parts.sealed_len(), etag, at: BodyAt::Parts(parts), ..object }
}

fn held_of(record: &[u8]) -> Vec<u8> {
    [&9u64.to_le_bytes()[..], &0u64.to_le_bytes(), &[1], record].concat()
}

fn node_records() -> Vec<Vec<u8>> {
    let list = Roster::decode(&rosters()[0]).expect("a list");
    let node = NodeRecord { roster: Some(Arc::new(list)), name: NodeName::parse("n1"), ..NodeRecord::NEW };
    vec![NodeRecord::NEW.encode(), node.encode()]
}

fn rosters() -> Vec<Vec<u8>> {
    let seat = |name: &str, incarnation: u64| boveda::register::Seat {
        name: NodeName::parse(name).expect("a node's name"),
        incarnation: Incarnation(incarnation),
    };
    vec![Roster::founding(1, vec![seat("n1", 1), seat("n2", 2)]).encode()]
}

fn log_frames() -> Vec<Vec<u8>> {
    let mut batch = Encoded::default();
    batch.push(&Op::Clear { epoch: boveda::base::Epoch(4) });
    batch.push(&Op::Cursor { peer: Incarnation(1), seq: 9 });
    batch.push(&Op::Node(NodeRecord::NEW));
    let (key, record) = with_small_body();
    batch.push(&Op::Record { key, held: Arc::new(Held::new(record, true, 9, None)) });
    batch.frames(3, usize::MAX)
}

fn with_small_body() -> (RegisterKey, Record) {
    let key = RegisterKey::object(BucketId(7), &ObjectKey::parse("k").expect("a key"));
    let mut record = Record::decode(records().last().expect("an object")).expect("it is one");
    record.set_in_hand(Some(bytes::Bytes::from(vec![8; 115]))).expect("a small body of that length");
    (key, record)
}

fn calls() -> Vec<Vec<u8>> {
    let (key, record) = with_small_body();
    let learn = Call::Learn(boveda::base::Epoch(4), vec![(key, Arc::new(record))]);
    vec![Call::Tree(vec![1, 2]).encode(), learn.encode()]
}

fn answers() -> Vec<Vec<u8>> {
    let (key, record) = with_small_body();
    let records = Answer::Records(vec![(key, Arc::new(record))]);
    vec![Answer::Done.encode(), vec![8, 0, 0, 0, 0], records.encode()]
}

fn hellos() -> Vec<Vec<u8>> {
    let key = ring().peer_keys().offers().remove(0);
    let [from, to] = ["n1", "n2"].map(|name| NodeName::parse(name).expect("a name"));
    vec![key.hello(a_hello()), key.ask(&from, &to, [4; boveda::seal::session::HELLO_NONCE_BYTES]).0]
}

fn forms() -> Vec<Vec<u8>> {
    let form = |name: &str| {
        format!(
            "\u{5}--XX\r\nContent-Disposition: form-data; name=\"archivo\"; {name}\r\nContent-Type: a/b\r\n\r\ndata\r\n--X\r\n--XX--\r\n"
        )
    };
    [form("filename=\"a.txt\""), form("filename*=UTF-8''a%20b"), form("filename=\"\"").replace("\r\n", "\n")]
        .map(String::into_bytes)
        .to_vec()
}

fn dispositions() -> Vec<Vec<u8>> {
    texts(&[
        "form-data; name=\"archivo\"; filename=\"a \\\"b\\\".txt\"",
        "form-data; name=x; filename*=utf-8'en'%e2%82%ac",
        "attachment",
    ])
}

fn ranges() -> Vec<Vec<u8>> {
    texts(&["\u{9}\0\0\0\0\0\0\0bytes=0-3", "\u{9}\0\0\0\0\0\0\0bytes=-5,2-", "\0\0\0\0\0\0\0\0bytes=0-"])
}

fn conditions() -> Vec<Vec<u8>> {
    texts(&[
        "if-match: \"4558\", W/\"1\"\nif-none-match: *",
        "if-range: Tue, 14 Nov 2023 22:13:20 GMT\nif-modified-since: x",
    ])
}

fn paths() -> Vec<Vec<u8>> {
    texts(&[
        "/v1/objects/b-b/a%2Fb/%C3%A9?versions=&x=%00",
        "/v1/buckets/abc",
        "/descargar/a%2520b",
        "/v1/objects/abc?prefix=a+b&limit=3",
    ])
}

fn authorizations() -> Vec<Vec<u8>> {
    texts(&[
        "Bearer AAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB",
        "Basic QUFBQUFBQUFBQUFBQUFBQUFBQUE6QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=",
        "basic Og==",
    ])
}

fn presigned_queries() -> Vec<Vec<u8>> {
    let key = Credential::of(&"A".repeat(20), &"B".repeat(40)).expect("a key");
    let pair = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let (headers, query) = (pair("content-type", "a/b; c=d"), pair("X-Boveda-Filename", "\u{f1} &.txt"));
    let link = Link {
        method: "GET",
        path: "/",
        host: "h:5000",
        at_s: 1_700_000_000,
        expires_s: 60,
        headers: &[],
        query: &query,
    };
    let stored = Link { method: "PUT", headers: &headers, query: &[], ..link };
    texts(&[&link.query_by(&key), &stored.query_by(&key)])
}

fn signatures() -> Vec<Vec<u8>> {
    let (credential, signature) = ("ID/20130524/r/s3/aws4_request", "0f".repeat(32));
    texts(&[
        &format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host;x-amz-date, Signature={signature}"),
        &format!("AWS4-HMAC-SHA256 Signature={signature},SignedHeaders=host,Credential={credential}"),
        "AWS ID:signature",
        "AWS4-ECDSA-P256-SHA256 Credential=ID",
    ])
}

/// Behind two bytes: how it is cut and coded (1: signed, 2: with trailers), and how long it says it is.
fn chunked_bodies() -> Vec<Vec<u8>> {
    let signature = "0f".repeat(32);
    texts(&[
        "\x06\x033\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n",
        "\x0a\x041\r\na\r\n3\r\nbcd\r\n0\r\n\r\n",
        &format!("\x05\x033;chunk-signature={signature}\r\nabc\r\n0;chunk-signature={signature}\r\n\r\n"),
        &format!("\x07\x000;chunk-signature={signature}\r\na:b\r\nx-amz-trailer-signature:{signature}\r\n\r\n"),
    ])
}

fn s3_documents() -> Vec<Vec<u8>> {
    let namespace = "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"";
    texts(&[
        &format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Delete {namespace}><Object><Key>a&amp;&#x1; b</Key>\
             <VersionId>null</VersionId><ETag>&quot;0f&quot;</ETag></Object><Quiet>true</Quiet></Delete>"
        ),
        "<Delete><!-- x --><Object><Key><![CDATA[<\u{f1}>]]>\r\n&#13;</Key></Object><Quiet/></Delete>",
        "<!DOCTYPE Delete [<!ENTITY a \"b\">]><Delete><Object><Key>&a;</Key></Object></Delete>",
        &format!(
            "<CreateBucketConfiguration {namespace}><LocationConstraint>eu-west-1</LocationConstraint>\
             </CreateBucketConfiguration>"
        ),
        &format!(
            "<CompleteMultipartUpload {namespace}><Part><ETag>&quot;0f&quot;</ETag><PartNumber>1</PartNumber>\
             <ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part><Part><PartNumber>10000</PartNumber><ETag>a-2</ETag></Part>\
             </CompleteMultipartUpload>"
        ),
    ])
}

fn copy_sources() -> Vec<Vec<u8>> {
    texts(&["/abc/a%20b%2Fc", "abc%2Fa+b", "abc//k%25%C3%B1", "abc/k?versionId=1", "abc/%3Fx", "abc", "/%2Fk"])
}

fn list_queries() -> Vec<Vec<u8>> {
    texts(&[
        "prefix=a%2F&delimiter=/&max-keys=2&encoding-type=url&marker=a%2Fb",
        "continuation-token=AQ&max-keys=99999999999999999999",
        "marker=%C3%B1&prefix=&delimiter=",
    ])
}

/// A bucket with a quota, of which something is open to everybody.
fn public_bucket() -> BucketRecord {
    let rights = Rights::of(&[Right::Read, Right::List]);
    let public = PublicGrants::NONE.with("", rights).and_then(|grants| grants.with("site/", rights));
    let quota = Quota { objects: Some(3), bytes: Some(9) };
    BucketRecord { quota, public: public.expect("two grants"), ..BucketRecord::made(BucketId(7), 1) }
}

fn configs() -> Vec<Vec<u8>> {
    let mut all = texts(&[
        "[node]\nname = \"n1\"\n[store]\nlog_bytes = \"64MiB\"\n",
        "BOVEDA_NODE_NAME=n1\nBOVEDA_CLUSTER_PEERS=a=http://b:1",
    ]);
    all.push(include_bytes!("../config/boveda.toml").to_vec());
    all
}

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}
