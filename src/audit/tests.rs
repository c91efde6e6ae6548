//! A log through its lives: damage of every kind is found, and what was answered for is there after any loss of power.

use super::check::{Report, check, verify};
use super::layout::{BOX_OFFSETS, HEADER_BYTES};
use super::query::{Query, read};
use super::reading::file_name;
use super::rewrap::{generations, rewrap};
use super::testing::{audit, dir, place, ring};
use super::writer::Writer;
use super::*;
use crate::base::AuditHead;
use crate::disk::{CrashDisk, Disk};
use crate::seal::keyring::Keyring;
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DAY_MS: u64 = 24 * 3_600 * 1_000;
const NOW: u64 = 20_000 * DAY_MS;

struct Bench {
    disk: CrashDisk,
    ring: Arc<Keyring>,
}

impl Bench {
    fn new() -> Self {
        Bench { disk: CrashDisk::new(1), ring: Arc::new(ring(&[1])) }
    }

    fn writer(&self) -> Writer {
        Writer::new(place(&self.disk, &self.ring))
    }

    fn report(&self) -> Report {
        check(&self.disk, &dir(), &self.ring, &BTreeSet::new()).expect("it reads")
    }

    fn targets(&self) -> Vec<String> {
        let all = Query { limit: 1_000, ..Query::default() };
        read(&self.disk, &dir(), &self.ring, &all)
            .expect("it reads")
            .lines
            .into_iter()
            .map(|one| one.line.target)
            .collect()
    }

    fn raw(&self, number: u64) -> Vec<u8> {
        self.disk.read_raw(&path(number)).expect("a file")
    }

    fn put(&self, number: u64, bytes: &[u8]) {
        self.disk.set_len_raw(&path(number), bytes.len() as u64).expect("a file");
        self.disk.write_raw(&path(number), 0, bytes).expect("a file");
    }

    /// A log of some lines over several days, each day with a file.
    fn over_days(&self, days: u64) -> AuditHead {
        let mut writer = self.writer();
        (0..days).fold(AuditHead::NONE, |_, day| {
            let lines: Vec<Line> = (0..4).map(|n| line(&format!("{day}-{n}"), NOW + day * DAY_MS)).collect();
            writer.append(&lines, NOW + day * DAY_MS).expect("it is written")
        })
    }
}

fn path(number: u64) -> PathBuf {
    dir().join(file_name(number))
}

fn line(target: &str, ms: u64) -> Line {
    let mut line = Line::of("A", "bucket:create", Outcome::Done).at(target);
    (line.time, line.node) = (crate::base::dates::rfc3339(ms), "n1".to_owned());
    line
}

/// Where the lines of a file begin, and where the last one ends.
fn bounds(bytes: &[u8]) -> Vec<usize> {
    let mut at = HEADER_BYTES;
    let mut bounds = vec![at];
    while at < bytes.len() {
        at += super::layout::Raw::read(&bytes[at..]).expect("a line").size();
        bounds.push(at);
    }
    bounds
}

#[test]
fn lines_follow_one_another_over_restarts_and_days() {
    let bench = Bench::new();
    bench.over_days(3);
    let head = bench.writer().append(&[line("later", NOW + 2 * DAY_MS)], NOW + 2 * DAY_MS).expect("it is written");
    let report = bench.report();
    assert_eq!((report.files, report.lines, report.first, report.last, report.damaged), (3, 13, 1, 13, 0));
    assert_eq!((report.head, bench.targets().len()), (head, 13));
    let some = |query: Query| {
        let page = read(&bench.disk, &dir(), &bench.ring, &Query { limit: 3, ..query }).expect("it reads");
        (page.lines.iter().map(|one| one.line.target.clone()).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(some(Query { after: 3, ..Query::default() }), (vec!["0-3".into(), "1-0".into(), "1-1".into()], Some(6)));
    assert_eq!(some(Query { since_ms: NOW + 2 * DAY_MS, ..Query::default() }).0[0], "2-0");
    assert_eq!(some(Query { until_ms: Some(NOW + 1), after: 2, ..Query::default() }).0, ["0-2", "0-3"]);
    for (action, found) in [("bucket", true), ("bucket:create", true), ("buck", false), ("access", false)] {
        assert_eq!(!some(Query { action: Some(action.into()), ..Query::default() }).0.is_empty(), found, "{action}");
    }
    assert!(some(Query { actor: Some("B".into()), ..Query::default() }).0.is_empty());
}

#[test]
fn a_byte_that_changed_is_found_wherever_it_is_and_the_other_lines_are_read() {
    let bench = Bench::new();
    bench.over_days(2);
    let whole = bench.raw(1);
    // Where the second box is to be: what is not the box of the file's key there is none.
    let spare = BOX_OFFSETS[1]..BOX_OFFSETS[1] + super::layout::BOX_BYTES;
    let bounds = bounds(&whole);
    for at in (0..whole.len()).filter(|at| !spare.contains(at)) {
        bench.disk.flip(&path(1), at as u64, 1).expect("a file");
        let report = bench.report();
        assert!(report.damaged > 0, "byte {at}");
        assert!(report.lines >= 4, "byte {at}: the other file is read");
        // A length that changed costs the rest of its file.
        if at >= HEADER_BYTES && !bounds.iter().any(|line| (*line..line + 4).contains(&at)) {
            assert!(report.lines >= 6, "byte {at}: and the lines behind, {report:?}");
        }
        bench.disk.flip(&path(1), at as u64, 1).expect("a file");
    }
    assert_eq!(bench.report().damaged, 0);
}

#[test]
fn lines_that_were_taken_out_or_exchanged_are_found() {
    let bench = Bench::new();
    bench.over_days(2);
    let (whole, mut cases) = (bench.raw(1), Vec::new());
    let bounds = bounds(&whole);
    for n in 0..4 {
        // The last of a file that another one follows, too.
        cases.push([&whole[..bounds[n]], &whole[bounds[n + 1]..]].concat());
    }
    cases.push(
        [&whole[..bounds[1]], &whole[bounds[2]..bounds[3]], &whole[bounds[1]..bounds[2]], &whole[bounds[3]..]].concat(),
    );
    cases.push([&whole[..bounds[2]], &whole[bounds[1]..]].concat());
    cases.push(whole[..bounds[3] + 7].to_vec());
    for (at, bytes) in cases.iter().enumerate() {
        bench.put(1, bytes);
        assert!(bench.report().damaged > 0, "case {at}");
    }
    bench.put(1, &whole);
    assert_eq!(bench.report().damaged, 0);
}

#[test]
fn files_that_are_gone_are_found_unless_a_line_says_that_they_were_old() {
    for gone in 1..=3 {
        let bench = Bench::new();
        bench.over_days(4);
        bench.disk.remove(&path(gone)).expect("a file");
        assert!(bench.report().damaged > 0, "file {gone}");
    }
    let bench = Bench::new();
    let mut place = place(&bench.disk, &bench.ring);
    place.keep = Duration::from_millis(2 * DAY_MS);
    let mut writer = Writer::new(place);
    for day in 0..7 {
        writer.append(&[line("x", NOW + day * DAY_MS)], NOW + day * DAY_MS).expect("it is written");
    }
    let report = bench.report();
    assert_eq!((report.damaged, report.files), (0, 4), "{report:?}");
    bench.disk.remove(&path(report.last_file - 3)).expect("a file");
    assert!(bench.report().damaged > 0, "younger than that");
}

#[test]
fn an_end_that_was_cut_off_is_found_by_who_remembers_it() {
    let bench = Bench::new();
    let started = |bench: &Bench| {
        let setup = Setup { place: place(&bench.disk, &bench.ring), objects: false, low: Box::new(|| false) };
        Audit::start(setup).expect("it starts")
    };
    let log = started(&bench);
    for n in 0..4 {
        log.change_blocking(line(&n.to_string(), 0)).expect("it is written");
    }
    let remembered = log.head().expect("it is open");
    log.stop(line("stop", 0));
    assert_eq!(verify(&bench.disk, &dir(), &bench.ring).expect("it reads").damaged, 0);
    let whole = bench.raw(1);
    let bounds = bounds(&whole);
    bench.put(1, &whole[..bounds[3]]);
    assert_eq!(bench.report().damaged, 0, "by itself it is whole");
    assert!(verify(&bench.disk, &dir(), &bench.ring).expect("it reads").damaged > 0, "the node remembers it");
    let log = started(&bench);
    assert!(log.status().finding.is_some_and(|why| why.contains("lines or more are gone")));
    log.stop(line("stop", 0));
    // Without what the node remembers, another node does.
    bench.disk.remove(&dir().join(super::memory_file::MEMORY)).expect("a file");
    let log = started(&bench);
    assert_eq!(log.status().finding, None);
    let peer = crate::base::NodeName::parse("n2").expect("a name");
    log.told(&peer, None, remembered);
    assert!(log.status().finding.is_some_and(|why| why.contains("n2 remembers line 4")));
    let checked = log.check().expect("it reads");
    assert!(!checked.whole && checked.remembered_by.iter().any(|one| !one.holds && one.node == "n2"));
    log.told(&peer, None, log.head().expect("it is open"));
    assert_eq!(log.status().findings, 1, "an end that is there is no finding");
    // What an operator accepts of one node's log is not what was found of another's.
    let name = |text: &str| crate::base::NodeName::parse(text).expect("a name");
    let said = |start, opened, head| {
        let of = |sequence| AuditHead { sequence, hash: [7; 32] };
        memory::Said { incarnation: crate::base::Incarnation(3), start, opened: of(opened), head: of(head) }
    };
    log.heard(&name("n3"), said(1, 0, 9));
    log.heard(&name("n3"), said(2, 5, 6));
    assert_eq!(log.status().findings, 2);
    assert!(log.accept(&name("n4")).is_none() && log.accept(&name("n3")).is_some());
    assert!(log.status().finding.is_some_and(|why| why.contains("n2 remembers line 4")));
    assert!(log.accept(&name("n1")).is_some() && log.status().finding.is_none() && log.status().findings == 0);
    log.stop(line("stop", 0));
}

#[test]
fn a_line_that_was_never_ended_is_passed_over_and_left_where_it_is() {
    for cut in [1, 3, 30, 100, 200] {
        let bench = Bench::new();
        bench.over_days(1);
        let whole = bench.raw(1);
        let bounds = bounds(&whole);
        let torn = &whole[..(bounds[3] + cut).min(bounds[4] - 1)];
        bench.put(1, torn);
        let mut writer = bench.writer();
        writer.append(&[line("next", NOW)], NOW).expect("it is written");
        assert!(writer.take_findings().is_empty());
        let report = bench.report();
        assert_eq!((report.damaged, report.lines, report.files), (0, 4, 2), "{report:?}");
        assert_eq!(report.torn_bytes, (torn.len() - bounds[3]) as u64);
        assert_eq!(bench.raw(1), torn);
    }
}

#[test]
fn what_is_damaged_stays_as_it_is_and_the_log_goes_on_behind_it() {
    let bench = Bench::new();
    bench.over_days(1);
    let at = bounds(&bench.raw(1))[1] as u64 + 100;
    bench.disk.flip(&path(1), at, 1).expect("a file");
    let before = bench.raw(1);
    let mut writer = bench.writer();
    writer.append(&[line("next", NOW)], NOW).expect("it is written");
    assert_eq!(writer.take_findings().len(), 2, "one does not open, and the next one does not follow");
    assert_eq!(bench.raw(1), before);
    let report = bench.report();
    assert_eq!((report.damaged, report.files), (1, 2), "{report:?}");
    assert_eq!(bench.targets(), ["0-0", "0-2", "0-3", "next"]);
}

#[test]
fn any_loss_of_power_leaves_the_lines_that_were_answered_for() {
    let course = |disk: &CrashDisk| {
        let bench = Bench { disk: disk.clone(), ring: Arc::new(ring(&[1])) };
        let (mut writer, mut answered) = (bench.writer(), Vec::new());
        for n in 0..12_u64 {
            let now = NOW + n / 4 * DAY_MS;
            let lines: Vec<Line> = (0..3).map(|m| line(&format!("{n}-{m}"), now)).collect();
            if writer.append(&lines, now).is_ok() {
                answered.extend(lines.into_iter().map(|line| line.target));
            }
        }
        answered
    };
    let calm = CrashDisk::new(1);
    course(&calm);
    for stop_at in 0..=calm.syncs() {
        for seed in 0..4 {
            let disk = CrashDisk::new(seed).stopping_at(stop_at);
            let answered = course(&disk);
            let bench = Bench { disk: disk.after_power_loss(), ring: Arc::new(ring(&[1])) };
            let mut writer = bench.writer();
            writer.append(&[line("after", NOW + 3 * DAY_MS)], NOW + 3 * DAY_MS).expect("the power is back");
            let there = bench.targets();
            let kept: Vec<_> = there.iter().filter(|target| answered.contains(target)).collect();
            assert_eq!(kept, answered.iter().collect::<Vec<_>>(), "stop_at={stop_at} seed={seed}");
            assert_eq!(there.last().map(String::as_str), Some("after"));
        }
    }
}

#[test]
fn a_write_that_fails_answers_for_nothing_and_the_next_one_goes_behind_the_last_line() {
    let bench = Bench::new();
    bench.over_days(1);
    for after in 0..12 {
        let mut writer = bench.writer();
        writer.open(NOW).expect("it opens");
        bench.disk.fail_once_after(after, io::ErrorKind::StorageFull);
        let first = writer.append(&[line("first", NOW)], NOW);
        let head = writer.append(&[line("second", NOW)], NOW);
        bench.disk.heal();
        let head = head.or_else(|_| writer.append(&[line("third", NOW)], NOW)).expect("it is written");
        let report = bench.report();
        assert_eq!((report.damaged, report.head), (0, head), "after {after}: {report:?}");
        let answered = first.is_ok();
        assert!(!answered || bench.targets().iter().any(|target| target == "first"), "after {after}");
    }
}

#[test]
fn boxes_are_sealed_anew_and_open_through_any_loss_of_power() {
    let both = ring(&[1, 2]);
    let base = Bench::new();
    base.over_days(3);
    let all = base.targets();
    let calm = base.disk.copy();
    assert_eq!(rewrap(&calm, &dir(), &both).expect("it is done"), 3);
    assert_eq!(rewrap(&calm, &dir(), &both).expect("it is done"), 0, "once");
    for stop_at in 0..calm.syncs() {
        for seed in 0..8 {
            let disk = base.disk.copy().stopping_at(stop_at);
            disk.set_seed(seed);
            assert!(rewrap(&disk, &dir(), &both).is_err());
            let bench = Bench { disk: disk.after_power_loss(), ring: Arc::new(ring(&[1, 2])) };
            assert_eq!(bench.targets(), all, "stop_at={stop_at} seed={seed}");
            rewrap(&bench.disk, &dir(), &both).expect("it is done");
            let counts = generations(&bench.disk, &dir()).expect("it reads");
            assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(both.active(), 3)]);
            let new = Bench {
                disk: bench.disk,
                ring: Arc::new(Keyring::new(vec![(2, crate::base::Secret::new([2; 32]))]).expect("a ring")),
            };
            assert_eq!((new.targets(), new.report().damaged), (all.clone(), 0), "the old generation is not needed");
        }
    }
}

#[test]
fn a_generation_that_is_missing_stops_the_log_and_costs_none_of_it() {
    let bench = Bench::new();
    bench.over_days(1);
    rewrap(&bench.disk, &dir(), &ring(&[1, 2])).expect("it is done");
    let mut writer = bench.writer();
    assert!(matches!(writer.append(&[line("x", NOW)], NOW), Err(AuditError::Header { foreign: true, .. })));
    let back = Bench { disk: bench.disk.clone(), ring: Arc::new(ring(&[1, 2])) };
    back.writer().append(&[line("y", NOW)], NOW).expect("it is written");
    assert_eq!((back.report().damaged, back.report().lines), (0, 5));
}

#[test]
fn refusals_wait_for_nobody_and_end_before_the_reserve_while_changes_go_on() {
    let (bench, low) = (Bench::new(), Arc::new(AtomicBool::new(false)));
    let is_low = Arc::clone(&low);
    let low_now = Box::new(move || is_low.load(Ordering::Relaxed));
    let log = Audit::start(Setup { place: place(&bench.disk, &bench.ring), objects: false, low: low_now })
        .expect("it starts");
    let address = Some(std::net::IpAddr::from([10, 0, 0, 1]));
    let refuse = |target: &str| {
        let line = Line::of(line::ANONYMOUS, "object:read", Outcome::Refused).at(target);
        log.refused(|| line, address);
    };
    refuse("one");
    log.change_blocking(line("change", 0)).expect("it is written");
    assert_eq!(bench.targets(), ["one", "change"], "in their order, by one sync");
    low.store(true, Ordering::Relaxed);
    refuse("left out");
    log.change_blocking(line("and another", 0)).expect("changes go on");
    assert_eq!((bench.targets().len(), log.status().unwritten), (3, 1));
    low.store(false, Ordering::Relaxed);
    (0..50).for_each(|n| refuse(&format!("many-{n}")));
    log.stop(line("stop", 0));
    let all = Query { limit: 1_000, ..Query::default() };
    let lines = read(&bench.disk, &dir(), &bench.ring, &all).expect("it reads").lines;
    let counted = |action: &str| {
        lines.iter().filter(|one| one.line.action == action).filter_map(|one| one.line.count).sum::<u64>()
    };
    assert_eq!(counted("audit:left_out"), 1);
    let single = lines.iter().filter(|one| one.line.target.starts_with("many-")).count() as u64;
    assert!((19..=20).contains(&single), "{single} lines of their own in one second");
    assert_eq!(counted("requests") + single, 50);
    assert_eq!(log.status().suppressed, 50 - single);
    assert!(matches!(log.change_blocking(line("late", 0)), Err(AuditError::Closed)));
}

#[test]
fn a_disk_without_room_refuses_changes_and_says_so_until_there_is_some() {
    let bench = Bench::new();
    let log = Audit::start(Setup { place: place(&bench.disk, &bench.ring), objects: false, low: Box::new(|| false) });
    let log = log.expect("it starts");
    log.change_blocking(line("first", 0)).expect("it is written");
    bench.disk.fail_writes_after(0, io::ErrorKind::StorageFull);
    assert!(matches!(log.change_blocking(line("second", 0)), Err(AuditError::Full)));
    assert!(log.status().last_error.is_some() && log.status().failed == 1);
    bench.disk.heal();
    log.change_blocking(line("third", 0)).expect("it is written");
    assert_eq!((log.status().last_error, bench.report().damaged), (None, 0));
    assert_eq!(bench.targets(), ["first", "third"]);
    log.stop(line("stop", 0));
}

#[test]
fn a_log_that_cannot_be_opened_is_opened_later() {
    let bench = Bench::new();
    bench.disk.fail_writes_after(0, io::ErrorKind::StorageFull);
    let log = Audit::start(Setup { place: place(&bench.disk, &bench.ring), objects: false, low: Box::new(|| false) });
    let log = log.expect("it starts");
    assert!(log.ends().is_none() && log.status().last_error.is_some());
    bench.disk.heal();
    log.change_blocking(line("first", 0)).expect("it is written");
    assert_eq!(log.ends().map(|(opened, head)| (opened.sequence, head.sequence)), Some((0, 1)));
    log.stop(line("stop", 0));
    assert_eq!(audit().status().findings, 0, "nor is a log without a line a finding");
}
