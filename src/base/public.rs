//! What of a bucket is open to everybody who reaches a node, without a key: as the bucket's register has it.
//!
//! Invariants
//! - Nothing but reading and listing is ever open. What a register says beyond that is refused with the whole record.
//! - `decode(encode(g)) == g`: 1 to `PUBLIC_GRANTS_MAX`, in the order of their prefixes, each prefix once. Where there is
//!   none nothing is written.
//!
//! Layout: docs/format.md, "Record".

use super::access::{Right, Rights};
use super::codec::{CodecError, Reader, Writer};
use super::names::ObjectKey;

/// Most grants of one bucket.
pub const PUBLIC_GRANTS_MAX: usize = 16;

/// What is open to everybody under a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicGrant {
    /// What the keys begin with; empty: all keys.
    pub prefix: String,
    /// Read, list, or both.
    pub rights: Rights,
}

/// What of a bucket is open to everybody; nothing, at first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublicGrants(Vec<PublicGrant>);

impl PublicGrants {
    /// Nothing is open.
    pub const NONE: PublicGrants = PublicGrants(Vec::new());

    /// Whether rights may be open to everybody: something, and nothing but reading and listing.
    pub fn may_be(rights: Rights) -> bool {
        rights != Rights::default() && Right::ALL.into_iter().all(|right| !rights.has(right) || is_public(right))
    }

    /// Whether nothing is open.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of it, by prefix.
    pub fn iter(&self) -> impl Iterator<Item = &PublicGrant> {
        self.0.iter()
    }

    /// The same with these rights under that very prefix, in place of those that were there. `None` where that would be
    /// too many grants, or what may not be.
    pub fn with(&self, prefix: &str, rights: Rights) -> Option<Self> {
        if !Self::may_be(rights) || prefix.len() > ObjectKey::BYTES_MAX {
            return None;
        }
        let mut all: Vec<_> = self.0.iter().filter(|grant| grant.prefix != prefix).cloned().collect();
        let at = all.partition_point(|grant| grant.prefix.as_str() < prefix);
        all.insert(at, PublicGrant { prefix: prefix.to_owned(), rights });
        (all.len() <= PUBLIC_GRANTS_MAX).then_some(PublicGrants(all))
    }

    /// The same without any grant whose prefix begins so.
    pub fn without(&self, prefix: &str) -> Self {
        PublicGrants(self.0.iter().filter(|grant| !grant.prefix.starts_with(prefix)).cloned().collect())
    }

    /// Appends it to a record.
    ///
    /// # Panics
    /// Never: it holds no more than fit.
    pub fn write(&self, w: &mut Writer) {
        w.u8(u8::try_from(self.0.len()).expect("`with` lets no more in"));
        for PublicGrant { prefix, rights } in &self.0 {
            w.text(prefix).u16(rights.code());
        }
    }

    /// Reads what `write` appended.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let count = usize::from(r.u8()?);
        if !(1..=PUBLIC_GRANTS_MAX).contains(&count) {
            return Err(CodecError::Value("anonymous grants"));
        }
        let grants = (0..count).map(|_| {
            let prefix = r.text(ObjectKey::BYTES_MAX, "prefix of an anonymous grant")?.to_owned();
            let rights = Rights::of_code(r.u16()?).filter(|rights| Self::may_be(*rights));
            Ok(PublicGrant { prefix, rights: rights.ok_or(CodecError::Value("anonymous rights"))? })
        });
        let grants = grants.collect::<Result<Vec<_>, CodecError>>()?;
        match grants.is_sorted_by(|one, next| one.prefix < next.prefix) {
            true => Ok(PublicGrants(grants)),
            false => Err(CodecError::Value("order of anonymous grants")),
        }
    }
}

const fn is_public(right: Right) -> bool {
    match right {
        Right::Read | Right::List => true,
        Right::Write | Right::Delete | Right::Admin | Right::Bypass | Right::Metrics => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: fn() -> Rights = || Rights::of(&[Right::Read]);

    fn encoded(grants: &PublicGrants) -> Vec<u8> {
        let mut w = Writer::default();
        grants.write(&mut w);
        w.0
    }

    fn decoded(bytes: &[u8]) -> Result<PublicGrants, CodecError> {
        let mut r = Reader(bytes);
        let grants = PublicGrants::read(&mut r)?;
        r.end().map(|()| grants)
    }

    fn shown(grants: &PublicGrants) -> Vec<String> {
        grants.iter().map(|grant| format!("{}:{}", grant.prefix, grant.rights)).collect()
    }

    #[test]
    fn grants_are_set_replaced_and_taken_back_by_prefix() {
        let both = Rights::of(&[Right::Read, Right::List]);
        let grants = PublicGrants::default().with("b/", READ()).and_then(|g| g.with("a", both)).expect("grants");
        assert_eq!(shown(&grants), ["a:read,list", "b/:read"]);
        let grants = grants.with("b/", both).and_then(|g| g.with("b/c", READ())).expect("grants");
        assert_eq!(shown(&grants), ["a:read,list", "b/:read,list", "b/c:read"]);
        assert_eq!(shown(&grants.without("b/")), ["a:read,list"]);
        assert!(grants.without("").is_empty());
        assert_eq!(decoded(&encoded(&grants)).as_ref(), Ok(&grants));
        for end in 0..encoded(&grants).len() {
            assert!(decoded(&encoded(&grants)[..end]).is_err(), "{end}");
        }
        let many =
            (0..PUBLIC_GRANTS_MAX).try_fold(PublicGrants::default(), |all, n| all.with(&format!("p{n:02}"), READ()));
        let many = many.expect("as many as may be");
        assert!(many.with("p00", both).is_some() && many.with("q", READ()).is_none());
        assert!(many.with(&"k".repeat(ObjectKey::BYTES_MAX + 1), READ()).is_none());
    }

    #[test]
    fn no_other_right_is_ever_open() {
        for right in Right::ALL {
            let open = matches!(right, Right::Read | Right::List);
            assert_eq!(PublicGrants::may_be(Rights::of(&[right])), open, "{right:?}");
            assert_eq!(
                PublicGrants::default().with("", Rights::of(&[Right::Read, right])).is_some(),
                open,
                "{right:?}"
            );
            let mut w = Writer::default();
            w.u8(1).text("").u16(right as u16);
            assert_eq!(decoded(&w.0).is_ok(), open, "{right:?} in a record");
        }
        assert!(!PublicGrants::may_be(Rights::default()));
        let mut w = Writer::default();
        w.u8(2).text("b").u16(1).text("a").u16(1);
        assert_eq!(decoded(&w.0), Err(CodecError::Value("order of anonymous grants")));
        for count in [0, 17] {
            assert_eq!(decoded(&[count]), Err(CodecError::Value("anonymous grants")));
        }
    }
}
