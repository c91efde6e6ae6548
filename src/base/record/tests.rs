use super::*;
use crate::base::checksum::Value;
use crate::base::{ActiveKey, Algorithm, BlobRef, EtagMode, Grant, Part, Right, Rights};

const SEALED: &[u8] = b"sealed";

/// A small body that is at hand.
fn small() -> BodyAt {
    BodyAt::Small(Bytes::from_static(SEALED).into())
}

fn sample(at: BodyAt) -> Record {
    let sealed_len = if at == BodyAt::Blob { 1 << 40 } else { SEALED.len() as u64 };
    Record {
        ballot: Ballot { stamp: Stamp(7 << 16), node: Incarnation(9) },
        lineage: Lineage::NOTHING.then(WriteId([6; 8]), 8),
        written_ms: 7,
        state: State::Object(Box::new(ObjectRecord {
            number: 1,
            len: 3,
            etag: Etag::Digest,
            checksum: None,
            head: ObjectHead {
                content_type: "text/plain".into(),
                meta: vec![("a".into(), "á".into()), ("b".into(), String::new())],
                ..ObjectHead::default()
            },
            body: BodyId([1; 16]),
            sealed_len,
            digest: [2; 32],
            wrap: Wrap { kek: KekId([3; 16]), nonce: [4; 12], sealed: [5; 48] },
            at,
            uploads: crate::base::Uploads::NONE,
        })),
    }
}

/// The same object with other sums.
fn summed(at: BodyAt, etag: Etag, checksum: Option<Checksum>) -> Record {
    changed(sample(at), |object| (object.etag, object.checksum) = (etag, checksum))
}

fn changed(mut record: Record, change: impl FnOnce(&mut ObjectRecord)) -> Record {
    if let State::Object(object) = &mut record.state {
        change(object);
    }
    record
}

/// A small object with the checksum of that algorithm: bytes that count from 1.
fn checked(algorithm: Algorithm) -> Record {
    let value: Vec<u8> = (1..).take(algorithm.bytes()).collect();
    summed(small(), Etag::Md5([0x0b; 16]), Checksum::of_all(algorithm, &value))
}

/// An object of two parts, with a checksum over theirs.
fn composite() -> Record {
    let value: Vec<u8> = (1..=32).collect();
    let over_all = Checksum::of_all(Algorithm::Sha256, &value).expect("32 bytes");
    let checksum = Checksum { is_composite: true, ..over_all };
    summed(BodyAt::Blob, Etag::Parts { md5: [0x0b; 16], parts: 2 }, Some(checksum))
}

fn uploads(ids: &[u8]) -> Uploads {
    ids.iter().fold(Uploads::NONE, |all, n| all.with(UploadId([*n; 16])).expect("there is room"))
}

fn part(number: u16, len: u64, n: u8, sealed_len: u64) -> Part {
    let blob = BlobRef { body: BodyId([n; 16]), sealed_len, digest: [n + 0x10; 32] };
    Part { number, offset: 0, len, blob, checksum: None }
}

/// An object of these parts, each with that checksum.
fn in_parts(parts: &[Part], value: Option<Value>) -> Record {
    let algorithm = value.map(|_| Algorithm::Crc32);
    let parts = parts.iter().map(|part| Part { checksum: value, ..*part });
    let parts = Parts::new(algorithm, parts).expect("a list");
    changed(sample(BodyAt::Blob), |object| {
        object.len = parts.len();
        object.etag = Etag::Parts { md5: [0x0b; 16], parts: u16::try_from(parts.count()).expect("few") };
        object.checksum = value.map(|value| Checksum { algorithm: Algorithm::Crc32, is_composite: true, value });
        (object.body, object.sealed_len) = (BodyId([0x21; 16]), parts.sealed_len());
        object.at = BodyAt::Parts(parts);
    })
}

/// An object of two parts, for whose key another upload is open.
fn parts_and_uploads() -> Record {
    let parts = [part(2, 4, 0x31, 116), part(3, 3, 0x32, 115)];
    changed(in_parts(&parts, Value::new(&[1, 2, 3, 4])), |object| object.uploads = uploads(&[0x22]))
}

/// A part of an upload, in its register.
fn of_upload() -> Record {
    let at = BodyAt::Part { upload: UploadId([0x21; 16]), number: 10_000 };
    changed(summed(BodyAt::Blob, Etag::Md5([0x0b; 16]), None), |object| object.at = at)
}

fn all_texts() -> Record {
    changed(sample(small()), |object| {
        object.head = ObjectHead {
            content_type: "text/plain".into(),
            cache_control: "no-store".into(),
            disposition: "attachment; filename=\"á\"".into(),
            encoding: "gzip".into(),
            language: "es, en".into(),
            expires: "0".into(),
            meta: Vec::new(),
        }
    })
}

fn bucket() -> BucketRecord {
    BucketRecord { generation: 5, ..BucketRecord::made(BucketId(0x0123_4567_89ab_cdef), 9) }
}

/// One with a quota.
fn filling(objects: Option<u64>, bytes: Option<u64>) -> BucketRecord {
    BucketRecord { quota: Quota { objects, bytes }, ..bucket() }
}

fn access_key() -> AccessRecord {
    AccessRecord {
        name: "backups".to_owned(),
        created_ms: 7,
        expires_ms: 0,
        disabled: false,
        secrets: vec![[1; 85].into()],
        grants: vec![Grant::everything()],
    }
}

/// One that is being rotated, and lets nobody in.
fn two_secrets() -> AccessRecord {
    let grant = |text: &str| text.parse().expect("a grant");
    AccessRecord {
        name: "lector ñ".to_owned(),
        created_ms: 9,
        expires_ms: 1 << 41,
        disabled: true,
        secrets: vec![[1; 85].into(), [2; 85].into()],
        grants: vec![grant("logs-*/2026:x/:read,list"), grant("abc:metrics")],
    }
}

#[test]
fn times_grow_with_each_write_whatever_the_clocks_say() {
    let now = 1_000_000_500;
    for (before, after) in [
        (None, now),
        (Some(0), now),
        (Some(now - 2000), now),
        (Some(now - 600), now),
        (Some(now - 500), 1_000_001_000),
        (Some(now), 1_000_001_000),
        (Some(now + 59_000), 1_000_060_000),
        (Some(now + 60_000), now + 60_001),
        (Some(now + 9_000_000), now + 9_000_001),
        (Some(u64::MAX), u64::MAX),
    ] {
        assert_eq!(written_after(before, now), after, "{before:?}");
    }
}

fn settings(number: Option<u32>) -> SettingsRecord {
    SettingsRecord { active: number.map(|number| ActiveKey { number, kek: KekId([7; 16]) }) }
}

#[test]
fn round_trip() {
    let plain = |state| Record { written_ms: 1, state, ..sample(BodyAt::Blob) };
    let all = [
        sample(BodyAt::Blob),
        sample(small()),
        composite(),
        all_texts(),
        plain(State::Deleted),
        plain(State::Bucket(bucket())),
        plain(State::Bucket(BucketRecord { is_open: false, ..bucket() })),
        plain(State::Bucket(filling(Some(0), None))),
        plain(State::Bucket(filling(None, Some(u64::MAX)))),
        plain(State::Bucket(public_bucket())),
        plain(State::Bucket(filling_public())),
        plain(State::Nothing),
        plain(State::Members(Bytes::from_static(b"list"))),
        plain(State::AccessKey(Box::new(access_key()))),
        plain(State::AccessKey(Box::new(two_secrets()))),
        plain(State::Settings(Box::new(settings(Some(2))))),
        plain(State::Uploads(uploads(&[1, 2]))),
        of_upload(),
        parts_and_uploads(),
    ];
    let checked = Algorithm::ALL.map(checked);
    for record in all.into_iter().chain(checked) {
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}

fn public_bucket() -> BucketRecord {
    let public = PublicGrants::NONE
        .with("", Rights::of(&[Right::Read]))
        .and_then(|all| all.with("site/", Rights::of(&[Right::Read, Right::List])));
    BucketRecord { generation: 7, public: public.expect("two grants"), ..bucket() }
}

/// One with a quota, of which something is open to everybody as well.
fn filling_public() -> BucketRecord {
    BucketRecord { quota: Quota { objects: Some(1000), bytes: Some(5 << 30) }, ..public_bucket() }
}

fn fixture() -> serde_json::Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/record-v7.json")).expect("the fixture is JSON")
}

fn bytes_of(hex: &serde_json::Value) -> Vec<u8> {
    let hex = hex.as_str().expect("a record of that name");
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digits).collect()
}

#[test]
fn what_the_format_page_says_is_what_is_read_and_written() {
    let fixture = fixture();
    let plain = |state| Record { state, ..sample(BodyAt::Blob) };
    let third = changed(sample(BodyAt::Blob), |object| (object.number, object.head) = (3, ObjectHead::default()));
    let expires = changed(sample(small()), |object| {
        object.head.content_type.clear();
        object.head.expires = "Thu, 01 Dec 1994 16:00:00 GMT".into();
    });
    let expected = [
        ("deleted", plain(State::Deleted)),
        ("bucket", plain(State::Bucket(bucket()))),
        ("bucket-quota", plain(State::Bucket(filling(Some(1000), Some(5 << 30))))),
        ("bucket-quota-bytes", plain(State::Bucket(filling(None, Some(0))))),
        ("bucket-fast", plain(State::Bucket(BucketRecord { etag: EtagMode::Fast, ..filling_public() }))),
        ("bucket-closing", plain(State::Bucket(BucketRecord { generation: 6, is_open: false, ..bucket() }))),
        ("bucket-public", plain(State::Bucket(public_bucket()))),
        ("bucket-quota-public", plain(State::Bucket(filling_public()))),
        ("nothing", Record { lineage: Lineage::NOTHING, ..plain(State::Nothing) }),
        ("members", plain(State::Members(Bytes::from_static(b"list")))),
        ("access-key", plain(State::AccessKey(Box::new(access_key())))),
        ("access-key-two-secrets-disabled", plain(State::AccessKey(Box::new(two_secrets())))),
        ("settings", plain(State::Settings(Box::new(settings(Some(2)))))),
        ("settings-none-active", plain(State::Settings(Box::new(settings(None))))),
        ("object-blob", sample(BodyAt::Blob)),
        ("object-small", sample(small())),
        ("object-third-version-nothing-said", third),
        ("object-etag-md5", summed(small(), Etag::Md5([0x0b; 16]), None)),
        ("object-etag-parts", summed(BodyAt::Blob, Etag::Parts { md5: [0x0b; 16], parts: 10_000 }, None)),
        ("object-etag-fast", summed(small(), Etag::Fast, None)),
        ("object-crc32", checked(Algorithm::Crc32)),
        ("object-crc32c", checked(Algorithm::Crc32c)),
        ("object-crc64nvme", checked(Algorithm::Crc64Nvme)),
        ("object-sha1", checked(Algorithm::Sha1)),
        ("object-sha256", checked(Algorithm::Sha256)),
        ("object-composite", composite()),
        ("object-all-texts", all_texts()),
        ("object-expires-alone", expires),
        ("uploads", plain(State::Uploads(uploads(&[0x21, 0x22])))),
        ("object-uploads", changed(sample(BodyAt::Blob), |object| object.uploads = uploads(&[0x22, 0x21]))),
        ("object-part", of_upload()),
        ("object-parts", in_parts(&[part(1, 5 << 20, 0x31, 6 << 20), part(10_000, 3, 0x32, 115)], None)),
        ("object-parts-crc32-uploads", parts_and_uploads()),
        ("object-one-empty-part", in_parts(&[part(7, 0, 0x31, 112)], None)),
    ];
    assert_eq!(fixture["records"].as_object().map(|all| all.len()), Some(expected.len()));
    for (name, record) in expected {
        let bytes = bytes_of(&fixture["records"][name]);
        assert_eq!(Record::decode(&bytes).as_ref(), Ok(&record), "{name}");
        assert_eq!(record.encode(), bytes, "{name}");
    }
}

#[test]
fn what_this_release_does_not_act_on_is_refused_by_its_field() {
    let fixture = fixture();
    let refused = fixture["refused"].as_object().expect("records by name");
    assert!(!refused.is_empty());
    for (name, refused) in refused {
        let Err(CodecError::Value(field)) = Record::decode(&bytes_of(&refused["record"])) else {
            panic!("{name} is taken");
        };
        assert_eq!(Some(field), refused["field"].as_str(), "{name}");
    }
}

#[test]
fn the_longest_head_and_the_longest_sums_fit_an_entry() {
    use crate::base::head::{CONTENT_TYPE_BYTES_MAX, META_BYTES_MAX, META_ENTRIES_MAX, TEXT_BYTES_MAX};
    let text = || "t".repeat(TEXT_BYTES_MAX);
    let value = "v".repeat(META_BYTES_MAX / META_ENTRIES_MAX - 4);
    let longest = changed(composite(), |object| {
        object.head = ObjectHead {
            content_type: "c".repeat(CONTENT_TYPE_BYTES_MAX),
            cache_control: text(),
            disposition: text(),
            encoding: text(),
            language: text(),
            expires: text(),
            meta: (0..META_ENTRIES_MAX).map(|n| (format!("{n:04}"), value.clone())).collect(),
        }
    });
    assert_eq!(Record::decode(&longest.encode()), Ok(longest));
}

#[test]
fn an_object_is_known_by_what_its_record_says_and_compared_by_its_digest() {
    let etag = |record: &Record| record.object().map(ObjectRecord::etag);
    let plain = sample(BodyAt::Blob);
    assert_eq!(etag(&plain), Some("02".repeat(32)));
    assert_eq!(etag(&composite()), Some(format!("{}-2", "0b".repeat(16))));
    assert!(composite().bodies().eq(plain.bodies()), "the same body, whatever clients call it");
}

#[test]
fn a_record_says_which_bodies_it_refers_to_and_which_has_to_be_here_first() {
    let of = BlobRef { body: BodyId([1; 16]), sealed_len: 1 << 40, digest: [2; 32] };
    let blob = sample(BodyAt::Blob);
    assert_eq!(blob.bodies().collect::<Vec<_>>(), vec![of]);
    assert_eq!(blob.object().expect("an object").blob(), Some(of));
    assert!(blob.refers_to(of.body) && !blob.refers_to(BodyId([2; 16])));
    let small = sample(small());
    assert_eq!(small.bodies().collect::<Vec<_>>(), vec![BlobRef { sealed_len: 6, ..of }]);
    assert_eq!(small.object().expect("an object").blob(), None);
    assert!(small.refers_to(of.body));
    let deleted = Record { state: State::Deleted, ..blob };
    assert_eq!((deleted.in_hand_len(), deleted.bodies().count()), (0, 0));
    // Parts, all of them; the id that they go by is none.
    let parts = parts_and_uploads();
    let bodies: Vec<_> = parts.bodies().map(|blob| blob.body.0[0]).collect();
    assert_eq!((bodies, parts.body()), (vec![0x31, 0x32], Some(BodyId([0x21; 16]))));
    assert!(parts.refers_to(BodyId([0x32; 16])) && !parts.refers_to(BodyId([0x21; 16])));
    assert_eq!(parts.object().and_then(ObjectRecord::blob).map(|blob| blob.sealed_len), Some(231));
}

#[test]
fn what_a_record_is_bound_to_and_what_it_became_is_told_by_its_upload() {
    let upload = UploadId([0x21; 16]);
    let (part, whole) = (of_upload(), parts_and_uploads());
    let (part, whole) = (part.object().expect("an object"), whole.object().expect("an object"));
    assert_eq!((part.wrap_of(), whole.wrap_of()), (upload.as_body(), upload.as_body()));
    assert!(whole.is_made_of(upload) && !whole.is_made_of(UploadId([0x22; 16])) && !part.is_made_of(upload));
}

#[test]
fn the_weight_of_a_record_covers_what_has_no_fixed_length() {
    for record in [sample(small()), all_texts(), of_upload(), parts_and_uploads(), composite()] {
        assert!(record.encode().len() <= 512 + record.variable_len(), "{record:?}");
    }
    let lists = |record: &Record| record.variable_len() - record.object().expect("an object").head.weight();
    assert_eq!([lists(&of_upload()), lists(&parts_and_uploads())], [0, 4 + 1 + 2 * (66 + 4) + 16]);
}

#[test]
fn a_small_body_at_hand_is_no_part_of_its_record() {
    let with = sample(small());
    assert_eq!(with.in_hand().map(|sealed| &sealed[..]), Some(SEALED));
    let bytes = with.encode();
    assert!(!bytes.windows(SEALED.len()).any(|part| part == SEALED));
    let mut without = Record::decode(&bytes).expect("it is one");
    assert_eq!((without.in_hand_len(), &without), (0, &with), "it is the same record");
    for wrong in [&SEALED[..5], b"sealed."] {
        let refused = without.set_in_hand(Some(Bytes::from_static(wrong)));
        assert_eq!(refused, Err(CodecError::Value("small body length")));
    }
    without.set_in_hand(Some(Bytes::from_static(SEALED))).expect("it has that length");
    assert_eq!(without.in_hand_len(), 6);
    without.set_in_hand(None).expect("it may go");
    assert_eq!(without.in_hand_len(), 0);
    let large = Bytes::from_static(SEALED);
    let mut blob = sample(BodyAt::Blob);
    if let State::Object(object) = &mut blob.state {
        object.sealed_len = 6;
    }
    assert_eq!(blob.set_in_hand(Some(large.clone())), Err(CodecError::Value("small body")));
    let mut deleted = Record { state: State::Deleted, ..blob };
    assert_eq!(deleted.set_in_hand(Some(large)), Err(CodecError::Value("small body")));
    assert_eq!(deleted.set_in_hand(None), Ok(()));
}

#[test]
fn every_prefix_and_every_extension_is_refused() {
    let bytes = sample(small()).encode();
    for end in 0..bytes.len() {
        assert!(Record::decode(&bytes[..end]).is_err(), "{end}");
    }
    assert_eq!(Record::decode(&[&bytes[..], b"x"].concat()), Err(CodecError::Trailing));
}

#[test]
fn what_is_not_known_of_a_bucket_is_refused() {
    let bytes = Record { state: State::Bucket(bucket()), ..sample(BodyAt::Blob) }.encode();
    let version = bytes.len() - 27;
    for (at, value, error) in [
        (version, 1, "bucket version"),
        (version, 3, "bucket version"),
        (version + 17, 3, "bucket state"),
        (version + 26, 16, "bucket settings"),
    ] {
        let mut bad = bytes.clone();
        bad[at] = value;
        assert_eq!(Record::decode(&bad), Err(CodecError::Value(error)));
    }
    assert_eq!(Record::decode(&[&bytes[..], &[0]].concat()), Err(CodecError::Trailing));
}

#[test]
fn a_length_beyond_the_limit_takes_no_memory() {
    let good = sample(small()).encode();
    // Ballot, lineage and time stand before it.
    let entry = 1 + 1 + 16 + 17 + 8 + 8;
    let mut bytes = good.clone();
    bytes[entry..entry + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Record::decode(&bytes), Err(CodecError::Value("version entry")));
    let sealed_len = entry + 4 + 26 + 8 + 1 + 1 + 16;
    assert_eq!(good[sealed_len..sealed_len + 8], 6u64.to_le_bytes());
    for (len, fits) in [(SMALL_SEALED_BYTES_MAX as u64, true), (SMALL_SEALED_BYTES_MAX as u64 + 1, false)] {
        let mut bytes = good.clone();
        bytes[sealed_len..sealed_len + 8].copy_from_slice(&len.to_le_bytes());
        assert_eq!(Record::decode(&bytes).is_ok(), fits, "{len}");
    }
}
