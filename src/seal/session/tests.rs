use super::*;
use crate::seal::Keyring;

const CLUSTER: ClusterId = ClusterId([0xc1; 16]);

fn peer_key(of: u8) -> std::sync::Arc<PeerKey> {
    Keyring::new(vec![(1, Secret::new([of; 32]))]).unwrap().peer_keys().offers().remove(0)
}

fn hello() -> Hello<'static> {
    Hello { from: "boveda-0", to: "boveda-1", cluster: CLUSTER, incarnation: 7, nonce: random() }
}

const RESPONDER: Me<'static> = Me { name: "boveda-1", cluster: CLUSTER, incarnation: 9 };

/// Initiator's and responder's keys of a session.
fn session(key: &PeerKey) -> (SessionKeys, SessionKeys) {
    let hello = hello();
    let (answer, _, theirs) = key.answer(RESPONDER, &key.hello(hello)).unwrap();
    (key.complete(hello.pending(), &answer).unwrap().1, theirs)
}

fn refused(result: Result<impl Sized, HelloError>) -> HelloError {
    result.map(|_| ()).unwrap_err()
}

#[test]
fn both_ends_learn_who_the_other_is_and_talk() {
    let key = peer_key(1);
    let hello = hello();
    let (answer, initiator, responders) = key.answer(RESPONDER, &key.hello(hello)).unwrap();
    let (responder, initiators) = key.complete(hello.pending(), &answer).unwrap();
    assert_eq!((initiator.name.as_str(), initiator.incarnation), ("boveda-0", Incarnation(7)));
    assert_eq!((responder.name.as_str(), responder.incarnation), ("boveda-1", Incarnation(9)));
    for (from, to) in [(&initiators, &responders), (&responders, &initiators)] {
        for text in [&b""[..], b"x", &[7; 100_000]] {
            let sealed = from.send.seal(3, b"POST /frames", text.to_vec());
            assert_eq!(sealed.len(), text.len() + TAG_BYTES);
            assert_eq!(to.receive.open(3, b"POST /frames", sealed).as_deref(), Ok(text));
        }
    }
}

/// Computed from the module's text with another implementation of the ciphers and hashes.
#[test]
fn known_answers() {
    let unhex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    };
    let kek: [u8; 32] = unhex("66be36e7fcd96cff13ed587327975722caeca5f2895ddd5dd5c8d86b047b3b68").try_into().unwrap();
    let ring = Keyring::new(vec![(1, Secret::new(kek))]).unwrap();
    let (key, cluster) = (ring.peer_keys().offers().remove(0), ring.origin().cluster);
    let initiator = Fields { cluster, incarnation: 7, nonce: [0x11; 32], from: "boveda-0", to: "boveda-1" }.encode();
    let responder = Fields { cluster, incarnation: 9, nonce: [0x22; 32], from: "boveda-1", to: "boveda-0" }.encode();
    assert_eq!(
        key.seal_with(HELLO, &[], &initiator, [0x33; 12]),
        unhex(concat!(
            "425650310800f509a83dfa8c6aa5239df962cce22d99333333333333333333333333901e0bea7c39f1abc6f40544788f51d11b53",
            "c8cc840ecb09a8886cd3fb91ddf5982cd0353caf63222b491797f1343ac9de6269c0cc7421d2de5ff7697e8071cdfb320711e1ae",
            "cd675fe43aa7b73e7f8f988350f70b02d9e15366c813abbae467"
        ))
    );
    let answer = unhex(concat!(
        "425650310800f509a83dfa8c6aa5239df962cce22d993333333333333333333333330ee20e3b58e2e90c4ca85cf7c91bc015b9d3",
        "3b7aa2d883d863ef41af50f171abdde35568e73b32803035a56d6bee51800bae3bd7d814265d1d5d42d0ead1599dd41b5514c7ee",
        "d5e824ccf638a6eaaaae7cb7527f5ce62b6bdc56bc28585354ca"
    ));
    assert_eq!(key.seal_with(ANSWER, &initiator, &responder, [0x33; 12]), answer);
    let hello = Hello { from: "boveda-0", to: "boveda-1", cluster, incarnation: 7, nonce: [0x11; 32] };
    let (_, keys) = key.complete(hello.pending(), &answer).unwrap();
    let frame = keys.send.seal(5, b"POST /frames", b"a frame".to_vec());
    assert_eq!(frame, unhex("1f4c91a954c0c99feb91c647da35c9e88b3472bdb56c88"));
    let frame = unhex("3870759dd54e8eacd23d51372dcf09fcb13b86f7f30be8");
    assert_eq!(keys.receive.open(5, b"POST /frames", frame).as_deref(), Ok(&b"a frame"[..]));
}

#[test]
fn every_flipped_bit_cut_or_appended_byte_of_a_handshake_is_refused() {
    let key = peer_key(1);
    let hello = hello();
    let first = key.hello(hello);
    let (second, ..) = key.answer(RESPONDER, &first).unwrap();
    let check = |message: &[u8], refuse: &dyn Fn(&[u8]) -> HelloError| {
        for bit in 0..message.len() * 8 {
            let mut bad = message.to_vec();
            bad[bit / 8] ^= 1 << (bit % 8);
            let theirs = u16::from_le_bytes([bad[4], bad[5]]);
            let expected = match bit / 8 {
                4..6 => HelloError::ForeignProtocol { theirs },
                6..22 => HelloError::ForeignRing,
                _ => HelloError::Garbled,
            };
            assert_eq!(refuse(&bad), expected, "bit {bit}");
        }
        for end in 0..message.len() {
            assert_eq!(refuse(&message[..end]), HelloError::Garbled, "{end} bytes");
        }
        assert_eq!(refuse(&[message, &[0]].concat()), HelloError::Garbled);
        assert_eq!(refuse(&[message, &[0; 10_000]].concat()), HelloError::Garbled);
    };
    check(&first, &|bad| refused(key.answer(RESPONDER, bad)));
    check(&second, &|bad| refused(key.complete(hello.pending(), bad)));
}

#[test]
fn strangers_are_told_apart() {
    let key = peer_key(1);
    let hello = hello();
    assert_eq!(refused(peer_key(2).answer(RESPONDER, &key.hello(hello))), HelloError::ForeignRing);
    let theirs = ClusterId([9; 16]);
    let foreign = Hello { cluster: theirs, ..hello };
    assert_eq!(refused(key.answer(RESPONDER, &key.hello(foreign))), HelloError::ForeignCluster { theirs });
    let misled = Hello { to: "boveda-2", ..hello };
    assert_eq!(refused(key.answer(RESPONDER, &key.hello(misled))), HelloError::NotForMe);
    let mirror = Hello { from: "boveda-1", ..hello };
    assert_eq!(refused(key.answer(RESPONDER, &key.hello(mirror))), HelloError::NotForMe);
    for bad_name in ["", "a/b", "-a", "ñ"] {
        let bad = Hello { from: bad_name, ..hello };
        assert_eq!(refused(key.answer(RESPONDER, &key.hello(bad))), HelloError::Garbled, "{bad_name}");
    }
    for error in [HelloError::ForeignRing, HelloError::ForeignProtocol { theirs: 2 }, HelloError::NotForMe] {
        assert_eq!(error.class(), Class::Permanent);
    }
    assert_eq!(HelloError::Garbled.class(), Class::Invalid);
}

#[test]
fn an_answer_fits_its_hello_alone() {
    let key = peer_key(1);
    let (one, two) = (hello(), hello());
    let first = key.hello(one);
    let (answer, ..) = key.answer(RESPONDER, &first).unwrap();
    assert!(key.complete(one.pending(), &answer).is_ok());
    assert_eq!(refused(key.complete(two.pending(), &answer)), HelloError::Garbled);
    // Neither message passes for the other.
    assert_eq!(refused(key.complete(one.pending(), &first)), HelloError::Garbled);
    let initiator = Me { name: "boveda-0", ..RESPONDER };
    assert_eq!(refused(key.answer(initiator, &answer)), HelloError::Garbled);
    // A node of another name that holds the ring answers: the address is wrong.
    let fields = Fields::of_hello(&one).encode();
    let other = Fields { cluster: CLUSTER, incarnation: 1, nonce: [0; 32], from: "boveda-2", to: "boveda-0" };
    let answer = key.seal(ANSWER, &fields, &other.encode());
    assert_eq!(refused(key.complete(one.pending(), &answer)), HelloError::NotForMe);
    let other = Fields { cluster: ClusterId([9; 16]), ..other };
    let answer = key.seal(ANSWER, &fields, &other.encode());
    let foreign = HelloError::ForeignCluster { theirs: ClusterId([9; 16]) };
    assert_eq!(refused(key.complete(one.pending(), &answer)), foreign);
}

#[test]
fn a_replayed_hello_opens_no_old_frame() {
    let key = peer_key(1);
    let hello = hello();
    let recorded = key.hello(hello);
    let (answer, _, first) = key.answer(RESPONDER, &recorded).unwrap();
    let (_, initiator) = key.complete(hello.pending(), &answer).unwrap();
    let frame = initiator.send.seal(0, b"", b"delete everything".to_vec());
    assert!(first.receive.open(0, b"", frame.clone()).is_ok());
    let (_, _, second) = key.answer(RESPONDER, &recorded).unwrap();
    assert_eq!(second.receive.open(0, b"", frame), Err(OpenError));
}

#[test]
fn a_frame_opens_in_its_session_direction_place_and_count_alone() {
    let key = peer_key(1);
    let (a, b) = session(&key);
    let (other_a, other_b) = session(&key);
    let sealed = a.send.seal(3, b"POST /frames", b"a frame".to_vec());
    let open = |key: &SessionKey, counter, place: &[u8]| key.open(counter, place, sealed.clone());
    assert!(open(&b.receive, 3, b"POST /frames").is_ok());
    for (key, counter, place) in [
        (&b.receive, 2, &b"POST /frames"[..]),
        (&b.receive, 3 | 1 << 63, b"POST /frames"),
        (&b.receive, 3, b"POST /frame"),
        (&b.receive, 3, b""),
        (&b.send, 3, b"POST /frames"),
        (&a.receive, 3, b"POST /frames"),
        (&other_b.receive, 3, b"POST /frames"),
        (&other_a.receive, 3, b"POST /frames"),
    ] {
        assert_eq!(open(key, counter, place), Err(OpenError), "{counter} {place:?}");
    }
    for bit in 0..sealed.len() * 8 {
        let mut bad = sealed.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(b.receive.open(3, b"POST /frames", bad), Err(OpenError), "bit {bit}");
    }
    for end in 0..sealed.len() {
        assert_eq!(b.receive.open(3, b"POST /frames", sealed[..end].to_vec()), Err(OpenError), "{end} bytes");
    }
}

#[test]
fn debug_shows_no_key() {
    let key = peer_key(1);
    let shown = format!("{key:?} {:?}", session(&key));
    assert!(shown.contains("PeerKey(..)") && shown.contains("SealingKey(..)"));
    assert!(!shown.contains(|c: char| c.is_ascii_digit()), "{shown}");
}

fn ring(generations: &[u8]) -> Keyring {
    Keyring::new(generations.iter().map(|n| (u32::from(*n), Secret::new([*n; 32]))).collect()).unwrap()
}

fn offered(ring: &Keyring) -> Vec<KekId> {
    ring.peer_keys().offers().iter().map(|key| key.generation()).collect()
}

#[test]
fn the_generation_that_seals_is_offered_first_and_each_is_taken_by_whoever_has_it() {
    let (one, both, other) = (ring(&[1]), ring(&[1, 2, 3]), ring(&[3]));
    let [(_, first), (_, second), (_, third)] = both.generations()[..] else { panic!("three") };
    assert_eq!(offered(&both), [third, second, first]);
    assert!(both.seal_with(second));
    assert_eq!(offered(&both), [second, third, first]);
    let hello = hello();
    let takes = |ring: &Keyring, key: &PeerKey| ring.peer_keys().answer(RESPONDER, &key.hello(hello)).map(|_| ());
    let offers = both.peer_keys().offers();
    let taken = |ring: &Keyring| offers.iter().map(|key| takes(ring, key)).collect::<Vec<_>>();
    let no = Err(HelloError::ForeignRing);
    assert_eq!(taken(&both), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(taken(&one), [no, no, Ok(())]);
    assert_eq!(taken(&other), [no, Ok(()), no]);
    assert_eq!(takes(&one, &other.peer_keys().offers()[0]), no);
    // What is answered under one generation completes nothing that was begun under another.
    let (answer, ..) = both.peer_keys().answer(RESPONDER, &offers[1].hello(hello)).unwrap();
    assert!(offers[1].complete(hello.pending(), &answer).is_ok());
    assert_eq!(refused(offers[0].complete(hello.pending(), &answer)), HelloError::ForeignRing);
    // The offers follow the ring while it is in use: a generation that comes, one that goes, one that comes back.
    let key = |n: u8| (u32::from(n), Secret::new([n; 32]));
    one.grow(vec![key(1), key(3)], &[]).unwrap();
    assert_eq!(offered(&one), [first, third]);
    assert!(one.seal_with(third));
    one.grow(vec![key(3)], &[first]).unwrap();
    assert_eq!(offered(&one), [third]);
    assert_eq!(takes(&one, &offers[2]), no);
    assert!(one.opens(first), "what it sealed opens on");
    one.grow(vec![key(1), key(3)], &[first]).unwrap();
    assert_eq!(offered(&one), [third, first]);
}

#[test]
fn a_node_is_told_its_cluster_by_whoever_has_a_generation_in_common() {
    let name = |name: &str| NodeName::parse(name).unwrap();
    let (new, peer) = (name("boveda-3"), name("boveda-1"));
    let (member, joiner) = (ring(&[1, 2]).peer_keys(), ring(&[2]).peer_keys());
    let origin = ring(&[1]).origin().copy_as(Some(CLUSTER));
    let key = joiner.offers().remove(0);
    let (question, asked) = key.ask(&new, &peer, random());
    let (from, answer) = member.tell(&peer, &origin, &question).unwrap();
    assert_eq!(from, new);
    let told = key.told(&asked, &answer).unwrap();
    assert_eq!((told.cluster, told.marks().expose()), (CLUSTER, origin.marks().expose()));

    // To this question alone, and to nobody else.
    let (_, other) = key.ask(&new, &peer, random());
    assert_eq!(refused(key.told(&other, &answer)), HelloError::Garbled);
    assert_eq!(refused(member.tell(&name("boveda-2"), &origin, &question)), HelloError::NotForMe);
    assert_eq!(refused(ring(&[3]).peer_keys().tell(&peer, &origin, &question)), HelloError::ForeignRing);
    let mirror = key.ask(&peer, &peer, random()).0;
    assert_eq!(refused(member.tell(&peer, &origin, &mirror)), HelloError::NotForMe);
    // Neither passes for a handshake, nor a handshake for it.
    assert_eq!(refused(member.answer(RESPONDER, &question)), HelloError::Garbled);
    assert_eq!(refused(member.tell(&peer, &origin, &key.hello(hello()))), HelloError::Garbled);
    for bit in 0..question.len() * 8 {
        let mut bad = question.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(member.tell(&peer, &origin, &bad).is_err(), "bit {bit}");
    }
    for bit in 0..answer.len() * 8 {
        let mut bad = answer.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(key.told(&asked, &bad).is_err(), "bit {bit}");
    }
    for end in 0..question.len() {
        assert!(member.tell(&peer, &origin, &question[..end]).is_err(), "{end} bytes");
    }
}
