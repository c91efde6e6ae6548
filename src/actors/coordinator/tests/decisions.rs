//! What a coordinator asks of whom for one object or one bucket, and what clients are told.

use super::*;

#[actix_rt::test]
async fn a_node_alone_decides_with_one_message() {
    let node = Node::new(true);
    let (rig, _) = coordinator(&node, 0, false, LONG);
    let at = object("k");
    let written = rig.put(&at).await.expect("it is written");
    assert_eq!((written.existed, rig.asked()), (false, vec!["SealSmall"]));
    let again = rig.put(&at).await.expect("it is written");
    assert!(again.existed && again.ballot > written.ballot);
    rig.asked();
    let gone = rig.delete(&at).await.expect("it is deleted");
    assert_eq!((gone.existed, rig.asked()), (true, vec!["MutateHere"]));
    let bucket = BucketName::parse("another").expect("a name");
    let made = rig.actor.send(CreateBucket { bucket: bucket.clone() }).await.expect("it is there").expect("it is made");
    assert_eq!((made.existed, rig.asked()), (false, vec!["KnowsBucket", "MutateHere"]));
    let gone = rig.actor.send(DeleteBucket { bucket }).await.expect("it is there").expect("it is deleted");
    assert_eq!((gone.existed, rig.asked()), (true, vec!["MutateHere"]));
}

#[actix_rt::test]
async fn a_put_into_a_bucket_that_is_not_there_is_refused_alone_and_among_others() {
    let at = ObjectName { bucket: BucketName::parse("nowhere").expect("a name"), ..object("k") };
    let node = Node::new(true);
    let (rig, _) = coordinator(&node, 0, false, LONG);
    assert!(matches!(rig.put(&at).await, Err(ObjectError::Store(StoreError::NoSuchBucket))));
    assert_eq!(rig.asked(), ["SealSmall"]);
    let [here, there @ ..] = Node::three().await;
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    let refused = while_they_vote(lanes, &there, rig.put(&at)).await;
    assert!(matches!(refused, Err(ObjectError::Store(StoreError::NoSuchBucket))), "{refused:?}");
    assert!(!rig.asked().contains(&"SealSmall"), "before anything is sealed");
    assert!(!holds(&here, &at));
}

#[actix_rt::test]
async fn a_bucket_that_is_not_known_here_is_missing_only_where_nobody_else_may_know_it() {
    let at = ObjectName { bucket: BucketName::parse("papers").expect("a name"), ..object("k") };
    let missing =
        |begun: Result<Upload, ObjectError>| matches!(begun, Err(ObjectError::Store(StoreError::NoSuchBucket)));
    let node = Node::new(true);
    let (alone, _) = coordinator(&node, 0, false, LONG);
    assert!(missing(alone.begin(at.clone()).await));
    assert_eq!(alone.asked(), ["KnowsBucket"], "without a list what this node knows is all there is");
    let of_one = node.of_one();
    node.adopts(&of_one).await;
    let (one, _) = coordinator(&node, 0, true, LONG);
    assert!(missing(one.begin(at.clone()).await));
    assert!(one.asked().len() > 1, "with a list its register is read");

    // The list has grown, and the bucket was made through another node: it has yet to come here.
    let [here, there @ ..] = Node::three().await;
    let lives = there.each_ref().map(|node| node.store.incarnation());
    let ballot = Ballot { stamp: Stamp(7), node: lives[0] };
    let bucket = BucketRecord::made(BucketId(7), 1);
    let record = Record { ballot, lineage: Lineage::NOTHING, written_ms: 1, state: State::Bucket(bucket) };
    for (node, from) in there.iter().zip([lives[1], lives[0]]) {
        let records = vec![(RegisterKey::bucket(&at.bucket), record.clone())];
        let learn = LearnRecords { records, from, epoch: node.store.voting().list.epoch };
        node.actor.send(learn).await.expect("it is there").expect("it is learned");
    }
    let (rig, lanes) = coordinator(&here, 2, true, LONG);
    let before = NodeRecord { roster: Some(here.of_one()), ..NodeRecord::NEW };
    let before = Arc::new(Voting::of(before));
    // So late that it takes itself for alone, and asks for the bucket.
    rig.sees([Arc::clone(&before), before]);
    let begun = while_they_vote(lanes, &there, rig.begin(at)).await;
    assert!(begun.is_ok() && rig.has_looked(), "the others know it: {:?}", begun.err());
}

#[actix_rt::test]
async fn a_list_that_grew_meanwhile_is_decided_by_vote() {
    let [here, there @ ..] = Node::three().await;
    let at = object("k");
    // The committer has the list of three already; the coordinator has looked a moment too early.
    let before = || Some(Arc::new(Voting::of(NodeRecord::NEW)));
    let (rig, lanes) = coordinator(&here, 2, false, LONG);
    rig.sees(before());
    let written = while_they_vote(lanes, &there, rig.put(&at)).await.expect("it is written");
    assert!(written.replicas >= 2, "{written:?}");
    let asked = rig.asked();
    assert_eq!(asked.first(), Some(&"SealSmall"), "it was to decide alone");
    assert!(asked.contains(&"CastHere") && asked.iter().filter(|kind| **kind == "SealSmall").count() == 1, "{asked:?}");
    assert!(there.iter().any(|node| holds(node, &at)), "no decision slips past the others");
    let (rig, lanes) = coordinator(&here, 2, false, LONG);
    rig.sees(before());
    let gone = while_they_vote(lanes, &there, rig.delete(&at)).await.expect("it is deleted");
    assert!(gone.existed && gone.replicas >= 2, "{gone:?}");
    let asked = rig.asked();
    assert!(asked.first() == Some(&"MutateHere") && asked.contains(&"CastHere"), "{asked:?}");
}

#[actix_rt::test]
async fn a_coordinator_that_looked_before_the_list_grew_asks_the_others_after_all() {
    let node = Node::new(true);
    let list = node.of_one();
    node.adopts(&list).await;
    let (rig, _) = coordinator(&node, 0, true, Duration::from_millis(300));
    let (a, b) = (object("a"), object("b"));
    let before = node.store.status().commits;
    rig.put(&a).await.expect("nobody else has a vote");
    assert_eq!(node.store.status().commits - before, 1, "one commit");
    let seen = node.store.voting();
    let grown = list.next(2, &[node.seat(1), Seated { name: name(2), incarnation: Incarnation(77) }]);
    node.adopts(&Arc::new(grown)).await;
    for late in [true, false] {
        let look = || rig.sees(late.then(|| Arc::clone(&seen)));
        look();
        assert!(matches!(rig.put(&b).await, Err(ObjectError::NoMajority(_))), "nobody else is there");
        assert!(rig.has_looked());
        look();
        assert!(matches!(rig.delete(&a).await, Err(ObjectError::NoMajority(_))));
        assert!(holds(&node, &a) && !holds(&node, &b));
    }
}

#[actix_rt::test]
async fn without_a_list_only_a_node_that_is_not_to_vote_decides_alone() {
    let (node, at) = (Node::new(true), object("a"));
    let (alone, _) = coordinator(&node, 0, false, LONG);
    assert!(!alone.put(&at).await.expect("it decides alone").existed);
    assert!(alone.delete(&at).await.expect("it decides alone").existed);
    let (voter, _) = coordinator(&node, 0, true, LONG);
    assert!(matches!(voter.put(&at).await, Err(ObjectError::NoMajority(_))), "it waits for its list");
    assert!(!holds(&node, &at));
}

#[actix_rt::test]
async fn two_writers_of_one_key_take_turns_and_another_key_does_not_wait() {
    let [here, there @ ..] = Node::three().await;
    let (rig, mut lanes) = coordinator(&here, 2, true, LONG);
    let (k, other) = (object("k"), object("other"));
    let [first, second, third] = [&k, &k, &other].map(|at| actix_rt::spawn(rig.put(at)));
    let mut casts = Vec::new();
    for lane in &mut lanes {
        // The third one's way here is as long as the second one's, which came before.
        casts.push([lane.cast().await, lane.cast().await]);
    }
    for casts in &casts {
        let keys = [&k, &other].map(register_by_name);
        assert_eq!(casts.each_ref().map(|cast| cast.vote.key.clone()), keys, "nothing of the second one");
    }
    assert!(lanes.iter_mut().all(|lane| lane.requests.try_recv().is_err()));
    for (casts, node) in casts.into_iter().zip(&there) {
        for cast in casts {
            node.votes(cast).await;
        }
    }
    let all = async { [first.await, second.await, third.await].map(|done| done.expect("it runs").expect("written")) };
    let [first, second, third] = while_they_vote(lanes, &there, all).await;
    assert_eq!([&first, &second, &third].map(|written| written.existed), [false, true, false]);
    assert!(second.ballot > first.ballot);
}

#[actix_rt::test]
async fn no_majority_that_is_known_is_told_at_once_and_one_that_is_not_when_time_is_up() {
    let [here, ..] = Node::three().await;
    let (rig, mut lanes) = coordinator(&here, 2, true, LONG);
    let before = std::time::Instant::now().checked_sub(2 * AWAY_AFTER).expect("the machine runs for longer");
    for n in [2, 3] {
        rig.reach.failed(&name(n), before);
    }
    let refused = {
        // Each is tried once more: what was true may be a moment old.
        let probes = async {
            for lane in &mut lanes {
                assert!(matches!(lane.next().await, PeerRequest::Probe(_)));
            }
        };
        futures::join!(rig.put(&object("k")), probes).0
    };
    assert!(matches!(refused, Err(ObjectError::NoMajority(why)) if why == majority::AWAY), "{refused:?}");
    assert_eq!(rig.asked(), Vec::<&str>::new(), "nothing was sealed, nothing was asked");
    let (rig, _lanes) = coordinator(&here, 2, true, Duration::from_millis(300));
    let refused = rig.put(&object("k")).await;
    assert!(matches!(refused, Err(ObjectError::NoMajority(why)) if why != majority::AWAY), "{refused:?}");
    assert!(!holds(&here, &object("k")));
}

/// The files below a directory.
pub(super) fn files(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).expect("it is readable").map(|entry| entry.expect("an entry").path());
    entries.map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[actix_rt::test]
async fn a_body_that_no_majority_takes_is_taken_back_everywhere() {
    let [here, ..] = Node::three().await;
    for (became, is_full) in [(Carried::Not, false), (Carried::NoRoom, true)] {
        let (rig, mut lanes) = coordinator(&here, 2, true, LONG);
        let upload = rig.begin(object("k")).await.expect("it begins");
        let append = AppendUpload { upload, data: vec![vec![7; 5_000].into()] };
        let upload = rig.actor.send(append).await.expect("it is there").expect("it goes on");
        let finished = rig.actor.send(FinishUpload { upload, expected: ExpectedSums::default() });
        let carrying = async {
            let mut bodies: Vec<BodyId> = Vec::new();
            for lane in &mut lanes {
                let PeerRequest::Ship(_, head, _, done) = lane.next().await else { panic!("no body to carry") };
                assert_eq!(files(&here.dir.path().join("blobs")), 1, "it is whole and durable here");
                done.send(became).expect("somebody waits");
                bodies.push(head.body);
            }
            for lane in &mut lanes {
                let PeerRequest::Discard(_, body) = lane.next().await else { panic!("it is not taken back") };
                bodies.push(body);
            }
            bodies
        };
        let (finished, bodies) = futures::join!(soon("an answer", finished), carrying);
        let error = finished.expect("it is there").expect_err("nobody else took it");
        match is_full {
            true => assert!(matches!(error, ObjectError::Store(StoreError::Full)), "{error:?}"),
            false => assert!(matches!(error, ObjectError::NoMajority(_)), "{error:?}"),
        }
        assert!(bodies.iter().all(|body| *body == bodies[0]), "one body, carried and taken back");
        assert_eq!(files(&here.dir.path().join("blobs")) + files(&here.dir.path().join("staged")), 0);
        assert!(!holds(&here, &object("k")));
    }
}
