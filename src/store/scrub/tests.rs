//! Rounds over a store on a real disk, whole and damaged.

use super::*;
use crate::base::{Condition, Epoch, Incarnation, State};
use crate::store::buckets::register_by_name;
use crate::store::mend::tests::{name, put, store};
use crate::store::mutation::Mutation;
use crate::store::scrub_place::{Place, Run};
use crate::store::wait_blocking;
use std::collections::BTreeSet;
use std::path::Path;

fn key(name_of: &str) -> RegisterKey {
    register_by_name(&name(name_of))
}

/// The sums of a round, and what was damaged.
fn all(store: &Store, part: Part) -> (Seen, BTreeSet<RegisterKey>) {
    let mut round = store.scrub(part);
    let (mut sum, mut damaged) = (Seen::default(), BTreeSet::new());
    while !sum.done {
        let seen = round.read().expect("reads");
        assert!(seen.bytes <= 2 * PIECE_BYTES, "a piece is small: {}", seen.bytes);
        sum.registers += seen.registers;
        sum.objects += seen.objects;
        sum.bytes += seen.bytes;
        sum.unread += seen.unread;
        sum.done = seen.done;
        damaged.extend(seen.damaged);
        sum.after = seen.after;
    }
    (sum, damaged)
}

#[test]
fn everything_is_read_once() {
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    let mut sealed = 0;
    for at in 0..100 {
        let len = if at % 25 == 0 { 70_000 } else { at };
        let record = put(&store, &format!("k{at:03}"), &vec![7; len]);
        sealed += record.object().expect("an object").sealed_len;
    }
    // Longer than a piece, by whole chunks and by a byte.
    for (at, len) in [(100, 3 << 20), (101, (2 << 20) + 1)] {
        sealed += put(&store, &format!("k{at:03}"), &vec![7; len]).object().expect("an object").sealed_len;
    }
    wait_blocking(store.mutate(Mutation::delete(&name("k001"), Condition::NONE, 1))).expect("is durable");
    sealed -= 96 + 1 + 16;
    for checkpointed in [false, true] {
        if checkpointed {
            store.checkpoint().expect("checkpoints");
        }
        let (sum, damaged) = all(&store, Part::Behind(None));
        assert_eq!((sum.registers, sum.objects, sum.unread), (103, 101, 0), "with a bucket and a tombstone");
        assert_eq!(sum.bytes, sealed, "every byte once");
        assert!(damaged.is_empty());
        assert_eq!(sum.after, Some(key("k101")));
    }
    let (sum, _) = all(&store, Part::Behind(Some(key("k049"))));
    assert_eq!(sum.objects, 52);
    let (sum, _) = all(&store, Part::Only(key("k010")));
    assert_eq!((sum.registers, sum.bytes), (1, 96 + 10 + 16), "not what only begins so");
    let (sum, _) = all(&store, Part::Only(key("k")));
    assert_eq!(sum.registers, 0);
}

fn damage(path: &Path, work: impl Fn(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("reads");
    work(&mut bytes);
    std::fs::write(path, bytes).expect("writes");
}

#[test]
fn every_damage_is_found_and_nothing_is_changed() {
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    put(&store, "a", b"small");
    let record = put(&store, "k", &vec![7; 2_500_000]);
    put(&store, "z", &vec![7; 5_000]);
    let path = store.core().blobs.path(record.object().expect("an object").body);
    let good = std::fs::read(&path).expect("reads");
    let damages: [fn(&mut Vec<u8>); 6] = [
        |bytes| bytes[2] ^= 1,
        |bytes| bytes[90] ^= 1,
        |bytes| bytes[2_400_000] ^= 0x10,
        |bytes| *bytes.last_mut().expect("bytes") ^= 1,
        |bytes| bytes.truncate(bytes.len() - 1),
        |bytes| bytes.push(0),
    ];
    let found = || all(&store, Part::Behind(None));
    for (round, work) in (1..).zip(damages) {
        damage(&path, work);
        let bad = std::fs::read(&path).expect("reads");
        let (sum, damaged) = found();
        assert_eq!((damaged, sum.objects), (BTreeSet::from([key("k")]), 3), "{round}");
        assert_eq!(std::fs::read(&path).expect("reads"), bad);
        std::fs::write(&path, &good).expect("writes");
        assert!(found().1.is_empty(), "{round}");
    }
    std::fs::remove_file(&path).expect("removes");
    assert_eq!(found().1, BTreeSet::from([key("k")]));
    // In its place something that cannot be opened as a file: neither right nor wrong.
    std::fs::create_dir(&path).expect("makes");
    let (sum, damaged) = found();
    assert_eq!((sum.unread, damaged.len(), sum.objects), (1, 0, 3));
}

#[test]
fn a_body_of_another_digest_is_damage_even_if_it_opens() {
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    for (name_of, len) in [("small", 10), ("blob", 5_000)] {
        let mut record = put(&store, name_of, &vec![7; len]);
        record.ballot.stamp.0 += 1;
        record.set_in_hand(None).expect("it may go");
        let State::Object(object) = &mut record.state else { panic!("an object") };
        object.digest[0] ^= 1;
        let learned = store.learn(vec![(key(name_of), record)], Incarnation(5), Epoch(0)).expect("queues");
        wait_blocking(learned).expect("is durable");
    }
    assert_eq!(all(&store, Part::Behind(None)).1, BTreeSet::from([key("blob"), key("small")]));
}

#[test]
fn what_is_replaced_while_it_is_read_is_no_damage() {
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    for key in ["a", "b"] {
        put(&store, key, &vec![7; 2_000_000]);
    }
    let mut round = store.scrub(Part::Behind(None));
    assert_eq!(round.read().expect("reads").objects, 0, "in the midst of the first");
    put(&store, "b", b"another version");
    wait_blocking(store.mutate(Mutation::delete(&name("a"), Condition::NONE, 1))).expect("is durable");
    let mut objects = 0;
    loop {
        let seen = round.read().expect("reads");
        assert_eq!(seen.damaged, None);
        objects += seen.objects;
        if seen.done {
            break;
        }
    }
    assert_eq!(objects, 2);
}

#[test]
fn a_closing_store_is_left_alone() {
    let dir = tempfile::tempdir().expect("directory");
    let store = store(dir.path());
    let mut round = store.scrub(Part::Behind(None));
    futures::executor::block_on(store.drain()).expect("drains");
    assert!(matches!(round.read(), Err(StoreError::ShuttingDown)));
}

#[test]
fn the_place_is_kept_sealed_and_another_life_does_not_take_it() {
    let (a, b) = (tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory"));
    let place = Place {
        run: Some(Run { begun_ms: 1, registers: 2, objects: 3, bytes: 4, unread: 5, damaged: 6, ..Run::default() }),
        after: Some(key("a-name-to-look-for")),
        last: Some(Run { begun_ms: 7, ended_ms: Some(8), repaired: 9, ..Run::default() }),
        paused: true,
    };
    {
        let store = store(a.path());
        assert_eq!(store.load_scrub_place().expect("reads"), Place::default(), "nothing yet");
        store.save_scrub_place(&Place::default()).expect("keeps");
        assert_eq!(store.load_scrub_place().expect("reads"), Place::default());
        store.save_scrub_place(&place).expect("keeps");
    }
    let path = a.path().join("scrub");
    assert_eq!(store(a.path()).load_scrub_place().expect("reads"), place);
    let sealed = std::fs::read(&path).expect("reads");
    assert!(!sealed.windows(6).any(|part| part == b"a-name"), "no name in the clear");

    let other = store(b.path());
    std::fs::copy(&path, b.path().join("scrub")).expect("copies");
    assert!(other.load_scrub_place().is_err(), "of another directory");
    for bad in [&sealed[..sealed.len() - 1], &[], &[0; 5_000]] {
        std::fs::write(&path, bad).expect("writes");
        assert!(store(a.path()).load_scrub_place().is_err());
    }
}
