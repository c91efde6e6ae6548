//! What lanes, the peer listener, the healer and the scrubber ask of the store: the feed, records and blobs of peers,
//! damage, tombstones, scrubbing.

use super::{StoreActor, guarded};
use crate::actors::messages::*;
use crate::base::{Page, Record, RegisterKey};
use crate::store::StoreError;
use crate::store::wait;
use actix::prelude::*;
use std::sync::Arc;

impl Handler<ChangesAfter> for StoreActor {
    type Result = ResponseFuture<Result<Vec<Change>, StoreError>>;
    fn handle(&mut self, msg: ChangesAfter, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.changes_after(msg.after, msg.limit))
    }
}

impl Handler<FetchRecords> for StoreActor {
    type Result = ResponseFuture<Result<Vec<(RegisterKey, Arc<Record>)>, StoreError>>;
    fn handle(&mut self, msg: FetchRecords, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.fetch_records(msg.keys, msg.bytes_max))
    }
}

impl Handler<CompareOffers> for StoreActor {
    type Result = ResponseFuture<Result<Vec<Want>, StoreError>>;
    fn handle(&mut self, msg: CompareOffers, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.compare_offers(&msg.offers))
    }
}

impl Handler<LearnRecords> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, msg: LearnRecords, _: &mut Context<Self>) -> Self::Result {
        let queued: ResponseFuture<Result<_, StoreError>> =
            self.on_thread(move |store| store.learn(msg.records, msg.from, msg.epoch));
        Box::pin(async move { wait(queued.await?).await.map(|_| ()) })
    }
}

impl Handler<Bury> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, Bury { list, graves }: Bury, _: &mut Context<Self>) -> Self::Result {
        let answers = self.store.bury(list, graves);
        guarded(async move {
            for answer in answers {
                wait(answer).await?;
            }
            Ok(())
        })
    }
}

impl Handler<FindDue> for StoreActor {
    type Result = ResponseFuture<Result<Page<Grave>, StoreError>>;
    fn handle(&mut self, msg: FindDue, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.due_tombstones(msg.after.as_ref(), msg.age, msg.limit))
    }
}

impl Handler<CountTombstones> for StoreActor {
    type Result = Result<Option<u64>, StoreError>;
    fn handle(&mut self, _: CountTombstones, _: &mut Context<Self>) -> Self::Result {
        Ok(self.store.tree().tally().map(|tally| tally.tombstones))
    }
}

impl Handler<BeginIncoming> for StoreActor {
    type Result = ResponseFuture<Result<Incoming, StoreError>>;
    fn handle(&mut self, msg: BeginIncoming, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.begin_incoming(msg.body, msg.bytes_max, msg.purpose))
    }
}

impl Handler<AppendIncoming> for StoreActor {
    type Result = ResponseFuture<Result<Incoming, StoreError>>;
    fn handle(&mut self, msg: AppendIncoming, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |_| {
            let mut incoming = msg.incoming;
            incoming.append(&msg.data)?;
            Ok(incoming)
        })
    }
}

impl Handler<FinishIncoming> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, msg: FinishIncoming, _: &mut Context<Self>) -> Self::Result {
        let store = Arc::clone(&self.store);
        let FinishIncoming { incoming, announced, mends } = msg;
        let placing: ResponseFuture<Result<_, StoreError>> = self.on_thread(move |_| incoming.place(announced));
        Box::pin(async move {
            placing.await?.ended().await?;
            match mends {
                Some(key) => {
                    // It is here, and is read where it lies now, also when the log takes nothing: a start will not know.
                    if let Err(error) = wait(store.name_bodies(key)).await {
                        log::debug!(error:% = error; "where a body lies that came again could not be told to the log");
                    }
                    Ok(())
                }
                None => Ok(()),
            }
        })
    }
}

impl Handler<TakeBodies> for StoreActor {
    type Result = ResponseFuture<Result<Vec<Result<(), StoreError>>, StoreError>>;
    fn handle(&mut self, TakeBodies { bodies }: TakeBodies, _: &mut Context<Self>) -> Self::Result {
        let placing: ResponseFuture<Result<_, StoreError>> = self.on_thread(move |store| Ok(store.take_bodies(bodies)));
        Box::pin(async move {
            let mut taken = Vec::new();
            for placing in placing.await? {
                taken.push(match placing {
                    Ok(placing) => placing.ended().await,
                    Err(error) => Err(error),
                });
            }
            Ok(taken)
        })
    }
}

impl Handler<ReadBodies> for StoreActor {
    type Result = ResponseFuture<Result<Vec<Result<bytes::Bytes, StoreError>>, StoreError>>;
    fn handle(&mut self, ReadBodies { bodies }: ReadBodies, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| Ok(bodies.iter().map(|blob| store.read_body(blob)).collect()))
    }
}

impl Handler<DiscardBlob> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, DiscardBlob { body }: DiscardBlob, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.discard_blob(body))
    }
}

impl Handler<OpenOutgoing> for StoreActor {
    type Result = ResponseFuture<Result<Outgoing, StoreError>>;
    fn handle(&mut self, msg: OpenOutgoing, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.open_outgoing(msg.body))
    }
}

impl Handler<ReadOutgoing> for StoreActor {
    type Result = ResponseFuture<Result<(Outgoing, bytes::Bytes), StoreError>>;
    fn handle(&mut self, msg: ReadOutgoing, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |_| {
            let mut outgoing = msg.outgoing;
            let bytes = outgoing.read()?;
            Ok((outgoing, bytes))
        })
    }
}

impl Handler<ReadSealed> for StoreActor {
    type Result = ResponseFuture<Result<bytes::Bytes, StoreError>>;
    fn handle(&mut self, msg: ReadSealed, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.read_sealed(msg.body, msg.from, msg.len))
    }
}

impl Handler<ReadSums> for StoreActor {
    type Result = ResponseFuture<Result<Vec<crate::base::Sum>, StoreError>>;
    fn handle(&mut self, msg: ReadSums, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| Ok(store.tree().sums(&msg.branches)))
    }
}

impl Handler<ChangesIn> for StoreActor {
    type Result = ResponseFuture<Result<Page<Change>, StoreError>>;
    fn handle(&mut self, msg: ChangesIn, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.changes_in(&msg.leaves, msg.after.as_ref(), msg.limit))
    }
}

impl Handler<Diagnose> for StoreActor {
    type Result = ResponseFuture<Result<Option<Ailment>, StoreError>>;
    fn handle(&mut self, msg: Diagnose, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.diagnose(&msg.key))
    }
}

impl Handler<Restore> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, msg: Restore, _: &mut Context<Self>) -> Self::Result {
        let queued: ResponseFuture<Result<_, StoreError>> =
            self.on_thread(move |store| store.restore(msg.key, msg.record, msg.from));
        Box::pin(async move { wait(queued.await?).await.map(|_| ()) })
    }
}

impl Handler<LoadCursor> for StoreActor {
    type Result = ResponseFuture<Result<u64, StoreError>>;
    fn handle(&mut self, msg: LoadCursor, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.cursor(msg.peer))
    }
}

impl Handler<SaveCursor> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, msg: SaveCursor, _: &mut Context<Self>) -> Self::Result {
        let answer = self.store.save_cursor(msg.peer, msg.seq, msg.heard_in);
        Box::pin(async move { wait(answer).await.map(|_| ()) })
    }
}

impl Handler<Scrutinize> for StoreActor {
    type Result = ResponseFuture<Result<(Round, Seen), StoreError>>;
    fn handle(&mut self, msg: Scrutinize, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| {
            let mut round = msg.round.unwrap_or_else(|| store.scrub(msg.part));
            let seen = round.read()?;
            Ok((round, seen))
        })
    }
}

impl Handler<LoadScrubPlace> for StoreActor {
    type Result = ResponseFuture<Result<Place, StoreError>>;
    fn handle(&mut self, _: LoadScrubPlace, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(|store| store.load_scrub_place())
    }
}

impl Handler<SaveScrubPlace> for StoreActor {
    type Result = ResponseFuture<Result<(), StoreError>>;
    fn handle(&mut self, SaveScrubPlace(place): SaveScrubPlace, _: &mut Context<Self>) -> Self::Result {
        self.on_thread(move |store| store.save_scrub_place(&place))
    }
}
