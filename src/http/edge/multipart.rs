//! `multipart/form-data`, as a stream: the parts of a form, one after the other, without copying bodies.
//!
//! Invariants
//! - A part's bytes are what stands between its headers and CRLF, `--`, boundary: exactly those. Bytes
//!   that only resemble a delimiter are data; a delimiter with anything behind it but what RFC 2046
//!   allows ends the form with an error, so nothing is ever cut short in silence.
//! - A form without its last delimiter is an error, and so is one whose lines end in LF alone.
//! - One form, one file, in the field that is asked for: another one, in whatever field, is refused as soon as its head
//!   is seen, and nothing of the form is stored. What browsers send for an input without a file (no name, no bytes) is
//!   passed over, and so are fields of text.
//! - Memory is bounded by the header limit and one chunk of the sender; what is discarded (preamble,
//!   other fields, epilogue) is bounded by `DISCARD_BYTES_MAX`, part headers by `HEADERS_BYTES_MAX`.

use super::disposition::{FormPart, parameter, parse_form_part};
use super::errors::{FormError, HttpError};
use super::problem::Kind;
use super::source::Source;
use bytes::Bytes;
use memchr::memmem::Finder;

/// Most bytes that a form may hold besides the file.
const DISCARD_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes of one part's headers.
const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Most parts of a form.
const PARTS_MAX: usize = 256;
/// Longest boundary taken; RFC 2046 ends at 70.
const BOUNDARY_BYTES_MAX: usize = 200;

/// The headers of a part, as far as they matter.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PartHead {
    pub form: FormPart,
    pub content_type: Option<String>,
}

/// A form being read from `S`.
pub struct Form<'a, S> {
    source: &'a mut S,
    /// Finds CRLF, `--`, boundary.
    delimiter: Finder<'static>,
    /// Bytes received and not yet handed out.
    held: Bytes,
    discardable: usize,
    parts: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first delimiter, or in a part's bytes.
    InBody,
    /// Behind a delimiter, before the head of a part.
    Between,
    Ended,
}

/// What a part of a form is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// No file.
    Text,
    /// An input without a file.
    Nothing,
    /// A file that has a name.
    Named,
    /// Bytes of a file that has none.
    Unnamed,
}

impl<'a, S: Source> Form<'a, S> {
    /// A form over `source`, if `content_type` says it is one.
    pub fn new(content_type: Option<&str>, source: &'a mut S) -> Result<Self, FormError> {
        let boundary = content_type.and_then(boundary_of).ok_or(FormError::NotAForm)?;
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        // The first delimiter may stand at the very beginning, without its CRLF: lend it one.
        let held = Bytes::from_static(b"\r\n");
        let delimiter = Finder::new(&delimiter).into_owned();
        Ok(Form { source, delimiter, held, discardable: DISCARD_BYTES_MAX, parts: 0, state: State::InBody })
    }

    /// Goes to the next part, discarding what is left of the present one; `None` after the last.
    pub async fn next_part(&mut self) -> Result<Option<PartHead>, HttpError> {
        while let Some(skipped) = self.next_bytes().await? {
            self.discard(skipped.len())?;
        }
        if self.state == State::Ended || !self.after_delimiter().await? {
            return Ok(None);
        }
        self.parts += 1;
        if self.parts > PARTS_MAX {
            return Err(FormError::TooMuch.into());
        }
        let head = self.part_head().await?;
        self.state = State::InBody;
        Ok(Some(head))
    }

    /// Goes to the file in the field of that name, and returns its name and its head.
    pub async fn file(&mut self, field: &str) -> Result<(String, PartHead), HttpError> {
        let (mut unnamed, mut text) = (false, false);
        while let Some(mut head) = self.next_part().await? {
            let wanted = head.form.name.as_deref() == Some(field);
            match self.what_is(&head).await? {
                Part::Named if wanted => return Ok((head.form.file_name.take().unwrap_or_default(), head)),
                Part::Unnamed if wanted => return Err(FormError::NoFileName.into()),
                Part::Named | Part::Unnamed => return Err(FormError::OtherField.into()),
                Part::Nothing => unnamed |= wanted,
                Part::Text => text |= wanted,
            }
        }
        Err(match (unnamed, text) {
            (true, _) => FormError::NoFileName,
            (false, true) => FormError::NoFilePart,
            (false, false) => FormError::NoFile,
        }
        .into())
    }

    /// What the present part is, by its head and whether it has bytes.
    async fn what_is(&mut self, head: &PartHead) -> Result<Part, HttpError> {
        let nested = head.content_type.as_deref().is_some_and(|kind| starts_with_ignoring_case(kind, "multipart/"));
        Ok(match head.form.file_name.as_deref() {
            // Files of one field as HTML 4 sent them, and curl does still.
            None if nested => return Err(FormError::Nested.into()),
            None => Part::Text,
            Some("") if self.next_bytes().await?.is_none() => Part::Nothing,
            Some("") => Part::Unnamed,
            Some(_) => Part::Named,
        })
    }

    /// Reads on to the end of the body, so that the connection can be used again. No other file may come, in the field
    /// of that name or another.
    pub async fn finish(&mut self, field: &str) -> Result<(), HttpError> {
        while let Some(head) = self.next_part().await? {
            match self.what_is(&head).await? {
                Part::Text | Part::Nothing => {}
                Part::Named | Part::Unnamed if head.form.name.as_deref() == Some(field) => {
                    return Err(FormError::SeveralFiles.into());
                }
                Part::Named | Part::Unnamed => return Err(FormError::OtherField.into()),
            }
        }
        loop {
            let held = self.held.split_off(0).len();
            self.discard(held)?;
            match self.source.next().await? {
                Some(chunk) => self.held = chunk,
                None => return Ok(()),
            }
        }
    }

    /// The next bytes of the present part; `None` at its end.
    pub async fn next_bytes(&mut self) -> Result<Option<Bytes>, HttpError> {
        if self.state != State::InBody {
            return Ok(None);
        }
        loop {
            let needle = self.delimiter.needle();
            if let Some(at) = self.delimiter.find(&self.held) {
                let data = self.held.split_to(at);
                if data.is_empty() {
                    drop(self.held.split_to(needle.len()));
                    self.state = State::Between;
                    return Ok(None);
                }
                return Ok(Some(data));
            }
            // The end of a chunk may be the beginning of a delimiter.
            let keep = longest_beginning_at_end(&self.held, needle);
            let data = self.held.split_to(self.held.len() - keep);
            if !data.is_empty() {
                return Ok(Some(data));
            }
            self.more().await?;
        }
    }

    /// Behind a delimiter: whether a part follows.
    async fn after_delimiter(&mut self) -> Result<bool, HttpError> {
        while self.held.len() < 2 {
            self.more().await?;
        }
        if self.held.starts_with(b"--") {
            self.held = self.held.slice(2..);
            self.state = State::Ended;
            return Ok(false);
        }
        if self.line().await?.iter().all(|b| matches!(b, b' ' | b'\t')) {
            return Ok(true);
        }
        Err(FormError::Malformed(Kind::DelimiterTail).into())
    }

    /// Reads part headers up to the empty line.
    async fn part_head(&mut self) -> Result<PartHead, HttpError> {
        let (mut head, mut size, mut header) = (PartHead::default(), 0, String::new());
        loop {
            let line = self.line().await?;
            size += line.len() + 2;
            if size > HEADERS_BYTES_MAX {
                return Err(FormError::TooMuch.into());
            }
            let line = std::str::from_utf8(&line).map_err(|_| FormError::Malformed(Kind::PartNotUtf8))?;
            if line.starts_with([' ', '\t']) {
                header.push_str(line);
                continue;
            }
            take_header(&header, &mut head)?;
            if line.is_empty() {
                return Ok(head);
            }
            line.clone_into(&mut header);
        }
    }

    /// A line without its CRLF.
    async fn line(&mut self) -> Result<Bytes, HttpError> {
        loop {
            // Told apart from other malformed forms because scripts that write forms by hand get here.
            if let Some(at) = memchr::memchr(b'\n', &self.held) {
                let end = at.checked_sub(1).filter(|before| self.held.get(*before) == Some(&b'\r'));
                let line = self.held.split_to(end.ok_or(FormError::BareLf)?);
                drop(self.held.split_to(2));
                return Ok(line);
            }
            if self.held.len() > HEADERS_BYTES_MAX {
                return Err(FormError::TooMuch.into());
            }
            self.more().await?;
        }
    }

    /// Receives one chunk behind what is held.
    async fn more(&mut self) -> Result<(), HttpError> {
        let chunk = self.source.next().await?.ok_or(FormError::Cut)?;
        self.held = if self.held.is_empty() { chunk } else { [&self.held[..], &chunk].concat().into() };
        Ok(())
    }

    fn discard(&mut self, bytes: usize) -> Result<(), FormError> {
        self.discardable = self.discardable.checked_sub(bytes).ok_or(FormError::TooMuch)?;
        Ok(())
    }
}

/// The present part as a body to be stored. It ends only when the whole form has ended well, so that
/// no file becomes visible from a form that was cut short behind it.
pub struct FilePart<'f, 'a, S> {
    pub form: &'f mut Form<'a, S>,
    /// The field that the file came in.
    pub field: &'static str,
}

impl<S: Source> Source for FilePart<'_, '_, S> {
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        match self.form.next_bytes().await? {
            Some(bytes) => Ok(Some(bytes)),
            None => self.form.finish(self.field).await.map(|()| None),
        }
    }
}

fn take_header(header: &str, head: &mut PartHead) -> Result<(), FormError> {
    let Some((name, value)) = header.split_once(':') else {
        return if header.is_empty() { Ok(()) } else { Err(FormError::Malformed(Kind::PartNoColon)) };
    };
    let value = value.trim();
    match name.trim().to_ascii_lowercase().as_str() {
        "content-disposition" => {
            head.form = parse_form_part(value).ok_or(FormError::Malformed(Kind::PartDisposition))?;
        }
        "content-type" => head.content_type = Some(value.to_owned()),
        "content-transfer-encoding"
            if !["binary", "8bit", "7bit"].iter().any(|known| value.eq_ignore_ascii_case(known)) =>
        {
            return Err(FormError::Encoded);
        }
        _ => {}
    }
    Ok(())
}

fn starts_with_ignoring_case(text: &str, beginning: &str) -> bool {
    text.get(..beginning.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(beginning))
}

/// How many bytes at the end of `text` are a beginning of `needle` (less than all of it).
fn longest_beginning_at_end(text: &[u8], needle: &[u8]) -> usize {
    let most = text.len().min(needle.len().saturating_sub(1));
    (1..=most).rev().find(|&n| text.ends_with(&needle[..n])).unwrap_or(0)
}

/// The boundary of a `multipart/form-data` content type.
fn boundary_of(content_type: &str) -> Option<String> {
    let (kind, mut rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = loop {
        let (name, after) = rest.trim_start_matches([' ', '\t', ';']).split_once('=')?;
        let (value, after) = parameter(after.trim_start())?;
        if name.trim().eq_ignore_ascii_case("boundary") {
            break value;
        }
        rest = after;
    };
    let fits = (1..=BOUNDARY_BYTES_MAX).contains(&value.len());
    (fits && value.bytes().all(|b| (b' '..0x7f).contains(&b))).then_some(value)
}

#[cfg(test)]
mod tests;
