//! Places over power loss, disks that fail once, and reopening.

use super::*;
use crate::base::{BlobRef, BodyId};
use crate::disk::CrashDisk;
use crate::seal::digest::digest_of;
use crate::store::places::{Place, Usages, moved};
use bytes::Bytes;
use std::collections::BTreeSet;

const BYTES_MAX: u32 = 64 * 1024;

/// Bodies with the places that they were told.
type Known = Vec<(Place, BlobRef, Bytes)>;

fn open(disk: &CrashDisk, known: &Known) -> Result<Segments, StoreError> {
    let (disk, dir): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), Path::new("/data"));
    disk.create_dir_all(dir).map_err(|source| StoreError::Disk { op: DiskOp::Create, path: dir.into(), source })?;
    let room = Arc::new(Room::new(Arc::clone(&disk), dir, 0)?);
    let mut usages = Usages::new();
    known.iter().for_each(|(place, ..)| moved(&mut usages, None, Some(*place)));
    Segments::open(disk, dir, room, SealingKey::new(&[3; 32]), BYTES_MAX, &usages)
}

fn body(n: u8, len: usize) -> NewBody {
    let sealed: Bytes = (0..len).map(|i| n.wrapping_add(i.to_le_bytes()[0])).collect();
    NewBody { blob: BlobRef { body: BodyId([n; 16]), sealed_len: len as u64, digest: digest_of(&sealed) }, sealed }
}

fn append(segments: &Segments, n: u8, len: usize, known: &mut Known) -> Result<Place, StoreError> {
    let body = body(n, len);
    let (blob, sealed) = (body.blob, body.sealed.clone());
    let place = segments.append(body).blocking_recv().expect("an answer")?.place();
    known.push((place, blob, sealed));
    Ok(place)
}

/// Appends several that are written together; how many syncs that took.
fn append_together(disk: &CrashDisk, segments: &Segments, bodies: &[(u8, usize)], known: &mut Known) -> u64 {
    segments.threaded.store(true, Ordering::Release);
    let wait = |(n, len): &(u8, usize)| {
        let body = body(*n, *len);
        (body.blob, body.sealed.clone(), segments.append(body))
    };
    let waiting: Vec<_> = bodies.iter().map(wait).collect();
    segments.threaded.store(false, Ordering::Release);
    let before = disk.syncs();
    segments.write_waiting();
    for (blob, sealed, placed) in waiting {
        if let Ok(claim) = placed.blocking_recv().expect("an answer") {
            known.push((claim.place(), blob, sealed));
        }
    }
    disk.syncs() - before
}

/// Each known body is where it was told, and found by reading too.
fn check(segments: &Segments, known: &Known, context: &str) {
    let mut walked: BTreeMap<SegmentId, Vec<(Place, BlobRef)>> = BTreeMap::new();
    for (place, blob, sealed) in known {
        let found = walked.entry(place.segment).or_insert_with(|| {
            let mut walk = segments.walk(place.segment).expect("its head opens").expect("it is there");
            std::iter::from_fn(|| walk.next_entry().expect("reads")).collect()
        });
        assert!(found.contains(&(*place, *blob)), "{context}: not found by reading");
        let walk = segments.walk(place.segment).expect("its head opens").expect("it is there");
        assert!(walk.body(*place).expect("reads") == *sealed, "{context}: other bytes");
    }
}

#[test]
fn what_waits_is_written_together_and_a_full_segment_is_followed_by_the_next() {
    let disk = CrashDisk::new(1);
    let (segments, mut known) = (open(&disk, &Vec::new()).expect("opens"), Vec::new());
    append(&segments, 1, 100, &mut known).expect("a healthy disk");
    let bodies: Vec<_> = (2..10).map(|n| (n, 3_000)).collect();
    assert_eq!(append_together(&disk, &segments, &bodies, &mut known), 1, "one sync for all of them");
    check(&segments, &known, "together");
    let last = append(&segments, 10, 60_000, &mut known).expect("a healthy disk");
    assert_eq!(last.segment, SegmentId(2), "the first one has no room for it");
    let bodies: Vec<_> = (11..20).map(|n| (n, 30_000)).collect();
    append_together(&disk, &segments, &bodies, &mut known);
    assert_eq!(known.len(), 19);
    assert!(segments.files().values().all(|bytes| *bytes <= u64::from(BYTES_MAX)), "{:?}", segments.files());
    check(&segments, &known, "over several segments");
    let cached = segments.read_cached(SegmentId(1)).expect("it was read just now");
    assert_eq!(cached.len().expect("has a length"), segments.files()[&SegmentId(1)]);
}

#[test]
fn what_nobody_was_told_of_is_cut_at_open_and_what_nothing_names_goes() {
    let disk = CrashDisk::new(1);
    let mut known = Vec::new();
    let segments = open(&disk, &known).expect("opens");
    append(&segments, 1, 5_000, &mut known).expect("a healthy disk");
    let mut forgotten = Vec::new();
    append(&segments, 2, 5_000, &mut forgotten).expect("a healthy disk");
    append(&segments, 3, 60_000, &mut forgotten).expect("a healthy disk");
    let segments = open(&disk, &known).expect("opens");
    assert_eq!(segments.files(), BTreeMap::from([(SegmentId(1), known[0].0.end())]));
    let place = append(&segments, 4, 5_000, &mut known).expect("a healthy disk");
    assert_eq!(place.segment, SegmentId(1), "it goes on where it was left off");
    check(&segments, &known, "after the cut");
    assert!(!segments.give_up(SegmentId(1)), "one that is written stays");
    let claim = segments.append(body(5, 60)).blocking_recv().expect("an answer").expect("a healthy disk");
    append(&segments, 6, 60_000, &mut known).expect("a healthy disk");
    assert!(!segments.give_up(SegmentId(1)), "one with a claim stays");
    drop(claim);
    let reading = segments.read(SegmentId(1)).expect("opens").expect("is there");
    assert!(segments.give_up(SegmentId(1)) && !segments.give_up(SegmentId(1)), "once");
    segments.remove(SegmentId(1), 0).expect("removes");
    assert!(segments.read(SegmentId(1)).expect("answers").is_none());
    assert!(reading.read_at(0, &mut [0; 100]).is_ok(), "who reads it reads on");
    let segments = open(&disk, &known).expect("opens without it");
    let next = append(&segments, 7, 60_000, &mut known).expect("a healthy disk");
    assert!(next.segment > SegmentId(2), "no number is given twice");
}

/// A life with groups, single bodies, full segments, removals and restarts. What `known` holds was answered.
fn live(disk: &CrashDisk, seed: u64, known: &mut Known) -> Result<(), StoreError> {
    let mut segments = open(disk, known)?;
    for step in 0..12u8 {
        let n = step * 8;
        match (u64::from(step) + seed) % 4 {
            0 => {
                let bodies: Vec<_> = (n..n + 5).map(|n| (n, 700 * usize::from(n))).collect();
                append_together(disk, &segments, &bodies, known);
            }
            1 => drop(append(&segments, n, 20_000, known)?),
            2 => {
                // Whoever removes one has seen to it that nothing names a place in it: the newest one stays.
                let named: BTreeSet<_> = known.iter().map(|(place, ..)| place.segment).collect();
                if let Some(oldest) = named.first().filter(|_| named.len() > 1) {
                    known.retain(|(place, ..)| place.segment != *oldest);
                    if segments.give_up(*oldest) {
                        segments.remove(*oldest, 0)?;
                    }
                }
            }
            _ => segments = open(disk, known)?,
        }
    }
    Ok(())
}

#[test]
fn any_power_loss_leaves_what_was_placed() {
    let mut crashes = 0;
    for seed in 0..4 {
        let whole = CrashDisk::new(seed);
        let mut known = Vec::new();
        live(&whole, seed, &mut known).expect("with power, all goes well");
        for stop_at in 0..whole.syncs() {
            let disk = CrashDisk::new(seed ^ (stop_at << 20)).stopping_at(stop_at);
            let mut known = Vec::new();
            let _ = live(&disk, seed, &mut known);
            crashes += u32::from(disk.is_dead());
            for draw in 0..3 {
                let context = format!("seed {seed}, sync {stop_at}, draw {draw}");
                let after = disk.after_power_loss();
                let again = after.copy().stopping_at(draw);
                drop(open(&again, &known));
                for after in [after, again.after_power_loss()] {
                    let mut known = known.clone();
                    let segments = open(&after, &known).unwrap_or_else(|e| panic!("{context}: {e}"));
                    check(&segments, &known, &context);
                    append(&segments, 200, 9_000, &mut known).unwrap_or_else(|e| panic!("{context}: {e}"));
                    check(&segments, &known, &context);
                }
            }
        }
    }
    assert!(crashes > 40, "{crashes}");
}

#[test]
fn one_operation_that_fails_costs_nothing_that_was_placed() {
    let whole = CrashDisk::new(0);
    live(&whole, 1, &mut Vec::new()).expect("a healthy disk");
    let mut struck = 0;
    for at in 0..whole.operations() {
        let disk = CrashDisk::new(at);
        let mut known = Vec::new();
        disk.fail_once_after(at, std::io::ErrorKind::Other);
        let _ = live(&disk, 1, &mut known);
        struck += disk.struck();
        let context = format!("operation {at}");
        // The process goes on, and later it starts anew; then the power goes.
        let segments = open(&disk, &known).or_else(|_| open(&disk, &known));
        let segments = segments.unwrap_or_else(|e| panic!("{context}: {e}"));
        append(&segments, 200, 9_000, &mut known).unwrap_or_else(|e| panic!("{context}: {e}"));
        check(&segments, &known, &context);
        for _ in 0..4 {
            let after = open(&disk.after_power_loss(), &known).unwrap_or_else(|e| panic!("{context}: {e}"));
            check(&after, &known, &context);
        }
    }
    assert!(struck > 50, "{struck}");
}

#[test]
fn a_full_disk_refuses_and_the_segment_goes_on_when_there_is_room() {
    let disk = CrashDisk::new(1);
    let mut known = Vec::new();
    let segments = open(&disk, &known).expect("opens");
    append(&segments, 1, 5_000, &mut known).expect("a healthy disk");
    disk.fail_writes_after(1, std::io::ErrorKind::StorageFull);
    for _ in 0..3 {
        // Its head is written, it is not.
        let refused = append(&segments, 2, 40_000, &mut known).expect_err("no room");
        assert!(refused.is_shortage(), "{refused}");
    }
    disk.heal();
    let place = append(&segments, 3, 5_000, &mut known).expect("there is room again");
    assert_eq!((place.segment, place.offset), (SegmentId(1), 12_288), "over what the refused ones left");
    check(&open(&disk.after_power_loss(), &known).expect("opens"), &known, "after a full disk");
}

#[test]
fn a_segment_under_another_number_is_told_and_damage_hides_no_other_entry() {
    let disk = CrashDisk::new(1);
    let mut known = Vec::new();
    let segments = open(&disk, &known).expect("opens");
    for n in 1..4 {
        append(&segments, n, 5_000, &mut known).expect("a healthy disk");
    }
    disk.rename(&segments.path(SegmentId(1)), &segments.path(SegmentId(7))).expect("renames");
    segments.open.remove(&SegmentId(1));
    let told = segments.walk(SegmentId(7));
    assert!(matches!(told, Err(StoreError::Corrupt { .. })), "{told:?}");
    disk.rename(&segments.path(SegmentId(7)), &segments.path(SegmentId(1))).expect("renames");
    disk.flip(&segments.path(SegmentId(1)), u64::from(known[1].0.offset) + 9, 1).expect("it is damaged");
    let mut walk = segments.walk(SegmentId(1)).expect("opens").expect("is there");
    let found: Vec<_> = std::iter::from_fn(|| walk.next_entry().expect("reads")).map(|(place, _)| place).collect();
    assert_eq!(found, [known[0].0, known[2].0]);
}
