//! Records that share bodies, over power loss at every sync: no body goes that a record refers to, and when the store has
//! settled after the crash all bytes come back that nothing refers to.
//!
//! A failure names its seed and the sync it stopped at.

mod shared_bodies;

use boveda::disk::{CrashDisk, Space};
use boveda::store::StoreError;
use shared_bodies::{LARGEST, Node, Possible, Rng, SEGMENT_MAX, check, live, open};

const STEPS: u64 = 30;

#[test]
fn any_power_loss_leaves_every_body_that_a_record_refers_to_and_no_other() {
    let mut crashes = 0;
    for seed in 0..2 {
        let whole = CrashDisk::new(seed);
        let mut possible = Possible::new();
        live(&whole, &mut Rng(seed), STEPS, &mut possible).expect("with power, all goes well");
        check(&whole.copy(), &possible, &format!("seed {seed}, clean stop"));
        for stop_at in 0..whole.syncs() {
            let disk = CrashDisk::new(seed ^ (stop_at << 20)).stopping_at(stop_at);
            let mut possible = Possible::new();
            let _ = live(&disk, &mut Rng(seed), STEPS, &mut possible);
            let context = format!("seed {seed}, stopped at sync {stop_at}");
            let after = disk.after_power_loss();
            if stop_at % 5 == 0 {
                // Again, while the store is being opened and settles.
                let again = after.copy().stopping_at(stop_at % 11);
                drop(open(&again).and_then(|node| node.settle()));
                check(&again.after_power_loss(), &possible, &format!("{context}, and again in recovery"));
            }
            check(&after, &possible, &context);
            crashes += u32::from(disk.is_dead());
        }
    }
    assert!(crashes > 60, "the power went often enough: {crashes}");
}

fn opened(disk: &CrashDisk) -> Node {
    open(disk).expect("opens")
}

fn body(len: usize) -> Vec<u8> {
    (0u8..=255).cycle().take(len).collect()
}

/// One body in a segment, one that is a file.
const LENGTHS: [usize; 2] = [SEGMENT_MAX, LARGEST];

#[test]
fn a_body_stays_as_long_as_one_record_refers_to_it() {
    for (len, checkpointed) in LENGTHS.into_iter().flat_map(|len| [(len, false), (len, true)]) {
        let disk = CrashDisk::new(1);
        let node = opened(&disk);
        let step = |done: Result<(), StoreError>| {
            done.expect("a healthy disk");
            if checkpointed {
                node.settle().expect("a healthy disk");
            }
            node.work.reaper.turn();
            node.work.committer.turn();
            node.work.reaper.turn();
        };
        step(node.put("a", &body(len)));
        step(node.copy("a", "b"));
        step(node.copy("b", "b"));
        step(node.copy("b", "c"));
        step(node.delete("a"));
        assert_eq!(node.get("b").expect("opens"), Some(body(len)));
        step(node.put("b", &body(1_000)));
        assert_eq!(node.get("c").expect("opens"), Some(body(len)), "{len} bytes, {checkpointed}");
        node.verify("one refers to it");
        step(node.delete("c"));
        node.settle().expect("a healthy disk");
        node.verify("nothing does");
        step(node.delete("b"));
        node.settle().expect("a healthy disk");
        assert_eq!(node.kept_bytes(&disk), 0);
    }
}

#[test]
fn what_has_waited_may_be_taken_over_and_what_is_gone_is_refused() {
    for len in LENGTHS {
        let disk = CrashDisk::new(1);
        let node = opened(&disk);
        node.put("a", &body(len)).expect("a healthy disk");
        let found = node.store.lookup(&shared_bodies::register("a")).expect("looks").expect("is there");
        let object = || Box::new(found.record.object().expect("an object").clone());
        node.delete("a").expect("a healthy disk");
        node.store.checkpoint().expect("a healthy disk");
        // Its minute is not over.
        node.work.reaper.look(std::time::Instant::now());
        node.put_object("b", object()).expect("it is still here");
        node.settle().expect("a healthy disk");
        assert_eq!(node.get("b").expect("opens"), Some(body(len)), "what waits goes, but not what was taken over");
        node.delete("b").expect("a healthy disk");
        node.settle().expect("a healthy disk");
        assert!(matches!(node.put_object("c", object()), Err(StoreError::Mismatch(_))), "it is gone");
        node.verify("afterwards");
    }
}

#[test]
fn a_body_waits_for_a_minute_and_near_the_reserve_it_does_not() {
    for len in LENGTHS {
        let disk = CrashDisk::new(1);
        let node = opened(&disk);
        let now = std::time::Instant::now();
        node.put("a", &body(len)).expect("a healthy disk");
        node.put("b", &body(len)).expect("a healthy disk");
        node.delete("a").expect("a healthy disk");
        node.store.checkpoint().expect("a healthy disk");
        let waits = || node.store.status().references.waiting_bytes > 0;
        node.work.reaper.look(now);
        assert!(waits());
        node.work.reaper.look(std::time::Instant::now() + boveda::store::waiting::DELAY);
        assert!(!waits(), "its time has come");
        // The disk fills up: not even a checkpoint has room.
        disk.set_space(Space { total: 1 << 40, free: 0, files_free: u64::MAX });
        node.store.refresh_space().expect("it is asked");
        assert!(node.store.checkpoint().is_err() || node.store.status().overlay_records == 0);
        node.delete("b").expect("deletes go on");
        node.work.reaper.look(now);
        assert!(!waits(), "at once");
        for _ in 0..4 {
            let _ = node.work.mover.turn();
            node.work.committer.turn();
            node.work.reaper.look(now);
        }
        assert_eq!(node.kept_bytes(&disk), 0, "{len} bytes, without a checkpoint");
        disk.set_space(Space { total: 1 << 40, free: 1 << 40, files_free: u64::MAX });
        node.settle().expect("a healthy disk");
        node.verify("afterwards");
    }
}

#[test]
fn a_stop_in_order_leaves_nothing_to_be_looked_for() {
    let disk = CrashDisk::new(1);
    let node = opened(&disk);
    for (key, len) in ["a", "b"].into_iter().zip(LENGTHS) {
        node.put(key, &body(len)).expect("a healthy disk");
        node.copy(key, "c").expect("a healthy disk");
        node.delete(key).expect("a healthy disk");
    }
    node.stop_in_order().expect("a healthy disk");
    let node = opened(&disk);
    assert!(!node.store.status().references.recounting, "nothing is to be recounted");
    node.verify("at the start");
    assert_eq!(node.get("c").expect("opens"), Some(body(LARGEST)));
    node.delete("c").expect("a healthy disk");
    drop(node);
    let node = opened(&disk.after_power_loss());
    assert!(node.store.status().references.recounting, "after a stop that was none");
    node.work.mover.turn().expect("a healthy disk");
    assert!((0..9).any(|_| {
        node.work.mover.turn().expect("a healthy disk");
        !node.store.status().references.recounting
    }));
}

#[test]
fn nothing_goes_before_the_references_are_recounted() {
    for len in LENGTHS {
        let disk = CrashDisk::new(1);
        let node = opened(&disk);
        node.put("a", &body(len)).expect("a healthy disk");
        node.store.checkpoint().expect("a healthy disk");
        drop(node);
        let node = opened(&disk);
        node.delete("a").expect("a healthy disk");
        node.store.checkpoint().expect("a healthy disk");
        let later = std::time::Instant::now() + boveda::store::waiting::DELAY;
        for _ in 0..3 {
            node.work.reaper.look(later);
            node.work.committer.turn();
        }
        assert!(node.kept_bytes(&disk) > len as u64, "it waits for the recount");
        while node.work.mover.turn().expect("a healthy disk") {}
        for _ in 0..3 {
            node.work.reaper.look(later);
            node.work.committer.turn();
            node.work.mover.turn().expect("a healthy disk");
        }
        assert_eq!(node.kept_bytes(&disk), 0, "{len} bytes");
    }
}
