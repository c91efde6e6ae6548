//! Answers to calls of peers: the listener's side of replication.

use super::error::LinkError;
use super::gate::{Counts, PeerGate};
use super::messages::{CompareOffers, FetchRecords, LearnRecords, Offer, ReadSealed, ReadSums, Want};
use super::recipients::{StoreRecipients, ask};
use crate::base::{Incarnation, Record};
use crate::wire::{Answer, Call, LEARN_BYTES_MAX, Offered, Pull, Wanted};
use std::sync::Arc;

/// Does what an opened call asks for. Whatever fails is told as a class and a text.
pub async fn answer(gate: &PeerGate, store: &StoreRecipients, from: Incarnation, call: Call) -> Answer {
    match try_answer(gate, store, from, call).await {
        Ok(answer) => answer,
        Err(error) => failure(&error),
    }
}

/// What a peer is told of an error here.
pub fn failure(error: &LinkError) -> Answer {
    // The text of a disk error names a path; a peer needs no more than its kind.
    let text = match error {
        LinkError::Store(crate::store::StoreError::Disk { op, .. }) => format!("disk error in {op}"),
        other => other.to_string(),
    };
    Answer::failed(error.class(), &text)
}

async fn try_answer(
    gate: &PeerGate,
    store: &StoreRecipients,
    from: Incarnation,
    call: Call,
) -> Result<Answer, LinkError> {
    match call {
        Call::Heartbeat(_) => {
            Counts::add(&gate.counts().heartbeats);
            Ok(Answer::Pulse(gate.vitals().pulse()))
        }
        Call::Offer(offered) => {
            Counts::add(&gate.counts().offers);
            let offers = offered.into_iter().map(|Offered { key, ballot, blob }| Offer { key, ballot, blob }).collect();
            let wants = ask(&store.compare_offers, CompareOffers { offers }).await?;
            Ok(Answer::Wants(wants.into_iter().map(wanted).collect()))
        }
        Call::Learn(records) => {
            Counts::add(&gate.counts().learns);
            let own = |record: Arc<Record>| Arc::try_unwrap(record).unwrap_or_else(|shared| (*shared).clone());
            let records = records.into_iter().map(|(key, record)| (key, own(record))).collect();
            ask(&store.learn_records, LearnRecords { records, from }).await?;
            Ok(Answer::Done)
        }
        Call::Tree(branches) => {
            Counts::add(&gate.counts().trees);
            Ok(Answer::Sums(ask(&store.read_sums, ReadSums { branches }).await?))
        }
        Call::Fetch(keys) => {
            Counts::add(&gate.counts().fetches);
            Ok(Answer::Records(ask(&store.fetch_records, FetchRecords { keys, bytes_max: LEARN_BYTES_MAX }).await?))
        }
        Call::Pull(Pull { body, from, len }) => {
            Counts::add(&gate.counts().fetches);
            Ok(Answer::Bytes(ask(&store.read_sealed, ReadSealed { body, from, len }).await?))
        }
    }
}

fn wanted(want: Want) -> Wanted {
    match want {
        Want::Nothing => Wanted::Nothing,
        Want::Record => Wanted::Record,
        Want::BlobAndRecord => Wanted::BlobAndRecord,
    }
}
