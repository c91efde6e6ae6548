//! The head of an object: what its writer says of it besides its bytes. It travels as one from the request to the
//! record and back to readers.
//!
//! Invariant: every decoded head satisfies the limits below; a head that is written does by then, since requests are
//! checked.

use super::codec::{CodecError, Reader, Writer};

/// Most bytes of a content type.
pub const CONTENT_TYPE_BYTES_MAX: usize = 1024;
/// Most bytes of each of the other texts.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Most bytes of all user metadata, names and values together (S3's limit is 2 KiB).
pub const META_BYTES_MAX: usize = 8 * 1024;
/// Most user metadata entries.
pub const META_ENTRIES_MAX: usize = 128;

/// How many texts a head has beside the metadata.
const TEXTS: usize = 6;
/// Most bytes of each of them, and its name, in the order of their kinds: docs/format.md, "Record".
const LIMITS: [(usize, &str); TEXTS] = [
    (CONTENT_TYPE_BYTES_MAX, "content type"),
    (TEXT_BYTES_MAX, "cache control"),
    (TEXT_BYTES_MAX, "content disposition"),
    (TEXT_BYTES_MAX, "content encoding"),
    (TEXT_BYTES_MAX, "content language"),
    (TEXT_BYTES_MAX, "expires"),
];

/// What a client says of an object besides its bytes, kept with each of its states.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectHead {
    /// Media type; empty where none was given (served as `application/octet-stream`).
    pub content_type: String,
    /// `Cache-Control`; empty where none was given, like all that follow.
    pub cache_control: String,
    /// `Content-Disposition`.
    pub disposition: String,
    /// `Content-Encoding`.
    pub encoding: String,
    /// `Content-Language`.
    pub language: String,
    /// `Expires`, as it was sent: a date, or not.
    pub expires: String,
    /// User metadata, names in lower case without prefix, in the order given.
    pub meta: Vec<(String, String)>,
}

impl ObjectHead {
    /// The texts beside the metadata, in the order of their kinds.
    fn texts(&self) -> [&String; TEXTS] {
        let ObjectHead { content_type, cache_control, disposition, encoding, language, expires, .. } = self;
        [content_type, cache_control, disposition, encoding, language, expires]
    }

    /// Bytes that `write` appends, at most.
    pub fn weight(&self) -> usize {
        let texts: usize = self.texts().iter().map(|text| 5 + text.len()).sum();
        let meta: usize = self.meta.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
        3 + texts + meta
    }

    /// Appends the head to a record that is being written: the texts that are there, each with its kind, then the
    /// metadata.
    pub fn write(&self, w: &mut Writer) {
        let texts = || (0u8..).zip(self.texts()).filter(|(_, text)| !text.is_empty());
        w.u8(u8::try_from(texts().count()).expect("there are few kinds"));
        for (kind, text) in texts() {
            w.u8(kind).text(text);
        }
        w.u16(u16::try_from(self.meta.len()).expect("entries are bounded where they are parsed"));
        for (name, value) in &self.meta {
            w.text(name).text(value);
        }
    }

    /// Reads the texts. One of another kind is not passed over: it would be lost with the next write.
    fn read_texts(r: &mut Reader<'_>) -> Result<[String; TEXTS], CodecError> {
        let mut texts = [const { String::new() }; TEXTS];
        // In the order of their kinds, each once: a head has one encoding.
        let mut least = 0;
        for _ in 0..r.u8()? {
            let kind = usize::from(r.u8()?);
            let Some((max, name)) = LIMITS.get(kind).filter(|_| kind >= least).copied() else {
                return Err(CodecError::Value("text kind"));
            };
            match r.text(max, name)? {
                // One that is absent is left out.
                "" => return Err(CodecError::Value(name)),
                text => text.clone_into(&mut texts[kind]),
            }
            least = kind + 1;
        }
        Ok(texts)
    }

    /// Reads what `write` appended.
    pub fn read(r: &mut Reader<'_>) -> Result<Self, CodecError> {
        let [content_type, cache_control, disposition, encoding, language, expires] = Self::read_texts(r)?;
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
        Ok(ObjectHead { content_type, cache_control, disposition, encoding, language, expires, meta })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_takes_no_more_bytes_than_it_says() {
        let most = |n| (format!("{n:04}"), "x".repeat(META_BYTES_MAX / META_ENTRIES_MAX - 4));
        let text = |n: usize| "t".repeat(TEXT_BYTES_MAX - n);
        let full = ObjectHead {
            content_type: "c".repeat(CONTENT_TYPE_BYTES_MAX),
            cache_control: text(0),
            disposition: text(1),
            encoding: text(2),
            language: text(3),
            expires: text(4),
            meta: (0..META_ENTRIES_MAX).map(most).collect(),
        };
        for head in [ObjectHead::default(), full] {
            let mut w = Writer::default();
            head.write(&mut w);
            assert!(
                (w.0.len()..=w.0.len() + 5 * TEXTS).contains(&head.weight()),
                "{} and {}",
                w.0.len(),
                head.weight()
            );
            let mut r = Reader(&w.0);
            assert_eq!(ObjectHead::read(&mut r), Ok(head));
            assert_eq!(r.end(), Ok(()));
        }
    }
}
