//! Documents that clients are answered with, appended to a text.
//!
//! Invariants
//! - What stands in an element is escaped, so that a parser reads what was meant: marks of XML, and what a parser would
//!   change (`&#xd;`).
//! - Every parser reads every document: a character that XML 1.0 has not, which no escape can bring into one, is U+FFFD
//!   there. Where a name with one has to be told as it is, `is_text` says that it cannot be, or it stands in percent-escapes.
//! - A document begins with its declaration; each element that is opened is closed by whoever opened it.

use super::NAMESPACE;
use crate::base::dates::rfc3339;
use std::fmt::Write as _;

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// A document that is being written.
pub(in crate::http) struct Writer(String);

impl Writer {
    /// A document with a root of that name in the namespace of S3. `room`: about how many bytes it will have.
    pub fn new(root: &str, room: usize) -> Self {
        let mut writer = Writer::plain(root, room);
        writer.0.pop();
        writer.0.extend([" xmlns=\"", NAMESPACE, "\">"]);
        writer
    }

    /// The same without a namespace, as errors have it.
    pub fn plain(root: &str, room: usize) -> Self {
        let mut writer = Writer(String::with_capacity(DECLARATION.len() + 128 + room));
        writer.0.push_str(DECLARATION);
        writer.open(root);
        writer
    }

    /// Ends it.
    pub fn finish(mut self, root: &str) -> String {
        self.close(root);
        self.0
    }

    /// Begins an element that holds others.
    pub fn open(&mut self, name: &str) -> &mut Self {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push('>');
        self
    }

    /// Ends it.
    pub fn close(&mut self, name: &str) -> &mut Self {
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
        self
    }

    /// Begins an element that is a kind of grantee, as access control lists have them.
    pub fn open_typed(&mut self, name: &str, kind: &str) -> &mut Self {
        self.open(name).0.pop();
        self.0.push_str(" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"");
        push_escaped(&mut self.0, kind);
        self.0.push_str("\">");
        self
    }

    /// Text of the element that was begun last.
    pub fn content(&mut self, text: &str) -> &mut Self {
        push_escaped(&mut self.0, text);
        self
    }

    /// An element with a text.
    pub fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.open(name).content(text).close(name)
    }

    /// An element with a text, where there is one.
    pub fn maybe(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(name, text),
            None => self,
        }
    }

    /// An element with a key, or what is made like one; in percent-escapes where the client has asked for it.
    pub fn key(&mut self, name: &str, key: &str, escapes: bool) -> &mut Self {
        if !escapes {
            return self.text(name, key);
        }
        self.open(name);
        push_percent(&mut self.0, key);
        self.close(name)
    }

    /// An element with an ETag in quotes.
    pub fn etag(&mut self, etag: &str) -> &mut Self {
        self.open("ETag").0.push_str("&quot;");
        push_escaped(&mut self.0, etag);
        self.0.push_str("&quot;");
        self.close("ETag")
    }

    /// An element with a number.
    pub fn number(&mut self, name: &str, number: u64) -> &mut Self {
        self.open(name);
        let _ = write!(self.0, "{number}");
        self.close(name)
    }

    /// An element that is true or false.
    pub fn flag(&mut self, name: &str, flag: bool) -> &mut Self {
        self.text(name, if flag { "true" } else { "false" })
    }

    /// An element with a time, of milliseconds since 1970. Whole seconds, as the header `Last-Modified` has them: clients
    /// hold one against the other.
    pub fn time(&mut self, name: &str, ms: u64) -> &mut Self {
        self.text(name, &rfc3339(ms - ms % 1000))
    }
}

/// Whether a document can hold a text as it is.
pub(in crate::http) fn is_text(text: &str) -> bool {
    text.chars().all(is_char)
}

/// Whether XML 1.0 has a character (production 2); references cannot name others either (4.1).
fn is_char(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Appends a text so that a parser reads it as it is, as far as it can be told.
fn push_escaped(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(may_need_escape) {
        let (plain, marked) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = marked.chars();
        match chars.next() {
            Some('&') => out.push_str("&amp;"),
            Some('<') => out.push_str("&lt;"),
            Some('>') => out.push_str("&gt;"),
            Some('"') => out.push_str("&quot;"),
            Some(c @ ('\t' | '\n' | '\r')) => {
                let _ = write!(out, "&#x{:x};", u32::from(c));
            }
            Some(c) if !is_char(c) => out.push(char::REPLACEMENT_CHARACTER),
            Some(c) => out.push(c),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// Whether a byte may begin what has to be escaped: 0xEF begins the two that are no characters, and others.
fn may_need_escape(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'&' | b'<' | b'>' | b'"' | 0xef)
}

/// A key as lists have it with `encoding-type=url`.
#[cfg(test)]
pub(in crate::http::s3) fn escaped_key(key: &str) -> String {
    let mut out = String::new();
    push_percent(&mut out, key);
    out
}

/// Appends a key in percent-escapes; slashes stay. A blank is `%20`, which those read right who take `+` for a blank
/// (botocore, Go) and those who do not (`decodeURIComponent`); AWS writes `+`.
fn push_percent(out: &mut String, key: &str) {
    for byte in key.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'/') {
            out.push(char::from(byte));
        } else {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]];
            out.push('%');
            out.extend(digits.map(char::from));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, Reader};
    use super::*;
    use crate::http::edge::escape::{Plus, unescape};

    /// Keys that are nothing special to S3, and are to XML or to URLs.
    const ODD: [&str; 14] = [
        "",
        "a b",
        " a ",
        "a+b",
        "a%20b",
        "<&>\"'",
        "]]>",
        "a\r\nb\tc\rd",
        "\u{1}\u{1f}\u{7f}\u{85}",
        "\u{fffe}\u{ffff}\u{fffd}",
        "\u{feff}x",
        "ünï/ß\u{1f600}",
        "&amp;&#x1;",
        "~(x)*'!/../",
    ];

    #[test]
    fn texts_are_escaped_where_a_parser_would_not_read_them_as_they_are() {
        for (text, expected) in [
            ("plain/~*", "plain/~*"),
            ("<&>\"'", "&lt;&amp;&gt;&quot;'"),
            ("a\r\n\t\u{7f}\u{85}b", "a&#xd;&#xa;&#x9;\u{7f}\u{85}b"),
            ("\u{fefe}\u{fffd}ü", "\u{fefe}\u{fffd}ü"),
        ] {
            let mut out = String::new();
            push_escaped(&mut out, text);
            assert_eq!((out.as_str(), is_text(text)), (expected, true), "{text:?}");
        }
    }

    #[test]
    fn no_document_holds_what_xml_has_not() {
        for c in (0..0x20).chain([0xfffe, 0xffff]).filter_map(char::from_u32).filter(|c| !"\t\n\r".contains(*c)) {
            let (text, mut out) = (format!("a{c}<"), String::new());
            push_escaped(&mut out, &text);
            assert_eq!((out.as_str(), is_text(&text)), ("a\u{fffd}&lt;", false), "{c:?}");
            assert_eq!(escaped_key(&text).replace("%3C", ""), format!("a{}", escaped_key(&c.to_string())), "{c:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_as_the_same() {
        let limits = Limits { bytes_max: 10_000, elements_max: 100 };
        let mut writer = Writer::new("r", 0);
        ODD.iter().for_each(|key| {
            writer.text("t", key);
        });
        let document = writer.finish("r");
        let mut reader = Reader::new(document.as_bytes(), "r", limits).unwrap();
        for key in ODD {
            assert_eq!(reader.child(), Ok(Some("t")));
            let replaced = |c| if is_char(c) { c } else { '\u{fffd}' };
            assert_eq!(reader.text(), Ok(key.chars().map(replaced).collect()));
        }
        assert_eq!(reader.child(), Ok(None));
        assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn percent_escapes_mean_the_same_whatever_a_plus_is() {
        for key in ODD {
            let escaped = escaped_key(key);
            assert!(escaped.is_ascii() && !escaped.contains([' ', '+', '&', '<']), "{escaped}");
            for plus in [Plus::IsPlus, Plus::IsSpace] {
                assert_eq!(unescape(&escaped, plus).unwrap(), key);
            }
        }
        assert_eq!(escaped_key("a b+c/ü~*"), "a%20b%2Bc/%C3%BC~%2A");
    }

    #[test]
    fn elements() {
        let mut writer = Writer::new("R", 0);
        writer.open("A").number("N", 7).flag("T", true).flag("F", false).close("A");
        writer.etag("x\"").time("M", 1_700_000_000_999).key("K", "a b", true).key("K", "a b", false);
        writer.maybe("O", None).maybe("O", Some("o")).open_typed("G", "User").close("G");
        assert_eq!(
            writer.finish("R"),
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<R xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <A><N>7</N><T>true</T><F>false</F></A><ETag>&quot;x&quot;&quot;</ETag><M>2023-11-14T22:13:20.000Z</M>\
             <K>a%20b</K><K>a b</K><O>o</O>\
             <G xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"User\"></G></R>"
        );
        assert_eq!(Writer::plain("E", 0).finish("E"), "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<E></E>");
    }
}
