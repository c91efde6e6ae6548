//! The keys that stand, sealed, in a record: which generations they are sealed under, and sealing them anew.
//!
//! Invariants
//! - This is the one place that knows which states hold something that was sealed under a generation of the ring: what is
//!   not found here is not counted, and not sealed anew when the ring is rotated.
//! - What is sealed anew is the same key, for the same place.

use super::access_secret::{open_secret, seal_secret};
use super::error::StoreError;
use crate::base::names::RegisterName;
use crate::base::{ClusterId, KekId, Record, RegisterKey, State, Wrap};
use crate::seal::Keyring;

/// Most bytes of a sealed key in a record.
pub const SEALED_KEY_BYTES_MAX: usize = 128;

/// Tells of each key in a record which generation it is sealed under.
pub fn each_kek(record: &Record, mut tell: impl FnMut(KekId)) {
    match &record.state {
        State::Object(object) => tell(object.wrap.kek),
        State::AccessKey(key) => key.secrets.iter().filter_map(|sealed| Keyring::box_key(sealed)).for_each(tell),
        State::Nothing | State::Deleted | State::Uploads(_) | State::Bucket(_) => {}
        State::Members(_) | State::Settings(_) => {}
    }
}

/// Whether a key in a record is sealed under another generation than this one.
pub fn has_other(record: &Record, active: KekId) -> bool {
    let mut found = false;
    each_kek(record, |kek| found |= kek != active);
    found
}

/// The keys of a register's record, in order, sealed under the active generation; `None` where all of them are already.
/// `KeyMissing` where one is sealed under a generation that the ring lacks.
pub fn reseal(
    ring: &Keyring,
    cluster: ClusterId,
    key: &RegisterKey,
    record: &Record,
) -> Result<Option<Vec<Box<[u8]>>>, StoreError> {
    if !has_other(record, ring.active()) {
        return Ok(None);
    }
    let mut lacking = None;
    each_kek(record, |kek| lacking = lacking.or((!ring.opens(kek)).then_some(kek)));
    if let Some(kek) = lacking {
        return Err(StoreError::KeyMissing { kek });
    }
    match &record.state {
        State::Object(object) => {
            let damaged = |_| StoreError::Corrupt { what: "wrap of an object" };
            let wrap = ring.rewrap(cluster, object.wrap_of(), &object.wrap).map_err(damaged)?;
            Ok(wrap.map(|wrap| vec![wrap.to_bytes().into()]))
        }
        State::AccessKey(access) => {
            let damaged = StoreError::Corrupt { what: "secret of an access key" };
            let Some(RegisterName::AccessKey(id)) = key.name() else { return Err(damaged) };
            let opened = access.secrets.iter().map(|sealed| open_secret(ring, cluster, id, sealed));
            let opened = opened.collect::<Option<Vec<_>>>().ok_or(damaged)?;
            Ok(Some(opened.iter().map(|secret| seal_secret(ring, cluster, id, secret)).collect()))
        }
        State::Nothing | State::Deleted | State::Uploads(_) | State::Bucket(_) => Ok(None),
        State::Members(_) | State::Settings(_) => Ok(None),
    }
}

/// A record with these for its sealed keys; `None` where it has another number of them, or none of that length.
pub fn with_seals(record: &Record, seals: &[Box<[u8]>]) -> Option<Record> {
    let mut record = record.clone();
    match &mut record.state {
        State::Object(object) => {
            let [wrap] = seals else { return None };
            object.wrap = Wrap::from_bytes(wrap)?;
        }
        State::AccessKey(key) if key.secrets.len() == seals.len() => key.secrets = seals.to_vec(),
        State::AccessKey(_) | State::Nothing | State::Deleted | State::Uploads(_) => return None,
        State::Bucket(_) | State::Members(_) | State::Settings(_) => return None,
    }
    Some(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::access::AccessRecord;
    use crate::base::credential::secret_of;
    use crate::base::{
        AccessKeyId, BlobRef, BodyAt, BodyId, Etag, ObjectHead, ObjectRecord, Part, Parts, Secret, UploadId,
    };
    use crate::seal::Dek;
    use crate::store::mutation::proposed;

    fn ring(keys: &[u8]) -> Keyring {
        Keyring::new(keys.iter().map(|n| (u32::from(*n), Secret::new([*n; 32]))).collect()).expect("a ring")
    }

    fn cluster() -> ClusterId {
        ring(&[1]).origin().cluster
    }

    fn object(ring: &Keyring) -> (RegisterKey, Record) {
        let body = BodyId([4; 16]);
        let wrap = ring.wrap(cluster(), body, &Dek::generate());
        let head = ObjectHead::default();
        let object = ObjectRecord {
            number: 1,
            len: 1,
            etag: Etag::Digest,
            checksum: None,
            head,
            body,
            sealed_len: 9,
            digest: [0; 32],
            wrap,
            at: BodyAt::Blob,
            uploads: crate::base::Uploads::NONE,
        };
        let key = RegisterKey::object_prefix(crate::base::BucketId(1), "k");
        (key, (*proposed(State::Object(Box::new(object)), 1)).clone())
    }

    fn access(ring: &Keyring, secrets: &[u8]) -> (RegisterKey, Record) {
        let id = AccessKeyId::drawn([5; AccessKeyId::LEN]);
        let seal = |n: &u8| seal_secret(ring, cluster(), id, &Secret::new(secret_of([*n; 40])));
        let key = AccessRecord {
            name: "n".to_owned(),
            created_ms: 1,
            expires_ms: 0,
            disabled: false,
            secrets: secrets.iter().map(seal).collect(),
            grants: Vec::new(),
        };
        (RegisterKey::access_key(id), (*proposed(State::AccessKey(Box::new(key)), 1)).clone())
    }

    fn keks(record: &Record) -> Vec<KekId> {
        let mut found = Vec::new();
        each_kek(record, |kek| found.push(kek));
        found
    }

    #[test]
    fn the_same_keys_are_sealed_under_the_active_generation() {
        let (old, both) = (ring(&[1]), ring(&[1, 2]));
        for (key, record) in [object(&old), access(&old, &[7]), access(&old, &[7, 8])] {
            let seals = reseal(&both, cluster(), &key, &record).expect("they open").expect("under an older one");
            let anew = with_seals(&record, &seals).expect("as many");
            assert_eq!(keks(&record), vec![old.active(); seals.len()]);
            assert_eq!(keks(&anew), vec![both.active(); seals.len()]);
            assert_eq!(reseal(&both, cluster(), &key, &anew).expect("they open"), None, "once is enough");
            // The old file may go.
            let newest = ring(&[2]);
            match (&record.state, &anew.state) {
                (State::Object(was), State::Object(now)) => {
                    assert!(newest.unwrap(cluster(), now.body, &now.wrap).is_ok());
                    assert_eq!(ObjectRecord { wrap: was.wrap.clone(), ..(**now).clone() }, **was);
                }
                (_, State::AccessKey(now)) => {
                    let id = AccessKeyId::drawn([5; AccessKeyId::LEN]);
                    for (n, sealed) in [7, 8].into_iter().zip(&now.secrets) {
                        let opened = open_secret(&newest, cluster(), id, sealed).expect("it opens");
                        assert_eq!(opened.expose(), &secret_of([n; 40]));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// The wrap of an upload stands in its parts, and in what it becomes: it is bound to the upload in all of them.
    #[test]
    fn the_data_key_of_an_upload_is_sealed_anew_for_the_upload() {
        let (old, both) = (ring(&[1]), ring(&[1, 2]));
        let upload = UploadId([6; 16]);
        let wrap = old.wrap(cluster(), upload.as_body(), &Dek::generate());
        let (key, record) = object(&old);
        let was = record.object().expect("an object").clone();
        let blob = BlobRef { body: BodyId([4; 16]), sealed_len: 113, digest: [0; 32] };
        let part = Part { number: 7, offset: 0, len: 1, blob, checksum: None };
        let parts = Parts::new(None, [part]).expect("a list");
        let part = ObjectRecord { wrap: wrap.clone(), at: BodyAt::Part { upload, number: 7 }, ..was.clone() };
        let whole = ObjectRecord { wrap: wrap.clone(), at: BodyAt::Parts(parts), body: upload.as_body(), ..was };
        for object in [part, whole] {
            let record = proposed(State::Object(Box::new(object)), 1);
            let seals = reseal(&both, cluster(), &key, &record).expect("it opens").expect("under an older one");
            let anew = with_seals(&record, &seals).expect("one key");
            let now = &anew.object().expect("an object").wrap;
            assert!(ring(&[2]).unwrap(cluster(), upload.as_body(), now).is_ok());
        }
    }

    #[test]
    fn what_lacks_a_key_or_has_other_keys_stays_as_it_is() {
        let (second, first) = (ring(&[2]), ring(&[1]));
        let (key, record) = object(&second);
        let missing = reseal(&first, cluster(), &key, &record);
        assert!(matches!(missing, Err(StoreError::KeyMissing { kek }) if kek == second.active()), "{missing:?}");
        assert_eq!(with_seals(&record, &[]), None);
        assert_eq!(with_seals(&record, &[[0; 75].into()]), None);
        let (_, two) = access(&first, &[1, 2]);
        assert_eq!(with_seals(&two, &[[0; 85].into()]), None);
        let bucket = proposed(State::Deleted, 1);
        assert_eq!((keks(&bucket), with_seals(&bucket, &[])), (vec![], None));
        assert_eq!(reseal(&first, cluster(), &key, &bucket).expect("nothing to do"), None);
    }
}
