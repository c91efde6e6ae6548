//! What a session with a peer, or the healer, may ask of this node's store, and nothing else: recipients, not an
//! address.

use crate::actors::messages::{
    AppendIncoming, BeginIncoming, Bury, CastHere, ChangesAfter, ChangesIn, CompareOffers, Diagnose, DiscardBlob,
    FetchRecords, FinishIncoming, HoldsClosed, LearnRecords, LoadCursor, OpenOutgoing, ReadAccess, ReadBodies,
    ReadOutgoing, ReadSealed, ReadSums, Restore, SaveCursor, ScanSlots, Seat, ShowSlots, TakeBodies, recipients,
};
use crate::actors::peer::error::LinkError;
use crate::base::{Record, RegisterKey};
use crate::store::StoreError;
use actix::{Message, Recipient};
use std::sync::Arc;

recipients! {
    /// The store, as far as lanes, the peer listener and the healer know it.
    pub struct StoreRecipients {
        /// Reads the change feed.
        changes_after: ChangesAfter,
        /// Reads records for a peer.
        fetch_records: FetchRecords,
        /// Compares a peer's offer.
        compare_offers: CompareOffers,
        /// Takes a peer's records.
        learn_records: LearnRecords,
        /// Begins a peer's blob.
        begin_incoming: BeginIncoming,
        /// Takes more of a peer's blob.
        append_incoming: AppendIncoming,
        /// Checks a peer's blob, and gives it its name.
        finish_incoming: FinishIncoming,
        /// Takes short bodies of a peer, many at once.
        take_bodies: TakeBodies,
        /// Reads short bodies for a peer, many at once.
        read_bodies: ReadBodies,
        /// Removes what was sent in vain.
        discard_blob: DiscardBlob,
        /// Begins a blob for a peer.
        open_outgoing: OpenOutgoing,
        /// Reads on in a blob for a peer.
        read_outgoing: ReadOutgoing,
        /// Reads a blob for a peer whose copy is damaged.
        read_sealed: ReadSealed,
        /// Reads the sums of the tree.
        read_sums: ReadSums,
        /// Finds the registers below leaves of the tree.
        changes_in: ChangesIn,
        /// Looks what is damaged here.
        diagnose: Diagnose,
        /// Takes a good copy of a damaged record.
        restore: Restore,
        /// Asks this node's replica for its votes.
        cast_here: CastHere,
        /// Drops tombstones, for whoever coordinates their burial.
        bury: Bury,
        /// Scans a range of registers.
        scan_slots: ScanSlots,
        /// Looks what a list shows of one.
        show_slots: ShowSlots,
        /// Looks whether a bucket is held as a deletion closed it.
        holds_closed: HoldsClosed,
        /// Reads what is held of the access keys.
        read_access: ReadAccess,
        /// Changes the node's part in its cluster.
        seat: Seat,
        /// Reads how far a peer has acknowledged the feed.
        load_cursor: LoadCursor,
        /// Keeps how far a peer has acknowledged the feed.
        save_cursor: SaveCursor,
    }
}

impl StoreRecipients {
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
