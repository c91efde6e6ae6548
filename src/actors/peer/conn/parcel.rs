//! Short bodies that go to the peer in one request.

use super::{Conn, LinkError, patience, post, unless_stalled};
use crate::actors::peer::transfers::Sent;
use crate::base::BlobRef;
use crate::wire::frame::blob_prefix;
use crate::wire::{Answer, BODIES_PATH, BodiesHead, FRAME_BYTES_MAX, Taken};
use actix_rt::time::Instant;
use awc::body::SizedStream;
use bytes::Bytes;
use futures::stream;
use std::cell::Cell;
use std::rc::Rc;

impl Conn {
    /// Sends bodies, each with what it is, and counts what has gone. What became of each, in the same order.
    pub async fn ship_many(&mut self, parcel: Vec<(BlobRef, Bytes, Sent)>) -> Result<Taken, LinkError> {
        let head = BodiesHead(parcel.iter().map(|(blob, ..)| *blob).collect());
        let (count, bytes) = (parcel.len(), head.sealed_bytes());
        let prefix = Bytes::from(blob_prefix(&self.seal(BODIES_PATH, head.encode())));
        let len = bytes + prefix.len() as u64;
        let moved = Rc::new(Cell::new(Instant::now()));
        let moves = Rc::clone(&moved);
        let pieces = parcel.into_iter().map(move |(_, bytes, sent)| {
            moves.set(Instant::now());
            sent.up_to(bytes.len() as u64);
            bytes
        });
        let body = stream::iter(std::iter::once(prefix).chain(pieces).map(Ok::<_, std::io::Error>));
        let url = format!("{}{BODIES_PATH}", self.base);
        let posted = post(&self.client, &url, SizedStream::new(len, body), FRAME_BYTES_MAX);
        let answer = unless_stalled(posted, &moved, patience(bytes)).await?;
        match self.open(BODIES_PATH, &answer)? {
            Answer::Taken(taken) if taken.len() == count => Ok(taken),
            _ => Err(LinkError::Unfitting),
        }
    }
}
