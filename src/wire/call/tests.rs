//! Calls and answers on their way: what arrives is what was sent, and what is damaged is refused.

use super::super::testing::batter;
use super::*;
use crate::base::{
    BodyAt, BucketId, Complete, Etag, Folds, KekId, Lineage, ObjectHead, ObjectKey, ObjectRecord, Stamp, State, Wrap,
};
use crate::register::{Attempt, Message, Reply, Request, Seat, Slot, Start, Traced, Under};
use crate::wire::lists::{Block, Blocks, Closed, Item};
use bytes::Bytes;

fn key(name: &str) -> RegisterKey {
    RegisterKey::object(BucketId(7), &ObjectKey::parse(name).unwrap())
}

fn ballot(stamp: u64) -> Ballot {
    Ballot { stamp: Stamp(stamp), node: Incarnation(3) }
}

fn record() -> Arc<Record> {
    Arc::new(Record {
        ballot: ballot(5),
        lineage: Lineage::NOTHING,
        written_ms: 6,
        state: State::Object(Box::new(ObjectRecord {
            number: 1,
            len: 3,
            etag: Etag::Digest,
            checksum: None,
            head: ObjectHead {
                content_type: "text/plain".into(),
                meta: vec![("a".into(), "b".into())],
                ..ObjectHead::default()
            },
            body: BodyId([1; 16]),
            sealed_len: 6,
            digest: [2; 32],
            wrap: Wrap { kek: KekId([3; 16]), nonce: [4; 12], sealed: [5; 48] },
            at: BodyAt::Small(Bytes::from_static(b"sealed").into()),
            uploads: crate::base::Uploads::NONE,
        })),
    })
}

fn roster() -> Arc<Roster> {
    let seat = Seat { name: NodeName::parse("n1").unwrap(), incarnation: Incarnation(4) };
    Arc::new(Roster::founding(9, vec![seat]))
}

fn standing(n: u64) -> Standing {
    Standing { start: Start { number: n, draw: u64::MAX }, head: n + 1, reserved: Stamp(n + 2) }
}

fn generation(number: u32) -> crate::wire::Generation {
    let id = KekId([number.to_le_bytes()[0] + 2; 16]);
    crate::wire::Generation { number, id, references: 1 << 33, is_free: number == 1 }
}

fn pulse() -> Pulse {
    Pulse {
        name: NodeName::parse("n1").unwrap(),
        incarnation: Incarnation(9),
        standing: standing(7),
        life: 3,
        remembers: vec![(Incarnation(8), standing(9)), (Incarnation(2), standing(1))],
        free: 1 << 40,
        root: Some(Sum(1 << 100)),
        list: ListMark { epoch: Epoch(3), digest: 4 },
        version: "0.1.0".into(),
        keys: KeyNews::of(KekId([3; 16]), [1, 2].map(generation).to_vec()),
        health: Health { tentative: 5, ..Health::default() },
        audit: AuditNews { own: Some(Default::default()), yours: None },
    }
}

#[test]
fn calls_survive_the_trip_and_damage_is_refused() {
    let tombstone =
        Arc::new(Record { ballot: ballot(8), lineage: Lineage::NOTHING, written_ms: 1, state: State::Deleted });
    let calls = [
        Call::Heartbeat(Box::new(pulse())),
        Call::Offer(vec![]),
        Call::Offer(vec![
            Offered { key: key("a"), ballot: ballot(1), blob: None },
            Offered { key: key("ñ"), ballot: ballot(2), blob: Some(BodyId([7; 16])) },
        ]),
        Call::Learn(Epoch(7), vec![(key("a"), record()), (key("b"), tombstone)]),
        Call::Bury(ListMark { epoch: Epoch(1), digest: 2 }, vec![(key("a"), ballot(1)), (key("b"), ballot(2))]),
        Call::Heartbeat(Box::new(Pulse { root: None, ..pulse() })),
        Call::Tree(vec![]),
        Call::Tree(vec![3, 63]),
        Call::List,
        Call::Take(roster()),
        Call::Scan(Scan {
            mark: ListMark { epoch: Epoch(1), digest: 2 },
            from: RegisterKey::first(),
            inclusive: true,
            to: RegisterKey::end(),
            limit: 9,
        }),
        Call::Show(Show {
            mark: ListMark { epoch: Epoch(1), digest: 2 },
            folds: Folds::objects(BucketId(7), "a/", Some("//")),
            from: key("a/").edge(),
            inclusive: false,
            to: RegisterKey::end(),
            limit: 9,
            closed: None,
        }),
        Call::Show(Show {
            mark: ListMark::default(),
            folds: Folds::objects(BucketId(7), "", None),
            from: RegisterKey::first(),
            inclusive: true,
            to: RegisterKey::end(),
            limit: 1001,
            closed: Some(Closed { id: BucketId(7), generation: 5 }),
        }),
        Call::Fetch(vec![key("a"), key("b")]),
        Call::Discard(BodyId([8; 16])),
        Call::Bring(BlobRef { body: BodyId([8; 16]), sealed_len: 1 << 40, digest: [9; 32] }),
        Call::Pull(Pull { body: BodyId([7; 16]), from: 1 << 40, len: 1 << 20 }),
        Call::Config(ListMark { epoch: Epoch(1), digest: 2 }),
    ];
    for call in calls {
        let bytes = call.encode();
        assert_eq!(Call::decode(&bytes), Ok(call));
        batter(&bytes, |bytes| Call::decode(bytes).is_ok());
    }
}

fn item(name: &str, present: bool) -> Item {
    Item { key: key(name), ballot: ballot(4), chosen: false, present }
}

fn through(prefix: &str) -> Complete {
    Complete::Through(key(prefix).edge())
}

#[test]
fn answers_survive_the_trip_and_damage_is_refused() {
    let answers = [
        Answer::Pulse(Box::new(pulse())),
        Answer::Wants(vec![Wanted::Nothing, Wanted::Record, Wanted::BlobAndRecord]),
        Answer::Records(vec![(key("a"), record())]),
        Answer::Sums(vec![Sum(0), Sum(u128::MAX)]),
        Answer::List(None),
        Answer::List(Some(roster())),
        Answer::Scanned(Page::whole(vec![Scanned { key: key("a"), ballot: ballot(4), chosen: true }])),
        Answer::Scanned(Page { entries: vec![], complete: Complete::Through(key("b")) }),
        Answer::Shown(Shown::Items(Page { entries: vec![item("a", true)], complete: through("a/") })),
        Answer::Shown(Shown::Blocks(Blocks {
            blocks: vec![Block { last: key("a"), digest: [7; 16] }, Block { last: key("b"), digest: [8; 16] }],
            unsettled: vec![item("a", true), item("aa", false)],
            complete: Complete::End,
        })),
        Answer::Bytes(Bytes::from_static(b"sealed")),
        Answer::Bring(Bring::Send),
        Answer::Bring(Bring::There),
        Answer::Bring(Bring::Arriving(1 << 40)),
        Answer::Config {
            keys: Holds { sum: Sum(u128::MAX), settled: true },
            public: Holds { sum: Sum(1), settled: false },
        },
        Answer::Config { keys: Holds { sum: Sum(0), settled: false }, public: Holds { sum: Sum(2), settled: true } },
        Answer::Taken(vec![]),
        Answer::Taken(vec![None, Some(Class::Full), None, Some(Class::Invalid)]),
        Answer::Done,
        Answer::failed(Class::Full, "disk is full"),
    ];
    for answer in answers {
        let bytes = answer.encode();
        assert_eq!(Answer::decode(&bytes), Ok(answer));
        batter(&bytes, |bytes| Answer::decode(bytes).is_ok());
    }
    let head = BlobRef { body: BodyId([1; 16]), sealed_len: 9, digest: [3; 32] };
    assert_eq!(BlobRef::decode(&head.encode()), Ok(head));
    assert_eq!(head.encode().len(), BlobRef::BYTES);
    batter(&head.encode(), |bytes| BlobRef::decode(bytes).is_ok());
    let head = StreamHead { body: BodyId([7; 16]), bytes_max: 1 << 40 };
    assert_eq!(StreamHead::decode(&head.encode()), Ok(head));
    batter(&head.encode(), |bytes| StreamHead::decode(bytes).is_ok());
}

#[test]
fn every_class_survives_and_long_texts_are_cut() {
    for code in 0..=u8::MAX {
        match code {
            1..=3 | 5..=7 | 9..=10 => assert_eq!(class_of(code).map(class_code), Ok(code)),
            _ => assert_eq!(class_of(code), Err(CodecError::Value("class of a failure")), "{code} is nobody's"),
        }
    }
    let Answer::Failed { text, .. } = Answer::failed(Class::Busy, &"ñ".repeat(400)) else { panic!() };
    assert_eq!(text.len(), TEXT_BYTES_MAX);
}

#[test]
fn a_count_alone_takes_no_memory() {
    let mut w = Writer::default();
    w.u8(OFFER).u32(u32::MAX);
    assert_eq!(Call::decode(&w.0), Err(CodecError::Value("entries")));
    let mut w = Writer::default();
    w.u8(LEARN).u64(7).u32(1).bytes(key("a").as_bytes()).u32(u32::MAX);
    assert_eq!(Call::decode(&w.0), Err(CodecError::Value("record")));
    let mut w = Writer::default();
    w.u8(PULL).raw(&[0; 16]).u64(0).u32((1 << 20) + 1);
    assert_eq!(Call::decode(&w.0), Err(CodecError::Value("length of a pull")));
    let mut w = Writer::default();
    w.u8(BYTES).u32((1 << 20) + 1);
    assert_eq!(Answer::decode(&w.0), Err(CodecError::Value("bytes of a blob")));
}

#[test]
fn a_small_body_travels_with_what_is_to_be_kept_and_with_no_answer_to_a_vote() {
    let in_hand = |record: &Arc<Record>| record.in_hand().map(|sealed| sealed.to_vec());
    let sealed = Some(b"sealed".to_vec());
    let sent = Call::Learn(Epoch(7), vec![(key("a"), record())]).encode();
    let Ok(Call::Learn(_, records)) = Call::decode(&sent) else { panic!("a lesson") };
    assert_eq!(in_hand(&records[0].1), sealed);
    let Ok(Answer::Records(records)) = Answer::decode(&Answer::Records(vec![(key("a"), record())]).encode()) else {
        panic!("records")
    };
    assert_eq!(in_hand(&records[0].1), sealed);

    let state = || Traced { lineage: Lineage::NOTHING, value: Some(record()) };
    for request in [Request::Store(ballot(5), state(), Under::default()), Request::Learn(ballot(5), state())] {
        let message = Message { epoch: Epoch(4), attempt: Attempt(9), request };
        let vote = Vote { key: key("a"), message, have: None };
        let with = vote.weight();
        let sent = Call::Vote(ListMark { epoch: Epoch(4), digest: 5 }, vec![vote]).encode();
        let Ok(Call::Vote(_, mut votes)) = Call::decode(&sent) else { panic!("votes") };
        let vote = votes.remove(0);
        assert_eq!(vote.weight(), with);
        let (Request::Store(_, came, _) | Request::Learn(_, came)) = vote.message.request else { panic!("a state") };
        assert_eq!(in_hand(&came.value.expect("a record")), sealed);
    }

    let slot = Slot { accepted: ballot(5), chosen: true, state: state() };
    let answer = crate::register::Answer::Held(slot, ballot(5));
    let reply = Reply { from: Incarnation(1), epoch: Epoch(4), attempt: Attempt(9), answer };
    let sent = Answer::Voted(vec![Some(Voted::of(reply, None))]).encode();
    assert!(!sent.windows(6).any(|part| part == b"sealed"));
    let Ok(Answer::Voted(mut came)) = Answer::decode(&sent) else { panic!("answers") };
    let voted = came.remove(0).expect("an answer").reply(Incarnation(1), None).expect("all of it came");
    let crate::register::Answer::Held(slot, _) = voted.answer else { panic!("a slot") };
    let came = slot.state.value.expect("a record");
    assert_eq!((in_hand(&came), came), (None, record()), "the same record without it");
}
