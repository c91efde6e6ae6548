use super::*;
use crate::base::{
    Algorithm, BodyId, BucketName, ChecksumKind, KekId, ObjectHead, ObjectKey, ObjectName, State, UploadId, WantedSums,
    Wrap,
};
use crate::seal::sums::Sums;
use crate::store::mutation::proposed;

const MIN: u64 = PART_BYTES_MIN;

fn upload(checksum: Option<ChecksumKind>) -> OpenUpload {
    OpenUpload {
        id: UploadId([9; 16]),
        at: ObjectName { bucket: BucketName::cargas(), key: ObjectKey::parse("k").expect("a key") },
        head: ObjectHead { content_type: "text/plain".into(), ..ObjectHead::default() },
        checksum,
        begun_ms: 1,
        wrap: Wrap { kek: KekId([1; 16]), nonce: [2; 12], sealed: [3; 48] },
    }
}

/// A part of that length, with the sums of as many zeros as its number says.
fn part(number: u16, len: u64, algorithm: Option<Algorithm>) -> (u16, Arc<Record>) {
    let mut sums = Sums::new(WantedSums { md5: true, for_etag: true, sha256: false, checksum: algorithm });
    sums.update(&vec![0; usize::from(number)]);
    let computed = sums.finish();
    let object = ObjectRecord {
        number: 1,
        len,
        etag: computed.etag(),
        checksum: computed.checksum,
        head: ObjectHead::default(),
        body: BodyId([number.to_le_bytes()[0]; 16]),
        sealed_len: len + 100,
        digest: [number.to_le_bytes()[0]; 32],
        wrap: upload(None).wrap,
        at: BodyAt::Part { upload: UploadId([9; 16]), number },
        uploads: Uploads::NONE,
    };
    (number, proposed(State::Object(Box::new(object)), 1))
}

fn name((number, record): &(u16, Arc<Record>)) -> NamedPart {
    let object = record.object().expect("an object");
    NamedPart { number: *number, etag: object.etag(), checksum: object.checksum }
}

fn refusal(stored: &[(u16, Arc<Record>)], named: Vec<NamedPart>, said: Said) -> Option<WrongParts> {
    match whole(&upload(None), &stored.iter().cloned().collect(), &named, said) {
        Err(StoreError::WrongParts(how)) => Some(how),
        _ => None,
    }
}

#[test]
fn what_is_no_whole_is_refused_for_its_reason() {
    let stored = [part(1, MIN, None), part(3, MIN, None), part(7, 5, None)];
    let named = |places: &[usize]| places.iter().map(|at| name(&stored[*at])).collect::<Vec<_>>();
    let other = |change: fn(&mut NamedPart)| {
        let mut named = named(&[0, 1]);
        change(&mut named[1]);
        named
    };
    let sum = |n: u8| crate::base::Checksum::of_all(Algorithm::Crc32, &[n; 4]);
    let said = |len| Said { checksum: None, len: Some(len) };
    for (named, said, why) in [
        (named(&[0, 1, 2]), Said::default(), None),
        (named(&[0, 2]), said(MIN + 5), None),
        (named(&[2]), Said::default(), None),
        (named(&[]), Said::default(), Some(WrongParts::Count)),
        (named(&[0; 10_001]), Said::default(), Some(WrongParts::Count)),
        (named(&[1, 0]), Said::default(), Some(WrongParts::Order)),
        (named(&[0, 0]), Said::default(), Some(WrongParts::Order)),
        (other(|part| part.number = 4), Said::default(), Some(WrongParts::Other)),
        (other(|part| part.etag = "another".into()), Said::default(), Some(WrongParts::Other)),
        (other(|part| part.etag.push('0')), Said::default(), Some(WrongParts::Other)),
        (vec![NamedPart { checksum: sum(1), ..name(&stored[0]) }], Said::default(), Some(WrongParts::Other)),
        (named(&[0, 2]), said(MIN + 4), Some(WrongParts::Length)),
    ] {
        assert_eq!(refusal(&stored, named.clone(), said), why, "{:?}", named.first());
    }
    let small = [part(1, MIN - 1, None), part(2, MIN, None)];
    let both = small.iter().map(name).collect();
    assert_eq!(refusal(&small, both, Said::default()), Some(WrongParts::Small));
}

#[test]
fn the_object_is_made_of_the_parts_that_are_named() {
    let stored = [part(1, MIN, None), part(2, MIN, None), part(9, 5, None)];
    let named: Vec<_> = [&stored[0], &stored[2]].map(name).into();
    let object = whole(&upload(None), &stored.iter().cloned().collect(), &named, Said::default()).expect("a whole");
    let parts = object.parts().expect("it is in parts");
    let numbers: Vec<_> = parts.iter().map(|part| (part.number, part.offset, part.len)).collect();
    assert_eq!((numbers, object.len), (vec![(1, 0, MIN), (9, MIN, 5)], MIN + 5));
    let bodies: Vec<_> = [&stored[0], &stored[2]].map(|(_, record)| record.object().expect("there").body_ref()).into();
    assert!(object.bodies().eq(bodies) && object.is_made_of(UploadId([9; 16])));
    assert_eq!((object.sealed_len, object.checksum), (MIN + 205, None));
    assert_eq!((object.head.clone(), object.wrap.clone()), (upload(None).head, upload(None).wrap));
    let md5s = [1usize, 9].map(|len| {
        let mut md5 = crate::seal::digest::Md5::default();
        md5.update(&vec![0; len]);
        md5.finalize()
    });
    let mut md5 = crate::seal::digest::Md5::default();
    md5s.iter().for_each(|part| md5.update(part));
    assert_eq!(object.etag, Etag::Parts { md5: md5.finalize(), parts: 2 });
}

#[test]
fn parts_without_md5s_count_by_the_half_of_their_digests() {
    let mut stored = [part(1, MIN, None), part(2, 5, None)];
    let mut fast = stored[0].1.object().expect("an object").clone();
    fast.etag = Etag::Fast;
    stored[0].1 = proposed(State::Object(Box::new(fast)), 1);
    let named: Vec<_> = stored.iter().map(name).collect();
    assert_eq!(named[0].etag, format!("{}-1", "01".repeat(16)));
    let object = whole(&upload(None), &stored.iter().cloned().collect(), &named, Said::default()).expect("a whole");
    let Etag::Md5(second) = stored[1].1.object().expect("an object").etag else { panic!("it has an MD5") };
    let md5 = md5_of_parts([[1; 16], second].into_iter());
    assert_eq!(object.etag, Etag::Parts { md5, parts: 2 });
    // A part is known by one of the two.
    let mut other = stored[0].1.object().expect("an object").clone();
    other.etag = Etag::Digest;
    stored[0].1 = proposed(State::Object(Box::new(other)), 1);
    let named: Vec<_> = stored.iter().map(name).collect();
    let refused = whole(&upload(None), &stored.iter().cloned().collect(), &named, Said::default());
    assert!(matches!(refused, Err(StoreError::Corrupt { .. })));
}

#[test]
fn its_checksum_is_made_of_theirs_and_is_what_the_client_says() {
    for (algorithm, is_composite, has_one) in [
        (Algorithm::Crc32, false, true),
        (Algorithm::Crc32, true, true),
        (Algorithm::Crc64Nvme, false, true),
        (Algorithm::Crc64Nvme, true, false),
        (Algorithm::Sha256, true, true),
        (Algorithm::Sha256, false, false),
    ] {
        // As long as their sums say.
        let stored = [part(7, 7, Some(algorithm))];
        let (parts, named) = (stored.iter().cloned().collect(), [name(&stored[0])]);
        let open = upload(Some(ChecksumKind { algorithm, is_composite }));
        let made = whole(&open, &parts, &named, Said::default());
        let Ok(made) = made else {
            assert!(!has_one, "{algorithm:?}, {is_composite}");
            continue;
        };
        let sum = made.checksum.expect("it has one");
        assert_eq!((sum.is_composite, sum.algorithm, has_one), (is_composite, algorithm, true));
        let of_part = stored[0].1.object().and_then(|part| part.checksum).expect("the part has one");
        assert_eq!(made.parts().and_then(|parts| parts.get(0)).and_then(|part| part.checksum), Some(of_part.value));
        assert_eq!(sum.value == of_part.value, !is_composite, "of one part it is the part's, or over that");
        let said = |checksum| whole(&open, &parts, &named, Said { checksum: Some(checksum), len: None });
        assert!(said(sum).is_ok());
        let wrong = crate::base::Checksum::of_all(algorithm, &vec![1; algorithm.bytes()]).expect("a sum");
        for wrong in [wrong, crate::base::Checksum::of_all(Algorithm::Sha1, &[1; 20]).expect("a sum")] {
            assert!(matches!(said(wrong), Err(StoreError::SumMismatch(_))), "{algorithm:?}");
        }
        // A part without its sum, and an upload without a kind.
        let bare: Stored = [part(7, 7, None)].into_iter().collect();
        let unsaid = [NamedPart { checksum: None, ..name(&stored[0]) }];
        let refused = whole(&open, &bare, &unsaid, Said::default());
        assert!(matches!(refused, Err(StoreError::WrongParts(WrongParts::Other))));
        let kindless = whole(&upload(None), &parts, &unsaid, Said { checksum: Some(sum), len: None });
        assert!(matches!(kindless, Err(StoreError::SumMismatch(_))), "nothing passes unseen");
    }
}
