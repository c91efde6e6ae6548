use super::*;
use crate::base::{Ballot, BucketName, Epoch, NodeName, RegisterKey, Secret, Stamp};
use crate::disk::CrashDisk;
use crate::register::{Attempt, Message, Request, Roster, Seat};
use crate::seal::keyring::Keyring;
use crate::store::intent::wait_votes;
use crate::store::open::renounce;
use crate::store::scrub_place::{Place, Run};
use crate::store::voting::{Seating, Vote};
use crate::store::wait_blocking;
use crate::store::{Answer, Clockwork, Options, Store, open};
use std::path::Path;
use std::sync::Arc;

const OTHER: Incarnation = Incarnation(77);

struct Node(Store, Clockwork);

fn ring() -> Arc<Keyring> {
    Arc::new(Keyring::new(vec![(1, Secret::new([9; 32]))]).expect("a ring"))
}

fn start(disk: &CrashDisk, draw: u64) -> Node {
    let options = Options { log_bytes: 256 * 1024, reserve_bytes: 0, first_bucket: false, ..Options::default() };
    let (store, work) = open(Arc::new(disk.clone()), Path::new("/data"), ring(), None, options).expect("it opens");
    let node = Node(store, work);
    node.done(node.0.begin(draw, None));
    node
}

fn name(n: u64) -> NodeName {
    NodeName::parse(&format!("n{n}")).expect("a name")
}

impl Node {
    fn done(&self, answer: Answer) {
        self.1.committer.turn();
        wait_blocking(answer).expect("it is done");
    }

    fn seat(&self, others: &[u64]) {
        let me = Seat { name: name(1), incarnation: self.0.incarnation() };
        let others = others.iter().map(|n| Seat { name: name(*n), incarnation: Incarnation(*n) });
        let roster = Roster::founding(1, [me].into_iter().chain(others).collect());
        self.done(self.0.seat(Seating::Adopt(Arc::new(roster))));
    }

    /// Whether it answers votes.
    fn votes(&self) -> bool {
        let key = RegisterKey::bucket(&BucketName::cargas());
        let ask = |request| {
            let epoch = self.0.voting().list.epoch;
            Vote { key: key.clone(), message: Message { epoch, attempt: Attempt(1), request } }
        };
        let asked = self.0.vote(vec![ask(Request::Prepare(Ballot { stamp: Stamp(1 << 50), node: OTHER }))]);
        self.1.committer.turn();
        let promised = futures::executor::block_on(wait_votes(asked)).expect("an answer")[0].is_some();
        let told = self.0.query(&ask(Request::Query), false).expect("a healthy disk").is_some();
        assert_eq!(promised, told, "it promises and tells, or neither");
        promised
    }
}

/// That of the list that the node has: the others have the same.
fn epoch(node: &Node) -> Epoch {
    node.0.voting().list.epoch
}

fn at(number: u64, draw: u64, head: u64) -> Standing {
    Standing { start: Start { number, draw }, head, reserved: Stamp(0) }
}

#[test]
fn every_start_has_its_number_and_what_was_met_is_remembered_after_power_loss() {
    let disk = CrashDisk::new(1);
    let node = start(&disk, 5);
    assert_eq!(node.0.standing().start, Start { number: 1, draw: 5 });
    assert_eq!(node.0.hear(OTHER, epoch(&node), at(4, 9, 2), &[]), Heard::New);
    assert!(!node.0.is_met(OTHER, at(4, 9, 2).start), "not before it is durable");
    node.done(node.0.remember());
    assert!(node.0.is_met(OTHER, at(4, 9, 2).start));
    drop(node);
    let disk = disk.after_power_loss();
    for round in 0..2 {
        let node = start(&disk, 6 + round);
        assert_eq!(node.0.standing().start, Start { number: 2 + round, draw: 6 + round });
        assert_eq!(node.0.hear(OTHER, epoch(&node), at(4, 8, 90), &[]), Heard::Forgot(at(4, 9, 2)));
        assert_eq!(node.0.hear(OTHER, epoch(&node), at(5, 8, 1), &[]), Heard::Forgot(at(4, 9, 2)));
        assert_eq!(node.0.hear(OTHER, epoch(&node), at(4, 9, 2), &[]), Heard::Known, "it had been met");
        // The second time from the index.
        node.0.checkpoint().expect("a checkpoint");
    }
}

#[test]
fn who_is_told_more_of_itself_than_it_knows_votes_no_more_and_begins_another_life() {
    let disk = CrashDisk::new(1);
    let node = start(&disk, 5);
    node.seat(&[77, 78]);
    let (me, here) = (node.0.incarnation(), node.0.standing());
    node.0.hear(OTHER, epoch(&node), at(1, 1, 1), &[(me, here), (Incarnation(3), at(9, 9, 9))]);
    assert!(node.votes() && !node.0.doubts(), "the truth is no reason to doubt");
    node.0.hear(OTHER, epoch(&node), at(1, 1, 1), &[(me, Standing { head: here.head + 1, ..here })]);
    assert!(node.0.doubts() && !node.votes());
    node.done(node.0.remember());
    assert!(!node.0.is_met(OTHER, at(1, 1, 1).start), "nor are the others met any more");
    let (paused, run) = (true, Some(Run { registers: 7, ..Run::default() }));
    node.0.save_scrub_place(&Place { paused, run, ..Place::default() }).expect("it is kept");
    drop(node);
    let (was, is) = renounce(&disk, Path::new("/data"), &ring()).expect("it is written");
    assert_eq!(was, me);
    let node = start(&disk, 6);
    let place = node.0.load_scrub_place().expect("that of the former life is no damage");
    assert_eq!(place, Place { paused, ..Place::default() }, "it begins anew, unless an operator has paused it");
    assert_eq!((node.0.incarnation(), node.0.former()), (is, Some(me)));
    assert!(is != me && !node.0.doubts());
    assert!(node.0.voting().node.roster.as_ref().is_some_and(|list| !list.seats_node(is)));
}

#[test]
fn a_log_that_was_cut_is_a_reason_and_a_node_that_decides_alone_goes_on() {
    for (others, doubts) in [(&[][..], false), (&[77], false), (&[77, 78], true)] {
        let node = start(&CrashDisk::new(1), 5);
        node.seat(others);
        node.0.core().doubt(Doubt::TailCut);
        assert_eq!((node.0.doubts(), node.votes()), (doubts, !doubts));
    }
}

#[test]
fn of_two_each_was_part_of_every_decision_and_meets_the_other_again() {
    let disk = CrashDisk::new(1);
    let node = start(&disk, 5);
    node.seat(&[77]);
    for now in [at(4, 9, 20), at(4, 8, 10)] {
        assert_eq!(node.0.hear(OTHER, epoch(&node), now, &[(node.0.incarnation(), at(9, 9, 99))]), Heard::New);
        node.done(node.0.remember());
        assert!(node.0.is_met(OTHER, now.start) && node.votes());
    }
}

#[test]
fn who_leaves_decides_alone_and_takes_no_list_of_the_others() {
    let disk = CrashDisk::new(1);
    let node = start(&disk, 5);
    node.seat(&[77, 78]);
    let list = node.0.voting().node.roster.clone().expect("a list");
    drop(node);
    renounce(&disk, Path::new("/data"), &ring()).expect("it is written");
    let node = start(&disk, 6);
    node.done(node.0.leave(9, name(1)));
    let voting = node.0.voting();
    let alone = voting.node.roster.as_ref().expect("a list");
    assert!(alone.is_of(node.0.incarnation()) && alone.life == 9 && alone.epoch == Epoch(2));
    let next = Arc::new(list.next(2, &list.seats).next(3, &list.seats));
    assert!(next.epoch > alone.epoch);
    let refused = node.0.seat(Seating::Adopt(next));
    node.1.committer.turn();
    assert!(wait_blocking(refused).is_err());
    // What follows is decided upon its own list.
    drop(node);
    let node = start(&disk, 7);
    let held = node.0.lookup(&RegisterKey::members()).expect("a healthy disk").expect("the list");
    assert!(held.chosen && node.0.voting().list == voting.list && node.votes());
}

#[test]
fn a_log_that_was_cut_is_noticed_at_open_and_another_life_is_free_of_it() {
    for (others, doubts) in [(&[77][..], false), (&[77, 78], true)] {
        let disk = CrashDisk::new(1);
        let node = start(&disk, 5);
        node.seat(others);
        (0..2).for_each(|_| node.done(node.0.remember()));
        drop(node);
        crate::store::commit::tests::rot(&disk, 2);
        for draw in 6..8 {
            let node = start(&disk, draw);
            assert!(node.0.tail_was_cut(), "it is not forgotten by a restart");
            assert_eq!((node.0.doubts(), node.votes()), (doubts, !doubts));
        }
        renounce(&disk, Path::new("/data"), &ring()).expect("it is written");
        let node = start(&disk, 8);
        assert!(!node.0.tail_was_cut() && !node.0.doubts());
    }
}

#[test]
fn a_start_that_could_not_be_numbered_does_not_vote() {
    let disk = CrashDisk::new(3);
    let node = start(&disk, 5);
    node.seat(&[2, 3]);
    node.0.hear(OTHER, epoch(&node), at(4, 9, 2), &[]);
    node.done(node.0.remember());
    assert!(node.votes() && node.0.is_met(OTHER, at(4, 9, 2).start));
    drop(node);
    let options = Options { log_bytes: 256 * 1024, reserve_bytes: 0, first_bucket: false, ..Options::default() };
    let (store, work) = open(Arc::new(disk.clone()), Path::new("/data"), ring(), None, options).expect("it opens");
    let node = Node(store, work);
    // Nothing is left, for the log either.
    disk.fail_writes_after(0, std::io::ErrorKind::Other);
    let begun = node.0.begin(6, None);
    node.1.committer.turn();
    assert!(wait_blocking(begun).is_err());
    let epoch = node.0.voting().list.epoch;
    let asked = Vote {
        key: RegisterKey::bucket(&BucketName::cargas()),
        message: Message { epoch, attempt: Attempt(1), request: Request::Query },
    };
    assert_eq!(node.0.query(&asked, false).expect("it can be read"), None, "under the number of the start before");
    assert!(!node.0.is_met(OTHER, at(4, 9, 2).start));
}

#[test]
fn what_is_heard_while_something_earlier_becomes_durable_is_kept() {
    let disk = CrashDisk::new(1);
    let Node(store, work) = start(&disk, 5);
    let store = Arc::new(store);
    store.hear(OTHER, Epoch(0), at(4, 9, 2), &[]);
    let remembered = store.remember();
    let meanwhile = Arc::clone(&store);
    disk.at_sync(0, move || {
        let _ = meanwhile.hear(Incarnation(78), Epoch(0), at(1, 3, 7), &[]);
    });
    work.committer.turn();
    wait_blocking(remembered).expect("it is done");
    assert_eq!(store.remembered().len(), 2, "it was heard");
    assert_eq!(
        store.core().overlay().active.memory,
        Some(store.core().memory().kept()),
        "the next checkpoint brings both to the index"
    );
}

/// A list of two, which is to give way to one of three.
fn of_two(node: &Node) -> [Arc<Roster>; 3] {
    node.seat(&[77]);
    let two = node.0.voting().node.roster.clone().expect("a list");
    let third = Seat { name: name(78), incarnation: Incarnation(78) };
    let three: Vec<_> = two.seats.iter().cloned().chain([third]).collect();
    let joint = two.next(2, &three);
    let last = joint.next(3, &three);
    [two, Arc::new(joint), Arc::new(last)]
}

#[test]
fn what_was_said_before_a_list_of_two_gives_way_counts_for_nothing() {
    for restarts in [false, true] {
        let disk = CrashDisk::new(1);
        let mut node = start(&disk, 5);
        let [two, joint, _] = of_two(&node);
        let (me, third) = (node.0.incarnation(), Incarnation(78));
        let more = at(9, 9, 99);
        // One without a place remembers more, of both.
        assert_eq!(node.0.hear(third, two.epoch, at(1, 1, 1), &[(me, more), (OTHER, more)]), Heard::New);
        assert_eq!(node.0.hear(OTHER, two.epoch, at(4, 9, 2), &[]), Heard::New, "of two each goes on");
        assert_eq!(node.0.hear(third, two.epoch, at(1, 1, 1), &[(OTHER, more)]), Heard::New);
        node.done(node.0.remember());
        node.done(node.0.seat(Seating::Adopt(Arc::clone(&joint))));
        if restarts {
            drop(node);
            node = start(&disk.after_power_loss(), 6);
        }
        assert!(!node.0.is_met(OTHER, at(4, 9, 2).start), "it has to say it anew");
        // It has yet to get the list.
        node.0.hear(third, two.epoch, at(1, 1, 1), &[(me, more), (OTHER, more)]);
        assert_eq!(node.0.hear(OTHER, joint.epoch, at(4, 9, 2), &[]), Heard::New);
        node.done(node.0.remember());
        assert!(node.0.is_met(OTHER, at(4, 9, 2).start) && node.votes());
        // What is forgotten from here on counts, by whoever has the list.
        assert_eq!(node.0.hear(OTHER, joint.epoch, at(3, 9, 2), &[]), Heard::Forgot(at(4, 9, 2)));
        node.0.hear(third, joint.epoch, at(1, 1, 1), &[(me, more)]);
        assert!(node.0.doubts() && !node.votes());
    }
}

#[test]
fn what_was_said_before_counts_for_nothing_after_the_change_either_nor_after_a_restart() {
    for is_indexed in [false, true] {
        let disk = CrashDisk::new(1);
        let node = start(&disk, 5);
        let (me, third, more) = (node.0.incarnation(), Incarnation(78), at(9, 9, 99));
        let [two, joint, last] = of_two(&node);
        node.done(node.0.seat(Seating::Adopt(joint)));
        assert_eq!(node.0.hear(OTHER, last.epoch, at(4, 9, 2), &[]), Heard::New);
        node.done(node.0.remember());
        node.done(node.0.seat(Seating::Adopt(Arc::clone(&last))));
        if is_indexed {
            node.0.core().checkpoint().expect("the index takes it");
        }
        drop(node);
        let node = start(&disk.after_power_loss(), 6);
        // It was away for the whole change, and remembers more of both than they knew as two.
        node.0.hear(third, two.epoch, at(1, 1, 1), &[(me, more), (OTHER, more)]);
        assert!(node.votes() && !node.0.doubts(), "what it was told as one of two");
        assert!(node.0.is_met(OTHER, at(4, 9, 2).start), "nor of the other one");
        node.0.hear(third, last.epoch, at(1, 1, 1), &[(me, more)]);
        assert!(node.0.doubts(), "by whoever has the list");
    }
}

#[test]
fn who_is_told_more_by_somebody_with_a_later_list_is_judged_by_that_list() {
    for len in [2, 3] {
        let node = start(&CrashDisk::new(1), 5);
        node.seat(&[77, 78]);
        let (me, was) = (node.0.incarnation(), node.0.voting().node.roster.clone().expect("a list"));
        let joint = Arc::new(was.next(2, &was.seats[..len]));
        let last = Arc::new(joint.next(3, &was.seats[..len]));
        node.0.hear(OTHER, last.epoch, at(1, 1, 1), &[(me, at(9, 9, 99))]);
        assert!(!node.votes() && !node.0.doubts(), "no vote until it has that list");
        node.0.hear(OTHER, last.epoch, at(1, 1, 1), &[]);
        if len == 2 {
            node.done(node.0.seat(Seating::Adopt(joint)));
            assert!(!node.votes() && !node.0.doubts(), "nor with one before it");
        }
        node.done(node.0.seat(Seating::Adopt(last)));
        assert_eq!((node.0.doubts(), node.votes()), (len == 3, len == 2));
    }
}

#[test]
fn a_list_that_comes_into_force_meanwhile_judges_whom_it_finds_suspended() {
    let disk = CrashDisk::new(1);
    let node = start(&disk, 5);
    let [_, joint, _] = of_two(&node);
    let before = node.0.voting();
    node.done(node.0.seat(Seating::Adopt(Arc::clone(&joint))));
    // What was heard is looked at by the list that was in force when it came.
    let doubt = Doubt::OlderCopy { remembered: at(9, 9, 99), here: at(1, 5, 1) };
    node.0.core().suspect(&before, doubt, joint.epoch);
    assert!(node.0.doubts(), "not left without a vote and without a doubt");
}

#[test]
fn a_log_that_was_cut_is_forgiven_by_the_other_one_of_two_and_by_nobody_else() {
    for told in [true, false] {
        let disk = CrashDisk::new(1);
        let node = start(&disk, 5);
        let [two, joint, _] = of_two(&node);
        (0..2).for_each(|_| node.done(node.0.remember()));
        drop(node);
        crate::store::commit::tests::rot(&disk, 2);
        let node = start(&disk, 6);
        node.0.hear(Incarnation(78), two.epoch, at(1, 1, 1), &[]);
        assert!(node.0.tail_was_cut() && node.votes(), "a stranger knows nothing of it");
        if told {
            node.0.hear(OTHER, two.epoch, at(1, 1, 1), &[]);
        }
        assert_eq!(node.0.tail_was_cut(), !told);
        // Who has heard nobody since may have forgotten that the list had changed.
        node.done(node.0.seat(Seating::Adopt(joint)));
        assert_eq!((node.0.doubts(), node.votes()), (!told, told));
        drop(node);
        assert_eq!(start(&disk, 7).0.doubts(), !told, "nor later");
    }
}
