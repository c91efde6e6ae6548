//! Access keys: who may come in, and what to do. As their register has them; what a request is held against is
//! `store::access` and `http::edge::access`.
//!
//! Invariants
//! - `decode(encode(k)) == k`, and every decoded key satisfies the limits below: 1 or 2 secrets, at most
//!   `GRANTS_MAX` grants, no right that is not known here.
//! - A secret stands here sealed, and nowhere in the clear. This room cannot open it.
//!
//! Layout: docs/format.md, "Access key".

use super::codec::{CodecError, Reader, Writer};
use super::names::{BucketName, ObjectKey};
use std::fmt;
use std::str::FromStr;

/// Most bytes of the name that people give a key.
pub const NAME_BYTES_MAX: usize = 128;
/// Most grants of a key.
pub const GRANTS_MAX: usize = 32;
/// Most bytes of a sealed secret: a box has a head and a tag.
const SEALED_BYTES_MAX: usize = 128;
/// Secrets of a key: the one in force, and one that is to go.
const SECRETS_MAX: usize = 2;
/// Most bytes of an encoded key.
pub const ACCESS_BYTES_MAX: usize = 1
    + (4 + NAME_BYTES_MAX)
    + 8
    + 8
    + 1
    + 1
    + SECRETS_MAX * (4 + SEALED_BYTES_MAX)
    + 1
    + GRANTS_MAX * (4 + Pattern::BYTES_MAX + 4 + ObjectKey::BYTES_MAX + 2);

/// The layout of a key within a record.
const VERSION: u8 = 1;
const FLAG_DISABLED: u8 = 1;

/// What a caller may do with buckets and objects, or the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Right {
    /// Read objects whose names are known, heads included.
    Read = 1,
    /// Write objects, new ones and over old ones.
    Write = 2,
    /// See which buckets and objects there are.
    List = 4,
    /// Delete objects whose names are known.
    Delete = 8,
    /// Make and remove buckets; on all buckets, see and change the cluster and its access keys.
    Admin = 16,
    /// Pass over governance, where objects are locked.
    Bypass = 32,
    /// Read `/metrics`.
    Metrics = 64,
}

impl Right {
    /// All of them, in the order of their bits.
    pub const ALL: [Right; 7] =
        [Right::Read, Right::Write, Right::List, Right::Delete, Right::Admin, Right::Bypass, Right::Metrics];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Right::Read => "read",
            Right::Write => "write",
            Right::List => "list",
            Right::Delete => "delete",
            Right::Admin => "admin",
            Right::Bypass => "bypass",
            Right::Metrics => "metrics",
        }
    }
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u16);

impl Rights {
    /// Every right there is.
    pub const ALL: Rights = Rights(127);

    /// The set of these.
    pub fn of(rights: &[Right]) -> Self {
        Rights(rights.iter().fold(0, |all, right| all | *right as u16))
    }

    /// Whether nothing in it is about a bucket or an object.
    pub fn are_of_the_node(self) -> bool {
        self.0 & !(Right::Metrics as u16) == 0
    }

    /// The bits of it, as records have them.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// The set of these bits; `None` where one of them is no right that is known here.
    pub fn of_code(code: u16) -> Option<Self> {
        (code & !Rights::ALL.0 == 0).then_some(Rights(code))
    }

    /// Whether the right is in it.
    pub fn has(self, right: Right) -> bool {
        self.0 & right as u16 != 0
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = Right::ALL.into_iter().filter(|right| self.has(*right)).map(Right::word).collect();
        f.write_str(&words.join(","))
    }
}

/// Which buckets a grant is for: one by its name, all whose names begin so, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Most bytes of a pattern: a whole bucket name, and the star.
    pub const BYTES_MAX: usize = 64;

    /// A bucket name, or the beginning of one with `*` behind it.
    pub fn parse(text: &str) -> Option<Self> {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-');
        let good = match text.strip_suffix('*') {
            Some(beginning) => beginning.len() < Self::BYTES_MAX && beginning.bytes().all(known),
            None => BucketName::parse(text).is_ok(),
        };
        good.then(|| Pattern(text.to_owned()))
    }

    /// Whether the pattern is of that bucket.
    pub fn matches(&self, bucket: &BucketName) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => bucket.as_str().starts_with(beginning),
            None => bucket.as_str() == self.0,
        }
    }

    /// Whether the pattern is of all buckets, and so of the cluster.
    pub fn is_all(&self) -> bool {
        self.0 == "*"
    }
}

/// Rights on some buckets, or on the keys in them that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Which buckets.
    pub pattern: Pattern,
    /// What the keys begin with; empty: all keys, and the buckets themselves.
    pub prefix: String,
    /// What may be done there.
    pub rights: Rights,
}

impl Grant {
    /// All rights on everything.
    pub fn everything() -> Self {
        Grant { pattern: Pattern("*".to_owned()), prefix: String::new(), rights: Rights::ALL }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let pattern = r.text(Pattern::BYTES_MAX, "bucket pattern")?;
        let pattern = Pattern::parse(pattern).ok_or(CodecError::Value("bucket pattern"))?;
        let prefix = r.text(ObjectKey::BYTES_MAX, "key prefix")?.to_owned();
        let rights = Rights(r.u16()?);
        // Of a right that is not known here nobody can say what it was meant to allow.
        if rights.0 == 0 || rights.0 & !Rights::ALL.0 != 0 {
            return Err(CodecError::Value("rights"));
        }
        Ok(Grant { pattern, prefix, rights })
    }
}

/// `PATTERN[/PREFIX]:right,right`. The last colon stands before the rights, so a prefix may hold one.
impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let (place, words) = text.rsplit_once(':').ok_or(GrantError::NoRights)?;
        let (pattern, prefix) = place.split_once('/').unwrap_or((place, ""));
        let pattern = Pattern::parse(pattern).ok_or(GrantError::Pattern)?;
        if prefix.len() > ObjectKey::BYTES_MAX {
            return Err(GrantError::Prefix);
        }
        let mut rights = Rights::default();
        for word in words.split(',') {
            let right = Right::ALL.into_iter().find(|right| right.word() == word).ok_or(GrantError::Right)?;
            rights.0 |= right as u16;
        }
        Ok(Grant { pattern, prefix: prefix.to_owned(), rights })
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern.0)?;
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        write!(f, ":{}", self.rights)
    }
}

/// Why a text is no grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// There is no colon with rights behind it.
    #[error("a grant is PATTERN[/PREFIX]:RIGHT,RIGHT")]
    NoRights,
    /// What stands before is no bucket name, and no beginning of one with a star.
    #[error("a grant is for a bucket's name, or for the beginning of one with '*' behind it")]
    Pattern,
    /// The prefix is longer than a key.
    #[error("the key prefix of a grant has at most 1024 bytes")]
    Prefix,
    /// A word is no right.
    #[error("rights are read, write, list, delete, admin, bypass and metrics, with commas between them")]
    Right,
}

/// An access key, in the register of its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessRecord {
    /// What people call it: 1 to `NAME_BYTES_MAX` bytes, nothing is decided by it.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: u64,
    /// From when on it lets nobody in, in milliseconds since 1970; 0: never.
    pub expires_ms: u64,
    /// Whether it lets nobody in until that is changed.
    pub disabled: bool,
    /// Its secrets, sealed, the newest first: 1, or 2 while one is to go. Never empty.
    pub secrets: Vec<Box<[u8]>>,
    /// What it allows, at most `GRANTS_MAX`.
    pub grants: Vec<Grant>,
}

impl AccessRecord {
    /// Appends the key to a record.
    ///
    /// # Panics
    /// On more secrets or grants than a key may have, which whoever makes one has counted.
    pub fn write(&self, w: &mut Writer) {
        let few = |count: usize| u8::try_from(count).expect("counted where the key was made");
        w.u8(VERSION).text(&self.name).u64(self.created_ms).u64(self.expires_ms);
        w.u8(if self.disabled { FLAG_DISABLED } else { 0 }).u8(few(self.secrets.len()));
        for sealed in &self.secrets {
            w.bytes(sealed);
        }
        w.u8(few(self.grants.len()));
        for Grant { pattern, prefix, rights } in &self.grants {
            w.text(&pattern.0).text(prefix).u16(rights.0);
        }
    }

    /// Reads what `write` appended. What a later layout says is not passed over: a node must not judge by the rest.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        if r.u8()? != VERSION {
            return Err(CodecError::Value("access key version"));
        }
        let name = r.text(NAME_BYTES_MAX, "access key name")?.to_owned();
        if !is_name(&name) {
            return Err(CodecError::Value("access key name"));
        }
        let (created_ms, expires_ms) = (r.u64()?, r.u64()?);
        let disabled = match r.u8()? {
            0 => false,
            FLAG_DISABLED => true,
            _ => return Err(CodecError::Value("access key flags")),
        };
        let count = usize::from(r.u8()?);
        if !(1..=SECRETS_MAX).contains(&count) {
            return Err(CodecError::Value("secrets of an access key"));
        }
        let secrets = (0..count).map(|_| r.bytes(SEALED_BYTES_MAX, "sealed secret").map(Box::from));
        let secrets = secrets.collect::<Result<_, _>>()?;
        let count = usize::from(r.u8()?);
        if count > GRANTS_MAX {
            return Err(CodecError::Value("grants of an access key"));
        }
        let grants = (0..count).map(|_| Grant::read(r)).collect::<Result<_, _>>()?;
        Ok(AccessRecord { name, created_ms, expires_ms, disabled, secrets, grants })
    }
}

/// Whether people may call a key so: something, of one line, that steers no terminal.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(name: &str) -> BucketName {
        BucketName::parse(name).expect("a bucket name")
    }

    fn sample() -> AccessRecord {
        AccessRecord {
            name: "backups of ñ".to_owned(),
            created_ms: 7,
            expires_ms: 9,
            disabled: true,
            secrets: vec![[1; 93].into(), [2; 93].into()],
            grants: vec![Grant::everything(), "logs-*/2026:x/:read,list".parse().expect("a grant")],
        }
    }

    fn encoded(key: &AccessRecord) -> Vec<u8> {
        let mut w = Writer::default();
        key.write(&mut w);
        w.0
    }

    fn decoded(bytes: &[u8]) -> Result<AccessRecord, CodecError> {
        let mut r = Reader(bytes);
        let key = AccessRecord::read(&mut r)?;
        r.end().map(|()| key)
    }

    #[test]
    fn grants_are_read_and_shown_as_people_write_them() {
        for text in ["*:read", "abc:read,write,list,delete,admin,bypass,metrics", "ab*/x/y:list", "abc/a:b/:delete"] {
            assert_eq!(text.parse::<Grant>().map(|grant| grant.to_string()).as_deref(), Ok(text));
        }
        let refused = [
            ("", GrantError::NoRights),
            ("abc", GrantError::NoRights),
            ("abc/x", GrantError::NoRights),
            ("ab:read", GrantError::Pattern),
            ("ABC:read", GrantError::Pattern),
            ("a*b:read", GrantError::Pattern),
            ("**:read", GrantError::Pattern),
            ("/x:read", GrantError::Pattern),
            (":read", GrantError::Pattern),
            ("abc:", GrantError::Right),
            ("abc:Read", GrantError::Right),
            ("abc:read,", GrantError::Right),
            ("abc:read, list", GrantError::Right),
            ("abc:all", GrantError::Right),
        ];
        for (text, why) in refused {
            assert_eq!(text.parse::<Grant>(), Err(why), "{text:?}");
        }
        let long = format!("abc/{}:read", "k".repeat(1025));
        assert_eq!(long.parse::<Grant>(), Err(GrantError::Prefix));
        assert_eq!(format!("{}*:read", "a".repeat(64)).parse::<Grant>(), Err(GrantError::Pattern));
    }

    #[test]
    fn a_pattern_is_a_name_a_beginning_or_everything() {
        let matches = |pattern: &str, name: &str| Pattern::parse(pattern).expect("a pattern").matches(&bucket(name));
        assert!(matches("abc", "abc") && !matches("abc", "abcd") && !matches("abcd", "abc"));
        assert!(matches("abc*", "abc") && matches("abc*", "abcd") && !matches("abc*", "ab0"));
        assert!(matches("*", "anything"));
        assert!(Pattern::parse("*").expect("one").is_all() && !Pattern::parse("a*").expect("one").is_all());
    }

    #[test]
    fn rights_are_said_one_by_one() {
        for (at, right) in Right::ALL.into_iter().enumerate() {
            assert_eq!(right as u16, 1 << at);
            let rights = Rights::of(&[right]);
            assert_eq!(rights.to_string(), right.word());
            assert_eq!(Right::ALL.into_iter().filter(|other| rights.has(*other)).count(), 1);
            assert!(Rights::ALL.has(right));
        }
        assert_eq!(Rights::ALL.0, Right::ALL.iter().fold(0, |all, right| all | *right as u16));
    }

    #[test]
    fn a_key_is_read_as_it_was_written_and_no_part_of_one_is() {
        let key = sample();
        let bytes = encoded(&key);
        assert!(bytes.len() <= ACCESS_BYTES_MAX);
        assert_eq!(decoded(&bytes).as_ref(), Ok(&key));
        for end in 0..bytes.len() {
            assert!(decoded(&bytes[..end]).is_err(), "{end}");
        }
        assert_eq!(decoded(&[&bytes[..], b"x"].concat()), Err(CodecError::Trailing));
    }

    #[test]
    fn what_a_key_may_not_be_is_refused_by_its_field() {
        let changed = |change: &dyn Fn(&mut AccessRecord)| {
            let mut key = sample();
            change(&mut key);
            decoded(&encoded(&key))
        };
        let refused = |field| Err(CodecError::Value(field));
        assert_eq!(changed(&|key| key.name.clear()), refused("access key name"));
        assert_eq!(changed(&|key| key.name = "a\nb".to_owned()), refused("access key name"));
        assert_eq!(changed(&|key| key.name = "n".repeat(129)), refused("access key name"));
        assert_eq!(changed(&|key| key.secrets.clear()), refused("secrets of an access key"));
        assert_eq!(changed(&|key| key.secrets.push([3; 9].into())), refused("secrets of an access key"));
        assert_eq!(changed(&|key| key.secrets[0] = [1; 129].into()), refused("sealed secret"));
        assert_eq!(changed(&|key| key.grants = vec![Grant::everything(); 33]), refused("grants of an access key"));
        assert_eq!(changed(&|key| key.grants[0].rights = Rights(0)), refused("rights"));
        assert_eq!(changed(&|key| key.grants[0].rights = Rights(128)), refused("rights"));
        assert_eq!(changed(&|key| key.grants[0].prefix = "k".repeat(1025)), refused("key prefix"));
        assert_eq!(changed(&|key| key.grants[0].pattern = Pattern("a*b".to_owned())), refused("bucket pattern"));
        let mut bytes = encoded(&sample());
        bytes[0] = 2;
        assert_eq!(decoded(&bytes), refused("access key version"));
        let mut bytes = encoded(&sample());
        let flags = 1 + 4 + sample().name.len() + 16;
        bytes[flags] = 3;
        assert_eq!(decoded(&bytes), refused("access key flags"));
    }
}
