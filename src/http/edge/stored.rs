//! A stored object as the source of another one.
//!
//! Invariants
//! - Exactly the announced bytes come, or an error: what is made of an object is made of all that was asked for.
//! - One piece is in memory at a time; the window for it is held until the source is dropped.

use super::errors::HttpError;
use super::source::Source;
use super::windows::Window;
use crate::actors::messages::{Download, ReadDownload};
use actix::Recipient;
use bytes::Bytes;
use std::collections::VecDeque;

/// The bytes of a download, piece by piece.
pub struct Stored {
    read: Recipient<ReadDownload>,
    /// Where to read on; `None` after a read that failed.
    download: Option<Download>,
    ready: VecDeque<Bytes>,
    /// Bytes not yet read.
    left: u64,
    _window: Window,
}

impl Stored {
    /// The next `len` bytes of a download whose range is set.
    pub fn new(read: &Recipient<ReadDownload>, download: Download, len: u64, window: Window) -> Self {
        let (read, ready) = (read.clone(), VecDeque::new());
        Stored { read, download: Some(download), ready, left: len, _window: window }
    }
}

impl Source for Stored {
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            if self.left == 0 {
                return Ok(None);
            }
            let download = self.download.take().ok_or(HttpError::Broken("a download lost its place"))?;
            let (download, pieces) = self.read.send(ReadDownload { download }).await??;
            self.download = Some(download);
            let got: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
            let left = self.left.checked_sub(got).filter(|_| got > 0);
            self.left = left.ok_or(HttpError::Broken("the store gave other bytes than the object has"))?;
            self.ready.extend(pieces);
        }
    }
}
