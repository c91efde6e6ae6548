use super::*;
use crate::seal::session::Hello;

const CLUSTER: ClusterId = ClusterId([0xc1; 16]);
const BODY: BodyId = BodyId([0xb0; 16]);

fn ring(generations: &[u32]) -> Keyring {
    Keyring::new(generations.iter().map(|&g| (g, key(g))).collect()).unwrap()
}

fn key(generation: u32) -> Secret<[u8; 32]> {
    Secret::new([u8::try_from(generation).unwrap(); 32])
}

#[test]
fn the_order_of_the_files_makes_no_difference() {
    let ring = ring(&[3, 1, 2]);
    let numbers: Vec<u32> = ring.generations().into_iter().map(|(g, _)| g).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(ring.active(), ring.generations()[2].1);
    assert_eq!(ring.wrap(CLUSTER, BODY, &Dek::generate()).kek, ring.active());
}

#[test]
fn no_ring_of_nothing_or_of_doubles() {
    assert_eq!(Keyring::new(vec![]).unwrap_err(), SealError::NoKeys);
    let twice = vec![(1, key(1)), (2, key(2)), (1, key(3))];
    assert_eq!(Keyring::new(twice).unwrap_err(), SealError::DuplicateGeneration(1));
    let same = vec![(3, key(1)), (1, key(1)), (2, key(2))];
    assert_eq!(Keyring::new(same).unwrap_err(), SealError::SameKey(1, 3));
}

#[test]
fn rotation_keeps_the_cluster_the_peers_and_what_was_sealed() {
    let (before, after) = (ring(&[1]), ring(&[1, 2]));
    assert_eq!(before.origin().cluster, after.origin().cluster);
    assert_eq!(before.origin().marks().expose(), after.origin().marks().expose());
    assert_ne!(before.active(), after.active());
    assert_ne!(before.origin().cluster, ring(&[2]).origin().cluster);
    let hello = Hello { from: "a", to: "b", cluster: CLUSTER, incarnation: 1, nonce: [1; 32] };
    let me = crate::seal::session::Me { name: "b", cluster: CLUSTER, incarnation: 2 };
    assert!(after.peer_keys().answer(me, &before.peer_keys().offers()[0].hello(hello)).is_ok());

    let dek = Dek::generate();
    let opened = after.unwrap(CLUSTER, BODY, &before.wrap(CLUSTER, BODY, &dek)).unwrap();
    assert_eq!(opened.expose(), dek.expose());
    assert_eq!(after.open_box(b"here", &before.seal_box(b"here", b"x")).unwrap(), b"x");
    // And what the new generation sealed stays closed to those who do not have it yet.
    assert!(before.unwrap(CLUSTER, BODY, &after.wrap(CLUSTER, BODY, &dek)).is_err());
    let unknown = BoxError::UnknownKey { kek: after.active() };
    assert_eq!(before.open_box(b"here", &after.seal_box(b"here", b"x")), Err(unknown));
}

#[test]
fn a_wrap_opens_in_its_place_alone() {
    let ring = ring(&[1, 2]);
    let dek = Dek::generate();
    let wrap = ring.wrap(CLUSTER, BODY, &dek);
    assert_eq!(ring.unwrap(CLUSTER, BODY, &wrap).unwrap().expose(), dek.expose());
    assert!(ring.unwrap(ClusterId([0; 16]), BODY, &wrap).is_err());
    assert!(ring.unwrap(CLUSTER, BodyId([0; 16]), &wrap).is_err());
    let other_generation = Wrap { kek: ring.generations()[0].1, ..wrap.clone() };
    assert!(ring.unwrap(CLUSTER, BODY, &other_generation).is_err());
    assert_ne!(wrap.sealed[..32], dek.expose()[..]);
}

#[test]
fn every_flipped_bit_of_a_wrap_is_noticed() {
    let ring = ring(&[1, 2]);
    let wrap = ring.wrap(CLUSTER, BODY, &Dek::generate());
    let flip = |bytes: &mut [u8], bit: usize| bytes[bit / 8] ^= 1 << (bit % 8);
    for bit in 0..(16 + 12 + 48) * 8 {
        let mut bad = wrap.clone();
        match bit / 8 {
            0..16 => flip(&mut bad.kek.0, bit),
            16..28 => flip(&mut bad.nonce, bit - 16 * 8),
            _ => flip(&mut bad.sealed, bit - 28 * 8),
        }
        assert_ne!(bad, wrap);
        assert_eq!(ring.unwrap(CLUSTER, BODY, &bad).unwrap_err(), OpenError, "bit {bit}");
    }
}

#[test]
fn every_changed_cut_or_longer_box_is_noticed() {
    let ring = ring(&[1, 2]);
    let sealed = ring.seal_box(b"index", b"thirty-two bytes of something...");
    assert_eq!(ring.open_box(b"index", &sealed).unwrap(), b"thirty-two bytes of something...");
    assert_eq!(ring.open_box(b"log", &sealed), Err(BoxError::Open));
    assert_eq!(ring.open_box(b"", &sealed), Err(BoxError::Open));
    for bit in 0..sealed.len() * 8 {
        let mut bad = sealed.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let error = ring.open_box(b"index", &bad).unwrap_err();
        match bit / 8 {
            1..17 => assert!(matches!(error, BoxError::UnknownKey { kek } if kek != ring.active()), "bit {bit}"),
            _ => assert_eq!(error, BoxError::Open, "bit {bit}"),
        }
    }
    for end in 0..sealed.len() {
        let expected = if end < BOX_HEAD_BYTES + TAG_BYTES { BoxError::Short } else { BoxError::Open };
        assert_eq!(ring.open_box(b"index", &sealed[..end]), Err(expected), "{end} bytes");
    }
    assert_eq!(ring.open_box(b"index", &[&sealed[..], &[0]].concat()), Err(BoxError::Open));
    assert_eq!(ring.open_box(b"empty", &ring.seal_box(b"empty", b"")).unwrap(), b"");
}

/// A wrap's key material must not open as a box or the other way round, whatever the place says.
#[test]
fn purposes_do_not_share_keys() {
    let ring = ring(&[1]);
    let wrap = ring.wrap(CLUSTER, BODY, &Dek::generate());
    let as_box = [&[BOX_VERSION][..], &wrap.kek.0, &wrap.nonce, &wrap.sealed].concat();
    for place in [&b""[..], &wrap_place(CLUSTER, BODY)] {
        assert_eq!(ring.open_box(place, &as_box), Err(BoxError::Open));
    }
    let kek = [9; 32];
    let labels = ["kek-id", "wrap-key", "box-key", "cluster-id", "peer-key", "mark-key", "key-file"];
    let derived: std::collections::BTreeSet<[u8; 16]> =
        labels.iter().map(|l| *derive(&kek, &[format!("boveda/{l}/v1").as_bytes()])).collect();
    assert_eq!(derived.len(), labels.len());
}

#[test]
fn a_ring_grows_and_never_loses_or_changes_a_generation() {
    let keys = |generations: &[u32]| generations.iter().map(|&g| (g, key(g))).collect::<Vec<_>>();
    let one = ring(&[2, 3]);
    let [(_, two), (_, three)] = one.generations()[..] else { panic!("two generations") };
    assert!(one.seal_with(two));
    let sealed = one.seal_box(b"here", b"x");
    let ids = |ring: &Keyring| ring.generations().into_iter().map(|(_, id)| id).collect::<Vec<_>>();
    for (found, refused) in [
        (keys(&[]), GrowError::Gone(2)),
        (keys(&[2]), GrowError::Gone(3)),
        (keys(&[2, 4]), GrowError::Gone(3)),
        (vec![(2, key(2)), (3, key(9)), (4, key(4))], GrowError::Changed(3)),
        (vec![(2, key(2)), (3, key(3)), (4, key(3))], GrowError::NoRing(SealError::SameKey(3, 4))),
    ] {
        assert_eq!(one.grow(found, &[]), Err(refused));
        assert_eq!((ids(&one), one.active()), (vec![two, three], two), "{refused:?}");
    }
    assert_eq!(one.grow(keys(&[2, 3]), &[]), Ok(vec![]));

    let more = ring(&[2, 3, 5]);
    let five = more.active();
    assert!(!one.opens(five) && !one.seal_with(five));
    assert_eq!(one.missing(), Some(five), "it was asked for");
    assert_eq!(one.grow(keys(&[5, 3, 2]), &[]), Ok(vec![(5, five)]));
    assert_eq!((one.missing(), one.active()), (None, two), "what seals is chosen by others");
    assert!(one.opens(five) && one.seal_with(five));
    assert_eq!(one.open_box(b"here", &sealed).unwrap(), b"x");
    assert_eq!(Keyring::box_key(&sealed), Some(two));
    assert_eq!(Keyring::box_key(&one.seal_box(b"here", b"x")), Some(five));
    assert_eq!(Keyring::box_key(&one.seal_box_under(three, b"here", b"x").unwrap()), Some(three));
    assert_eq!(one.seal_box_under(KekId([9; 16]), b"here", b"x"), None);
    assert_eq!(one.wrap(CLUSTER, BODY, &Dek::generate()).kek, five);
}
