//! One request at a time: a connection hands the next request to the server when the answer to the present one
//! is written, and not before.
//!
//! The server below keeps one version, one "this was a HEAD" and one "keep alive" for a connection, and overwrites
//! them with each head that it reads: of requests that were sent without waiting, an answer could be written after the
//! head of another, and a client take one body for the next. See docs/adr/.
//!
//! Invariants
//! - No byte behind a request passes before the answer to it was handed to the system, whole, and sealed where it is.
//! - How long a body is, is told by who serves the request, out of the head as the server below read it. Where the two
//!   disagree about where a head or a body ends, nothing more passes and the connection ends.
//! - `100 Continue` is written when the body is wanted, and never before a refusal.
//! - What the server below refuses before anybody serves it is told as every other problem, but for the id: it has none.
//! - Nothing is read from the socket that has nowhere to go: a client that sends on is slowed down by its own system.
//! - All state is changed inside the poll of the connection that it belongs to, and each of these ends in a flush: so
//!   none needs to wake another.

use super::connections::Connection;
use super::framing::{ChunkScan, HeadScan};
use super::refusal::refusal;
use super::socket::Socket;
use actix_web::body::{BodySize, MessageBody};
use bytes::{Buf, Bytes, BytesMut};
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longest field line that is waited for; the server below refuses a head of this length.
const LINE_BYTES_MAX: usize = 128 * 1024;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A socket with a gate in front of it.
pub(super) struct Turnstile {
    socket: Socket,
    gate: Rc<Gate>,
    /// What is known of the connection; shared with the requests on it.
    connection: Rc<Connection>,
}

/// Whose turn it is on a connection; what who serves a request tells the socket below.
pub(super) struct Gate(RefCell<State>);

struct State {
    turn: Turn,
    /// Received, and not handed over yet.
    held: BytesMut,
    /// Of them, those at the front that may be.
    ready: usize,
    /// The answer has come to its end, and may not be written yet.
    answered: bool,
    /// No further request comes after this one.
    last: bool,
    /// There may be something to read that nobody was told of.
    look: bool,
    /// What is left to write of a `100 Continue`.
    interim: &'static [u8],
}

#[derive(Debug)]
enum Turn {
    /// A head is on its way.
    Head(HeadScan),
    /// A head has passed, and nobody serves it yet.
    Passed(HeadScan),
    /// The client waits to be told to send its body.
    Waiting(Framing),
    /// A body is on its way.
    Body(Framing),
    /// The request is whole.
    Answer,
    /// Whatever comes may pass: it is thrown away.
    Open,
    /// Nothing passes any more.
    Shut,
}

/// How the end of a body is known.
#[derive(Debug)]
pub(super) enum Framing {
    /// There is no body.
    None,
    /// The body has so many bytes.
    Length(u64),
    /// Its last chunk says so.
    Chunked(ChunkScan),
}

impl Turnstile {
    pub(super) fn new(socket: Socket, connection: Connection) -> Self {
        let turn = Turn::Head(HeadScan::default());
        let held = BytesMut::new();
        let state = State { turn, held, ready: 0, answered: false, last: false, look: false, interim: b"" };
        Turnstile { socket, gate: Rc::new(Gate(RefCell::new(state))), connection: Rc::new(connection) }
    }

    pub(super) fn connection(&self) -> Rc<Connection> {
        Rc::clone(&self.connection)
    }

    pub(super) fn gate(&self) -> Rc<Gate> {
        Rc::clone(&self.gate)
    }

    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.gate.0.borrow_mut();
        while !state.interim.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, state.interim))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            state.interim.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl Gate {
    /// A request is served from now on, with such a body. What comes back is to be dropped when the answer has come
    /// to its end. `old`: by HTTP/1.0, where nobody knows what `100 Continue` means (RFC 9110, section 10.1.1).
    pub(super) fn serve(self: &Rc<Self>, framing: Framing, old: bool) -> Answering {
        let mut state = self.0.borrow_mut();
        let expects = !old && matches!(&state.turn, Turn::Passed(head) if head.expects);
        state.turn = match framing {
            Framing::None => Turn::Answer,
            framing if expects => Turn::Waiting(framing),
            framing => Turn::Body(framing),
        };
        state.look = true;
        Answering(Rc::clone(self))
    }

    /// Whether the client has not been told yet to send its body.
    pub(super) fn waits(&self) -> bool {
        matches!(self.0.borrow().turn, Turn::Waiting(_))
    }

    /// The body is wanted.
    pub(super) fn want_body(&self) {
        let mut state = self.0.borrow_mut();
        if let Turn::Waiting(framing) = &mut state.turn {
            state.turn = Turn::Body(std::mem::replace(framing, Framing::None));
            state.look = true;
            // Who sends already needs no leave.
            if state.held.is_empty() {
                state.interim = CONTINUE;
            }
        }
    }

    /// The connection ends with this answer; what may come of the request is thrown away.
    pub(super) fn end(&self) {
        self.0.borrow_mut().last = true;
    }
}

impl State {
    /// How many of the next bytes may pass now.
    fn pass(&mut self, bytes: &mut [u8]) -> usize {
        match &mut self.turn {
            Turn::Head(scan) => {
                let (passed, ended) = scan.pass(bytes);
                if ended {
                    self.turn = Turn::Passed(std::mem::take(scan));
                } else if bytes.len() - passed >= LINE_BYTES_MAX {
                    self.turn = Turn::Open;
                    return bytes.len();
                }
                passed
            }
            Turn::Body(Framing::Length(left)) => {
                let passed = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= passed as u64;
                if *left == 0 {
                    self.turn = Turn::Answer;
                }
                passed
            }
            Turn::Body(Framing::Chunked(scan)) => {
                let (passed, ended) = scan.pass(bytes);
                if ended {
                    self.turn = if scan.is_broken() { Turn::Shut } else { Turn::Answer };
                }
                passed
            }
            Turn::Open => bytes.len(),
            Turn::Body(Framing::None) | Turn::Passed(_) | Turn::Waiting(_) | Turn::Answer | Turn::Shut => 0,
        }
    }

    fn pass_held(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        self.ready = self.pass(&mut held);
        self.held = held;
    }

    /// Everything that the server had to say was handed to the system.
    fn flushed(&mut self) {
        match self.turn {
            // Nobody took it for a head; it was refused, or is being thrown away.
            Turn::Passed(_) => self.turn = Turn::Shut,
            _ if !self.answered => {}
            _ if self.last => {
                self.turn = Turn::Open;
                (self.answered, self.look) = (false, true);
            }
            Turn::Answer => {
                self.turn = Turn::Head(HeadScan::default());
                (self.answered, self.look) = (false, true);
            }
            _ => {}
        }
    }
}

impl AsyncRead for Turnstile {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let state = &mut *this.gate.0.borrow_mut();
        loop {
            if state.ready > 0 {
                let some = state.ready.min(buf.remaining());
                buf.put_slice(&state.held[..some]);
                state.held.advance(some);
                state.ready -= some;
                if state.held.is_empty() {
                    state.held = BytesMut::new();
                }
                return Poll::Ready(Ok(()));
            }
            match state.turn {
                Turn::Passed(_) | Turn::Waiting(_) | Turn::Answer => return Poll::Pending,
                Turn::Shut => return Poll::Ready(Ok(())),
                Turn::Head(_) | Turn::Body(_) | Turn::Open => {}
            }
            if !state.held.is_empty() {
                state.pass_held();
                if state.ready > 0 {
                    continue;
                }
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
            let got = &mut buf.filled_mut()[before..];
            if got.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let passed = if state.held.is_empty() { state.pass(got) } else { 0 };
            state.held.extend_from_slice(&got[passed..]);
            buf.set_filled(before + passed);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Turnstile {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        let mut state = self.gate.0.borrow_mut();
        // Nobody serves a head then: the server below refuses it, in one piece and without a word of why.
        let told = match &state.turn {
            Turn::Head(head) | Turn::Passed(head) => refusal(head, bytes),
            Turn::Open => refusal(&HeadScan::default(), bytes),
            Turn::Waiting(_) | Turn::Body(_) | Turn::Answer | Turn::Shut => None,
        };
        if let Some(told) = told {
            state.interim = told;
            if !matches!(state.turn, Turn::Open) {
                state.turn = Turn::Shut;
            }
            return Poll::Ready(Ok(bytes.len()));
        }
        drop(state);
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        let this = self.get_mut();
        // What was sealed and could not be written yet is not with the system.
        ready!(Pin::new(&mut this.socket).poll_flush(cx))?;
        let state = &mut *this.gate.0.borrow_mut();
        state.flushed();
        if std::mem::take(&mut state.look)
            && !matches!(state.turn, Turn::Waiting(_) | Turn::Answer | Turn::Shut)
            && (!state.held.is_empty() || this.socket.may_be_read(cx))
        {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_interim(cx))?;
        let this = self.get_mut();
        ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
        this.socket.discard();
        Poll::Ready(Ok(()))
    }
}

/// An answer is on its way.
pub(super) struct Answering(Rc<Gate>);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.0.borrow_mut().answered = true;
    }
}

/// The body of an answer, which the server drops when it has come to its end.
pub(super) struct InTurn<B> {
    pub(super) body: B,
    pub(super) _answering: Option<Answering>,
}

impl<B: MessageBody + Unpin> MessageBody for InTurn<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_speaks_the_old_http_does_not_wait_to_be_told_to_go_on() {
        for (old, waits) in [(false, true), (true, false)] {
            let mut head = HeadScan::default();
            head.pass(&mut b"PUT / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n".to_vec());
            let state = State {
                turn: Turn::Passed(head),
                held: BytesMut::new(),
                ready: 0,
                answered: false,
                last: false,
                look: false,
                interim: b"",
            };
            let gate = Rc::new(Gate(RefCell::new(state)));
            let _answering = gate.serve(Framing::Length(5), old);
            assert_eq!(gate.waits(), waits);
            gate.want_body();
            assert_eq!(gate.0.borrow().interim.is_empty(), old);
        }
    }
}
