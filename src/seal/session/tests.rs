use super::*;
use crate::seal::Keyring;

const CLUSTER: ClusterId = ClusterId([0xc1; 16]);

fn peer_key(of: u8) -> PeerKey {
    Keyring::new(vec![(1, Secret::new([of; 32]))]).unwrap().peer_key()
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
    let (key, cluster) = (ring.peer_key(), ring.cluster_id());
    let initiator = Fields { cluster, incarnation: 7, nonce: [0x11; 32], from: "boveda-0", to: "boveda-1" }.encode();
    let responder = Fields { cluster, incarnation: 9, nonce: [0x22; 32], from: "boveda-1", to: "boveda-0" }.encode();
    assert_eq!(
        key.seal_with(HELLO, &[], &initiator, [0x33; 12]),
        unhex(concat!(
            "4256503107003122db0d453432e0ec754ac14faeea7c3333333333333333333333337c3330ac7e7de7f16284c8c5dbc78c216b5b",
            "ce18aa87dd5261deaac0d5d6c92b7f53c3f90bc84bb6e6d74ec599cb1e1066f812f8f50c0aa8b7b4e629bd034995a10a86eb6427",
            "17052cbdd35660d5cad47922038d99b7d8d76153712f0bf82cbd"
        ))
    );
    let answer = unhex(concat!(
        "4256503107003122db0d453432e0ec754ac14faeea7c3333333333333333333333334560973053acbe269f46ffbdc1615347e167ed",
        "af2bdbfeac0172b2ffc9a7323018f9deb3dc5bb8cdc9cb51cf053b2ffdd22140c2ab6b51cc8732830e0604117aa6313640942fa820",
        "550082b11e5774bddfd5c68169758f6a6d220f688705aaf6"
    ));
    assert_eq!(key.seal_with(ANSWER, &initiator, &responder, [0x33; 12]), answer);
    let hello = Hello { from: "boveda-0", to: "boveda-1", cluster, incarnation: 7, nonce: [0x11; 32] };
    let (_, keys) = key.complete(hello.pending(), &answer).unwrap();
    let frame = keys.send.seal(5, b"POST /frames", b"a frame".to_vec());
    assert_eq!(frame, unhex("7bacce500a769d79dd9684da7bb122250a95371f155342"));
    let frame = unhex("61ebf90e4552b4cced41a4f687de9f3d093c21de18e980");
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
