use super::*;
use crate::disk::CrashDisk;
use crate::disk::crash::Rng;

const PATH: &str = "/log";
const CAPACITY: u64 = 64 * 1024;
const LIFE: Incarnation = Incarnation(7);

fn key() -> SealingKey {
    SealingKey::new(&[3; 32])
}

fn made() -> CrashDisk {
    let disk = CrashDisk::new(7);
    Log::create(&disk, Path::new(PATH), &key(), CAPACITY).expect("creates");
    disk
}

/// What the log holds behind `start`, and whether it is known that something is missing.
fn read(disk: &CrashDisk, start: u64) -> Result<(Tail, Vec<Vec<u8>>), StoreError> {
    let mut seen = Vec::new();
    let tail = LogReader::open(disk, Path::new(PATH), key())?.replay(start, |payload| {
        seen.push(payload.to_vec());
        Ok(true)
    })?;
    Ok((tail, seen))
}

fn open(disk: &CrashDisk, start: u64) -> Result<(Log, Vec<Vec<u8>>), StoreError> {
    let (tail, seen) = read(disk, start)?;
    Ok((tail.accept(disk, LIFE, false)?, seen))
}

fn append(log: &Log, payload: &[u8]) {
    assert_eq!(log.append(&[payload], Writer::Batch).expect("appends"), Appended::Durable);
}

fn ring_of(disk: &CrashDisk) -> Vec<u8> {
    disk.read_raw(Path::new(PATH)).expect("reads").split_off(usize::try_from(HEAD_BYTES).unwrap())
}

#[test]
fn frames_come_back_in_order_over_many_laps() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    let mut mark = 0;
    let mut live: Vec<Vec<u8>> = Vec::new();
    for round in 0..200u32 {
        let payload = vec![u8::try_from(round % 251).unwrap() + 1; 100 + (round as usize * 977) % log.payload_max()];
        if log.append(&[&payload], Writer::Batch).expect("a healthy disk") == Appended::NoRoom {
            mark = log.end();
            log.release(mark).expect("releases");
            live.clear();
            append(&log, &payload);
        }
        live.push(payload);
        let (again, seen) = open(&disk.copy(), mark).expect("opens again");
        assert_eq!(seen, live, "round {round}");
        assert_eq!((again.end(), again.is_cut()), (log.end(), false));
    }
    assert!(log.end() > 5 * CAPACITY, "several laps were made");
}

#[test]
fn what_does_not_fit_is_not_written() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    append(&log, &[1; 9000]);
    let before = disk.copy().dump();
    for frames in [vec![vec![2; 60_000]], vec![vec![2; 12_000]; 5], vec![vec![2; 20 << 20]], vec![vec![2; 4000]; 14]] {
        assert_eq!(log.append(&frames, Writer::Batch).expect("a healthy disk"), Appended::NoRoom);
    }
    assert_eq!(disk.copy().dump(), before);
    // All that is left for a batch, in several frames; then the room that is a checkpoint's.
    assert_eq!(log.append(&vec![vec![3; 4000]; 11], Writer::Batch).expect("appends"), Appended::Durable);
    assert_eq!(log.append(&[[4; 10]], Writer::Batch).expect("a healthy disk"), Appended::NoRoom);
    for _ in 0..2 {
        assert_eq!(log.append(&[[4; 10]], Writer::Checkpoint).expect("appends"), Appended::Durable);
    }
    assert_eq!(log.append(&[[4; 10]], Writer::Checkpoint).expect("a healthy disk"), Appended::NoRoom);
    assert_eq!(open(&disk.copy(), 0).expect("opens").1.len(), 14);
}

#[test]
fn what_the_writer_makes_at_most_the_reader_takes() {
    let disk = CrashDisk::new(1);
    let capacity = 64 << 20;
    Log::create(&disk, Path::new(PATH), &key(), capacity).expect("creates");
    let (log, _) = open(&disk, 0).expect("opens");
    assert_eq!(frame::bytes_of(log.payload_max()), FRAME_BYTES_MAX);
    append(&log, &vec![1; log.payload_max()]);
    assert_eq!(log.append(&[vec![1; log.payload_max() + 1]], Writer::Batch).expect("healthy"), Appended::NoRoom);
    assert_eq!(open(&disk.copy(), 0).expect("opens").1, [vec![1; log.payload_max()]]);
}

#[test]
fn damage_in_an_answered_frame_is_told_apart_from_a_torn_one() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    for n in 1..=3u8 {
        append(&log, &vec![n; 5000]);
    }
    let end = log.end();
    for offset in (0..end).step_by(61) {
        let copy = disk.copy();
        copy.flip(Path::new(PATH), HEAD_BYTES + offset, 0x10).expect("flips");
        assert!(matches!(open(&copy, 0), Err(StoreError::Corrupt { .. })), "offset {offset}");
    }
    // A sector of the last frame that was never written: torn, and forgotten.
    let copy = disk.copy();
    copy.write_raw(Path::new(PATH), HEAD_BYTES + end - 512, &[0; 512]).expect("tears");
    let (log, seen) = open(&copy, 0).expect("opens");
    assert_eq!((seen.len(), log.is_cut()), (2, false));
    append(&log, b"next");
    assert_eq!(open(&copy.copy(), 0).expect("opens").1.len(), 3);
    // The same in a frame that others follow: it was answered for.
    let copy = disk.copy();
    copy.write_raw(Path::new(PATH), HEAD_BYTES + 4096, &[0; 512]).expect("damages");
    assert!(matches!(open(&copy, 0), Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_log_of_another_length_is_refused() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    append(&log, b"answered");
    let len = HEAD_BYTES + CAPACITY;
    for cut in [0, 1, 4096, HEAD_BYTES, len - CAPACITY / 4, len - ALIGN, len - 1, len + 1, len + ALIGN, 3 * len] {
        let copy = disk.copy();
        copy.set_len_raw(Path::new(PATH), cut).expect("cuts");
        assert!(matches!(read(&copy, 0), Err(StoreError::Corrupt { .. })), "{cut} bytes");
    }
}

#[test]
fn newest_frames_that_rotted_are_missed_until_the_node_has_its_place_anew() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    let mut ends = Vec::new();
    for n in 1..=4u8 {
        append(&log, &vec![n; 5000]);
        ends.push(log.end());
    }
    // One sector of each, or all of them; from the third frame on, and with the mark behind the last from that on.
    for (from, marked) in [(ends[1], false), (ends[1], true), (ends[2], true)] {
        if marked {
            log.mark().expect("marks");
        }
        for whole in [false, true] {
            let copy = disk.copy();
            for at in (HEAD_BYTES + from..HEAD_BYTES + ends[3]).step_by(if whole { 512 } else { 4096 }) {
                copy.write_raw(Path::new(PATH), at + if whole { 0 } else { 1024 }, &[0; 512]).expect("rots");
            }
            let (tail, _) = read(&copy, 0).expect("reads");
            assert!(tail.is_lost(), "from {from}, marked {marked}, whole {whole}");
            let log = tail.accept(&copy, LIFE, false).expect("opens");
            append(&log, b"later");
            for _ in 0..2 {
                let (log, _) = open(&copy, 0).expect("opens");
                assert!(log.is_cut(), "it is not forgotten by a restart");
                append(&log, b"later still");
            }
            // Another life has answered for nothing of that.
            let other = copy.copy();
            assert!(!read(&other, 0).expect("reads").0.accept(&other, Incarnation(8), false).expect("opens").is_cut());
            let (log, _) = open(&copy, 0).expect("opens");
            log.forgive();
            log.mark().expect("marks");
            assert!(!open(&copy.copy(), 0).expect("opens").0.is_cut());
            drop(log);
            // The same, learned from the log itself.
            let (tail, _) = read(&copy, 0).expect("reads");
            assert!(!tail.accept(&copy, LIFE, true).expect("opens").is_cut());
        }
    }
}

#[test]
fn an_older_log_beside_a_newer_index_is_missed() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    append(&log, b"one");
    let older = disk.copy();
    append(&log, b"two");
    append(&log, b"three");
    assert!(!read(&disk.copy(), log.end()).expect("reads").0.is_lost(), "the index has all of it");
    assert!(read(&older, log.end()).expect("reads").0.is_lost());
}

#[test]
fn no_crash_looks_like_lost_frames() {
    for seed in 0..300 {
        let disk = made();
        disk.set_seed(seed);
        let mut rng = Rng::new(seed);
        let (log, _) = open(&disk, 0).expect("opens");
        disk.set_power_budget(Some(rng.below(30)));
        let (mut mark, mut durable) = (0, 0);
        loop {
            let payload = vec![7; 1 + usize::try_from(rng.below(14_000)).unwrap()];
            let step = match rng.below(8) {
                0 => log.mark().map(|()| Appended::Durable),
                _ => log.append(&vec![payload; 1 + usize::from(rng.below(3) == 0)], Writer::Batch),
            };
            match step {
                Ok(Appended::Durable) => durable = log.end(),
                Ok(Appended::NoRoom) => {
                    // The index holds it by now.
                    let to = log.end();
                    mark = to;
                    if log.append(&[b"index"], Writer::Checkpoint).is_err() || log.release(to).is_err() {
                        break;
                    }
                    durable = log.end();
                }
                Err(_) => break,
            }
        }
        let mut after = disk.after_power_loss();
        for again in 0..3 {
            let (tail, _) = read(&after, mark).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            assert!(!tail.is_lost() && tail.end() >= durable, "seed {seed}, {again}");
            after.set_power_budget(Some(again));
            drop(tail.accept(&after, LIFE, false));
            after = after.after_power_loss();
        }
    }
}

#[test]
fn a_killed_process_leaves_nothing_that_looks_lost() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    append(&log, &[1; 5000]);
    let from = log.end();
    append(&log, &[2; 20_000]);
    let bytes = ring_of(&disk.copy());
    for kept in (0..20_000).step_by(512) {
        // Short, as a write is that a signal ends: its beginning is there, and nothing was said behind it.
        let copy = disk.copy();
        let at = usize::try_from(from).unwrap() + kept;
        copy.write_raw(Path::new(PATH), HEAD_BYTES + at as u64, &vec![0; bytes.len() - at]).expect("cuts");
        let (log, seen) = open(&copy, 0).expect("opens");
        assert_eq!((seen.len(), log.is_cut()), (1, false), "{kept} bytes");
    }
}

#[test]
fn of_a_batch_that_does_not_end_nothing_counts() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    append(&log, b"end");
    let whole = log.end();
    let frames = [b"one", b"two", b"end"];
    assert_eq!(log.append(&frames, Writer::Batch).expect("appends"), Appended::Durable);
    let ends = |payload: &[u8]| Ok(payload == b"end");
    let replay = |disk: &CrashDisk| {
        LogReader::open(disk, Path::new(PATH), key()).expect("opens").replay(0, ends).expect("reads")
    };
    assert_eq!(replay(&disk.copy()).end(), log.end());
    let copy = disk.copy();
    copy.write_raw(Path::new(PATH), HEAD_BYTES + log.end() - ALIGN + 512, &[0; 512]).expect("tears");
    for _ in 0..2 {
        let tail = replay(&copy);
        assert_eq!((tail.end(), tail.is_lost()), (whole, false));
        tail.accept(&copy, LIFE, false).expect("opens");
    }
}

#[test]
fn a_frame_of_another_lap_is_no_frame() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    append(&log, b"first lap");
    log.mark().expect("marks");
    // Released but not yet zeroed, as a crash in between leaves it: the next lap finds it in its way.
    let stale = disk.copy();
    assert!(matches!(open(&stale, CAPACITY), Err(StoreError::Corrupt { .. })));
    let (_, seen) = open(&stale, 4096).expect("the mark moved behind it");
    assert!(seen.is_empty());
    assert!(ring_of(&stale).iter().all(|&b| b == 0), "and it is zeroed at open");
}

#[test]
fn released_frames_are_zero_on_the_disk() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    append(&log, &[5; 9000]);
    log.release(log.end()).expect("releases");
    assert!(ring_of(&disk.copy()).iter().all(|&b| b == 0));
}

#[test]
fn an_append_is_not_durable_when_another_sync_was_told_of_its_failure() {
    let disk = made();
    let log = std::sync::Arc::new(open(&disk, 0).expect("opens").0);
    append(&log, &[1; 5000]);
    let released = log.end();
    let (weather, other) = (disk.clone(), std::sync::Arc::clone(&log));
    // Between an append's write and its sync the system writes by itself and fails, and a release hears of it.
    disk.at_sync(0, move || {
        weather.fail_writeback(Path::new(PATH)).expect("it is there");
        other.release(released).expect_err("it hears of it");
    });
    log.append(&[[2; 5000]], Writer::Batch).expect_err("and so does the append");
    for frames in [1, 2] {
        assert!(matches!(log.append(&vec![[3; 10]; frames], Writer::Batch), Err(StoreError::Poisoned)));
    }
}

#[test]
fn what_a_failed_sync_left_in_memory_is_not_believed() {
    let mut outcomes = std::collections::BTreeSet::new();
    for seed in 0..50 {
        let disk = made();
        disk.set_seed(seed);
        let (log, _) = open(&disk, 0).expect("opens");
        append(&log, &[1; 5000]);
        // A write of a frame, one of its mark, and the sync that fails.
        disk.fail_once_after(2, std::io::ErrorKind::Other);
        log.append(&[[2; 5000]], Writer::Batch).expect_err("the sync fails");
        drop(log);
        // The process starts again, and what it believes it writes upon. Then the power goes.
        let (log, seen) = open(&disk, 0).expect("opens");
        append(&log, &[3; 5000]);
        let (again, after) = open(&disk.after_power_loss(), 0).expect("opens");
        assert_eq!((after.len(), again.end(), again.is_cut()), (seen.len() + 1, log.end(), false), "seed {seed}");
        assert_eq!(after[..seen.len()], seen[..]);
        outcomes.insert(seen.len());
    }
    assert_eq!(Vec::from_iter(outcomes), [1, 2], "it had reached the disk, or not");
}

#[test]
fn a_frame_that_was_written_and_not_synced_is_synced_before_it_is_believed() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    append(&log, &[1; 5000]);
    let reached = disk.clone();
    // Killed between write and sync: what is seen is not durable.
    let killed = std::sync::Arc::new(Mutex::new(None));
    let kept = std::sync::Arc::clone(&killed);
    disk.at_sync(0, move || {
        let (tail, _) = read(&reached, 0).expect("reads");
        *kept.lock().expect("alone") = Some((tail.end(), reached.after_power_loss()));
    });
    append(&log, &[2; 5000]);
    let (end, after) = killed.lock().expect("alone").take().expect("it came to that");
    assert_eq!(end, log.end(), "a start that reads it believes it");
    assert_eq!(read(&after, 0).expect("reads").0.end(), end, "and so it is durable");
}

#[test]
fn one_read_that_goes_wrong_loses_nothing() {
    use crate::disk::crash::Misread;
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    (1..=3u8).for_each(|n| append(&log, &vec![n; 9000]));
    for how in Misread::ALL {
        for reads in 0..60 {
            let copy = disk.copy();
            copy.misread_once_after(reads, how);
            // An error is no answer; the next start has one.
            drop(open(&copy, 0));
            if copy.struck() == 0 {
                break;
            }
            let (log, seen) = open(&copy, 0).expect("opens");
            assert_eq!((seen.len(), log.is_cut()), (3, false), "{how:?} at {reads}");
        }
    }
}
