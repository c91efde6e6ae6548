//! One step of the records lane: a batch of changes is offered, and what the peer wants of it is sent.
//!
//! Invariants
//! - A change is reported as acknowledged only when the peer said that it has it durably, said that it
//!   wants nothing of it, or when the key has a newer number in the feed.
//! - One record that cannot be read or is not taken does not stop the others.

use crate::actors::messages::{Change, FetchRecords};
use crate::actors::peer::conn::Conn;
use crate::actors::peer::error::LinkError;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::plan::Plan;
use crate::actors::peer::store::ask;
use crate::base::{Class, Epoch, Record, RegisterKey};
use crate::wire::{Answer, Call, ENTRIES_MAX, LEARN_BYTES_MAX, Offered, Wanted};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Most changes in one step.
pub(in crate::actors) const BATCH_MAX: usize = ENTRIES_MAX / 2;

/// What a step achieved, also when it ended with an error.
#[derive(Debug, Default)]
pub(in crate::actors) struct Report {
    /// Settled changes: the peer has them now.
    pub acked: Vec<u64>,
    /// Changes of which the peer wants nothing: it had them, or newer ones.
    pub unwanted: Vec<u64>,
    /// Changes whose blob the peer wants.
    pub blobs: Vec<u64>,
    /// Changes that failed on their own, and why.
    pub failed: Vec<(u64, LinkError)>,
}

/// Offers `batch` and sends what is wanted.
pub(in crate::actors) async fn send(
    plan: &Plan,
    conn: &mut Conn,
    batch: Vec<Change>,
    report: &mut Report,
) -> Result<(), LinkError> {
    let offer = |change: &Change| Offered {
        key: change.key.clone(),
        ballot: change.ballot,
        blob: change.blob.map(|blob| blob.body),
    };
    Counts::add(&plan.tally.sent.offers);
    let Answer::Wants(wants) = conn.call(&Call::Offer(batch.iter().map(offer).collect())).await? else {
        return Err(LinkError::Unfitting);
    };
    if wants.len() != batch.len() {
        return Err(LinkError::Unfitting);
    }
    let mut wanted = VecDeque::new();
    for (change, want) in batch.into_iter().zip(wants) {
        match want {
            Wanted::Nothing => report.unwanted.push(change.seq),
            Wanted::BlobAndRecord if change.blob.is_some() => report.blobs.push(change.seq),
            Wanted::BlobAndRecord | Wanted::Record => wanted.push_back(change),
        }
    }
    // After something unreadable or untaken the rest goes one by one.
    let mut at_once = wanted.len();
    while !wanted.is_empty() {
        let mut part: Vec<Change> = wanted.drain(..at_once.min(wanted.len())).collect();
        // Before they are read: see `register::Request::Learn`.
        let epoch = plan.node_view.ballots.voting().list.epoch;
        let records = match fetch(plan, &part).await {
            Ok(records) => records,
            Err(LinkError::Store(error)) if error.class() == Class::Corrupt => {
                at_once = 1;
                give_back_or_fail(part, LinkError::Store(error), &mut wanted, report);
                continue;
            }
            Err(error) => return Err(error),
        };
        // Changes behind the last record that came were cut off by the size limit; with no record
        // at all, none of the keys exists any more.
        let rest = part.split_off(reached(&part, &records).map_or(part.len(), |at| at + 1));
        for change in rest.into_iter().rev() {
            wanted.push_front(change);
        }
        match learn(plan, conn, &part, epoch, records).await {
            Ok(()) => report.acked.extend(part.iter().map(|change| change.seq)),
            Err(LinkError::Remote { class: class @ (Class::Invalid | Class::Corrupt | Class::Missing), text }) => {
                at_once = 1;
                give_back_or_fail(part, LinkError::Remote { class, text }, &mut wanted, report);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn give_back_or_fail(part: Vec<Change>, error: LinkError, wanted: &mut VecDeque<Change>, report: &mut Report) {
    if let [only] = &part[..] {
        report.failed.push((only.seq, error));
        return;
    }
    for change in part.into_iter().rev() {
        wanted.push_front(change);
    }
}

/// The place of the last change whose record came. A key that changed again stands twice in a window:
/// its second place says nothing, since it was asked for at the first.
fn reached(part: &[Change], records: &HashMap<RegisterKey, Arc<Record>>) -> Option<usize> {
    let mut seen = HashSet::new();
    let first: Vec<bool> = part.iter().map(|change| seen.insert(&change.key)).collect();
    part.iter().zip(first).rposition(|(change, first)| first && records.contains_key(&change.key))
}

async fn fetch(plan: &Plan, part: &[Change]) -> Result<HashMap<RegisterKey, Arc<Record>>, LinkError> {
    let mut seen = HashSet::new();
    let keys = part.iter().filter(|change| seen.insert(&change.key)).map(|change| change.key.clone()).collect();
    Ok(ask(&plan.store.fetch_records, FetchRecords { keys, bytes_max: LEARN_BYTES_MAX }).await?.into_iter().collect())
}

/// Sends the records of `part` that are what was offered. Any other is left out: the key has changed, perhaps to what
/// is not chosen, and its newer number comes with the feed.
async fn learn(
    plan: &Plan,
    conn: &mut Conn,
    part: &[Change],
    epoch: Epoch,
    mut records: HashMap<RegisterKey, Arc<Record>>,
) -> Result<(), LinkError> {
    let mut batch = Vec::with_capacity(part.len());
    for change in part {
        let offered = records.get(&change.key).is_some_and(|record| record.ballot == change.ballot);
        // `remove`: a key that stands twice in the window is sent once.
        batch.extend(offered.then(|| records.remove_entry(&change.key)).flatten());
    }
    if batch.is_empty() {
        return Ok(());
    }
    let sent = u64::try_from(batch.len()).unwrap_or(u64::MAX);
    Counts::add(&plan.tally.sent.learns);
    match conn.call(&Call::Learn(epoch, batch)).await? {
        Answer::Done => {
            plan.tally.shipped_records.fetch_add(sent, std::sync::atomic::Ordering::Relaxed);
            Ok(())
        }
        _ => Err(LinkError::Unfitting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::testing::{change, key, record};

    #[test]
    fn a_size_limit_is_told_from_missing_records() {
        let part: Vec<Change> = (1..=4).map(change).collect();
        let having = |seqs: &[u64]| seqs.iter().map(|&n| (key(n), record(n))).collect::<HashMap<_, _>>();
        assert_eq!(reached(&part, &having(&[])), None);
        assert_eq!(reached(&part, &having(&[1, 3])), Some(2), "2 is missing, 4 was cut off");
        let mut doubled = part.clone();
        doubled.push(Change { seq: 5, ..change(1) });
        assert_eq!(reached(&doubled, &having(&[1, 2])), Some(1), "the second place of a key proves nothing");
    }
}
