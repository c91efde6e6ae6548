//! Documents that clients send, element by element.
//!
//! Invariants
//! - A document is UTF-8, has one root, and nothing behind it. No DTD, no processing instruction but the declaration, no
//!   entity but the five of XML and numbers: nothing in it expands.
//! - Elements are of the namespace of S3 or of none, and have no other attributes. An element that nobody asked for is
//!   refused by whoever reads it: `child` tells of each.
//! - Bytes, elements and depth are bounded before anything is kept.
//!
//! What XML 1.0 has no characters for is taken as a number (`&#x1;`), since keys may hold it, and refused as it is.

use super::NAMESPACE;
use crate::http::edge::errors::HttpError;
use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};

/// Elements within elements, at most.
const DEPTH_MAX: usize = 8;
/// Attributes of an element, at most: what is passed over is bounded, too.
const ATTRIBUTES_MAX: usize = 4;

/// How much a document may hold.
#[derive(Clone, Copy, Debug)]
pub(in crate::http::s3) struct Limits {
    /// Bytes of all of it.
    pub bytes_max: usize,
    /// Elements, the root among them.
    pub elements_max: usize,
}

/// What is wrong with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0)]
pub(in crate::http::s3) struct Malformed(pub &'static str);

impl From<Malformed> for HttpError {
    fn from(Malformed(why): Malformed) -> Self {
        HttpError::Document(why)
    }
}

const NOT_XML: Malformed = Malformed("the document is not well-formed XML");
const CUT: Malformed = Malformed("the document ends within an element");
const STRAY_TEXT: Malformed = Malformed("the document has text where elements are wanted");
const NOT_A_CHARACTER: Malformed = Malformed("the document holds a character that XML has not");

/// A document that is being read.
pub(in crate::http::s3) struct Reader<'a> {
    events: quick_xml::Reader<&'a [u8]>,
    elements_left: usize,
    depth: usize,
    has_begun: bool,
    name: String,
}

impl<'a> Reader<'a> {
    /// Reads a document whose root has that name.
    pub fn new(document: &'a [u8], root: &str, limits: Limits) -> Result<Self, Malformed> {
        if document.len() > limits.bytes_max {
            return Err(Malformed("the document is too long"));
        }
        let text = std::str::from_utf8(document).map_err(|_| Malformed("the document is not UTF-8"))?;
        let mut events = quick_xml::Reader::from_str(text);
        let config = events.config_mut();
        config.enable_all_checks(true);
        config.expand_empty_elements = true;
        let elements_left = limits.elements_max;
        let mut reader = Reader { events, elements_left, depth: 0, has_begun: false, name: String::new() };
        match reader.child()? {
            Some(name) if name == root => Ok(reader),
            _ => Err(Malformed("the document has another root element than is wanted")),
        }
    }

    /// The name of the next element within the one that was begun last; `None` where that ends, and is left by it.
    pub fn child(&mut self) -> Result<Option<&str>, Malformed> {
        loop {
            match self.next()? {
                Event::Start(start) => return self.begin(&start).map(Some),
                Event::End(_) => {
                    self.depth -= 1;
                    return Ok(None);
                }
                Event::Text(text) if is_space(&text) => {}
                Event::Comment(_) => {}
                Event::Decl(declaration) => check(&declaration)?,
                Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => return Err(STRAY_TEXT),
                Event::Eof => return Err(CUT),
                other => return Err(refused(&other)),
            }
        }
    }

    /// The text of the element that was begun last, which ends with it.
    pub fn text(&mut self) -> Result<String, Malformed> {
        let mut whole = String::new();
        loop {
            match self.next()? {
                Event::Text(text) => push(&mut whole, &text.xml10_content())?,
                Event::CData(text) => push(&mut whole, &text.xml10_content())?,
                Event::GeneralRef(reference) => whole.push(character(&reference)?),
                Event::Comment(_) => {}
                Event::End(_) => {
                    self.depth -= 1;
                    return Ok(whole);
                }
                Event::Start(_) => return Err(Malformed("the document has elements where text is wanted")),
                Event::Eof => return Err(CUT),
                other => return Err(refused(&other)),
            }
        }
    }

    /// The same without white space at its ends, for what is no name.
    pub fn word(&mut self) -> Result<String, Malformed> {
        let text = self.text()?;
        let word = text.trim_matches(SPACE);
        Ok(if word.len() == text.len() { text } else { word.to_owned() })
    }

    /// Ends a document whose root was left: nothing stands behind it.
    pub fn end(mut self) -> Result<(), Malformed> {
        debug_assert_eq!(self.depth, 0, "the root was left");
        loop {
            match self.next()? {
                Event::Eof => return Ok(()),
                Event::Text(text) if is_space(&text) => {}
                Event::Comment(_) => {}
                _ => return Err(Malformed("the document goes on behind its root element")),
            }
        }
    }

    /// What comes next. A declaration stands at the very beginning alone.
    fn next(&mut self) -> Result<Event<'a>, Malformed> {
        let event = self.events.read_event().map_err(|_| NOT_XML)?;
        if self.has_begun && matches!(event, Event::Decl(_)) {
            return Err(NOT_XML);
        }
        self.has_begun = true;
        Ok(event)
    }

    fn begin(&mut self, start: &BytesStart<'_>) -> Result<&str, Malformed> {
        self.elements_left =
            self.elements_left.checked_sub(1).ok_or(Malformed("the document has too many elements"))?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Malformed("the elements of the document lie too deep"));
        }
        check_attributes(start)?;
        self.name.clear();
        self.name.push_str(start.name().0);
        Ok(&self.name)
    }
}

/// Keeps what an element holds, and refuses a second one of its name.
pub(in crate::http::s3) fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Malformed> {
    if slot.is_some() {
        return Err(Malformed("an element of the document stands there twice"));
    }
    *slot = Some(value);
    Ok(())
}

/// White space, as XML has it.
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

fn is_space(text: &str) -> bool {
    text.chars().all(|c| SPACE.contains(&c))
}

fn refused(event: &Event<'_>) -> Malformed {
    match event {
        Event::DocType(_) => Malformed("the document has a DTD"),
        Event::PI(_) => Malformed("the document has processing instructions"),
        _ => NOT_XML,
    }
}

/// Nothing but what says which namespace is meant.
fn check_attributes(start: &BytesStart<'_>) -> Result<(), Malformed> {
    const OTHER: Malformed = Malformed("an element of the document has attributes, or is of another namespace");
    for (number, attribute) in start.attributes().enumerate() {
        let attribute = attribute.map_err(|_| NOT_XML)?;
        let is_default = attribute.key.0 == "xmlns";
        // A prefix may be named; no element with one is asked for.
        let is_prefix = attribute.key.0.starts_with("xmlns:");
        let fits = is_prefix || (is_default && [NAMESPACE, ""].contains(&attribute.value.as_ref()));
        if !fits || number >= ATTRIBUTES_MAX {
            return Err(OTHER);
        }
    }
    Ok(())
}

fn check(declaration: &BytesDecl<'_>) -> Result<(), Malformed> {
    if declaration.version().map_err(|_| NOT_XML)? != "1.0" {
        return Err(Malformed("the document is not of XML 1.0"));
    }
    let encoding = declaration.encoding().transpose().map_err(|_| NOT_XML)?;
    match encoding.is_none_or(|name| name.eq_ignore_ascii_case("utf-8")) {
        true => Ok(()),
        false => Err(Malformed("the document is not UTF-8")),
    }
}

fn push(whole: &mut String, text: &str) -> Result<(), Malformed> {
    if text.chars().any(|c| (c < ' ' && !SPACE.contains(&c)) || matches!(c, '\u{fffe}' | '\u{ffff}')) {
        return Err(NOT_A_CHARACTER);
    }
    whole.push_str(text);
    Ok(())
}

/// The character that a reference stands for.
fn character(reference: &BytesRef<'_>) -> Result<char, Malformed> {
    let content = reference.xml10_content();
    let name: &str = &content;
    if let Some(number) = name.strip_prefix('#') {
        let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |digits| (digits, 16));
        // `from_str_radix` would take a sign.
        let number = digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, radix).ok());
        return number.flatten().filter(|n| *n != 0).and_then(char::from_u32).ok_or(NOT_A_CHARACTER);
    }
    match name {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(Malformed("the document has an entity of its own")),
    }
}

#[cfg(test)]
mod tests;
