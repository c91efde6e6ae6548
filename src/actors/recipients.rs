//! What replication may ask of the store, and nothing else: recipients, not an address.

use super::error::LinkError;
use super::messages::{
    AppendIncoming, BeginIncoming, Bury, CastHere, ChangesAfter, ChangesIn, CompareOffers, Diagnose, DiscardBlob,
    FetchRecords, FinishIncoming, LearnRecords, LoadCursor, OpenOutgoing, ReadOutgoing, ReadSealed, ReadSums, Restore,
    SaveCursor, ScanSlots, Seat,
};
use crate::base::{Record, RegisterKey};
use crate::store::StoreError;
use actix::{Actor, Addr, Context, Handler, Message, Recipient};
use std::sync::Arc;

/// The store, as far as replicators and the peer listener know it.
#[derive(Clone, Debug)]
pub struct StoreRecipients {
    /// Reads the feed.
    pub changes_after: Recipient<ChangesAfter>,
    /// Reads records for a peer.
    pub fetch_records: Recipient<FetchRecords>,
    /// Compares a peer's offer.
    pub compare_offers: Recipient<CompareOffers>,
    /// Takes a peer's records.
    pub learn_records: Recipient<LearnRecords>,
    /// Begins a peer's blob.
    pub begin_incoming: Recipient<BeginIncoming>,
    /// Goes on with it.
    pub append_incoming: Recipient<AppendIncoming>,
    /// Ends it.
    pub finish_incoming: Recipient<FinishIncoming>,
    /// Removes what was sent in vain.
    pub discard_blob: Recipient<DiscardBlob>,
    /// Begins a blob for a peer.
    pub open_outgoing: Recipient<OpenOutgoing>,
    /// Goes on with it.
    pub read_outgoing: Recipient<ReadOutgoing>,
    /// Reads a blob for a peer whose copy is damaged.
    pub read_sealed: Recipient<ReadSealed>,
    /// Reads the tree.
    pub read_sums: Recipient<ReadSums>,
    /// Finds what belongs to its leaves.
    pub changes_in: Recipient<ChangesIn>,
    /// Looks what is damaged here.
    pub diagnose: Recipient<Diagnose>,
    /// Takes a good copy of a damaged record.
    pub restore: Recipient<Restore>,
    /// Votes.
    pub cast_here: Recipient<CastHere>,
    /// Drops tombstones.
    pub bury: Recipient<Bury>,
    /// Scans for a listing.
    pub scan_slots: Recipient<ScanSlots>,
    /// Changes the node's part in its cluster.
    pub seat: Recipient<Seat>,
    /// How far a peer has confirmed.
    pub load_cursor: Recipient<LoadCursor>,
    /// Keeps that.
    pub save_cursor: Recipient<SaveCursor>,
}

impl StoreRecipients {
    /// The recipients of one store actor.
    pub fn of<A>(store: &Addr<A>) -> Self
    where
        A: Actor<Context = Context<A>>
            + Handler<ChangesAfter>
            + Handler<FetchRecords>
            + Handler<CompareOffers>
            + Handler<LearnRecords>
            + Handler<BeginIncoming>
            + Handler<AppendIncoming>
            + Handler<FinishIncoming>
            + Handler<DiscardBlob>
            + Handler<OpenOutgoing>
            + Handler<ReadOutgoing>
            + Handler<ReadSealed>
            + Handler<ReadSums>
            + Handler<ChangesIn>
            + Handler<Diagnose>
            + Handler<Restore>
            + Handler<CastHere>
            + Handler<Bury>
            + Handler<ScanSlots>
            + Handler<Seat>
            + Handler<LoadCursor>
            + Handler<SaveCursor>,
    {
        StoreRecipients {
            changes_after: store.clone().recipient(),
            fetch_records: store.clone().recipient(),
            compare_offers: store.clone().recipient(),
            learn_records: store.clone().recipient(),
            begin_incoming: store.clone().recipient(),
            append_incoming: store.clone().recipient(),
            finish_incoming: store.clone().recipient(),
            discard_blob: store.clone().recipient(),
            open_outgoing: store.clone().recipient(),
            read_outgoing: store.clone().recipient(),
            read_sealed: store.clone().recipient(),
            read_sums: store.clone().recipient(),
            changes_in: store.clone().recipient(),
            diagnose: store.clone().recipient(),
            restore: store.clone().recipient(),
            cast_here: store.clone().recipient(),
            bury: store.clone().recipient(),
            scan_slots: store.clone().recipient(),
            seat: store.clone().recipient(),
            load_cursor: store.clone().recipient(),
            save_cursor: store.clone().recipient(),
        }
    }

    /// The present record of one register.
    pub async fn record(&self, key: &RegisterKey) -> Result<Option<Arc<Record>>, LinkError> {
        let found = ask(&self.fetch_records, FetchRecords { keys: vec![key.clone()], bytes_max: 0 }).await?;
        Ok(found.into_iter().find(|(found, _)| found == key).map(|(_, record)| record))
    }
}

/// Asks the store; a store that is gone is an error like any other.
pub async fn ask<M, T>(to: &Recipient<M>, message: M) -> Result<T, LinkError>
where
    M: Message<Result = Result<T, StoreError>> + Send + 'static,
    T: Send + 'static,
{
    Ok(to.send(message).await??)
}
