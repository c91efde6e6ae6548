//! The storage against a plain vector: through any operation, reopening and power loss.

use super::layout::{ENGINE_HEAD_BYTES, GROUP_PAGES, HEADERS_BYTES, PAGE_BYTES, page_at, page_place, tags_at};
use super::*;
use crate::disk::crash::Rng;
use crate::disk::{CrashDisk, Disk};
use crate::seal::SealingKey;
use redb::StorageBackend;
use std::collections::BTreeSet;
use std::io;
use std::path::Path;

const ID: FileId = [7; 16];

fn path() -> &'static Path {
    Path::new("/pages")
}

fn key() -> SealingKey {
    SealingKey::new(&[3; 32])
}

fn open(disk: &CrashDisk) -> Result<SealedPages, PagesError> {
    open_at(disk, 0)
}

fn open_at(disk: &CrashDisk, at_least: u64) -> Result<SealedPages, PagesError> {
    let pages = SealedPages::open(disk, path(), key(), ID, at_least)?;
    pages.become_strict();
    Ok(pages)
}

fn bytes(rng: &mut Rng, len: usize) -> Vec<u8> {
    let mut out: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| rng.next().to_le_bytes()).collect();
    out.truncate(len);
    out
}

/// A place and a length that like borders: of pages, of groups, of the engine's header, of the file.
fn range(rng: &mut Rng, len: usize) -> (usize, usize) {
    let group = GROUP_PAGES * PAGE_BYTES;
    let near = |rng: &mut Rng| match rng.below(6) {
        0 => 0,
        1 => ENGINE_HEAD_BYTES,
        2 => group,
        3 => len,
        4 => rng.below(len as u64 + 1) as usize / PAGE_BYTES * PAGE_BYTES,
        _ => rng.below(len as u64 + 1) as usize,
    };
    let jitter = |rng: &mut Rng| [0, 0, 0, 1, 7, 300][rng.below(6) as usize];
    let from = near(rng).saturating_sub(jitter(rng)).min(len);
    let span = match rng.below(4) {
        0 => PAGE_BYTES,
        1 => rng.below(5 * PAGE_BYTES as u64) as usize,
        2 => PAGE_BYTES * rng.below(90) as usize,
        _ => rng.below(600) as usize,
    };
    (from, span.min(len - from))
}

#[test]
fn behaves_like_a_vector() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let disk = CrashDisk::new(seed);
        let mut pages = SealedPages::create(&disk, path(), key(), ID).expect("creates");
        let mut model: Vec<u8> = Vec::new();
        let mut synced = 0;
        for step in 0..300 {
            let at = format!("seed {seed} step {step}");
            let (from, len) = range(&mut rng, model.len());
            match rng.below(20) {
                0..8 => {
                    let data = bytes(&mut rng, len);
                    pages.write(from as u64, &data).expect(&at);
                    model[from..from + len].copy_from_slice(&data);
                }
                8..15 => {
                    let mut out = vec![9; len];
                    pages.read(from as u64, &mut out).expect(&at);
                    assert!(out == model[from..from + len], "{at}: {from}+{len}");
                }
                15 | 16 => {
                    let page = if rng.below(3) == 0 { 1 } else { PAGE_BYTES };
                    let len = rng.below((3 * GROUP_PAGES * PAGE_BYTES / page) as u64) as usize * page;
                    pages.set_len(len as u64).expect(&at);
                    model.resize(len, 0);
                }
                17 | 18 => {
                    pages.sync_data().expect(&at);
                    let now = pages.probe().sequence();
                    assert!(now >= synced, "{at}");
                    synced = now;
                }
                _ => {
                    pages.sync_data().expect(&at);
                    drop(pages);
                    pages = open(&disk).expect(&at);
                    let mut all = vec![9; model.len()];
                    pages.read(0, &mut all).expect(&at);
                    assert!(all == model, "{at}: after reopening");
                }
            }
            assert_eq!(pages.len().expect(&at), model.len() as u64, "{at}");
            assert!(pages.read(model.len() as u64, &mut [0]).is_err(), "{at}: past the end");
            assert!(pages.write(model.len() as u64, &[0]).is_err(), "{at}: past the end");
        }
        assert_eq!(pages.probe().damaged_pages(), 0);
    }
}

/// One run of random operations with power loss: what opens is the last durable state or its successor, and
/// pages that nobody wrote since then read as that state says.
#[test]
fn power_loss_leaves_one_of_two_states() {
    let runs = std::env::var("BOVEDA_CRASH_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let mut rolled_forward = 0;
    for seed in 0..runs {
        let mut rng = Rng::new(seed);
        let mut disk = CrashDisk::new(seed);
        drop(SealedPages::create(&disk, path(), key(), ID).expect("creates"));
        let mut durable: (u64, Vec<u8>) = (1, Vec::new());
        for life in 0..6 {
            // Opening syncs once.
            disk.set_power_budget(Some(1 + rng.below(4)));
            let at = format!("seed {seed} life {life}");
            let pages = open_at(&disk, durable.0).expect(&at);
            let (mut model, mut written) = (durable.1.clone(), BTreeSet::new());
            // Pages that an earlier life left unfinished do not open until they are written again.
            for page in 0..model.len() / PAGE_BYTES {
                let text = &mut model[page * PAGE_BYTES..(page + 1) * PAGE_BYTES];
                if pages.read((page * PAGE_BYTES) as u64, text).is_err() {
                    text.fill(0xEE);
                    pages.write((page * PAGE_BYTES) as u64, text).expect(&at);
                    written.insert(page);
                }
            }
            let mut attempt = None;
            loop {
                for _ in 0..rng.below(12) {
                    if rng.below(5) == 0 {
                        let len = rng.below(2 * GROUP_PAGES as u64 + 20) as usize * PAGE_BYTES;
                        pages.set_len(len as u64).expect(&at);
                        (len / PAGE_BYTES..model.len() / PAGE_BYTES).for_each(|page| {
                            written.insert(page);
                        });
                        model.resize(len, 0);
                    } else if !model.is_empty() {
                        let page = rng.below((model.len() / PAGE_BYTES) as u64) as usize;
                        let count = (1 + rng.below(3) as usize).min(model.len() / PAGE_BYTES - page);
                        let (from, to) = (page * PAGE_BYTES, (page + count) * PAGE_BYTES);
                        let data = bytes(&mut rng, to - from);
                        pages.write(from as u64, &data).expect(&at);
                        model[from..to].copy_from_slice(&data);
                        written.extend(page..page + count);
                    }
                }
                if pages.sync_data().is_err() {
                    attempt = Some(model);
                    break;
                }
                durable = (pages.probe().sequence(), model.clone());
                written.clear();
                if rng.below(5) == 0 {
                    break;
                }
            }
            disk = disk.after_power_loss();
            let pages = open_at(&disk, durable.0).unwrap_or_else(|error| panic!("{at}: {error}"));
            let opened = pages.probe().opened_sequence();
            let expected = match attempt {
                Some(attempt) if opened > durable.0 => {
                    rolled_forward += 1;
                    attempt
                }
                _ => {
                    assert_eq!(opened, durable.0, "{at}");
                    durable.1.clone()
                }
            };
            assert_eq!(pages.len().expect(&at), expected.len() as u64, "{at}");
            let mut text = vec![0; PAGE_BYTES];
            for page in 0..expected.len() / PAGE_BYTES {
                match pages.read((page * PAGE_BYTES) as u64, &mut text) {
                    // The engine's header is part of our header and is never left behind.
                    Ok(()) => assert!(text == expected[page * PAGE_BYTES..][..PAGE_BYTES], "{at} page {page}"),
                    Err(error) => assert!(written.contains(&page), "{at} page {page}: {error}"),
                }
            }
            let mut known = expected;
            for page in 0..known.len() / PAGE_BYTES {
                let text = &mut known[page * PAGE_BYTES..(page + 1) * PAGE_BYTES];
                let _ = pages.read((page * PAGE_BYTES) as u64, text);
            }
            durable = (opened, known);
        }
    }
    assert!(rolled_forward > runs / 20, "both outcomes are met: {rolled_forward}");
}

#[test]
fn no_two_pages_share_their_associated_data() {
    let places: BTreeSet<_> = (0..1_000).flat_map(|page| [page_place(&ID, page), page_place(&[8; 16], page)]).collect();
    assert_eq!(places.len(), 2_000);
}

/// A file with two groups, three syncs old: its disk and what it should read as.
fn sample() -> (CrashDisk, Vec<u8>, u64) {
    let mut rng = Rng::new(1);
    let disk = CrashDisk::new(1);
    let pages = SealedPages::create(&disk, path(), key(), ID).expect("creates");
    let mut model = vec![0; (GROUP_PAGES + 10) * PAGE_BYTES];
    pages.set_len(model.len() as u64).expect("sets");
    for _ in 0..3 {
        let data = bytes(&mut rng, model.len() - 5 * PAGE_BYTES);
        pages.write(0, &data).expect("writes");
        model[..data.len()].copy_from_slice(&data);
        pages.sync_data().expect("syncs");
    }
    let sequence = pages.probe().sequence();
    (disk, model, sequence)
}

/// Opens and reads everything: each page is right or an error, and the open itself may be refused.
fn right_or_refused(disk: &CrashDisk, model: &[u8], at_least: u64, what: &str) -> (bool, u64) {
    let Ok(pages) = open_at(disk, at_least) else { return (false, 0) };
    assert_eq!(pages.len().expect(what), model.len() as u64, "{what}");
    let mut text = vec![0; PAGE_BYTES];
    for (page, expected) in model.chunks(PAGE_BYTES).enumerate() {
        match pages.read((page * PAGE_BYTES) as u64, &mut text) {
            Ok(()) => assert!(text == expected, "{what}: page {page}"),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}: page {page}"),
        }
    }
    (true, pages.probe().damaged_pages())
}

#[test]
fn a_flipped_bit_anywhere_is_refused_or_harmless() {
    let (disk, model, sequence) = sample();
    let len = disk.read_raw(path()).expect("reads").len() as u64;
    let mut rng = Rng::new(2);
    let dense = (0..HEADERS_BYTES as u64 + 3 * PAGE_BYTES as u64).step_by(37);
    let places: Vec<u64> = dense.chain((0..1_500).map(|_| rng.below(len))).collect();
    let mut pages_hit = 0;
    for at in places {
        let copy = disk.copy();
        copy.flip(path(), at, 1 << rng.below(8)).expect("flips");
        let (opened, damaged) = right_or_refused(&copy, &model, sequence, &format!("flip at {at}"));
        assert!(damaged <= 1, "flip at {at}");
        assert!(opened || at >= tags_at(0, 0), "flip at {at}: one bad header copy is no harm");
        pages_hit += damaged;
    }
    assert!(pages_hit > 500, "most places are pages: {pages_hit}");
}

#[test]
fn stale_swapped_zeroed_and_cut_pages_are_refused() {
    let (disk, model, sequence) = sample();
    let old = disk.copy();
    let pages = open(&disk).expect("opens");
    let newer: Vec<u8> = model.iter().map(|b| !b).collect();
    pages.write(0, &newer).expect("writes");
    pages.sync_data().expect("syncs");
    let newest = pages.probe().sequence();
    drop(pages);
    let before = old.read_raw(path()).expect("reads");
    let after = disk.read_raw(path()).expect("reads");
    let block = |raw: &[u8], at: u64| raw[at as usize..at as usize + PAGE_BYTES].to_vec();
    let damaged = |at: u64, data: &[u8], what: &str| {
        let copy = disk.copy();
        copy.write_raw(path(), at, data).expect("writes");
        right_or_refused(&copy, &newer, newest, what)
    };
    assert_eq!(right_or_refused(&disk, &newer, newest, "undamaged"), (true, 0));
    let page = page_at(0, 9);
    assert_eq!(damaged(page, &block(&before, page), "stale page"), (true, 1));
    assert_eq!(damaged(page, &[0; PAGE_BYTES], "zeroed page"), (true, 1));
    assert_eq!(damaged(page, &block(&after, page_at(0, 10)), "page of another place"), (true, 1));
    for group in 0..2 {
        for slot in 0..2 {
            let at = tags_at(group, slot);
            damaged(at, &block(&before, at), "stale tags");
            damaged(at, &[0; PAGE_BYTES], "zeroed tags");
            damaged(at, &block(&after, tags_at(group, 1 - slot)), "older tags over newer ones");
        }
    }
    // A page together with its older tags, both as they once were: only the sum can tell.
    let copy = disk.copy();
    for at in [page, tags_at(0, 0), tags_at(0, 1)] {
        copy.write_raw(path(), at, &block(&before, at)).expect("writes");
    }
    assert!(!right_or_refused(&copy, &newer, newest, "stale page with stale tags").0);
    // All headers of an older sync, and the whole older file: whole, but older than what was durable.
    let copy = disk.copy();
    copy.write_raw(path(), 0, &before[..HEADERS_BYTES]).expect("writes");
    assert!(!right_or_refused(&copy, &newer, newest, "stale headers").0);
    assert!(matches!(open_at(&old, newest), Err(PagesError::RolledBack { found, expected })
        if found == sequence && expected == newest));
    for len in (0..after.len()).step_by(100_003).chain([0, 1, HEADERS_BYTES - 1, HEADERS_BYTES]) {
        let copy = disk.copy();
        copy.set_len_raw(path(), len as u64).expect("cuts");
        right_or_refused(&copy, &newer, newest, &format!("cut at {len}"));
        assert!(!copy.read_raw(path()).is_ok_and(|raw| raw.len() > len), "cut at {len}: not made anew");
    }
}

#[test]
fn another_key_or_file_id_opens_nothing() {
    let (disk, ..) = sample();
    let opens = |key, id| SealedPages::open(&disk, path(), key, id, 0);
    assert!(opens(key(), ID).is_ok());
    assert!(matches!(opens(SealingKey::new(&[4; 32]), ID), Err(PagesError::Damaged(_))));
    assert!(matches!(opens(key(), [8; 16]), Err(PagesError::Damaged(_))));
    assert!(matches!(SealedPages::create(&disk, path(), key(), ID), Err(PagesError::Disk { .. })));
}

#[test]
fn lenient_reads_are_zeros_and_counted_strict_ones_are_errors() {
    let (disk, ..) = sample();
    disk.flip(path(), page_at(0, 9), 1).expect("flips");
    let pages = SealedPages::open(&disk, path(), key(), ID, 0).expect("opens");
    let mut text = vec![1; 2 * PAGE_BYTES];
    pages.read(9 * PAGE_BYTES as u64, &mut text).expect("lenient");
    assert!(text[..PAGE_BYTES].iter().all(|&b| b == 0) && text[PAGE_BYTES..].iter().any(|&b| b != 0));
    assert_eq!((pages.zeroed_reads(), pages.probe().damaged_pages()), (1, 0));
    let patched = pages.write(9 * PAGE_BYTES as u64 + 5, b"part");
    assert_eq!(patched.expect_err("never on top of zeros").kind(), io::ErrorKind::InvalidData);
    pages.become_strict();
    assert_eq!(pages.read(9 * PAGE_BYTES as u64, &mut text).expect_err("strict").kind(), io::ErrorKind::InvalidData);
    assert_eq!(pages.probe().damaged_pages(), 1);
    pages.write(9 * PAGE_BYTES as u64, &[5; PAGE_BYTES]).expect("a whole page heals it");
    pages.read(9 * PAGE_BYTES as u64, &mut text).expect("reads");
    assert_eq!(text[0], 5);
}

#[test]
fn a_failed_write_or_sync_ends_all_writes() {
    let (disk, model, _) = sample();
    let pages = open(&disk).expect("opens");
    disk.fail_writes_after(0, io::ErrorKind::StorageFull);
    assert!(pages.write(PAGE_BYTES as u64, &[1; PAGE_BYTES]).is_err());
    disk.heal();
    assert!(pages.write(PAGE_BYTES as u64, &[1; PAGE_BYTES]).is_err() && pages.sync_data().is_err());
    assert!(pages.probe().is_poisoned());
    let mut text = vec![0; PAGE_BYTES];
    pages.read(20 * PAGE_BYTES as u64, &mut text).expect("reads go on");
    assert!(text == model[20 * PAGE_BYTES..][..PAGE_BYTES]);
    drop(pages);
    assert!(open(&disk).is_ok());
}

#[test]
fn an_idle_sync_writes_nothing_and_a_shrunk_file_gives_its_room_back() {
    let (disk, ..) = sample();
    let pages = open(&disk).expect("opens");
    let (syncs, sequence) = (disk.syncs(), pages.probe().sequence());
    pages.sync_data().expect("syncs");
    assert_eq!((disk.syncs(), pages.probe().sequence()), (syncs, sequence));
    let before = pages.probe().file_bytes().expect("has a length");
    pages.set_len(3 * PAGE_BYTES as u64).expect("shrinks");
    assert_eq!(pages.probe().file_bytes().expect("has a length"), before, "a durable header still needs it");
    pages.sync_data().expect("syncs");
    assert!(pages.probe().file_bytes().expect("has a length") < before);
    assert!(disk.list(Path::new("/")).expect("lists").contains(&path().to_owned()));
}
