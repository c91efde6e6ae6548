//! Little-endian fields with explicit widths: the one way formats are written and read.
//!
//! Reading never panics and never takes memory before the length was checked against the input.

/// Why bytes could not be read as what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Fewer bytes than the field needs.
    #[error("cut short")]
    Short,
    /// Bytes after the last field.
    #[error("bytes after the end")]
    Trailing,
    /// A field holds a value outside its range; names the field.
    #[error("bad value in {0}")]
    Value(&'static str),
}

/// Appends fields to a buffer.
#[derive(Debug, Default)]
pub struct Writer(pub Vec<u8>);

impl Writer {
    /// A number of one byte.
    pub fn u8(&mut self, v: u8) -> &mut Self {
        self.raw(&[v])
    }
    /// A number of two bytes, little-endian like all of them.
    pub fn u16(&mut self, v: u16) -> &mut Self {
        self.raw(&v.to_le_bytes())
    }
    /// A number of four bytes, little-endian.
    pub fn u32(&mut self, v: u32) -> &mut Self {
        self.raw(&v.to_le_bytes())
    }
    /// A number of eight bytes, little-endian.
    pub fn u64(&mut self, v: u64) -> &mut Self {
        self.raw(&v.to_le_bytes())
    }
    /// Bytes of a width that the format fixes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }
    /// A length of four bytes, then the bytes.
    ///
    /// # Panics
    /// On more than 4 GiB, which every caller's own limit excludes.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let len = u32::try_from(bytes.len()).expect("a field is bounded far below 4 GiB");
        self.u32(len).raw(bytes)
    }
    /// A text, as `bytes`.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }
}

/// Takes fields from the front of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// A number of one byte; this and all that follow: `Short` where fewer are left.
    pub fn u8(&mut self) -> Result<u8, CodecError> {
        Ok(self.array::<1>()?[0])
    }
    /// One byte that is 1 or 0. `field` names it in the error.
    pub fn flag(&mut self, field: &'static str) -> Result<bool, CodecError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CodecError::Value(field)),
        }
    }
    /// A number of two bytes, little-endian like all of them.
    pub fn u16(&mut self) -> Result<u16, CodecError> {
        self.array().map(u16::from_le_bytes)
    }
    /// A number of four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_le_bytes)
    }
    /// A number of eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_le_bytes)
    }
    /// A fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(CodecError::Short)?;
        self.0 = rest;
        Ok(*head)
    }
    /// The next `len` bytes, borrowed: a length that a message says itself is read by `bytes`, which bounds it.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(CodecError::Short)?;
        self.0 = rest;
        Ok(head)
    }
    /// A length of four bytes, at most `max`, then that many bytes. `field` names it in the error.
    pub fn bytes(&mut self, max: usize, field: &'static str) -> Result<&'a [u8], CodecError> {
        let len = usize::try_from(self.u32()?).map_err(|_| CodecError::Value(field))?;
        if len > max {
            return Err(CodecError::Value(field));
        }
        self.raw(len)
    }
    /// A text of at most `max` bytes of UTF-8.
    pub fn text(&mut self, max: usize, field: &'static str) -> Result<&'a str, CodecError> {
        std::str::from_utf8(self.bytes(max, field)?).map_err(|_| CodecError::Value(field))
    }
    /// Asserts that nothing is left.
    pub fn end(self) -> Result<(), CodecError> {
        if self.0.is_empty() { Ok(()) } else { Err(CodecError::Trailing) }
    }
}
