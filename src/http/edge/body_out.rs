//! Bodies on their way out: pieces from the store, one ahead of the client.
//!
//! Invariants
//! - Exactly the announced bytes leave. When the store cannot give them, the connection breaks off;
//!   nothing is padded, and nothing ends early as if it were whole.
//! - At most two pieces of a download are in memory: the one being sent and the one being opened; or,
//!   when permits are short, one in all.
//! - The store's handle, and the permit in it, lives until the last byte was taken or the client left.

use super::call::Call;
use super::connections::{Connection, Streaming};
use super::errors::HttpError;
use super::metrics::Shard;
use super::request_id::RequestId;
use super::windows::Window;
use crate::actors::messages::{Download, ReadDownload, StoreError};
use actix::Recipient;
use actix::prelude::MailboxError;
use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::Payload;
use bytes::Bytes;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

type Reading = Pin<Box<dyn Future<Output = Result<Result<(Download, Vec<Bytes>), StoreError>, MailboxError>>>>;

/// The body of a download, after its first piece was opened.
pub(super) struct DownloadBody {
    size: u64,
    /// Bytes not yet handed to the connection.
    left: u64,
    /// Bytes not yet asked of the store.
    unread: u64,
    ready: VecDeque<Bytes>,
    reading: Option<Reading>,
    read: Recipient<ReadDownload>,
    /// Where to read on; kept to the end, since a permit lives in it.
    download: Option<Download>,
    window: Option<Window>,
    streaming: Option<Streaming>,
    shard: Arc<Shard>,
    id: RequestId,
}

impl DownloadBody {
    /// A body of `size` bytes whose first piece is `first`.
    pub(super) fn new(
        call: &Call<'_>,
        size: u64,
        window: Option<Window>,
        download: Download,
        first: Vec<Bytes>,
    ) -> Result<Self, HttpError> {
        let mut body = DownloadBody {
            size,
            left: size,
            unread: size,
            ready: VecDeque::new(),
            reading: None,
            read: call.worker.links.read_download.clone(),
            download: None,
            window,
            streaming: call.req.conn_data::<Rc<Connection>>().and_then(|connection| connection.streaming()),
            shard: Arc::clone(&call.worker.shard),
            id: call.id,
        };
        body.take_piece(download, first)?;
        Ok(body)
    }

    /// Takes a piece and, if it may, asks for the next one: that is opened while this one is sent.
    fn take_piece(&mut self, download: Download, pieces: Vec<Bytes>) -> Result<(), HttpError> {
        let got: u64 = pieces.iter().map(|p| p.len() as u64).sum();
        if got == 0 && self.unread > 0 {
            return Err(HttpError::Broken("the store gave fewer bytes than the object has"));
        }
        self.unread =
            self.unread.checked_sub(got).ok_or(HttpError::Broken("the store gave more bytes than the object has"))?;
        self.ready.extend(pieces.into_iter().filter(|p| !p.is_empty()));
        self.download = Some(download);
        if self.unread > 0 && self.window.as_ref().is_some_and(|w| w.ahead) {
            self.ask_for_more();
        }
        Ok(())
    }

    fn ask_for_more(&mut self) {
        if let Some(download) = self.download.take() {
            self.reading = Some(Box::pin(self.read.send(ReadDownload { download })));
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), HttpError>> {
        if self.reading.is_none() {
            self.ask_for_more();
        }
        let Some(reading) = &mut self.reading else {
            return Poll::Ready(Err(HttpError::Broken("a download lost its place")));
        };
        let answer = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        Poll::Ready(match answer {
            Ok(Ok((download, pieces))) => self.take_piece(download, pieces),
            Ok(Err(store)) => Err(store.into()),
            Err(mailbox) => Err(mailbox.into()),
        })
    }
}

impl MessageBody for DownloadBody {
    type Error = BrokenOff;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.size)
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        let this = &mut *self;
        if let Some(streaming) = &this.streaming {
            streaming.progress();
        }
        loop {
            if this.left == 0 {
                return Poll::Ready(None);
            }
            // A chunk at a time: the connection copies what it is given into its buffer, which stays small.
            if let Some(front) = this.ready.pop_front() {
                this.left = this.left.saturating_sub(front.len() as u64);
                this.shard.sent(front.len() as u64);
                return Poll::Ready(Some(Ok(front)));
            }
            if let Err(error) = ready!(this.poll_piece(cx)) {
                log::error!("request {}: body broke off: {}", this.id, error.with_causes());
                return Poll::Ready(Some(Err(BrokenOff)));
            }
        }
    }
}

/// A body that ends before its announced length; the cause is in the log.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off")]
pub(super) struct BrokenOff;

/// The body of an answer to HEAD: a length and no bytes.
pub(super) struct LengthOnly(pub(super) u64);

impl MessageBody for LengthOnly {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.0)
    }

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        Poll::Ready(None)
    }
}

/// An answer to a request whose body was not read to its end. While it holds that body the server
/// knows that the connection cannot be used again: it says so, and closes after a while of listening
/// instead of at once, so that the answer reaches a client that is still sending.
pub(super) struct WithUnread<B> {
    pub(super) body: B,
    pub(super) _unread: Payload,
}

impl<B: MessageBody + Unpin> MessageBody for WithUnread<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, B::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
