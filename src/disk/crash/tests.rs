//! The simulation itself: what must survive does, what may be lost is lost in some run.

use super::*;
use crate::disk::place;
use std::collections::BTreeSet;

const DIR: &str = "/d";

fn disk(seed: u64) -> CrashDisk {
    let disk = CrashDisk::new(seed);
    disk.create_dir_all(Path::new(DIR)).expect("creates");
    disk
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

#[test]
fn synced_bytes_survive_and_unsynced_ones_tear() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..300 {
        let disk = disk(seed);
        let file = disk.create_new(&path("f")).expect("creates");
        file.write_at(0, &[1; 2048]).expect("writes");
        file.sync_data().expect("syncs");
        disk.sync_dir(Path::new(DIR)).expect("syncs");
        file.write_at(0, &[2; 1024]).expect("writes");
        file.write_at(2048, &[2; 512]).expect("writes");
        let after = disk.after_power_loss();
        let bytes = after.read_raw(&path("f")).expect("the name is durable");
        assert!(bytes.len() == 2048 || bytes.len() == 2560, "seed {seed}");
        assert_eq!(&bytes[1024..2048], &[1; 1024], "seed {seed}: synced and not overwritten");
        for sector in bytes.chunks(512) {
            assert!(sector.iter().all(|b| b == &sector[0]), "seed {seed}: sectors are whole");
        }
        outcomes.insert(bytes.chunks(512).map(|s| s[0]).collect::<Vec<_>>());
        assert_eq!(disk.after_power_loss().read_raw(&path("f")).is_ok(), after.exists(&path("f")).expect("answers"));
    }
    for expected in [&[1, 1, 1, 1][..], &[2, 2, 1, 1, 2], &[1, 2, 1, 1], &[1, 1, 1, 1, 2]] {
        assert!(outcomes.contains(expected), "{expected:?} among {outcomes:?}");
    }
}

#[test]
fn names_survive_only_with_their_directory() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..300 {
        let disk = disk(seed);
        for name in ["a", "b"] {
            disk.create_new(&path(name)).expect("creates").write_at(0, name.as_bytes()).expect("writes");
            disk.open(&path(name)).expect("opens").sync_data().expect("syncs");
        }
        disk.sync_dir(Path::new(DIR)).expect("syncs");
        disk.rename(&path("a"), &path("b")).expect("renames");
        disk.create_new(&path("c")).expect("creates");
        let after = disk.after_power_loss();
        let names: Vec<_> = after.files().into_iter().map(|p| p.display().to_string()).collect();
        let b = after.read_raw(&path("b")).expect("b always exists");
        assert_eq!(names.contains(&"/d/a".to_owned()), b == b"b", "seed {seed}: the rename is whole");
        outcomes.insert((names, b));
    }
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
}

#[test]
fn power_goes_at_the_announced_sync_and_stays_away() {
    let disk = disk(1).stopping_at(1);
    let file = disk.create_new(&path("f")).expect("creates");
    file.write_at(0, b"x").expect("writes");
    file.sync_data().expect("first sync");
    assert_eq!(disk.syncs(), 2, "the directory and the file");
    assert!(disk.sync_dir(Path::new(DIR)).is_err() && disk.is_dead());
    assert!(
        file.read_at(0, &mut [0]).is_err() && file.write_at(0, b"y").is_err() && disk.list(Path::new(DIR)).is_err()
    );
    assert!(disk.after_power_loss().list(Path::new(DIR)).is_ok());
}

#[test]
fn one_seed_one_outcome() {
    let run = |seed| {
        let disk = disk(seed);
        let file = disk.create_new(&path("f")).expect("creates");
        disk.sync_dir(Path::new(DIR)).expect("syncs");
        (0..50u64).for_each(|i| file.write_at(i * 300, &[7; 700]).expect("writes"));
        (disk.after_power_loss().dump(), disk.after_power_loss().dump())
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

#[test]
fn writes_fail_on_request_and_leave_half() {
    let disk = disk(1);
    let file = disk.create_new(&path("f")).expect("creates");
    disk.fail_writes_after(1, io::ErrorKind::StorageFull);
    file.write_at(0, b"ab").expect("writes");
    assert_eq!(file.write_at(2, b"cdef").expect_err("full").kind(), io::ErrorKind::StorageFull);
    assert_eq!(file.len().expect("has a length"), 4);
    disk.heal();
    file.write_at(2, b"cdef").expect("writes");
}

#[test]
fn replace_leaves_old_or_new_after_any_power_loss() {
    let target = path("f");
    for seed in 0..50 {
        for stop_at in 0..=2 {
            let disk = disk(seed);
            place::replace(&disk, &target, b"old").expect("places");
            let disk = disk.stopping_at(stop_at);
            let done = place::replace(&disk, &target, b"newer").is_ok();
            let after = disk.after_power_loss();
            let bytes = after.read_raw(&target).expect("one of them");
            assert!(bytes == b"newer" || (!done && bytes == b"old"), "seed {seed} stop_at {stop_at}");
            place::sweep(&after, Path::new(DIR)).expect("sweeps");
            place::replace(&after, &target, b"again").expect("a leftover is no obstacle once swept");
        }
    }
}

#[test]
fn damage_reaches_open_handles_and_copies_are_apart() {
    let disk = disk(1);
    let file = disk.create_new(&path("f")).expect("creates");
    file.write_at(0, &[0; 10]).expect("writes");
    file.sync_data().expect("syncs");
    let copy = disk.copy();
    disk.flip(&path("f"), 3, 0x80).expect("flips");
    let mut byte = [0];
    disk.sync_dir(Path::new(DIR)).expect("syncs");
    file.read_at(3, &mut byte).expect("reads");
    assert_eq!((byte[0], copy.read_raw(&path("f")).expect("reads")[3]), (0x80, 0));
}

#[test]
fn names_and_bytes_change_nothing_of_what_chance_does() {
    // What is left of a run, by the order of the making of its files.
    let run = |seed: u64, names: [&str; 3], byte: u8| {
        let disk = disk(seed);
        for (at, name) in names.into_iter().enumerate() {
            let file = disk.create_new(&path(name)).expect("creates");
            file.write_at(0, &vec![byte; 700 * (at + 1)]).expect("writes");
            file.sync_data().expect("syncs");
        }
        disk.sync_dir(Path::new(DIR)).expect("syncs");
        // A sweep goes by what a listing says; then the power goes in the middle of it.
        disk.list(Path::new(DIR)).expect("lists").iter().for_each(|found| disk.remove(found).expect("removes"));
        let after = disk.after_power_loss();
        let left = names.map(|name| after.read_raw(&path(name)).map(|bytes| bytes.len()).ok());
        (left, after.course())
    };
    let mut outcomes = BTreeSet::new();
    for seed in 0..100 {
        let once = run(seed, ["a", "b", "c"], 1);
        assert_eq!(once, run(seed, ["b", "c", "a"], 2), "seed {seed}");
        assert_eq!(once, run(seed, ["c", "a", "b"], 3), "seed {seed}");
        outcomes.insert(once.0);
    }
    assert!(outcomes.len() > 4, "{outcomes:?}");
}

#[test]
fn a_sync_that_fails_leaves_what_is_seen_and_never_becomes_durable() {
    let mut reached = BTreeSet::new();
    for seed in 0..100 {
        let disk = disk(seed);
        let file = disk.create_new(&path("f")).expect("creates");
        disk.sync_dir(Path::new(DIR)).expect("syncs");
        file.write_at(0, &[1; 8192]).expect("writes");
        file.sync_data().expect("syncs");
        file.write_at(0, &[2; 4096]).expect("writes");
        disk.fail_once_after(0, io::ErrorKind::Other);
        file.sync_data().expect_err("fails");
        let read = |file: &dyn DiskFile| {
            let mut out = [0; 8192];
            file.read_at(0, &mut out).expect("reads");
            (out[0], out[4096])
        };
        assert_eq!(read(file.as_ref()), (2, 1), "it is seen");
        // Another page is written and synced: that one alone becomes durable.
        file.write_at(4096, &[3; 100]).expect("writes");
        file.sync_data().expect("this one succeeds");
        let left = disk.after_power_loss().read_raw(&path("f")).expect("it is there");
        assert_eq!(left[4096], 3);
        reached.insert(left[0]);
        file.forget(0, 8192);
        assert_eq!(read(file.as_ref()), (left[0], 3), "what is forgotten is read from the disk");
        file.write_at(10, &[4; 10]).expect("writes");
        file.forget(0, 8192);
        let mut out = [0; 10];
        file.read_at(10, &mut out).expect("reads");
        assert_eq!(out, [4; 10], "what was not written out is not forgotten");
    }
    assert_eq!(Vec::from_iter(reached), [1, 2], "it had reached the disk, or not");
}

#[test]
fn each_handle_hears_once_of_a_failure() {
    let disk = disk(1);
    let one = disk.create_new(&path("f")).expect("creates");
    let two = disk.open(&path("f")).expect("opens");
    one.write_at(0, b"x").expect("writes");
    disk.fail_writeback(&path("f")).expect("it is there");
    let late = disk.open(&path("f")).expect("opens");
    assert!(one.sync_data().is_err() && two.sync_data().is_err());
    assert!(one.sync_data().is_ok() && two.sync_data().is_ok());
    assert!(late.sync_data().is_err(), "nobody had heard of it when this one was opened");
    assert!(disk.open(&path("f")).expect("opens").sync_data().is_ok(), "and now somebody has");
}

#[test]
fn one_operation_fails_and_one_read_brings_something_else() {
    let disk = disk(1);
    let file = disk.create_new(&path("f")).expect("creates");
    for byte in [1, 2] {
        file.write_at(0, &[byte; 8192]).expect("writes");
        file.write_at(4096, &[9; 4096]).expect("writes");
        file.sync_data().expect("syncs");
    }
    let read = || {
        let mut out = vec![0; 4096];
        file.read_at(0, &mut out).map(|()| out)
    };
    let right = vec![2; 4096];
    for how in Misread::ALL {
        disk.misread_once_after(1, how);
        assert_eq!(read().expect("not yet"), right);
        let wrong = read();
        assert!(wrong.as_ref().map_or(true, |wrong| *wrong != right), "{how:?}");
        match how {
            Misread::Short | Misread::Refused => assert!(wrong.is_err()),
            Misread::Zeroed | Misread::Rotten => {
                assert_eq!(wrong.expect("reads").iter().filter(|&&byte| byte != 2).count(), 512);
            }
            Misread::Stale => assert_eq!(wrong.expect("reads"), vec![1; 4096]),
            Misread::Misdirected => assert_eq!(wrong.expect("reads"), vec![9; 4096]),
        }
        assert_eq!(read().expect("once"), right);
    }
    disk.fail_once_after(2, io::ErrorKind::StorageFull);
    let before = disk.operations();
    file.len().expect("not yet");
    disk.list(Path::new(DIR)).expect("not yet");
    assert_eq!(file.write_at(0, &[7; 8192]).expect_err("now").kind(), io::ErrorKind::StorageFull);
    let mut halves = [0; 8192];
    file.read_at(0, &mut halves).expect("once");
    assert_eq!((halves[4095], halves[4096]), (7, 9));
    assert_eq!((disk.operations() - before, disk.struck()), (4, 1 + Misread::ALL.len() as u64));
    let seen = std::sync::Arc::new(AtomicU64::new(0));
    let counted = std::sync::Arc::clone(&seen);
    disk.at_sync(1, move || counted.store(1, std::sync::atomic::Ordering::Relaxed));
    for expected in [0, 1] {
        file.sync_data().expect("syncs");
        assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), expected);
    }
}

#[test]
fn a_sync_that_lies_says_that_all_is_well_and_makes_nothing_sure() {
    let lost = (0..40).filter(|seed| {
        let disk = disk(*seed);
        let file = disk.create_new(&path("f")).expect("creates");
        disk.sync_dir(Path::new(DIR)).expect("syncs");
        file.write_at(0, &[1; 512]).expect("writes");
        disk.lie_once_after(0);
        file.sync_data().expect("it says so");
        file.sync_data().expect("nothing is left to be synced");
        assert_eq!(disk.struck(), 1);
        disk.after_power_loss().read_raw(&path("f")).expect("the name is durable").is_empty()
    });
    let lost = lost.count();
    assert!((1..40).contains(&lost), "{lost} of 40");
}
