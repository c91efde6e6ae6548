use super::*;
use crate::disk::CrashDisk;

const PATH: &str = "/log";
const CAPACITY: u64 = 64 * 1024;

fn key() -> SealingKey {
    SealingKey::new(&[3; 32])
}

fn made() -> CrashDisk {
    let disk = CrashDisk::new(7);
    Log::create(&disk, Path::new(PATH), CAPACITY).expect("creates");
    disk
}

fn open(disk: &CrashDisk, start: u64) -> Result<(Log, Vec<Vec<u8>>), StoreError> {
    let mut seen = Vec::new();
    let log = Log::open(disk, Path::new(PATH), key(), start, |payload| {
        if !payload.is_empty() {
            seen.push(payload.to_vec());
        }
        Ok(())
    })?;
    Ok((log, seen))
}

#[test]
fn frames_come_back_in_order_over_many_laps() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    let mut mark = 0;
    let mut live: Vec<Vec<u8>> = Vec::new();
    for round in 0..200u32 {
        let payload = vec![u8::try_from(round % 251).unwrap() + 1; 100 + (round as usize * 977) % log.payload_max()];
        if !log.room_for(payload.len()) {
            mark = log.end();
            log.release(mark).expect("releases");
            live.clear();
        }
        assert!(log.room_for(payload.len()), "an empty ring takes any frame");
        log.append(&payload).expect("appends");
        live.push(payload);
        let (again, seen) = open(&disk.copy(), mark).expect("opens again");
        assert_eq!(seen, live, "round {round}");
        assert_eq!(again.end(), log.end());
    }
    assert!(log.end() > 5 * CAPACITY, "several laps were made");
}

#[test]
fn damage_in_an_answered_frame_is_told_apart_from_a_torn_one() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    for n in 1..=3u8 {
        log.append(&vec![n; 5000]).expect("appends");
    }
    let end = log.end();
    for offset in (0..end).step_by(61) {
        let copy = disk.copy();
        copy.flip(Path::new(PATH), offset, 0x10).expect("flips");
        assert!(matches!(open(&copy, 0), Err(StoreError::Corrupt { .. })), "offset {offset}");
    }
    // A sector of the last frame that was never written: torn, and forgotten.
    let copy = disk.copy();
    copy.write_raw(Path::new(PATH), end - 512, &[0; 512]).expect("tears");
    let (log, seen) = open(&copy, 0).expect("opens");
    assert_eq!(seen.len(), 2);
    log.append(b"next").expect("goes on");
    assert_eq!(open(&copy.copy(), 0).expect("opens").1.len(), 3);
    // The same in a frame that others follow: it was answered for.
    let copy = disk.copy();
    copy.write_raw(Path::new(PATH), 4096, &[0; 512]).expect("damages");
    assert!(matches!(open(&copy, 0), Err(StoreError::Corrupt { .. })));
}

#[test]
fn a_frame_of_another_lap_is_no_frame() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    log.append(b"first lap").expect("appends");
    // Released but not yet zeroed, as a crash in between leaves it: the next lap finds it in its way.
    let stale = disk.copy();
    assert!(matches!(open(&stale, CAPACITY), Err(StoreError::Corrupt { .. })));
    let (_, seen) = open(&stale, 4096).expect("the mark moved behind it");
    assert!(seen.is_empty());
    assert!(stale.read_raw(Path::new(PATH)).expect("reads").iter().all(|&b| b == 0), "and it is zeroed at open");
}

#[test]
fn released_frames_are_zero_on_the_disk() {
    let disk = made();
    let (log, _) = open(&disk, 0).expect("opens");
    log.append(&[5; 9000]).expect("appends");
    log.release(log.end()).expect("releases");
    assert!(disk.copy().read_raw(Path::new(PATH)).expect("reads").iter().all(|&b| b == 0));
}
