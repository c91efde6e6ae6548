//! Dropped tombstones and cleared stores, by way of reopening and of power loss at every sync: what was dropped does
//! not come back, what came after it is there, and the floor lies above it.

use boveda::base::record::written_after;
use boveda::base::{
    Ballot, BucketId, BucketName, BucketRecord, Class, Complete, Epoch, Incarnation, Lineage, NodeName, ObjectHead,
    ObjectKey, ObjectName, Record, RegisterKey, Secret, Stamp, State, WriteId,
};
use boveda::disk::CrashDisk;
use boveda::register::{Answer, Attempt, ListMark, Message, Refusal, Request, Roster, Seat, Traced, Under};
use boveda::seal::keyring::Keyring;
use boveda::store::buckets::{id_of_name, register_by_name};
use boveda::store::voting::{Seating, Vote, mark_of};
use boveda::store::wait_blocking;
use boveda::store::{Clockwork, Options, Store, StoreError};
use bytes::Bytes;
use std::cell::Cell;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);
const OTHER: Incarnation = Incarnation(77);
const STRANGER: Incarnation = Incarnation(78);

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(1 << 40) };
}

type Open = (Store, Clockwork);

fn open(disk: &CrashDisk) -> Result<Open, StoreError> {
    let ring = Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"));
    let options = Options {
        inline_max: 700,
        log_bytes: 96 * 1024,
        cache_bytes: 64 * 1024,
        index_cache_bytes: 256 * 1024,
        reserve_bytes: 0,
        first_bucket: false,
        now_ms: || NOW_MS.get(),
        ..Options::default()
    };
    boveda::store::open(Arc::new(disk.clone()), Path::new("/data"), ring, None, options)
}

fn name(key: &str) -> ObjectName {
    ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse(key).expect("a key") }
}

fn key(name_of: &str) -> RegisterKey {
    register_by_name(&name(name_of))
}

fn seat(n: u64, incarnation: Incarnation) -> Seat {
    Seat { name: NodeName::parse(&format!("n{n}")).expect("a name"), incarnation }
}

/// The first list of this node and another one.
fn list(store: &Store) -> Roster {
    Roster::founding(1, vec![seat(1, store.incarnation()), seat(2, OTHER)])
}

fn adopt((store, work): &Open, roster: &Roster) -> Result<(), StoreError> {
    let answer = store.seat(Seating::Adopt(Arc::new(roster.clone())));
    work.committer.turn();
    wait_blocking(answer).map(|_| ())
}

fn put(open: &Open, at: &str, body: &str) -> Result<(), StoreError> {
    let object = open.0.seal_small(ObjectHead::default(), &[Bytes::from(body.to_owned())])?;
    decided(open, key(at), State::Object(object)).map(|_| ())
}

/// Deletes, and says under which ballot.
fn delete(open: &Open, at: &str) -> Result<Ballot, StoreError> {
    decided(open, key(at), State::Deleted)
}

/// What this node and the other one have decided, as the other one tells it.
fn decided(open: &Open, key: RegisterKey, state: State) -> Result<Ballot, StoreError> {
    let (ballot, base) = (open.0.fresh_ballot(), open.0.lookup(&key)?);
    let lineage = base.as_ref().map_or(Lineage::NOTHING, |held| held.record.lineage);
    let lineage = lineage.then(WriteId(ballot.stamp.0.to_be_bytes()), Lineage::IDS_MAX);
    let written_ms = written_after(base.map(|held| held.record.written_ms), NOW_MS.get());
    let record = Record { ballot, lineage, written_ms, state };
    learn(open, vec![(key, record)], OTHER, open.0.voting().node.state.epoch.0)?;
    Ok(ballot)
}

fn bury((store, work): &Open, list: ListMark, graves: &[(RegisterKey, Ballot)]) -> Result<(), StoreError> {
    for answer in store.bury(list, graves.to_vec()) {
        work.committer.turn();
        wait_blocking(answer)?;
    }
    Ok(())
}

fn learn(
    (store, work): &Open,
    records: Vec<(RegisterKey, Record)>,
    from: Incarnation,
    epoch: u64,
) -> Result<(), StoreError> {
    let answer = store.learn(records, from, Epoch(epoch))?;
    work.committer.turn();
    wait_blocking(answer).map(|_| ())
}

/// All registers of objects, by their names.
fn objects(store: &Store) -> Vec<(String, State)> {
    let bucket = id_of_name(&BucketName::cargas());
    let (first, end) = (RegisterKey::object_prefix(bucket, ""), RegisterKey::objects_end(bucket));
    let (mut next, mut all) = (Some(Bound::Included(first)), Vec::new());
    while let Some(from) = next {
        // Small steps: what is hidden must not look like the end.
        let page = store.scan_slots(from.as_ref(), &end, 2).expect("a healthy disk");
        next = page.complete.next();
        for (key, slot) in page.entries {
            let Some(boveda::base::names::RegisterName::Object(_, name)) = key.name() else { panic!("an object") };
            all.push((name.as_str().to_owned(), slot.state.value.expect("not nothing").state.clone()));
        }
    }
    all
}

fn names(store: &Store) -> Vec<String> {
    objects(store).into_iter().map(|(name, _)| name).collect()
}

fn vote((store, work): &Open, at: &str, epoch: u64, request: Request<Arc<Record>>) -> Answer<Arc<Record>> {
    let message = Message { epoch: Epoch(epoch), attempt: Attempt(1), request };
    let answer = store.vote(vec![Vote { key: key(at), message }]);
    work.committer.turn();
    let replies = answer.blocking_recv().expect("an answer").expect("a healthy disk");
    replies.into_iter().next().flatten().expect("it votes").answer
}

fn prepare(open: &Open, at: &str, ballot: Ballot) -> Answer<Arc<Record>> {
    let epoch = open.0.voting().node.state.epoch.0;
    vote(open, at, epoch, Request::Prepare(ballot))
}

/// What is left must be whole: nothing of `gone` anywhere, and everything checks.
fn check(open: &Open, gone: &[&str], context: &str) {
    let (store, _) = open;
    for at in gone {
        assert!(store.lookup(&key(at)).expect("a healthy disk").is_none(), "{context}: {at} is still there");
        assert!(store.lookup_cached(&key(at)).is_none(), "{context}: {at} is still in memory");
    }
    let feed = store.changes_after(0, 1000).expect("a healthy disk");
    assert!(feed.iter().all(|change| gone.iter().all(|at| change.key != key(at))), "{context}: in the feed");
    let listed = names(store);
    assert!(gone.iter().all(|at| !listed.contains(&(*at).to_owned())), "{context}: listed {listed:?}");
}

fn verify(open: &Open, context: &str) {
    let sum = open.0.verify(&mut |_| {}).expect("verifies");
    assert_eq!((sum.damaged, sum.strangers), (0, 0), "{context}: {sum:?}");
}

#[test]
fn a_dropped_tombstone_leaves_nothing_in_overlay_index_cache_feed_and_listing() {
    // At which of the three moments the index is brought up.
    for checkpoints in 0..8 {
        let disk = CrashDisk::new(checkpoints);
        let mut open_ = open(&disk).expect("opens");
        let roster = list(&open_.0);
        adopt(&open_, &roster).expect("a list");
        let mut graves = Vec::new();
        for at in ["a", "b", "c", "d", "e"] {
            put(&open_, at, "bytes").expect("stored");
            if at != "e" {
                graves.push((key(at), delete(&open_, at).expect("deleted")));
            }
        }
        let reserved = open_.0.voting().node.state.reserved;
        assert!(reserved < graves[3].1.stamp, "nothing was promised yet");
        if checkpoints & 1 > 0 {
            open_.0.checkpoint().expect("a checkpoint");
        }
        // Read once: they are in the cache now.
        graves.iter().for_each(|(key, _)| assert!(open_.0.lookup(key).expect("looks").is_some()));
        let wrong = (key("e"), graves[0].1);
        bury(&open_, mark_of(&roster), &[graves[0].clone(), graves[1].clone(), graves[3].clone(), wrong])
            .expect("dropped");
        check(&open_, &["a", "b", "d"], "dropped");
        assert_eq!(names(&open_.0), ["c", "e"]);
        assert!(open_.0.voting().node.state.reserved >= graves[3].1.stamp, "the floor is durable with it");
        assert_eq!(open_.0.status().buried, 3);
        if checkpoints & 2 > 0 {
            open_.0.checkpoint().expect("a checkpoint");
            check(&open_, &["a", "b", "d"], "dropped and indexed");
        }
        put(&open_, "b", "again").expect("stored");
        assert_eq!(names(&open_.0), ["b", "c", "e"]);
        if checkpoints & 4 > 0 {
            open_.0.checkpoint().expect("a checkpoint");
        }
        drop(open_);
        open_ = open(&disk).expect("opens again");
        check(&open_, &["a", "d"], "reopened");
        assert_eq!(names(&open_.0), ["b", "c", "e"]);
        let below = Ballot { stamp: graves[3].1.stamp, node: Incarnation(u64::MAX) };
        for at in ["a", "never"] {
            let answer = prepare(&open_, at, below);
            assert!(matches!(answer, Answer::Refused(Refusal::Behind(_))), "below the floor: {answer:?}");
        }
        // Walked over as at a start: the sums of what is there, and of nothing else.
        verify(&open_, "reopened");
    }
}

#[test]
fn only_that_very_tombstone_goes_and_only_under_that_list() {
    let disk = CrashDisk::new(1);
    let open_ = open(&disk).expect("opens");
    let roster = list(&open_.0);
    let mark = mark_of(&roster);
    assert!(matches!(bury(&open_, mark, &[]), Ok(())), "nothing to do");
    let grave = || (key("a"), Ballot { stamp: Stamp(5), node: OTHER });
    assert!(matches!(bury(&open_, mark, &[grave()]), Err(StoreError::OtherList)), "no list yet");
    adopt(&open_, &roster).expect("a list");
    put(&open_, "a", "bytes").expect("stored");
    let ballot = delete(&open_, "a").expect("deleted");
    let other = ListMark { digest: mark.digest ^ 1, ..mark };
    let refused = bury(&open_, other, &[(key("a"), ballot)]).expect_err("another list");
    assert_eq!(refused.class(), Class::Conflict);
    bury(&open_, mark, &[grave()]).expect("taken, and nothing done");
    assert_eq!(names(&open_.0), ["a"]);
    // What is tentative stays, and so does what came after.
    let lineage = Lineage::NOTHING.then(WriteId([1; 8]), Lineage::IDS_MAX);
    let above = Ballot { stamp: Stamp(ballot.stamp.0 + (1 << 40)), node: OTHER };
    let tombstone = Arc::new(Record { ballot: above, lineage, written_ms: 1, state: State::Deleted });
    let state = Traced { lineage, value: Some(tombstone) };
    assert!(matches!(prepare(&open_, "a", above), Answer::Promised(..)));
    assert_eq!(vote(&open_, "a", 1, Request::Store(above, state, Under::default())), Answer::Stored(above));
    for ballot in [ballot, above] {
        bury(&open_, mark, &[(key("a"), ballot)]).expect("taken, and nothing done");
        assert_eq!(names(&open_.0), ["a"]);
    }
    assert_eq!(vote(&open_, "a", 1, Request::Mark(above)), Answer::Learned);
    bury(&open_, mark, &[(key("a"), above)]).expect("dropped");
    check(&open_, &["a"], "dropped");
}

#[test]
fn what_is_due_is_old_and_chosen_and_not_the_first_bucket() {
    let disk = CrashDisk::new(2);
    let open_ = open(&disk).expect("opens");
    adopt(&open_, &list(&open_.0)).expect("a list");
    let (old, young) = ("old", "young");
    put(&open_, old, "bytes").expect("stored");
    let ballot = delete(&open_, old).expect("deleted");
    NOW_MS.set(NOW_MS.get() + 24 * 3600 * 1000);
    let due = |age| {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = open_.0.due_tombstones(after.as_ref(), age, 1).expect("looks");
            all.extend(page.entries);
            match page.complete {
                Complete::Through(last) => after = Some(last),
                Complete::End => return all,
            }
        }
    };
    assert_eq!(due(DAY), [], "not older than a day, but as old");
    // A state that replaces another of the same second is told in the next one.
    NOW_MS.set(NOW_MS.get() + 1_001);
    put(&open_, young, "bytes").expect("stored");
    delete(&open_, young).expect("deleted");
    decided(&open_, RegisterKey::bucket(&BucketName::cargas()), State::Deleted).expect("deleted");
    assert_eq!(due(DAY), [(key(old), ballot)]);
    NOW_MS.set(NOW_MS.get() + 2 * 24 * 3600 * 1000);
    let both: Vec<_> = due(DAY).into_iter().map(|(key, _)| key).collect();
    assert_eq!(both, [key(old), key(young)], "the first bucket keeps its tombstone");
    NOW_MS.set(1 << 40);
}

#[test]
fn records_of_an_earlier_epoch_or_of_strangers_are_refused() {
    let disk = CrashDisk::new(3);
    let open_ = open(&disk).expect("opens");
    let roster = list(&open_.0);
    let lineage = Lineage::NOTHING.then(WriteId([1; 8]), Lineage::IDS_MAX);
    let record = |stamp| Record {
        ballot: Ballot { stamp: Stamp(stamp), node: OTHER },
        lineage,
        written_ms: 1,
        state: State::Deleted,
    };
    let refused = |answer: Result<(), StoreError>| matches!(answer, Err(StoreError::OtherList));
    learn(&open_, vec![(key("a"), record(1))], STRANGER, 0).expect("nobody votes yet");
    adopt(&open_, &roster).expect("a list");
    assert!(refused(learn(&open_, vec![(key("b"), record(1))], OTHER, 0)), "read before the epoch");
    learn(&open_, vec![(key("a"), record(1))], STRANGER, 1).expect("nothing was dropped in the first epoch");
    learn(&open_, vec![(key("b"), record(1))], OTHER, 1).expect("taken");
    learn(&open_, vec![(key("c"), record(1))], OTHER, 2).expect("who is ahead may teach");
    assert_eq!(open_.0.voting().node.state.epoch, Epoch(1), "an epoch is entered with its list alone");
    let next = roster.next(2, &roster.seats);
    adopt(&open_, &next).expect("the next list");
    assert!(refused(learn(&open_, vec![(key("d"), record(1))], OTHER, 1)));
    assert!(refused(learn(&open_, vec![(key("d"), record(1))], STRANGER, 2)), "it has no place");
    assert_eq!(names(&open_.0), ["a", "b", "c"]);
    // Who has no place may learn from anybody: it begins with nothing when it is given one.
    let without = next.next(3, &[seat(2, OTHER)]).next(4, &[seat(2, OTHER)]);
    adopt(&open_, &without).expect("a list without this node");
    learn(&open_, vec![(key("e"), record(1))], STRANGER, 4).expect("taken");
    assert_eq!(names(&open_.0).len(), 4);
}

#[test]
fn a_node_that_is_given_its_place_anew_begins_with_nothing() {
    // It hears of each list, or of the last one alone.
    for hears_all in [true, false] {
        let disk = CrashDisk::new(4);
        let mut open_ = open(&disk).expect("opens");
        let first = list(&open_.0);
        adopt(&open_, &first).expect("a list");
        put(&open_, "indexed", "bytes").expect("stored");
        open_.0.checkpoint().expect("a checkpoint");
        put(&open_, "logged", "bytes").expect("stored");
        let alone = [seat(2, OTHER)];
        let mut lists = vec![first.next(2, &alone)];
        for seats in [&alone[..], &first.seats, &first.seats, &first.seats] {
            let last = lists.last().expect("a list");
            lists.push(last.next(3, seats));
        }
        let last = lists.last().expect("a list").clone();
        assert_eq!((last.epoch, last.before.len(), last.since(open_.0.incarnation())), (Epoch(6), 0, Some(Epoch(4))));
        for roster in lists.iter().filter(|roster| hears_all || **roster == last) {
            let kept = names(&open_.0);
            adopt(&open_, roster).expect("a later list");
            match roster.epoch {
                Epoch(2 | 3) => assert_eq!(names(&open_.0), kept, "what lost its place keeps what it has"),
                Epoch(4) => check(&open_, &["indexed", "logged"], "a place again"),
                _ => {}
            }
            if roster.epoch == Epoch(4) {
                put_back(&open_);
            }
        }
        if !hears_all {
            put_back(&open_);
        }
        for round in ["", "reopened", "indexed"] {
            check(&open_, &["indexed", "logged"], round);
            assert_eq!(names(&open_.0), ["back"], "{round}: what came since is kept");
            if round == "reopened" {
                open_.0.checkpoint().expect("a checkpoint");
            }
            verify(&open_, round);
            drop(open_);
            open_ = open(&disk).expect("opens again");
            assert_eq!(open_.0.voting().node.state.epoch, Epoch(6));
        }
    }
}

/// The bucket and an object come again from another member.
fn put_back(open: &Open) {
    let lineage = Lineage::NOTHING.then(WriteId([1; 8]), Lineage::IDS_MAX);
    let record = |state| Record { ballot: Ballot { stamp: Stamp(9), node: OTHER }, lineage, written_ms: 1, state };
    let records = vec![
        (RegisterKey::bucket(&BucketName::cargas()), record(State::Bucket(BucketRecord::made(BucketId(7), 1)))),
        (key("back"), record(State::Deleted)),
    ];
    learn(open, records, OTHER, 9).expect("taken");
}

/// A life with every kind of step; how far it came.
fn live(disk: &CrashDisk) -> Result<Life, (Life, StoreError)> {
    let mut life = Life::default();
    let result = (|| -> Result<(), StoreError> {
        let open_ = open(disk)?;
        let roster = list(&open_.0);
        adopt(&open_, &roster)?;
        for at in ["a", "b", "c"] {
            put(&open_, at, "bytes")?;
        }
        let graves = [(key("a"), delete(&open_, "a")?), (key("b"), delete(&open_, "b")?)];
        life.deleted = true;
        open_.0.checkpoint()?;
        life.burying = true;
        bury(&open_, mark_of(&roster), &graves)?;
        (life.buried, life.floor) = (true, graves[1].1.stamp);
        put(&open_, "b", "again")?;
        life.again = true;
        open_.0.checkpoint()?;
        put(&open_, "d", "bytes")?;
        open_.0.checkpoint()?;
        drop(open_);
        let open_ = open(disk)?;
        let alone = [seat(2, OTHER)];
        let back = roster.next(2, &alone).next(3, &alone).next(4, &roster.seats);
        life.clearing = true;
        adopt(&open_, &back)?;
        life.cleared = true;
        put_back(&open_);
        open_.0.checkpoint()?;
        Ok(())
    })();
    result.map_or_else(|error| Err((life, error)), |()| Ok(life))
}

#[derive(Clone, Copy, Debug, Default)]
struct Life {
    deleted: bool,
    burying: bool,
    buried: bool,
    floor: Stamp,
    again: bool,
    clearing: bool,
    cleared: bool,
}

#[test]
fn any_power_loss_leaves_a_tombstone_or_nothing_and_never_what_was_deleted() {
    let whole = CrashDisk::new(0);
    live(&whole).map_err(|(_, error)| error).expect("with power, all goes well");
    let mut losses = 0;
    for stop_at in 0..whole.syncs() {
        let disk = CrashDisk::new(stop_at).stopping_at(stop_at);
        let life = match std::panic::catch_unwind(|| live(&disk)) {
            Ok(Ok(life)) | Ok(Err((life, _))) => life,
            // In `put_back`, which expects power.
            Err(_) => Life {
                deleted: true,
                burying: true,
                buried: true,
                again: true,
                clearing: true,
                cleared: true,
                ..Life::default()
            },
        };
        losses += 1;
        judge(&disk.after_power_loss(), &life, &format!("stopped at sync {stop_at}, {life:?}"));
    }
    assert!(losses > 20, "{losses}");
}

/// What must be there, and what must not, after such a life.
fn judge(after: &CrashDisk, life: &Life, context: &str) {
    let open_ = open(after).unwrap_or_else(|error| panic!("{context}: {error}"));
    let state = |at: &str| open_.0.lookup(&key(at)).expect("a healthy disk").map(|held| held.record.state.clone());
    let is_object = |at: &str| matches!(state(at), Some(State::Object(_)));
    if life.deleted {
        assert!(!is_object("a"), "{context}: it came back");
        assert!(life.burying || life.clearing || state("a") == Some(State::Deleted), "{context}: gone too early");
    }
    if life.buried {
        assert_eq!(state("a"), None, "{context}: dropped and back");
        assert!(open_.0.voting().node.state.reserved >= life.floor, "{context}: the floor was lost");
    }
    if life.again && !life.clearing {
        assert!(is_object("b") && is_object("c"), "{context}: lost with the tombstones");
    }
    if life.cleared {
        assert!(!is_object("b") && !is_object("c") && !is_object("d"), "{context}: kept from before");
    }
    verify(&open_, context);
    put(&open_, "after", "bytes")
        .or_else(|error| if matches!(error, StoreError::NoSuchBucket) { Ok(()) } else { Err(error) })
        .unwrap_or_else(|error| panic!("{context}: {error}"));
}

/// The negative control: with a sync that does nothing and says that all is well, something of that does not hold.
#[test]
fn a_sync_that_lies_is_found_out() {
    let lied = |at: u64| {
        let disk = CrashDisk::new(at);
        disk.lie_once_after(at);
        let (Ok(life) | Err((life, _))) = live(&disk);
        judge(&disk.after_power_loss(), &life, "it lied");
    };
    let found = (0..60).find(|at| std::panic::catch_unwind(|| lied(*at)).is_err());
    assert!(found.is_some(), "syncs did nothing, and nobody noticed");
}
