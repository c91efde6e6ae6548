//! Buckets that are deleted, made again or left behind, while objects are written and read in them.

use super::*;

/// Three nodes that hold this of a bucket, each by a ballot that is higher than the one before.
async fn three_that_hold(lives: [&[BucketRecord]; 3]) -> [Node; 3] {
    let nodes = Node::three().await;
    let me = nodes.each_ref().map(|node| node.store.incarnation());
    for (at, held) in lives.into_iter().enumerate() {
        for bucket in held {
            let stamp = Stamp(100 * bucket.id.0 + bucket.generation);
            let ballot = Ballot { stamp, node: Incarnation(9) };
            let (lineage, state) =
                (Lineage::NOTHING.then(WriteId::drawn(stamp.0.to_be_bytes()), 8), State::Bucket(bucket.clone()));
            let record = Record { ballot, lineage, written_ms: 1, state };
            nodes[at].learns(me[(at + 1) % 3], &[(RegisterKey::bucket(&papers()), record)]).await;
        }
    }
    nodes
}

fn papers() -> BucketName {
    BucketName::parse("papers").expect("a name")
}

fn paper(key: &str) -> ObjectName {
    ObjectName { bucket: papers(), ..object(key) }
}

fn life(id: u64, generation: u64, is_open: bool) -> BucketRecord {
    BucketRecord { generation, is_open, ..BucketRecord::made(BucketId(id), 1) }
}

/// Whether a node holds something of that key in a life of the bucket.
fn holds_in(node: &Node, id: u64, key: &str) -> bool {
    let key = RegisterKey::object(BucketId(id), &object(key).key);
    node.store.lookup(&key).expect("it is read").is_some_and(|held| held.record.is_present())
}

#[actix_rt::test]
async fn who_is_behind_with_a_bucket_is_told_right_in_front_of_what_it_stores() {
    let open = [life(7, 1, true)];
    let [here, there @ ..] = three_that_hold([&open, &[], &[]]).await;
    let (rig, mut lanes) = coordinator(&here, 2, true, LONG);
    let put = actix_rt::spawn(rig.put(&paper("k")));
    let (mut seen, lane, node) = (Vec::new(), &mut lanes[0], &there[0]);
    // One peer alone makes a majority with this node.
    while !holds_in(node, 7, "k") {
        let cast = lane.cast().await;
        seen.push((cast.vote.key.clone(), std::mem::discriminant(&cast.vote.message.request)));
        node.votes(cast).await;
    }
    assert!(put.await.expect("it runs").is_ok());
    let bucket = RegisterKey::bucket(&papers());
    let kinds: Vec<_> = seen.iter().map(|(key, _)| *key == bucket).collect();
    assert_eq!(kinds, [false, false, true, false], "prepare, store, the bucket, and store again");
}

/// The first of three has no place any more; what it holds it keeps.
async fn the_others_go_on(nodes: &[Node; 3]) {
    let seats: Vec<_> = (1..).zip(nodes).map(|(n, node)| node.seat(n)).collect();
    let both = Roster::founding(1, seats.clone()).next(2, &seats[1..]);
    for list in [both.clone(), both.next(3, &seats[1..])].map(Arc::new) {
        for node in nodes {
            node.adopts(&list).await;
        }
    }
}

#[actix_rt::test]
async fn a_node_without_a_place_tells_nobody_of_a_bucket_by_what_it_alone_holds() {
    let open = [life(7, 1, true)];
    // All members may have dropped the tombstone of the bucket, or one of them be behind with it.
    for held in [[&open[..], &[], &[]], [&open, &open, &[]]] {
        let nodes = three_that_hold(held).await;
        the_others_go_on(&nodes).await;
        let [here, there @ ..] = nodes;
        let (rig, lanes) = coordinator(&here, 2, true, LONG);
        let put = while_they_vote(lanes, &there, rig.put(&paper("k"))).await;
        let is_there = !held[1].is_empty();
        assert!(put.is_ok() && is_there || matches!(put, Err(ObjectError::Store(StoreError::NoSuchBucket))), "{put:?}");
        assert_eq!(put.is_ok(), is_there);
        for node in &there {
            assert_eq!(node.store.bucket_slot(&papers()).is_some(), is_there, "{put:?}");
        }
    }
}

#[actix_rt::test]
async fn who_missed_that_a_bucket_was_made_again_writes_into_its_present_life_and_finds_what_is_there() {
    let (old, now) = ([life(7, 1, true)], [life(7, 1, true), life(8, 1, true)]);
    let [here, there @ ..] = three_that_hold([&old, &now, &now]).await;
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    let work = async {
        let opened = rig.open(&paper("k")).await;
        assert!(matches!(opened, Err(ObjectError::Store(StoreError::NoSuchKey))), "{opened:?}");
        rig.put(&paper("k")).await.expect("it is written");
        assert!(rig.open(&paper("k")).await.is_ok());
        rig.delete(&paper("k")).await.expect("it is deleted")
    };
    let gone = while_they_vote(lanes, &there, work).await;
    assert!(gone.existed);
    assert!(there.iter().all(|node| !holds_in(node, 7, "k")), "nothing in the former life");
}

/// These nodes learn that the bucket was deleted.
async fn loses_papers<const N: usize>(nodes: [&Node; N]) {
    let (ballot, lineage) = (Ballot { stamp: Stamp(900), node: Incarnation(9) }, Lineage::NOTHING);
    let record = Record { ballot, lineage: lineage.then(WriteId([9; 8]), 8), written_ms: 1, state: State::Deleted };
    let lives = nodes.map(|node| node.store.incarnation());
    for (at, node) in nodes.into_iter().enumerate() {
        node.learns(lives[(at + 1) % N], &[(RegisterKey::bucket(&papers()), record.clone())]).await;
    }
}

#[actix_rt::test]
async fn all_that_a_bucket_leaves_behind_is_settled_by_one_look_at_the_others_at_most() {
    let open = [life(7, 1, true)];
    let [here, there @ ..] = three_that_hold([&open, &open, &open]).await;
    let names = ["a", "b", "c"];
    let key = |name: &str| RegisterKey::object(BucketId(7), &object(name).key);
    for (at, name) in (1..).zip(names) {
        let ballot = Ballot { stamp: Stamp(5_000 + at), node: Incarnation(8) };
        let lineage = Lineage::NOTHING.then(WriteId(at.to_be_bytes()), 8);
        let state = Traced { lineage, value: Some(crate::actors::testing::record(50)) };
        assert_eq!(here.stores(&key(name), ballot, state).await, Answered::Stored(ballot));
    }
    loses_papers([&here, &there[0], &there[1]]).await;
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    let seen = Instant::now();
    let settling = async {
        for name in names {
            rig.direct.settle(&key(name), seen).await.expect("it is settled");
        }
    };
    while_they_vote(lanes, &there, settling).await;
    // None where a majority held nothing of them: what was never chosen is out-promised then, and no more is written.
    let asked = rig.asked();
    let walks = asked.iter().filter(|kind| **kind == "ShowSlots").count();
    assert!(walks <= 1, "buckets are looked through once for all of them: {asked:?}");
}

#[actix_rt::test]
async fn a_put_through_a_node_that_missed_a_deletion_has_a_plain_answer() {
    for made_again in [true, false] {
        let (old, now) = ([life(7, 1, true)], [life(7, 1, true), life(8, 1, true)]);
        let now = if made_again { &now[..] } else { &now[..1] };
        let [here, there @ ..] = three_that_hold([&old, now, now]).await;
        if !made_again {
            loses_papers([&there[0], &there[1]]).await;
        }
        let (rig, lanes) = coordinator(&here, 2, true, LONG);
        let put = while_they_vote(lanes, &there, rig.put(&paper("k"))).await;
        match made_again {
            true => assert!(put.is_ok() && there.iter().any(|node| holds_in(node, 8, "k")), "{put:?}"),
            false => assert!(matches!(put, Err(ObjectError::Store(StoreError::NoSuchBucket))), "{put:?}"),
        }
        let known = here.store.bucket_slot(&papers()).and_then(|slot| slot.state.value?.bucket().cloned());
        assert_eq!(known, made_again.then(|| life(8, 1, true)), "the next one is not begun in the former life");
    }
}

#[actix_rt::test]
async fn what_one_holds_tentatively_is_settled_before_a_deletion_counts_it_as_nothing() {
    let open = [life(7, 1, true)];
    let [here, there @ ..] = three_that_hold([&open, &open, &open]).await;
    let (bucket, key) = (RegisterKey::bucket(&papers()), RegisterKey::object(BucketId(7), &object("k").key));
    let ballot = Ballot { stamp: Stamp(5_000), node: Incarnation(8) };
    let lineage = Lineage::NOTHING.then(WriteId([4; 8]), 8);
    let state = Traced { lineage, value: Some(crate::actors::testing::record(50)) };
    let stores = |node| Node::stores(node, &key, ballot, state.clone());
    assert_eq!(stores(&there[0]).await, Answered::Stored(ballot));
    let (rig, lanes) = coordinator(&here, 2, true, Duration::from_secs(20));
    let [second, third] = <[LaneTo; 2]>::try_from(lanes).unwrap_or_else(|_| unreachable!("two of them"));
    // One shows it and cannot be asked about it. The other one hears nothing of the deletion, so what it shows does not
    // count; and the store that came to the first one is still on its way there.
    let carrying = futures::future::join(
        second.carries_but(&there[0], |cast| cast.vote.key == key),
        third.carries_but(&there[1], |cast| cast.vote.key == bucket),
    );
    let deleting = async {
        let closed = rig.direct.change_by_vote(&papers(), Change::Close, rig.direct.deadline()).await;
        assert!(matches!(closed, Ok(WriteOutcome::Written { .. })), "{closed:?}");
        rig.direct.end_deletion(&papers()).await
    };
    let deleted = tokio::select! {
        deleted = soon("an end", deleting) => deleted,
        _ = carrying => panic!("the lanes ended first"),
    };
    assert!(matches!(deleted, Ok(true)), "{deleted:?}");
    let left = there[0].store.bucket_slot(&papers()).and_then(|slot| slot.state.value?.bucket().cloned());
    assert_eq!(left, None, "nothing was found in it");
    let late = stores(&there[1]).await;
    assert!(matches!(late, Answered::Refused(Refusal::Behind(_))), "it is chosen, in a bucket that is gone: {late:?}");
}

#[actix_rt::test]
async fn a_read_that_waits_for_a_deletion_does_not_say_that_a_majority_is_missing() {
    // Two other answers are right on a busy machine: no majority, where no round ended within the time; and that there is
    // nothing, where both others, who hold nothing, answered before this node did, which is so for good then. So it is all
    // made anew and asked again, with more time where there was too little.
    let (mut told, mut seconds) = (None, 1);
    for _ in 0..30 {
        told = Some(read_in_a_closing_bucket(seconds).await);
        match told {
            Some(ObjectError::NoMajority(_)) => seconds = (seconds * 2).min(40),
            Some(ObjectError::Store(StoreError::NoSuchKey)) => {}
            _ => break,
        }
    }
    assert!(matches!(told, Some(ObjectError::Crowded)), "{told:?}");
}

/// What a read is told, within so many seconds, of what this node alone holds and nobody knows to be chosen, in a bucket
/// that all three hold as closing.
async fn read_in_a_closing_bucket(seconds: u64) -> ObjectError {
    let (open, closed) = ([life(7, 1, true)], [life(7, 1, true), life(7, 2, false)]);
    let [here, there @ ..] = three_that_hold([&open, &open, &open]).await;
    let key = RegisterKey::object(BucketId(7), &object("k").key);
    let lineage = Lineage::NOTHING.then(WriteId([4; 8]), 8);
    let state = Traced { lineage, value: Some(crate::actors::testing::record(50)) };
    let ballot = Ballot { stamp: Stamp(5_000), node: Incarnation(8) };
    assert_eq!(here.stores(&key, ballot, state).await, Answered::Stored(ballot));
    let lives = [&here, &there[0], &there[1]].map(|node| node.store.incarnation());
    let lineage = Lineage::NOTHING.then(WriteId([5; 8]), 8);
    let ballot = Ballot { stamp: Stamp(6_000), node: Incarnation(8) };
    let record = Record { ballot, lineage, written_ms: 1, state: State::Bucket(closed[1].clone()) };
    let closed = [(RegisterKey::bucket(&papers()), record)];
    for (node, from) in [(&here, lives[1]), (&there[0], lives[0]), (&there[1], lives[0])] {
        node.learns(from, &closed).await;
    }
    let (rig, lanes) = coordinator(&here, 2, true, Duration::from_secs(seconds));
    while_they_vote(lanes, &there, rig.open(&paper("k"))).await.map(drop).expect_err("nobody could have written it")
}

#[actix_rt::test]
async fn a_bucket_that_is_asked_for_inside_a_write_is_waited_for_no_longer_than_that() {
    let (open, closed) = ([life(7, 1, true)], [life(7, 1, true), life(7, 2, false)]);
    let [here, there @ ..] = three_that_hold([&open, &closed, &closed]).await;
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    // Nobody says what became of the bucket that both refused for.
    let bucket = RegisterKey::bucket(&papers());
    let carrying =
        lanes.into_iter().zip(&there).map(|(lane, node)| lane.carries_but(node, |cast| cast.vote.key == bucket));
    let put = async {
        let body = vec!["a body".into()];
        let (at, head) = (paper("k"), ObjectHead::default());
        let (sums, expected) = (WantedSums::default(), ExpectedSums::default());
        let seal = SealSmall { at, condition: Condition::NONE, head, body, sums, expected, alone: false };
        let sealed = rig.direct.ask(seal).await;
        let Ok(Decided::ForVote(put)) = sealed else { panic!("it is put to the vote") };
        let deadline = Instant::now() + Duration::from_millis(300);
        let home = rig.direct.open_home(&papers(), deadline).await.expect("it is known here");
        rig.direct.vote(put, home, bodies::Coming::Anew(None), deadline).await
    };
    let put = tokio::select! {
        put = soon("an answer", put) => put,
        _ = join_all(carrying) => panic!("the lanes ended first"),
    };
    assert!(matches!(put, Err(ObjectError::Store(StoreError::UnknownOutcome))), "{put:?}");
}

#[actix_rt::test]
async fn a_deletion_that_was_left_behind_is_ended_and_who_waits_for_it_goes_on() {
    let closed = [life(7, 1, true), life(7, 2, false)];
    for is_empty in [true, false] {
        let nodes = three_that_hold([&closed, &closed, &closed]).await;
        if !is_empty {
            // A majority holds it: it was chosen before the bucket was closed.
            let lives = nodes.each_ref().map(|node| node.store.incarnation());
            let mut record = (*crate::actors::testing::record(50)).clone();
            record.lineage = Lineage::NOTHING.then(WriteId([3; 8]), 8);
            let key = RegisterKey::object(BucketId(7), &object("inside").key);
            nodes[0].learns(lives[1], &[(key.clone(), record.clone())]).await;
            nodes[1].learns(lives[0], &[(key, record)]).await;
        }
        let [here, there @ ..] = nodes;
        let (rig, lanes) = coordinator(&here, 2, true, Duration::from_secs(20));
        let work = async {
            let put = actix_rt::spawn(rig.put(&paper("k")));
            rig.direct.end_deletion(&papers()).await.expect("it is ended");
            put.await.expect("it runs")
        };
        let put = while_they_vote(lanes, &there, work).await;
        match is_empty {
            true => assert!(matches!(put, Err(ObjectError::Store(StoreError::NoSuchBucket))), "{put:?}"),
            false => assert!(put.is_ok(), "{put:?}"),
        }
        let open = |node: &Node| node.store.bucket_slot(&papers()).and_then(|slot| slot.state.value?.bucket().cloned());
        let held: Vec<_> = there.iter().map(open).collect();
        match is_empty {
            true => assert!(held.contains(&None), "{held:?}"),
            false => assert!(held.contains(&Some(life(7, 3, true))), "{held:?}"),
        }
    }
}

#[actix_rt::test]
async fn a_node_that_goes_on_alone_ends_the_deletion_that_keeps_a_writer_waiting() {
    let closed = [life(7, 1, true), life(7, 2, false)];
    for is_empty in [true, false] {
        let [node, ..] = three_that_hold([&closed, &[], &[]]).await;
        if !is_empty {
            let key = RegisterKey::object(BucketId(7), &object("inside").key);
            let record = (*crate::actors::testing::record(50)).clone();
            let others = node.store.voting().node.roster.clone().expect("a list");
            let other = others.seats[1].incarnation;
            node.learns(other, &[(key, record)]).await;
        }
        wait(node.store.leave(5, name(1))).await.expect("it goes on alone");
        let (rig, _) = coordinator(&node, 0, true, LONG);
        let put = rig.put(&paper("k")).await;
        match is_empty {
            true => assert!(matches!(put, Err(ObjectError::Store(StoreError::NoSuchBucket))), "{put:?}"),
            false => assert!(put.is_ok() && holds_in(&node, 7, "k"), "{put:?}"),
        }
    }
}
