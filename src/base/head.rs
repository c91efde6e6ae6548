//! The head of an object: what its writer says of it besides its bytes. It travels as one from the request to the
//! record and back to readers.
//!
//! Invariant: every decoded head satisfies the limits below; a head that is written does by then, since requests are
//! checked.

use super::codec::{CodecError, Reader, Writer};

/// Most bytes of a content type.
pub const CONTENT_TYPE_BYTES_MAX: usize = 1024;
/// Most bytes of all user metadata, names and values together (S3's limit is 2 KiB).
pub const META_BYTES_MAX: usize = 8 * 1024;
/// Most user metadata entries.
pub const META_ENTRIES_MAX: usize = 128;

/// The kind of the text that is a content type: the others (1 cache control, 2 disposition, 3 encoding, 4 language,
/// 5 expires) have their numbers in docs/format.md.
const CONTENT_TYPE: u8 = 0;

/// What a client says of an object besides its bytes, kept with each of its states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectHead {
    /// Media type; empty where none was given (served as `application/octet-stream`).
    pub content_type: String,
    /// User metadata, names in lower case without prefix, in the order given.
    pub meta: Vec<(String, String)>,
}

impl ObjectHead {
    /// Bytes that `write` appends, at most.
    pub fn weight(&self) -> usize {
        let meta: usize = self.meta.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
        8 + self.content_type.len() + meta
    }

    /// Appends the head to a record that is being written: the texts that are there, each with its kind, then the
    /// metadata.
    pub fn write(&self, w: &mut Writer) {
        w.u8(u8::from(!self.content_type.is_empty()));
        if !self.content_type.is_empty() {
            w.u8(CONTENT_TYPE).text(&self.content_type);
        }
        w.u16(u16::try_from(self.meta.len()).expect("entries are bounded where they are parsed"));
        for (name, value) in &self.meta {
            w.text(name).text(value);
        }
    }

    /// Reads what `write` appended. A text of another kind is not passed over: it would be lost with the next write.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let content_type = match r.u8()? {
            0 => String::new(),
            1 if r.u8()? == CONTENT_TYPE => match r.text(CONTENT_TYPE_BYTES_MAX, "content type")? {
                // One that is absent is left out.
                "" => return Err(CodecError::Value("content type")),
                text => text.to_owned(),
            },
            _ => return Err(CodecError::Value("text kind")),
        };
        let entries = usize::from(r.u16()?);
        if entries > META_ENTRIES_MAX {
            return Err(CodecError::Value("metadata entries"));
        }
        let mut meta = Vec::with_capacity(entries);
        let mut room = META_BYTES_MAX;
        for _ in 0..entries {
            let name = r.text(room, "metadata name")?.to_owned();
            room -= name.len();
            let value = r.text(room, "metadata value")?.to_owned();
            room -= value.len();
            meta.push((name, value));
        }
        Ok(ObjectHead { content_type, meta })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_takes_no_more_bytes_than_it_says() {
        let most = |n| (format!("{n:04}"), "x".repeat(META_BYTES_MAX / META_ENTRIES_MAX - 4));
        let full = ObjectHead { content_type: "c".repeat(100), meta: (0..META_ENTRIES_MAX).map(most).collect() };
        for head in [ObjectHead::default(), full] {
            let mut w = Writer::default();
            head.write(&mut w);
            assert!((w.0.len()..w.0.len() + 8).contains(&head.weight()), "{} and {}", w.0.len(), head.weight());
            let mut r = Reader(&w.0);
            assert_eq!(ObjectHead::read(&mut r), Ok(head));
            assert_eq!(r.end(), Ok(()));
        }
    }
}
