//! Audit news: where the audit log of a node ends, as it tells its peers with every heartbeat, and what it remembers of
//! the one it tells.
//!
//! Invariant: it is of fixed size, but for what is not known.

use crate::base::AuditHead;
use crate::base::codec::{CodecError, Reader, Writer};

/// What a node tells of audit logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditNews {
    /// Where its own ended when it was opened, and where it ends now; none where it could not be opened.
    pub own: Option<(AuditHead, AuditHead)>,
    /// Where the receiver's ended before its present start, if that is remembered, and where it ended when it was heard
    /// last; none of who was never heard.
    pub yours: Option<(Option<AuditHead>, AuditHead)>,
}

impl AuditNews {
    /// Appends the news to a heartbeat.
    pub fn write(&self, w: &mut Writer) {
        w.u8(u8::from(self.own.is_some()));
        if let Some((opened, head)) = &self.own {
            opened.write(w);
            head.write(w);
        }
        w.u8(match &self.yours {
            None => 0,
            Some((None, _)) => 1,
            Some((Some(_), _)) => 2,
        });
        if let Some((before, last)) = &self.yours {
            before.iter().for_each(|before| before.write(w));
            last.write(w);
        }
    }

    /// Reads what `write` appended.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let own = match r.flag("end of an audit log")? {
            false => None,
            true => Some((AuditHead::read(r)?, AuditHead::read(r)?)),
        };
        let yours = match r.u8()? {
            0 => None,
            1 => Some((None, AuditHead::read(r)?)),
            2 => Some((Some(AuditHead::read(r)?), AuditHead::read(r)?)),
            _ => return Err(CodecError::Value("end of an audit log")),
        };
        Ok(AuditNews { own, yours })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::batter;
    use super::*;

    #[test]
    fn news_survive_the_trip_and_damage_is_refused() {
        let decode = |bytes: &[u8]| {
            let mut r = Reader(bytes);
            let news = AuditNews::read(&mut r)?;
            r.end()?;
            Ok::<_, CodecError>(news)
        };
        let head = |n: u8| AuditHead { sequence: u64::from(n) << 40, hash: [n; 32] };
        for own in [None, Some((head(1), head(2)))] {
            for yours in [None, Some((None, head(3))), Some((Some(head(4)), head(5)))] {
                let (news, mut w) = (AuditNews { own, yours }, Writer::default());
                news.write(&mut w);
                assert_eq!(decode(&w.0), Ok(news));
                batter(&w.0, |bytes| decode(bytes).is_ok());
            }
        }
    }
}
