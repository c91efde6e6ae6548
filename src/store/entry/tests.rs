//! Operations of the log as the format page has them: known answers, both ways.

use super::*;

fn bytes(value: &serde_json::Value) -> Vec<u8> {
    let hex = value.as_str().expect("a text");
    let digits = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(digits).collect()
}

#[test]
fn records_are_written_with_their_small_bodies_as_the_format_page_says() {
    let fixture: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/fixtures/record-v7.json")).expect("the fixture is JSON");
    let (frame, records) = (&fixture["frame"], &fixture["records"]);
    let record = |name: &str| Record::decode(&bytes(&records[name])).expect("it is one");
    let key = RegisterKey::from_bytes(&bytes(&frame["key"])).expect("a key");
    let mut small = record("object-small");
    small.set_in_hand(Some(bytes(&frame["small"]).into())).expect("of that length");
    let mut encoded = Encoded::default();
    let ops = [Held::new(small, true, 5, None), Held::new(record("deleted"), false, 6, Some(Incarnation(9)))];
    for held in ops {
        encoded.push(&Op::Record { key: key.clone(), held: Arc::new(held) });
    }
    let payload = bytes(&frame["payload"]);
    assert_eq!(encoded.frames(frame["sequence"].as_u64().expect("a number"), 4096), std::slice::from_ref(&payload));
    let (ops, _) = decode_frame(&payload).expect("it is one");
    let [Op::Record { held: small, .. }, Op::Record { held: deleted, .. }] = &ops[..] else { panic!("{ops:?}") };
    assert_eq!(small.record.in_hand().map(|sealed| sealed.to_vec()), Some(bytes(&frame["small"])));
    assert_eq!((small.seq, small.chosen, deleted.learned_from), (5, true, Some(Incarnation(9))));
    for cut in 0..payload.len() {
        assert!(decode_frame(&payload[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn places_are_written_as_the_format_page_says() {
    let fixture: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/fixtures/segment-v1.json")).expect("the fixture is JSON");
    let number = |value: &serde_json::Value| u32::try_from(value.as_u64().expect("a number")).expect("a small one");
    let entry = &fixture["entry"];
    let body = BodyId(bytes(&entry["body"]).try_into().expect("an id"));
    let len = u32::try_from(bytes(&entry["sealed"]).len()).expect("a short body");
    let place = Place { segment: SegmentId(number(&fixture["segment"])), offset: number(&entry["offset"]), len };
    let mut encoded = Encoded::default();
    encoded.push(&Op::Place { body, place });
    encoded.push(&Op::Unplace { body });
    let frame = &fixture["frame"];
    let [payload] = &encoded.frames(frame["sequence"].as_u64().expect("a number"), 4096)[..] else {
        panic!("one frame holds both")
    };
    assert_eq!(*payload, bytes(&frame["payload"]));
    let (ops, ends) = decode_frame(payload).expect("it is one");
    assert!(ends);
    let [Op::Place { body: placed, place: at }, Op::Unplace { body: left }] = &ops[..] else { panic!("{ops:?}") };
    assert_eq!((*placed, *at, *left), (body, place, body));
    for cut in 0..payload.len() {
        assert!(decode_frame(&payload[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn what_a_node_keeps_for_its_votes_is_read_as_it_was_written() {
    for keyless in [false, true] {
        let name = NodeName::parse("n1");
        let start = Start { number: 3, draw: 9 };
        let state = NodeState { reserved: Stamp(7), epoch: Epoch(2) };
        let node = NodeRecord { state, roster: None, start, name, keyless };
        let bytes = node.encode();
        assert_eq!(NodeRecord::decode(&bytes).as_ref(), Ok(&node));
        let mut other = bytes.clone();
        for mark in [0, 3, 255] {
            other[16] = mark;
            assert!(NodeRecord::decode(&other).is_err(), "{mark}");
        }
        for end in 0..bytes.len() {
            assert!(NodeRecord::decode(&bytes[..end]).is_err(), "{end}");
        }
    }
}

#[test]
fn keys_sealed_anew_are_written_as_the_format_page_says() {
    let key = RegisterKey::settings();
    let ballot = Ballot { stamp: Stamp(7), node: Incarnation(9) };
    let seals: Vec<Box<[u8]>> = vec![[1; 76].into(), [2; 85].into()];
    let mut encoded = Encoded::default();
    encoded.push(&Op::Reseal { key: key.clone(), ballot, seals: seals.clone(), held: None });
    let payload = encoded.frames(5, 4096).remove(0);
    let parts: [&[u8]; 11] = [
        &5_u64.to_le_bytes(),
        &[0, 1, 0, 0, 0],
        &[11, 1, 0, 0, 0, 6],
        &7_u64.to_le_bytes(),
        &9_u64.to_le_bytes(),
        &[2],
        &76_u32.to_le_bytes(),
        &[1; 76],
        &85_u32.to_le_bytes(),
        &[2; 85],
        &[],
    ];
    assert_eq!(payload, parts.concat());
    let (ops, ends) = decode_frame(&payload).expect("it is one");
    let [Op::Reseal { key: read, ballot: of, seals: sealed, held: None }] = &ops[..] else { panic!("{ops:?}") };
    assert_eq!((read, *of, sealed, ends), (&key, ballot, &seals, true));
    for cut in 0..payload.len() {
        assert!(decode_frame(&payload[..cut]).is_err(), "cut at {cut}");
    }
    let mut long = Encoded::default();
    long.push(&Op::Reseal { key, ballot, seals: vec![[0; SEALED_KEY_BYTES_MAX + 1].into()], held: None });
    assert!(decode_frame(&long.frames(5, 4096).remove(0)).is_err(), "longer than a sealed key is");
}

#[test]
fn what_a_bucket_holds_is_written_as_the_format_page_says() {
    let mut encoded = Encoded::default();
    encoded.push(&Op::Usage { bucket: BucketId(0x0102), usage: BucketUsage { objects: 3, bytes: 0x0400 } });
    let payload = bytes(
        &"0900000000000000_00_01000000_0a_0201000000000000_0300000000000000_0004000000000000".replace('_', "").into(),
    );
    assert_eq!(encoded.frames(9, 4096), std::slice::from_ref(&payload));
    let (ops, _) = decode_frame(&payload).expect("it is one");
    let [Op::Usage { bucket: BucketId(0x0102), usage }] = &ops[..] else { panic!("{ops:?}") };
    assert_eq!(*usage, BucketUsage { objects: 3, bytes: 0x0400 });
    for cut in 0..payload.len() {
        assert!(decode_frame(&payload[..cut]).is_err(), "cut at {cut}");
    }
}
