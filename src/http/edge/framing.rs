//! Where the heads and the chunked bodies of requests end, for the turnstile: it decides what may pass
//! when, and leaves it to the server below to say what the bytes mean.
//!
//! Invariants
//! - Nothing passes behind the end of a head or of a body.
//! - An offer to change the protocol, and an expectation of `100 Continue`, never reach the server below: the first
//!   would make it take all that follows for a body, the second would be answered before anybody looked at the head.
//!   Their names are overwritten by others of the same length, so that no byte moves.
//! - Chunks are read no more generously than the server below reads them.

use memchr::memchr;

/// A head on its way, line by line.
#[derive(Debug, Default)]
pub(super) struct HeadScan {
    at: Line,
    /// The client waits for `100 Continue` before it sends its body.
    pub(super) expects: bool,
    request: RequestLine,
    /// A header says how long the body is.
    has_length: bool,
}

/// How a request line begins and ends, however it comes in pieces.
#[derive(Debug, Default)]
struct RequestLine {
    begins: [u8; POST.len()],
    len: usize,
    /// The last bytes of the line, without what ends it.
    ends: [u8; OLD.len()],
}

const POST: &[u8] = b"POST ";
const OLD: &[u8] = b" HTTP/1.0";

impl RequestLine {
    fn take(&mut self, piece: &[u8]) {
        for &byte in piece.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')) {
            if let Some(place) = self.begins.get_mut(self.len) {
                *place = byte;
            }
            self.len = self.len.saturating_add(1);
            self.ends.rotate_left(1);
            self.ends[OLD.len() - 1] = byte;
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Line {
    /// Before the request line; empty lines may stand there.
    #[default]
    Start,
    /// In the request line.
    Request,
    /// At the beginning of a field line, or of the empty line that ends the head.
    Field,
}

/// What may pass now: so many bytes, and whether that was the end.
pub(super) type Passed = (usize, bool);

impl HeadScan {
    /// How many of the next bytes may pass. A field line passes when it is whole; what does not pass is to be
    /// shown again, with more behind it.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) -> Passed {
        let mut done = 0;
        while let Some(rest) = bytes.get_mut(done..) {
            let Some(end) = memchr(b'\n', rest) else {
                return match self.at {
                    Line::Field => (done, false),
                    Line::Start if rest.iter().all(|b| *b == b'\r') => (bytes.len(), false),
                    _ => {
                        self.at = Line::Request;
                        self.request.take(rest);
                        (bytes.len(), false)
                    }
                };
            };
            let line = &mut rest[..=end];
            done += line.len();
            let empty = matches!(line, [b'\n'] | [b'\r', b'\n']);
            match self.at {
                Line::Start if empty => {}
                Line::Start | Line::Request => {
                    self.request.take(line);
                    self.at = Line::Field;
                }
                Line::Field if empty => return (done, true),
                Line::Field => {
                    self.has_length |= is_named(line, b"content-length");
                    self.expects |= cure(line);
                }
            }
        }
        (done, false)
    }

    /// Whether a body of it would have no end that anybody knows, so that the server below refuses it.
    pub(super) fn is_old_post_without_length(&self) -> bool {
        self.request.begins == POST && self.request.ends == OLD && !self.has_length
    }
}

fn is_named(line: &[u8], name: &[u8]) -> bool {
    line.len() > name.len() && line[name.len()] == b':' && line[..name.len()].eq_ignore_ascii_case(name)
}

/// Takes offers and expectations out of a field line. Says whether `100 Continue` was expected.
fn cure(line: &mut [u8]) -> bool {
    // Most lines begin otherwise.
    if !matches!(line.first(), Some(b'u' | b'U' | b'c' | b'C' | b'e' | b'E')) {
        return false;
    }
    let Some(colon) = memchr(b':', line) else { return false };
    let (name, value) = line.split_at_mut(colon);
    if name.eq_ignore_ascii_case(b"upgrade") {
        name.copy_from_slice(b"ignored");
    } else if name.eq_ignore_ascii_case(b"connection") {
        for option in value[1..].split_mut(|b| *b == b',').map(trimmed) {
            if option.eq_ignore_ascii_case(b"upgrade") {
                option.copy_from_slice(b"ignored");
            }
        }
    } else if name.eq_ignore_ascii_case(b"expect")
        && value[1..].split(|b| *b == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(b"100-continue"))
    {
        name.copy_from_slice(b"awaits");
        return true;
    }
    false
}

fn trimmed(bytes: &mut [u8]) -> &mut [u8] {
    let before = bytes.len() - bytes.trim_ascii_start().len();
    let len = bytes.trim_ascii().len();
    &mut bytes[before..before + len]
}

/// A chunked body on its way.
#[derive(Debug, Default)]
pub(super) struct ChunkScan {
    at: Chunk,
    /// Of the present chunk: its length as far as it was read, or what is left of it.
    size: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Chunk {
    #[default]
    FirstDigit,
    Digits,
    Padding,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// At the beginning of a trailer line, or of the empty one that ends the body.
    LineStart,
    Trailer,
    TrailerLf,
    LastLf,
    Ended,
    Broken,
}

impl ChunkScan {
    /// How many of the next bytes may pass; all of them, unless the body ends among them.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Passed {
        let mut done = 0;
        while let Some(&byte) = bytes.get(done) {
            if self.at == Chunk::Data {
                let here = bytes.len() - done;
                let taken = usize::try_from(self.size).map_or(here, |size| size.min(here));
                self.size -= taken as u64;
                done += taken;
                if self.size == 0 {
                    self.at = Chunk::DataCr;
                }
                continue;
            }
            done += 1;
            self.step(byte);
            if matches!(self.at, Chunk::Ended | Chunk::Broken) {
                return (done, true);
            }
        }
        (done, false)
    }

    /// The body is none, and nobody can say where the next request begins.
    pub(super) fn is_broken(&self) -> bool {
        self.at == Chunk::Broken
    }

    fn step(&mut self, byte: u8) {
        self.at = match (self.at, byte) {
            (Chunk::FirstDigit | Chunk::Digits, b) if b.is_ascii_hexdigit() => {
                let digit = char::from(b).to_digit(16).map_or(0, u64::from);
                let before = if self.at == Chunk::FirstDigit { 0 } else { self.size };
                match before.checked_mul(16) {
                    Some(size) => {
                        self.size = size | digit;
                        Chunk::Digits
                    }
                    None => Chunk::Broken,
                }
            }
            (Chunk::Digits | Chunk::Padding, b' ' | b'\t') => Chunk::Padding,
            (Chunk::Digits | Chunk::Padding, b';') => Chunk::Extension,
            (Chunk::Digits | Chunk::Padding | Chunk::Extension, b'\r') => Chunk::SizeLf,
            (Chunk::Extension, b) if b == b'\t' || !b.is_ascii_control() => Chunk::Extension,
            (Chunk::SizeLf, b'\n') if self.size == 0 => Chunk::LineStart,
            (Chunk::SizeLf, b'\n') => Chunk::Data,
            (Chunk::DataCr, b'\r') => Chunk::DataLf,
            (Chunk::DataLf, b'\n') => Chunk::FirstDigit,
            (Chunk::LineStart, b'\r') => Chunk::LastLf,
            (Chunk::Trailer, b'\r') => Chunk::TrailerLf,
            (Chunk::LineStart | Chunk::Trailer, _) => Chunk::Trailer,
            (Chunk::TrailerLf, b'\n') => Chunk::LineStart,
            (Chunk::LastLf, b'\n') => Chunk::Ended,
            _ => Chunk::Broken,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes `text` in pieces of `step` bytes; what passed, whether the head ended, whether it expects.
    fn head(text: &[u8], step: usize) -> (Vec<u8>, bool, bool) {
        let (mut scan, mut held, mut out) = (HeadScan::default(), Vec::new(), Vec::new());
        for piece in text.chunks(step) {
            held.extend_from_slice(piece);
            let (passed, ended) = scan.pass(&mut held);
            out.extend(held.drain(..passed));
            if ended {
                return (out, true, scan.expects);
            }
        }
        (out, false, scan.expects)
    }

    #[test]
    fn a_head_passes_to_its_end_and_no_further_however_it_comes() {
        for (text, passes) in [
            (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.1\r\n"[..], &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..]),
            (b"\r\n\n\r\nGET / HTTP/1.0\n\nbody", b"\r\n\n\r\nGET / HTTP/1.0\n\n"),
            (b"GET / HTTP/1.1\r\n\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"),
        ] {
            for step in 1..=text.len() {
                assert_eq!(head(text, step), (passes.to_vec(), true, false), "{step}");
            }
        }
        // What is no request is shown at once to who refuses it.
        for text in [&b"GET /healthz\r\n"[..], b"\x16\x03\x01\x00\xa5\x01", b"\r\n\r"] {
            assert_eq!(head(text, text.len()), (text.to_vec(), false, false));
        }
        assert_eq!(head(b"GET / HTTP/1.1\r\nUpgr", 20).0, b"GET / HTTP/1.1\r\n");
    }

    #[test]
    fn offers_and_expectations_do_not_pass() {
        let text = b"PUT / HTTP/1.1\r\nUpgrade: websocket\r\nconnection: a, UPGRADE ,close,upgraded\r\n\
            EXPECT: 100-Continue\r\nExpect: else\r\nUpgraded: x\r\nCookie: Upgrade: y\r\n\r\n";
        let cured = b"PUT / HTTP/1.1\r\nignored: websocket\r\nconnection: a, ignored ,close,upgraded\r\n\
            awaits: 100-Continue\r\nExpect: else\r\nUpgraded: x\r\nCookie: Upgrade: y\r\n\r\n";
        for step in [1, 2, 7, 30, text.len()] {
            assert_eq!(head(text, step), (cured.to_vec(), true, true), "{step}");
        }
    }

    #[test]
    fn chunks_end_where_they_say() {
        let pass = |text: &[u8], step: usize| {
            let (mut scan, mut total) = (ChunkScan::default(), 0);
            for piece in text.chunks(step) {
                let (passed, ended) = scan.pass(piece);
                total += passed;
                if ended {
                    return (total, !scan.is_broken(), scan.is_broken());
                }
                assert_eq!(passed, piece.len());
            }
            (total, false, false)
        };
        for whole in [
            &b"0\r\n\r\n"[..],
            b"5\r\nhello\r\n0\r\n\r\n",
            b"A \t;x=\"y\"\r\n0123456789\r\n00\r\nTrailer: 0\r\nB: c\r\n\r\n",
            b"3;a=b\r\n\r\n0\r\n0\r\n\r\n",
        ] {
            let more = [whole, b"GET / HTTP/1.1\r\n"].concat();
            for step in 1..=more.len() {
                assert_eq!(pass(&more, step), (whole.len(), true, false), "{step}");
            }
        }
        for broken in [
            &b"x"[..],
            b"\r\n",
            b"0x3\r\n",
            b"3\n",
            b"3 4\r\n",
            b"3\r\nabcd",
            b"3\r\nabc\rx",
            b"0\r\nA: b\rx",
            b"0\r\n\rx",
            b"3;\x01",
            b"11111111111111111\r\n",
        ] {
            let (_, whole, no_chunks) = pass(broken, broken.len());
            assert!(!whole && no_chunks, "{broken:?}");
        }
    }
}
