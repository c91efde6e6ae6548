//! What coordinators ask of the store for the sake of copies: to hold a body that is shared, to seal a small one anew.

use super::votes::decide_alone;
use super::{Reader, StoreActor, guarded};
use crate::actors::messages::*;
use crate::base::{Record, RegisterKey};
use crate::store::mutation::Mutation;
use actix::prelude::*;
use bytes::Bytes;
use std::sync::Arc;

impl Handler<HoldBody> for StoreActor {
    type Result = ResponseFuture<Result<Option<BodyHold>, StoreError>>;
    fn handle(&mut self, HoldBody(blob): HoldBody, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.hold_body(blob))
    }
}

impl Handler<CopySmall> for StoreActor {
    type Result = ResponseFuture<Result<Decided<Written>, StoreError>>;
    fn handle(&mut self, msg: CopySmall, _: &mut Context<Self>) -> Self::Result {
        let CopySmall { key, record, at, condition, head, alone } = msg;
        let reader = self.reader();
        guarded(async move {
            let pieces = reader.read_whole(key, Arc::clone(&record)).await?;
            let source = Arc::clone(&record);
            let sealed = reader.run(move |store| {
                let source = source.object().ok_or(StoreError::NoSuchKey)?;
                store.seal_copy(source, head, &pieces)
            });
            let copy = Mutation::put(&at, condition, sealed.await?, reader.store.now_ms());
            if alone { decide_alone(&reader.store, copy).await } else { Ok(Decided::ForVote(copy)) }
        })
    }
}

impl Reader {
    /// All of a small body, opened. Where it is not here it is had from a peer, as for any reader.
    async fn read_whole(&self, key: RegisterKey, record: Arc<Record>) -> Result<Vec<Bytes>, StoreError> {
        let (_, mut download) = self.open_record(key, record).await?;
        let mut all = Vec::new();
        loop {
            let pieces;
            (download, pieces) = self.read(download).await?;
            if pieces.is_empty() {
                return Ok(all);
            }
            all.extend(pieces);
        }
    }
}
