//! Bucket names and object keys: parsed once at the edge, trusted inside. A name is never a path.

use super::credential::AccessKeyId;
use super::ids::{BucketId, UploadId};
use super::upload::PART_NUMBER_MAX;
use std::fmt;

/// Why a name was refused. The text is for the log; clients are told by the texts of `http`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text breaks the rule for bucket names.
    #[error(
        "a bucket name has 3 to 63 characters of a-z, 0-9, '.' and '-', and begins and ends with a letter or digit"
    )]
    Bucket,
    /// The text breaks the rule for object keys.
    #[error("an object key has 1 to 1024 bytes of UTF-8")]
    Key,
}

/// A bucket name by S3's rule: 3 to 63 of `a-z 0-9 . -`, first and last a letter or digit, no `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct BucketName(String);

impl BucketName {
    /// The bucket of the notebook's routes, made at first start.
    pub const CARGAS: &'static str = "cargas";

    /// Parses a bucket name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let bytes = text.as_bytes();
        let ok = (3..=63).contains(&bytes.len())
            && edge(bytes.first())
            && edge(bytes.last())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
            && !text.contains("..");
        if ok { Ok(BucketName(text.to_owned())) } else { Err(NameError::Bucket) }
    }

    /// The bucket of the notebook's routes.
    pub fn cargas() -> Self {
        BucketName(Self::CARGAS.to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BucketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object's name in its bucket: 1 to 1,024 bytes of UTF-8, any characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Most bytes of a key.
    pub const BYTES_MAX: usize = 1024;

    /// Parses an object key.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if (1..=Self::BYTES_MAX).contains(&text.len()) { Ok(ObjectKey(text.to_owned())) } else { Err(NameError::Key) }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether an upload in parts may be for it: it holds no zero, which no document of S3 could name either.
    pub fn takes_parts(&self) -> bool {
        !self.0.contains('\0')
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which object: its bucket and its key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// The bucket that it is in.
    pub bucket: BucketName,
    /// Its name there, 1 to 1,024 bytes.
    pub key: ObjectKey,
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bucket, self.key)
    }
}

/// The name of one register, as the index orders it: `1 | bucket`, `2 | id of the bucket | 0 | key`, `3` for the member
/// list, `4 | id of the bucket | 0 | key | 0 | id of the upload` for an upload and the same with `0 | number` for a
/// part of it, `5 | id of the access key`, or `6` for the settings.
///
/// Objects lie under the id of their bucket's life, so that what was written late into a former life shows in no later
/// one. The order of objects in a bucket is the byte order of their keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegisterKey(Box<[u8]>);

/// Stands at the end of an edge: in no key, since names are UTF-8.
const EDGE: u8 = 0xff;
/// Stands behind the key of an upload, which holds none: so uploads are in the order of their keys.
const KEY_END: u8 = 0;
/// Bytes of an upload's id in a register key: its hexadecimal digits.
const UPLOAD_TEXT_LEN: usize = 32;
/// Bytes of the number of a part in a register key: its decimal digits, with zeros before them.
const NUMBER_TEXT_LEN: usize = 5;

/// What kinds of registers there are, in the order of their keys. The number is the first byte of the key, on every
/// disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum RegisterKind {
    /// The register of a bucket.
    Bucket = 1,
    /// The register of an object.
    Object = 2,
    /// The register of the member list, of which there is one.
    Members = 3,
    /// The registers of an upload in parts, and of its parts.
    Upload = 4,
    /// The register of an access key.
    AccessKey = 5,
    /// The register of the cluster's settings, of which there is one.
    Settings = 6,
}

impl RegisterKind {
    /// All of them: a new kind is added here, and in `RegisterKey::name`, which says what its keys look like.
    pub const ALL: [RegisterKind; 6] = [
        RegisterKind::Bucket,
        RegisterKind::Object,
        RegisterKind::Members,
        RegisterKind::Upload,
        RegisterKind::AccessKey,
        RegisterKind::Settings,
    ];

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.byte() == byte)
    }

    const fn byte(self) -> u8 {
        self as u8
    }
}

/// What a register holds, read back from its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegisterName {
    /// The register of a bucket.
    Bucket(BucketName),
    /// The register of an object: its bucket's life, and its key in it.
    Object(BucketId, ObjectKey),
    /// The member list of the cluster.
    Members,
    /// An upload in parts: its bucket's life, the key that it is for, and its id.
    Upload(BucketId, ObjectKey, UploadId),
    /// A part of an upload.
    Part(BucketId, ObjectKey, UploadId, u16),
    /// An access key.
    AccessKey(AccessKeyId),
    /// The settings of the cluster.
    Settings,
}

impl RegisterKey {
    /// Most bytes of a register key.
    pub const BYTES_MAX: usize =
        1 + BucketId::TEXT_LEN + 1 + ObjectKey::BYTES_MAX + 1 + UPLOAD_TEXT_LEN + 1 + NUMBER_TEXT_LEN;
    /// Most bytes of a bound: the edge of the longest key.
    pub const BOUND_BYTES_MAX: usize = Self::BYTES_MAX + 1;

    /// The register of a bucket.
    pub fn bucket(name: &BucketName) -> Self {
        RegisterKey([&[RegisterKind::Bucket.byte()], name.as_str().as_bytes()].concat().into())
    }

    /// The register of an object.
    pub fn object(bucket: BucketId, key: &ObjectKey) -> Self {
        Self::object_prefix(bucket, key.as_str())
    }

    /// The least key of the objects of `bucket` whose key begins with `prefix` (a bound, not a name).
    pub fn object_prefix(bucket: BucketId, prefix: &str) -> Self {
        RegisterKey([&[RegisterKind::Object.byte()], &bucket.text()[..], &[0], prefix.as_bytes()].concat().into())
    }

    /// The least key of all buckets, and the bound after the last.
    pub fn buckets() -> (Self, Self) {
        Self::all_of(RegisterKind::Bucket)
    }

    /// The least key of a kind, and the bound after its last.
    pub fn all_of(kind: RegisterKind) -> (Self, Self) {
        (RegisterKey([kind.byte()].into()), RegisterKey([kind.byte() + 1].into()))
    }

    /// The bound before every register.
    pub fn first() -> Self {
        RegisterKey([RegisterKind::ALL[0].byte()].into())
    }

    /// The bound after every register.
    pub fn end() -> Self {
        RegisterKey([RegisterKind::ALL[RegisterKind::ALL.len() - 1].byte() + 1].into())
    }

    /// The kind that the key begins with.
    pub fn kind(&self) -> Option<RegisterKind> {
        self.0.first().and_then(|byte| RegisterKind::of(*byte))
    }

    /// The register of the member list.
    pub fn members() -> Self {
        Self::all_of(RegisterKind::Members).0
    }

    /// The register of the cluster's settings.
    pub fn settings() -> Self {
        Self::all_of(RegisterKind::Settings).0
    }

    /// The register of an access key.
    pub fn access_key(id: AccessKeyId) -> Self {
        RegisterKey([&[RegisterKind::AccessKey.byte()], id.as_str().as_bytes()].concat().into())
    }

    /// The register of an upload. Of a key that takes no parts it is a bound, and no name.
    pub fn upload(bucket: BucketId, key: &ObjectKey, upload: UploadId) -> Self {
        let mut bytes = Self::uploads_of(bucket, key.as_str()).0.into_vec();
        bytes.push(KEY_END);
        bytes.extend(upload.to_string().as_bytes());
        RegisterKey(bytes.into())
    }

    /// The register of a part of an upload.
    pub fn part(bucket: BucketId, key: &ObjectKey, upload: UploadId, number: u16) -> Self {
        let upload = Self::upload(bucket, key, upload);
        RegisterKey([upload.as_bytes(), format!("\0{number:05}").as_bytes()].concat().into())
    }

    /// The least key of the uploads in `bucket` for keys that begin with `prefix` (a bound, not a name).
    pub fn uploads_of(bucket: BucketId, prefix: &str) -> Self {
        RegisterKey([&[RegisterKind::Upload.byte()], &bucket.text()[..], &[0], prefix.as_bytes()].concat().into())
    }

    /// The bound behind all uploads in `bucket` for this very key, and in front of those for longer ones.
    pub fn uploads_behind(bucket: BucketId, key: &str) -> Self {
        RegisterKey([Self::uploads_of(bucket, key).as_bytes(), &[KEY_END + 1]].concat().into())
    }

    /// The bound after the last upload in `bucket`.
    pub fn uploads_end(bucket: BucketId) -> Self {
        RegisterKey([&[RegisterKind::Upload.byte()], &bucket.text()[..], &[1]].concat().into())
    }

    /// The bound after the last part of this upload's register.
    pub fn parts_end(&self) -> Self {
        RegisterKey([&self.0[..], &[1]].concat().into())
    }

    /// The bound after the last object of `bucket`.
    pub fn objects_end(bucket: BucketId) -> Self {
        RegisterKey([&[RegisterKind::Object.byte()], &bucket.text()[..], &[1]].concat().into())
    }

    /// The bound behind every key that begins with this one: its last byte counted up.
    ///
    /// Keys begin with a kind and hold UTF-8 otherwise, so no byte is 0xff and none overflows.
    pub fn successor(&self) -> Self {
        let mut bytes = self.0.clone();
        if let Some(last) = bytes.last_mut() {
            *last = last.saturating_add(1);
        }
        RegisterKey(bytes)
    }

    /// The bound right behind this key, in front of all others.
    pub fn behind(&self) -> Self {
        RegisterKey([&self.0[..], &[0]].concat().into())
    }

    /// The bound behind every key that begins with this one, and in front of its successor: no key holds 0xff.
    pub fn edge(&self) -> Self {
        RegisterKey([&self.0[..], &[EDGE]].concat().into())
    }

    /// What everything right in front of this edge begins with; none of what is no edge.
    pub fn edge_of(&self) -> Option<Self> {
        let (last, rest) = self.0.split_last()?;
        (*last == EDGE).then(|| RegisterKey(rest.into()))
    }

    /// The object's key in this key of a register, or the beginning of one in this bound.
    pub fn object_text(&self) -> Option<&str> {
        let (_, text) = self.object_parts()?;
        std::str::from_utf8(text).ok()
    }

    /// The life of a bucket that this register, or bound, lies under: of an object, an upload, or a part of one. None of
    /// what is neither.
    pub fn bucket_id(&self) -> Option<BucketId> {
        self.parts_behind(RegisterKind::Object).or_else(|| self.parts_behind(RegisterKind::Upload)).map(|(id, _)| id)
    }

    /// Whether it is an object's register, or a bound among these.
    pub fn is_object(&self) -> bool {
        self.kind() == Some(RegisterKind::Object)
    }

    fn object_parts(&self) -> Option<(BucketId, &[u8])> {
        self.parts_behind(RegisterKind::Object)
    }

    /// The bucket's life and what stands behind it in a key of that kind.
    fn parts_behind(&self, kind: RegisterKind) -> Option<(BucketId, &[u8])> {
        let (_, rest) = self.0.split_first().filter(|(byte, _)| **byte == kind.byte())?;
        let (bucket, rest) = rest.split_at_checked(BucketId::TEXT_LEN)?;
        let (_, text) = rest.split_first().filter(|(zero, _)| **zero == 0)?;
        Some((BucketId::from_text(bucket)?, text))
    }

    /// Reads the key of an upload, or of a part.
    fn upload_name(&self) -> Option<RegisterName> {
        let (bucket, rest) = self.parts_behind(RegisterKind::Upload)?;
        let end = rest.iter().position(|byte| *byte == KEY_END)?;
        let key = ObjectKey::parse(std::str::from_utf8(&rest[..end]).ok()?).ok()?;
        let rest = &rest[end + 1..];
        let (upload, rest) = rest.split_at_checked(UPLOAD_TEXT_LEN)?;
        let upload = UploadId::from_hex(std::str::from_utf8(upload).ok()?)?;
        if rest.is_empty() {
            return Some(RegisterName::Upload(bucket, key, upload));
        }
        let digits = rest.strip_prefix(&[0]).filter(|digits| digits.len() == NUMBER_TEXT_LEN)?;
        let number =
            digits.iter().all(u8::is_ascii_digit).then(|| std::str::from_utf8(digits).ok()?.parse().ok())??;
        (1..=PART_NUMBER_MAX).contains(&number).then_some(RegisterName::Part(bucket, key, upload, number))
    }

    /// Takes bytes from a disk or a peer; `None` when they name no register.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let key = RegisterKey(bytes.into());
        key.name().map(|_| key)
    }

    /// Takes the bound of a range from a peer, which need not be a name; `None` when it is too long.
    pub fn bound(bytes: &[u8]) -> Option<Self> {
        (bytes.len() <= Self::BOUND_BYTES_MAX).then(|| RegisterKey(bytes.into()))
    }

    /// The bytes of the register key, as disks and peers have them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What the register holds; `None` for a bound that is no name.
    pub fn name(&self) -> Option<RegisterName> {
        let rest = self.0.get(1..)?;
        match self.kind()? {
            RegisterKind::Bucket => {
                let name = std::str::from_utf8(rest).ok()?;
                Some(RegisterName::Bucket(BucketName::parse(name).ok()?))
            }
            RegisterKind::Object => {
                let (bucket, text) = self.object_parts()?;
                let key = ObjectKey::parse(std::str::from_utf8(text).ok()?).ok()?;
                Some(RegisterName::Object(bucket, key))
            }
            RegisterKind::Upload => self.upload_name(),
            RegisterKind::Members => rest.is_empty().then_some(RegisterName::Members),
            RegisterKind::AccessKey => AccessKeyId::parse(rest).map(RegisterName::AccessKey),
            RegisterKind::Settings => rest.is_empty().then_some(RegisterName::Settings),
        }
    }
}

impl fmt::Debug for RegisterKey {
    /// Names are not for logs: only the length shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RegisterKey({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: BucketId = BucketId(0x0123_4567_89ab_cdef);

    fn object(bucket: BucketId, key: &str) -> RegisterKey {
        RegisterKey::object(bucket, &ObjectKey::parse(key).unwrap())
    }

    #[test]
    fn every_kind_has_a_place_between_the_first_key_and_the_end() {
        let mut after = RegisterKey::first();
        for kind in RegisterKind::ALL {
            let (first, end) = RegisterKey::all_of(kind);
            assert!(first >= after, "the kinds follow one another");
            assert_eq!(first.kind(), Some(kind));
            after = end;
        }
        assert_eq!(after, RegisterKey::end());
        assert_eq!(RegisterKey::from_bytes(after.as_bytes()), None, "no kind of that number");
    }

    #[test]
    fn bucket_rules() {
        for good in ["abc", "a.b-c", "0a9", &"a".repeat(63)] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", "Abc", "-ab", "ab-", ".ab", "a..b", "a_b", "a/b", "año", &"a".repeat(64)] {
            assert_eq!(BucketName::parse(bad), Err(NameError::Bucket), "{bad}");
        }
    }

    #[test]
    fn register_keys_round_trip_and_order_by_key_bytes() {
        let names = ["a", "a/b", "a\0b", "b", "é", "../../etc/passwd", &"k".repeat(1024)];
        let mut keys: Vec<_> = names.iter().map(|n| object(LIFE, n)).collect();
        keys.sort();
        let read: Vec<String> = keys
            .iter()
            .map(|k| match RegisterKey::from_bytes(k.as_bytes()).and_then(|k| k.name()) {
                Some(RegisterName::Object(LIFE, key)) => key.as_str().to_owned(),
                other => panic!("{other:?}"),
            })
            .collect();
        let mut sorted: Vec<String> = names.iter().map(|s| (*s).to_owned()).collect();
        sorted.sort();
        assert_eq!(read, sorted);
        let range = RegisterKey::object_prefix(LIFE, "")..RegisterKey::objects_end(LIFE);
        assert!(keys.iter().all(|key| range.contains(key) && key.bucket_id() == Some(LIFE)));
        assert!(object(BucketId(LIFE.0 + 1), "a") > range.end && object(BucketId(LIFE.0 - 1), "a") < range.start);
        assert_eq!(object(LIFE, "k").as_bytes(), b"\x02028q5cu4qnjff\0k");
    }

    #[test]
    fn an_edge_lies_behind_all_that_begins_so_and_in_front_of_the_rest() {
        let key = |text: &str| RegisterKey::object_prefix(LIFE, text);
        let edge = key("a/").edge();
        for within in ["a/", "a/\u{10ffff}", &format!("a/{}", "z".repeat(1000))] {
            assert!(key(within) < edge, "{within}");
        }
        assert!(key("a/") < key("a/").behind() && key("a/").behind() < key("a/\u{1}"));
        assert!(edge < key("a/").successor() && edge < key("a0") && edge > key("a."));
        assert_eq!(
            (edge.edge_of(), key("a/").edge_of(), RegisterKey::from_bytes(edge.as_bytes())),
            (Some(key("a/")), None, None)
        );
        assert_eq!((key("a/").object_text(), edge.object_text()), (Some("a/"), None));
        let bucket = RegisterKey::bucket(&BucketName::cargas());
        assert_eq!((bucket.object_text(), bucket.bucket_id()), (None, None));
        let longest = key(&"k".repeat(ObjectKey::BYTES_MAX)).edge();
        assert!(longest.as_bytes().len() < RegisterKey::BOUND_BYTES_MAX);
        assert_eq!(RegisterKey::bound(longest.as_bytes()), Some(longest));
        assert_eq!(RegisterKey::bound(&[1; RegisterKey::BOUND_BYTES_MAX + 1]), None);
    }

    #[test]
    fn the_register_of_an_access_key_lies_behind_the_member_list() {
        let id = AccessKeyId::drawn([3; AccessKeyId::LEN]);
        let key = RegisterKey::access_key(id);
        assert_eq!(key.as_bytes(), b"\x05DDDDDDDDDDDDDDDDDDDD");
        assert_eq!(
            RegisterKey::from_bytes(key.as_bytes()).and_then(|key| key.name()),
            Some(RegisterName::AccessKey(id))
        );
        assert!(key > RegisterKey::members() && key < RegisterKey::end());
        let (first, end) = RegisterKey::all_of(RegisterKind::AccessKey);
        assert!((first.clone()..end.clone()).contains(&key) && first.successor() == end);
        assert_eq!((key.bucket_id(), key.object_text()), (None, None));
    }

    #[test]
    fn uploads_lie_by_their_keys_and_parts_behind_their_upload() {
        let key = |text: &str| ObjectKey::parse(text).expect("a key");
        let (one, two) = (UploadId([0x11; 16]), UploadId([0x22; 16]));
        let mut sorted = Vec::new();
        for text in ["a", "a\u{1}", "a\u{1}b", "a/b", "b", &"k".repeat(1024)] {
            for upload in [one, two] {
                sorted.push((text.to_owned(), upload, RegisterKey::upload(LIFE, &key(text), upload)));
                for number in [1, 77, 10_000] {
                    let part = RegisterKey::part(LIFE, &key(text), upload, number);
                    let name = RegisterKey::from_bytes(part.as_bytes()).and_then(|key| key.name());
                    assert_eq!(name, Some(RegisterName::Part(LIFE, key(text), upload, number)));
                    let of = RegisterKey::upload(LIFE, &key(text), upload);
                    assert!((of.clone()..of.parts_end()).contains(&part), "{text:?} {number}");
                    assert!(part.as_bytes().len() <= RegisterKey::BYTES_MAX);
                    assert_eq!((part.bucket_id(), part.object_text(), part.is_object()), (Some(LIFE), None, false));
                }
            }
        }
        sorted.sort_by(|one, two| (&one.0, one.1).cmp(&(&two.0, two.1)));
        assert!(sorted.windows(2).all(|two| two[0].2.parts_end() <= two[1].2), "in the order of keys, then of ids");
        for (text, upload, at) in &sorted {
            let name = RegisterKey::from_bytes(at.as_bytes()).and_then(|key| key.name());
            assert_eq!(name, Some(RegisterName::Upload(LIFE, key(text), *upload)));
            assert!((RegisterKey::uploads_of(LIFE, "")..RegisterKey::uploads_end(LIFE)).contains(at));
        }
        let part = RegisterKey::part(LIFE, &key("a"), one, 7);
        for cut in 1..part.as_bytes().len() {
            let read = RegisterKey::from_bytes(&part.as_bytes()[..cut]);
            assert_eq!(read.is_some(), cut == part.as_bytes().len() - 6, "{cut}");
        }
    }

    #[test]
    fn bad_register_bytes_are_refused() {
        let bad = [
            &b""[..],
            b"\x01ab",
            b"\x02abc\0k",
            b"\x02028q5cu4qnjff",
            b"\x02028q5cu4qnjff\0",
            b"\x02028q5cu4qnjff\0\xff",
            b"\x02g00000000000\0k",
            b"\x03abc",
            b"\x04AAAAAAAAAAAAAAAAAAAA",
            b"\x04028q5cu4qnjff\0k\0",
            b"\x04028q5cu4qnjff\0\x0011111111111111111111111111111111",
            b"\x04028q5cu4qnjff\0k\0\x0011111111111111111111111111111111",
            b"\x04028q5cu4qnjff\0k\x0011111111111111111111111111111111\x0000000",
            b"\x04028q5cu4qnjff\0k\x0011111111111111111111111111111111\x0010001",
            b"\x04028q5cu4qnjff\0k\x0011111111111111111111111111111111\0+0001",
            b"\x05",
            b"\x05aaaaaaaaaaaaaaaaaaaa",
            b"\x05AAAAAAAAAAAAAAAAAAAAA",
            b"\x06a",
            b"\x07",
        ];
        for bad in bad {
            assert!(RegisterKey::from_bytes(bad).is_none(), "{bad:?}");
        }
    }
}
