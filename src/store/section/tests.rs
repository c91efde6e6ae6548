//! Uploads in parts on a node alone, and the objects that they become: read over the borders of their parts, damaged part
//! by part, counted, refused and checked by all of their bodies.

use super::*;
use crate::base::names::RegisterName;
use crate::base::{
    Algorithm, BodyId, BucketName, BucketUsage, ChecksumKind, Condition, Epoch, Etag, Incarnation, ObjectHead,
    ObjectKey, ObjectName, Page, Part, PartOf, Parts, Record, RegisterKey, Secret, State, Uploads, Wrap,
};
use crate::disk::{Disk, RealDisk};
use crate::seal::digest::digest_of;
use crate::seal::keyring::Keyring;
use crate::store::buckets::{id_of_name, register_by_name};
use crate::store::damage::Ailment;
use crate::store::download::Download;
use crate::store::incoming::Purpose;
use crate::store::intent::Decided;
use crate::store::mutation::{Mutation, Target};
use crate::store::types::{Offer, Want};
use crate::store::{Clockwork, Options, Store, open, wait_blocking};
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

const UPLOAD: UploadId = UploadId([5; 16]);

struct Node(Store, Clockwork);

/// Each body that is not small is a file.
fn start(dir: &Path) -> Node {
    start_with(dir, Options { segment_max: 0, log_bytes: 1 << 20, ..Options::default() })
}

fn start_with(dir: &Path, options: Options) -> Node {
    start_under(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring").into(), dir, options)
}

fn start_under(ring: Arc<Keyring>, dir: &Path, options: Options) -> Node {
    let options = Options { reserve_bytes: 0, ..options };
    let (store, work) = open(Arc::new(RealDisk), dir, ring, None, options).expect("it opens");
    Node(store, work)
}

fn name(key: &str) -> ObjectName {
    ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(key).expect("a key") }
}

fn life() -> crate::base::BucketId {
    id_of_name(&BucketName::cargas())
}

fn part_key(key: &str, number: u16) -> RegisterKey {
    RegisterKey::part(life(), &name(key).key, UPLOAD, number)
}

/// Bytes of a part: no two parts are alike.
fn text(number: u16, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| ((i * 31 + u64::from(number) * 7 + i / 251) % 256) as u8).collect()
}

impl Node {
    fn commit(&self, mutation: Mutation) -> Result<Decided, StoreError> {
        let answer = self.0.mutate(mutation);
        self.1.committer.turn();
        wait_blocking(answer)
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        let object = self.0.seal_small(ObjectHead::default(), &[Bytes::copy_from_slice(bytes)]).expect("seals");
        self.commit(Mutation::put(&name(key), Condition::NONE, object, 1)).expect("is durable");
    }

    fn begin(&self, key: &str, checksum: Option<ChecksumKind>) {
        let head = ObjectHead { content_type: "text/x".to_owned(), ..ObjectHead::default() };
        let own = self.0.seal_upload(UPLOAD, head, checksum).expect("seals");
        self.commit(Mutation::put_part(Target::Upload(name(key), UPLOAD), own, 1)).expect("is durable");
        self.commit(Mutation::open_upload(&name(key), UPLOAD, 1)).expect("is durable");
    }

    fn own(&self, key: &str) -> ObjectRecord {
        self.object_of(&RegisterKey::upload(life(), &name(key).key, UPLOAD))
    }

    fn object_of(&self, key: &RegisterKey) -> ObjectRecord {
        let held = self.0.lookup(key).expect("looks").expect("is there");
        held.record.object().expect("an object").clone()
    }

    fn record(&self, key: &str) -> Arc<Record> {
        Arc::clone(&self.0.lookup(&register_by_name(&name(key))).expect("looks").expect("is there").record)
    }

    fn part(&self, key: &str, number: u16, bytes: &[u8]) {
        let part = PartOf { upload: UPLOAD, number, wrap: self.own(key).wrap };
        let mut body = self.0.begin_part(name(key), part, Some(bytes.len() as u64), None).expect("begins");
        body.append(&[Bytes::copy_from_slice(bytes)], |_| {}).expect("appends");
        let landed = body.land().expect("lands");
        self.commit(landed.mutation()).expect("is durable");
    }

    /// The object of these parts.
    fn whole(&self, key: &str, numbers: &[u16]) -> Box<ObjectRecord> {
        let part = |number: &u16| {
            let object = self.object_of(&part_key(key, *number));
            Part { number: *number, offset: 0, len: object.len, blob: object.body_ref(), checksum: None }
        };
        made_of(self.own(key), Parts::new(None, numbers.iter().map(part)).expect("a list"))
    }

    fn complete(&self, key: &str, numbers: &[u16]) -> Result<Decided, StoreError> {
        let object = self.whole(key, numbers);
        self.commit(Mutation::complete_upload(&name(key), UPLOAD, Condition::NONE, object, 1))
    }

    /// Uploads these parts, and has them become an object; its bytes.
    fn upload(&self, key: &str, lens: &[(u16, usize)]) -> Vec<u8> {
        self.begin(key, None);
        lens.iter().for_each(|(number, len)| self.part(key, *number, &text(*number, *len)));
        let numbers: Vec<_> = lens.iter().map(|(number, _)| *number).collect();
        self.complete(key, &numbers).expect("is open");
        lens.iter().flat_map(|(number, len)| text(*number, *len)).collect()
    }

    fn open(&self, key: &str) -> Download {
        self.0.open_object(&name(key)).expect("opens").1
    }

    fn sweeps(&self) {
        for _ in 0..4 {
            self.1.reaper.turn();
            self.1.committer.turn();
            self.0.sweep_orphans().expect("sweeps");
        }
    }

    fn drop_left(&self, key: &str, numbers: &[u16]) {
        self.commit(Mutation::drop_part(Target::Upload(name(key), UPLOAD), 1)).expect("is durable");
        for number in numbers {
            self.commit(Mutation::drop_part(Target::Part(name(key), UPLOAD, *number), 1)).expect("is durable");
        }
    }

    fn has(&self, body: BodyId) -> bool {
        self.0.core().has_body(body).expect("a healthy disk")
    }
}

/// An object of an upload, with these parts.
fn made_of(own: ObjectRecord, parts: Parts) -> Box<ObjectRecord> {
    let etag = Etag::Parts { md5: [1; 16], parts: u16::try_from(parts.count()).expect("not so many") };
    let (len, sealed_len, digest) = (parts.len(), parts.sealed_len(), digest_of(parts.as_bytes()));
    Box::new(ObjectRecord { len, etag, sealed_len, digest, at: BodyAt::Parts(parts), ..own })
}

/// What a download gives, by turns from the system's memory where that is asked for.
fn read(download: &mut Download, by_turns: bool) -> Result<Vec<u8>, StoreError> {
    let (mut all, mut turn) = (Vec::new(), 0);
    loop {
        turn += 1;
        let cached = if by_turns && turn % 2 == 0 { download.read_cached() } else { None };
        let pieces = cached.map_or_else(|| download.read(), Ok)?;
        if pieces.is_empty() {
            return Ok(all);
        }
        pieces.iter().for_each(|piece| all.extend_from_slice(piece));
    }
}

const LENS: [(u16, usize); 5] = [(1, 70_000), (3, 1), (4, 65_536), (9, 1_200_000), (10_000, 5)];

#[test]
fn parts_are_read_as_one_object_whatever_the_range() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path());
    let bytes = node.upload("k", &LENS);
    let borders = [0u64, 70_000, 70_001, 135_537, 1_335_537, 1_335_542];
    for round in 0..2 {
        for from in borders.iter().flat_map(|at| [at.saturating_sub(1), *at, at + 1]) {
            for to in borders.iter().flat_map(|at| [at.saturating_sub(1), *at, at + 1]).filter(|to| *to >= from) {
                let mut download = node.open("k");
                download.set_range(from, to - from);
                let (from, to) = (from.min(bytes.len() as u64) as usize, to.min(bytes.len() as u64) as usize);
                let found = read(&mut download, round > 0).expect("reads");
                assert!(found == bytes[from..to], "{from} to {to}");
            }
        }
        assert!(read(&mut node.open("k"), round > 0).expect("reads") == bytes);
        node.0.checkpoint().expect("a healthy disk");
    }
    let (info, mut download) = node.0.open_cached(&name("k")).expect("what was just read is in memory");
    assert_eq!((info.len, info.head.content_type.as_str()), (bytes.len() as u64, "text/x"));
    assert!(!download.is_in_memory(), "the next part may not be");
    assert!(read(&mut download, true).expect("reads") == bytes);
    drop(node);
    let again = start(dir.path());
    assert!(read(&mut again.open("k"), false).expect("reads") == bytes, "after a restart");
    let sum = again.0.verify(&mut |_| {}).expect("reads");
    assert_eq!((sum.damaged, sum.orphans, sum.miscounted, sum.objects, sum.bytes), (0, 0, 0, 1, bytes.len() as u64));
}

/// As an open file outlives its name: the parts that a reader has yet to come to stay until it is done.
#[test]
fn an_object_that_goes_while_it_is_read_is_read_to_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path());
    let bytes = node.upload("k", &LENS);
    node.drop_left("k", &[1, 3, 4, 9, 10_000]);
    let bodies: Vec<_> = node.record("k").bodies().map(|blob| blob.body).collect();
    let here = |node: &Node| bodies.iter().map(|body| node.has(*body)).collect::<Vec<_>>();
    let (mut whole, mut range, mut unread) = (node.open("k"), node.open("k"), node.open("k"));
    range.set_range(0, 70_001);
    let mut found = whole.read().expect("reads").concat();
    let mut begun = range.read().expect("reads").concat();
    node.commit(Mutation::delete(&name("k"), Condition::NONE, 1)).expect("is durable");
    node.sweeps();
    assert_eq!(here(&node), [true; 5], "all of it is to be read");
    found.extend(read(&mut whole, true).expect("reads on"));
    assert!(found == bytes);
    drop(whole);
    node.sweeps();
    assert_eq!(here(&node), [true, true, false, false, false], "what the range is of");
    begun.extend(read(&mut range, false).expect("reads on"));
    assert!(begun == bytes[..70_001]);
    drop(range);
    node.sweeps();
    assert_eq!(here(&node), [false; 5]);
    assert!(
        read(&mut unread, false).is_err_and(|error| error.is_damage()),
        "its parts were not held: nothing was read"
    );
}

#[test]
fn an_object_of_one_empty_part_is_empty() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path());
    assert!(node.upload("k", &[(1, 0)]).is_empty());
    assert!(read(&mut node.open("k"), false).expect("reads").is_empty());
    let mut round = node.0.scrub(crate::store::scrub::Part::Behind(None));
    assert_eq!(round.read().expect("reads").damaged, None);
}

/// All parts have one data key: only the number that they were sealed as tells them apart.
#[test]
fn a_part_that_was_stored_under_another_number_does_not_open() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path());
    node.begin("k", None);
    [1, 2].iter().for_each(|number| node.part("k", *number, &text(*number, 50_000)));
    let right = node.whole("k", &[1, 2]);
    let parts = right.parts().expect("parts");
    let (one, two) = (parts.get(0).expect("one"), parts.get(1).expect("two"));
    let swapped = Parts::new(None, [Part { blob: two.blob, ..one }, Part { blob: one.blob, ..two }]).expect("a list");
    let of_another = ObjectRecord { body: BodyId([6; 16]), ..*right.clone() };
    for wrong in [made_of(*right.clone(), swapped), Box::new(of_another)] {
        node.commit(Mutation::put(&name("wrong"), Condition::NONE, wrong, 1)).expect("nobody looks yet");
        assert!(node.0.open_object(&name("wrong")).is_err_and(|error| error.is_damage()));
        let found = node.0.diagnose(&register_by_name(&name("wrong"))).expect("looks");
        assert!(matches!(found, Some(Ailment::Record { .. })), "the bodies are right: {found:?}");
    }
    node.commit(Mutation::put(&name("right"), Condition::NONE, right, 1)).expect("is durable");
    assert!(read(&mut node.open("right"), false).is_ok());
}

#[test]
fn the_part_that_is_damaged_is_named_mended_and_read_on() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path());
    let bytes = node.upload("k", &LENS);
    let key = register_by_name(&name("k"));
    let record = node.record("k");
    let blobs: Vec<_> = record.bodies().collect();
    let damages: [fn(&mut Vec<u8>); 3] = [|bytes| bytes[40] ^= 1, |bytes| bytes.truncate(200), |bytes| bytes.clear()];
    for (at, damage) in [2, 3, 4].into_iter().zip(damages) {
        let (blob, section) = (blobs[at], Section::nth(record.object().expect("an object"), at).expect("a part"));
        let path = node.0.core().blobs.path(blob.body);
        let good = std::fs::read(&path).expect("reads");
        let mut download = node.open("k");
        let before = read(&mut download, false).expect("reads");
        assert!(before == bytes);
        let mut bad = good.clone();
        damage(&mut bad);
        std::fs::write(&path, bad).expect("writes");
        let mut round = node.0.scrub(crate::store::scrub::Part::Only(key.clone()));
        let mut seen = round.read().expect("reads");
        while seen.damaged.is_none() && !seen.done {
            seen = round.read().expect("reads");
        }
        assert_eq!(seen.damaged, Some(key.clone()), "part {at}");
        assert!(path.exists(), "scrubbing changes nothing");
        // What lies before it is handed out.
        let mut download = node.open("k");
        let mut found = Vec::new();
        let error = loop {
            match download.read() {
                Ok(pieces) => pieces.iter().for_each(|piece| found.extend_from_slice(piece)),
                Err(error) => break error,
            }
        };
        assert!(error.is_damage() && found == bytes[..section.offset as usize], "part {at}: {} bytes", found.len());
        assert!(!path.exists(), "set aside when it was met");
        assert!(blobs.iter().all(|other| other.body == blob.body || node.has(other.body)), "and no other");
        assert_eq!(node.0.diagnose(&key).expect("looks"), Some(Ailment::Blob { blob, damaged: true }));
        assert_eq!(download.missing(), Some(Ailment::Blob { blob, damaged: false }));
        let mut incoming = node.0.begin_incoming(blob.body, Some(blob.sealed_len), Purpose::Copy).expect("begins");
        incoming.append(&[good.into()]).and_then(|()| incoming.finish(blob)).expect("lands");
        assert_eq!((node.0.diagnose(&key).expect("looks"), download.missing()), (None, None));
        download.reopen().expect("the same version");
        found.extend(read(&mut download, false).expect("reads on"));
        assert!(found == bytes);
    }
    // Its uploads change, and so its ballot: it is the same object.
    let mut download = node.open("k");
    node.begin("k", None);
    download.reopen().expect("the same version");
    node.put("k", b"another one");
    assert!(download.reopen().is_err());
}

#[test]
fn an_object_is_taken_only_while_all_of_its_parts_are_here() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path());
    node.upload("k", &[(1, 20_000), (2, 20_000), (3, 20_000)]);
    let record = node.record("k");
    let last = record.bodies().last().expect("three");
    assert!(!node.0.core().lacks_bodies(&record).expect("looks"));
    std::fs::remove_file(node.0.core().blobs.path(last.body)).expect("removes");
    assert!(node.0.core().lacks_bodies(&record).expect("looks"));
    let object = Box::new(record.object().expect("an object").clone());
    let copied = node.commit(Mutation::put(&name("copy"), Condition::NONE, object, 1));
    assert!(matches!(copied, Err(StoreError::Mismatch(_))), "{copied:?}");
    let peer = Incarnation(7);
    let learned = node.0.learn(vec![(register_by_name(&name("copy")), Record::clone(&record))], peer, Epoch(0));
    assert!(matches!(learned, Err(StoreError::Mismatch(_))));
    let held = node.0.hold_bodies(&record.bodies().collect::<Vec<_>>()).expect("looks");
    assert_eq!(held.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(node.0.missing(&record), Some(Ailment::Blob { blob: last, damaged: false }));
    // It is held, and wanted all the same.
    let offer = Offer { key: register_by_name(&name("k")), ballot: record.ballot, blob: record.body() };
    assert_eq!(node.0.compare_offers(&[offer]).expect("looks"), [Want::BlobAndRecord]);
    let found = node.0.diagnose(&register_by_name(&name("k"))).expect("looks");
    assert_eq!(found, Some(Ailment::Blob { blob: last, damaged: false }));
}

#[test]
fn bodies_go_with_the_last_record_that_refers_to_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path());
    node.begin("k", None);
    [1, 2, 1].iter().for_each(|number| node.part("k", *number, &text(*number, 20_000)));
    let replaced = node.object_of(&part_key("k", 2)).body;
    node.part("k", 2, &text(7, 20_000));
    node.sweeps();
    assert!(!node.has(replaced), "a part that was stored again");
    node.complete("k", &[1, 2]).expect("is open");
    let record = node.record("k");
    let bodies: Vec<_> = record.bodies().map(|blob| blob.body).collect();
    let all = |is: bool| bodies.iter().all(|body| node.has(*body) == is);
    node.drop_left("k", &[1, 2]);
    node.sweeps();
    assert!(all(true), "the object refers to them");
    let copy = Box::new(record.object().expect("an object").clone());
    node.commit(Mutation::put(&name("copy"), Condition::NONE, copy, 1)).expect("they are here");
    node.commit(Mutation::delete(&name("k"), Condition::NONE, 1)).expect("is durable");
    node.sweeps();
    assert!(all(true) && node.0.core().index.references(bodies[1]).expect("reads") == 1);
    let held = node.0.hold_bodies(&record.bodies().collect::<Vec<_>>()).expect("looks");
    node.commit(Mutation::delete(&name("copy"), Condition::NONE, 1)).expect("is durable");
    node.sweeps();
    assert!(all(true), "they are held");
    drop(held);
    node.sweeps();
    assert!(all(false), "nobody needs them");
}

/// Whatever is written of a key, the uploads that are open for it stay so; and they are no object.
#[test]
fn uploads_outlast_every_write_of_their_key_and_count_for_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path());
    let open = |node: &Node| node.record("k").uploads().ids().to_vec();
    let nothing = BucketUsage::NOTHING;
    node.begin("k", None);
    node.part("k", 1, &text(1, 20_000));
    assert_eq!((open(&node), node.0.usage(life())), (vec![UPLOAD], nothing));
    assert!(matches!(node.record("k").state, State::Uploads(_)));
    let list = |node: &Node| {
        let until = Instant::now() + Duration::from_secs(60);
        node.0.list(&BucketName::cargas(), "", None, None, 10, until).expect("lists").entries.len()
    };
    let figures = |node: &Node| {
        let status = node.0.status();
        (status.objects, status.bytes, status.tombstones)
    };
    node.0.core().build_tree(&crossbeam_channel::bounded(0).1);
    assert_eq!((list(&node), figures(&node)), (0, (0, 0, 0)));
    node.put("k", b"an object");
    assert_eq!((open(&node), list(&node), node.0.usage(life())), (vec![UPLOAD], 1, BucketUsage::of_object(9)));
    node.0.checkpoint().expect("a healthy disk");
    node.commit(Mutation::delete(&name("k"), Condition::NONE, 1)).expect("is durable");
    assert_eq!((open(&node), list(&node), node.0.usage(life())), (vec![UPLOAD], 0, nothing));
    assert_eq!(figures(&node), (0, 0, 0), "no tombstone");
    drop(node);
    let node = start(dir.path());
    node.0.core().build_tree(&crossbeam_channel::bounded(0).1);
    node.0.checkpoint().expect("a healthy disk");
    assert_eq!((open(&node), list(&node), figures(&node)), (vec![UPLOAD], 0, (0, 0, 0)));
    let Page { entries, .. } = node.0.due_tombstones(None, Duration::ZERO, 100).expect("looks");
    assert_eq!(entries, [], "and never buried");
    let sum = node.0.verify(&mut |_| {}).expect("reads");
    assert_eq!((sum.objects, sum.tombstones, sum.damaged, sum.miscounted), (0, 0, 0, 0));
    // Objects alone keep a bucket.
    node.commit(Mutation::delete_bucket(&BucketName::cargas(), 1)).expect("it is empty");
}

/// An upload that is begun or aborted writes the record of its key anew, and nothing of the small body in it.
#[test]
fn a_small_body_stays_where_it_is_when_uploads_come_and_go() {
    for checkpointed in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let node = start_with(dir.path(), Options::default());
        let bytes = vec![7; 10_000];
        node.put("k", &bytes);
        let (ballot, body) = (node.record("k").ballot, node.object_of(&register_by_name(&name("k"))).body);
        if checkpointed {
            node.0.checkpoint().expect("a healthy disk");
        }
        let place = node.0.core().named_place(body).expect("looks");
        let written = node.0.core().log.end();
        node.begin("k", None);
        assert!(node.record("k").in_hand().is_none(), "it is here already");
        node.commit(Mutation::abort_upload(&name("k"), UPLOAD, 1)).expect("it is open");
        assert!(node.0.core().log.end() - written < 20_000, "the log does not have it once more");
        assert!(node.record("k").ballot > ballot && node.record("k").uploads().is_empty());
        assert_eq!(node.0.core().named_place(body).expect("looks"), place);
        for _ in 0..2 {
            assert_eq!(read(&mut node.open("k"), false).expect("reads"), bytes);
            node.0.checkpoint().expect("a healthy disk");
        }
        assert!(!checkpointed || node.0.core().named_place(body).expect("looks") == place, "it was not moved");
        node.begin("k", None);
        drop(node);
        let node = start_with(dir.path(), Options::default());
        assert_eq!(read(&mut node.open("k"), false).expect("reads"), bytes, "after a restart");
        node.put("k", b"another");
        node.commit(Mutation::abort_upload(&name("k"), UPLOAD, 1)).expect("it is open");
        node.0.checkpoint().expect("a healthy disk");
        node.sweeps();
        assert!(!node.has(body), "nothing refers to it");
    }
}

/// Bodies that no key opens: what is stored of an object in parts rests on their digests alone.
fn made_up(count: u16) -> (Vec<(BlobRef, Bytes)>, Parts) {
    let bodies = (1..=count).map(|n| {
        let sealed = Bytes::copy_from_slice(&n.to_be_bytes());
        let mut id = [9; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        (BlobRef { body: BodyId(id), sealed_len: 2, digest: digest_of(&sealed) }, sealed)
    });
    let bodies: Vec<_> = bodies.collect();
    let sum = crate::base::checksum::Value::new(&[3; 32]);
    let part =
        |(number, (blob, _)): (u16, &(BlobRef, Bytes))| Part { number, offset: 0, len: 1, blob: *blob, checksum: sum };
    let parts = Parts::new(Some(Algorithm::Sha256), (1..).zip(&bodies).map(part)).expect("a list");
    (bodies, parts)
}

const KEYS: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

#[test]
fn an_object_of_ten_thousand_parts_is_kept_counted_and_told_like_any_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start_with(dir.path(), Options { log_bytes: 16 << 20, ..Options::default() });
    let (bodies, parts) = made_up(10_000);
    for taken in node.0.take_bodies(bodies.clone()) {
        taken.expect("it is what was announced").wait().expect("a healthy disk");
    }
    let wrap = Wrap { kek: crate::base::KekId([0; 16]), nonce: [0; 12], sealed: [0; 48] };
    let own = ObjectRecord {
        number: 1,
        len: 0,
        etag: Etag::Digest,
        checksum: None,
        head: ObjectHead::default(),
        body: UPLOAD.as_body(),
        sealed_len: 0,
        digest: [0; 32],
        wrap,
        at: BodyAt::Blob,
        uploads: Uploads::NONE,
    };
    let object = made_of(own, parts.clone());
    for key in KEYS {
        node.commit(Mutation::put(&name(key), Condition::NONE, object.clone(), 1)).expect("all of it is here");
    }
    let record = node.record("a");
    assert!(record.encode().len() > 900_000 && record.encode().len() < crate::base::record::RECORD_BYTES_MAX);
    let held = node.0.lookup(&register_by_name(&name("a"))).expect("looks").expect("is there");
    let weights = [held.weight(), crate::wire::votes::slot_weight(&held.slot()) as u64];
    assert!(weights.iter().all(|weight| *weight >= record.encode().len() as u64), "{weights:?}: memory and frames");
    let references = |node: &Node| node.0.core().references(bodies[9_999].0.body).expect("reads");
    assert_eq!(references(&node), Some(7));
    node.0.checkpoint().expect("a healthy disk");
    drop(node);
    let node = start_with(dir.path(), Options { log_bytes: 16 << 20, ..Options::default() });
    assert_eq!((references(&node), node.record("e").object().and_then(ObjectRecord::parts)), (Some(7), Some(&parts)));
    // No page and no frame takes all of them.
    let keys: Vec<_> = KEYS.iter().map(|key| register_by_name(&name(key))).collect();
    let end = RegisterKey::objects_end(life());
    let page = node.0.scan_slots(std::ops::Bound::Included(&keys[0]), &end, 1000).expect("reads");
    assert_eq!((page.entries.len(), page.complete.next().is_some()), (5, true), "of near a MiB each");
    let fetched = node.0.fetch_records(keys, crate::wire::LEARN_BYTES_MAX).expect("reads");
    assert_eq!(fetched.len(), 2);
    node.begin("a", None);
    assert_eq!(references(&node), Some(7), "the same object");
    for key in KEYS {
        node.commit(Mutation::delete(&name(key), Condition::NONE, 1)).expect("is durable");
    }
    assert_eq!(references(&node), Some(0));
    node.0.checkpoint().expect("a healthy disk");
    assert_eq!(node.0.core().index.references(bodies[0].0.body).expect("reads"), 0);
}

/// Another generation may seal by the time that a part has come.
#[test]
fn a_part_is_stored_under_the_generation_that_seals_when_it_has_come() {
    let dir = tempfile::tempdir().expect("a directory");
    let ring = Keyring::new(vec![(1, Secret::new([9; 32])), (2, Secret::new([8; 32]))]).expect("a ring");
    let [(_, first), (_, second)] = ring.generations()[..] else { panic!("two generations") };
    let ring = Arc::new(ring);
    assert!(ring.seal_with(first));
    let options = Options { segment_max: 0, log_bytes: 1 << 20, ..Options::default() };
    let node = start_under(Arc::clone(&ring), dir.path(), options);
    assert!(ring.seal_with(first));
    node.begin("k", None);
    let part = PartOf { upload: UPLOAD, number: 1, wrap: node.own("k").wrap };
    let mut body = node.0.begin_part(name("k"), part, None, None).expect("begins");
    body.append(&[Bytes::from_static(b"before")], |_| {}).expect("appends");
    assert!(ring.seal_with(second));
    node.commit(body.land().expect("lands").mutation()).expect("is durable");
    assert_eq!(node.object_of(&part_key("k", 1)).wrap.kek, second);
    node.complete("k", &[1]).expect("is open");
    assert_eq!(read(&mut node.open("k"), false).expect("opens"), b"before");
}

#[test]
fn what_is_said_of_an_upload_is_an_object_without_a_byte() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = start(dir.path());
    let kind = ChecksumKind { algorithm: Algorithm::Crc32c, is_composite: true };
    node.begin("k", Some(kind));
    node.0.checkpoint().expect("a healthy disk");
    let own = node.own("k");
    assert_eq!((own.len, own.body, own.wrap_of(), own.etag), (0, UPLOAD.as_body(), own.body, Etag::Digest));
    assert_eq!(own.checksum.as_ref().map(ChecksumKind::from), Some(kind));
    assert_eq!(own.head.content_type, "text/x");
    node.part("k", 7, b"few");
    let part = node.object_of(&part_key("k", 7));
    assert_eq!((part.wrap_of(), part.wrap), (UPLOAD.as_body(), own.wrap), "its parts have its data key");
    assert_eq!(part.at, BodyAt::Part { upload: UPLOAD, number: 7 });
    assert!(matches!(part_key("k", 7).name(), Some(RegisterName::Part(.., 7))));
    let other = PartOf { upload: UploadId([6; 16]), number: 7, wrap: node.own("k").wrap };
    let begun = node.0.begin_part(name("k"), other, None, None);
    assert!(matches!(begun, Err(StoreError::Corrupt { .. })), "the data key of another upload");
    assert!(RealDisk.exists(&node.0.core().blobs.path(part.body)).expect("looks"));
}
