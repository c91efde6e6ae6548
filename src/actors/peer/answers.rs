//! Answers to the calls of peers, whatever lane they come from: who may be answered, and by what of this node's store.

use crate::actors::blocks;
use crate::actors::messages::{
    Bury, CastHere, CompareOffers, DiscardBlob, FetchRecords, HoldsClosed, LearnRecords, Offer, OpenOutgoing,
    ReadAccess, ReadSealed, ReadSums, ScanSlots, ShowSlots, StoreError, Vote, Want,
};
use crate::actors::peer::error::LinkError;
use crate::actors::peer::list_exchange;
use crate::actors::peer::node_view::Counts;
use crate::actors::peer::sessions::{Admitted, PeerGate};
use crate::actors::peer::store::{StoreRecipients, ask};
use crate::base::{BlobRef, Epoch, Incarnation, NodeName, Record, RegisterKey};
use crate::register::{ListMark, Message, Request, Slot, Start};
use crate::seal::digest::digest_of;
use crate::seal::session::PeerInfo;
use crate::wire::{
    self, Answer, Bring, Call, ENTRIES_MAX, LEARN_BYTES_MAX, Offered, Pull, Pulse, Scan, Scanned, Show, Shown, Voted,
    Wanted,
};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Instant;

/// Does what an opened call asks for. Whatever fails is told as a class and a text.
pub async fn answer(gate: &PeerGate, store: &StoreRecipients, from: &Admitted, call: Call) -> Answer {
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

/// Which part of the node answers what, and what the caller must have shown before.
async fn try_answer(
    gate: &PeerGate,
    store: &StoreRecipients,
    session: &Admitted,
    call: Call,
) -> Result<Answer, LinkError> {
    let from: &PeerInfo = session.from();
    match call {
        Call::Heartbeat(pulse) => heartbeat(gate, session, pulse).await,
        Call::Offer(offered) => offer(gate, store, session, offered).await,
        Call::Learn(epoch, records) => learn(gate, store, session, epoch, records).await,
        Call::Vote(mark, votes) => vote(gate, store, session, mark, votes).await,
        Call::Scan(range) => scan(gate, store, session, range).await,
        Call::Show(asked) => show(gate, store, session, asked).await,
        Call::Bury(list, graves) => {
            Counts::add(&gate.counts().votes);
            same_list(gate, &from.name, list)?;
            has_met(gate, session)?;
            ask(&store.bury, Bury { list, graves }).await?;
            Ok(Answer::Done)
        }
        Call::Take(roster) => {
            // Meeting compares the lives of the cluster: a list of another life does not come in here.
            has_said(session)?;
            list_exchange::adopt(store, roster).await?;
            Ok(Answer::Done)
        }
        // Two nodes that refuse each other's votes need it to agree, so nothing but a session is asked for.
        Call::List => Ok(Answer::List(gate.node_view().ballots.voting().node.roster.clone())),
        Call::Tree(branches) => {
            // Sums change nothing: what differs is offered again, and an offer is judged like any other.
            Counts::add(&gate.counts().trees);
            Ok(Answer::Sums(ask(&store.read_sums, ReadSums { branches }).await?))
        }
        Call::Fetch(keys) => {
            Counts::add(&gate.counts().fetches);
            Ok(Answer::Records(ask(&store.fetch_records, FetchRecords { keys, bytes_max: LEARN_BYTES_MAX }).await?))
        }
        Call::Discard(body) => {
            // The store keeps what a record refers to, whoever says that it came in vain.
            ask(&store.discard_blob, DiscardBlob { body }).await?;
            Ok(Answer::Done)
        }
        Call::Config(mark) => {
            let held = async { ask(&store.read_access, ReadAccess).await };
            Counts::add(&gate.counts().configs);
            let held = counted(gate, session, mark, held).await?;
            Ok(Answer::Config { keys: held.keys.0, public: held.public.0 })
        }
        Call::Bring(head) => Ok(Answer::Bring(bring(gate, store, from, head).await?)),
        Call::Pull(Pull { body, from: begin, len }) => {
            Counts::add(&gate.counts().fetches);
            // These bytes go out unchecked: the caller has the digest, and takes nothing that does not fit it.
            Ok(Answer::Bytes(ask(&store.read_sealed, ReadSealed { body, from: begin, len }).await?))
        }
    }
}

/// Takes note of how the caller stands, and says how this node does.
async fn heartbeat(gate: &PeerGate, session: &Admitted, pulse: Box<Pulse>) -> Result<Answer, LinkError> {
    Counts::add(&gate.counts().heartbeats);
    let (from, node_view) = (session.from(), gate.node_view());
    // A heartbeat speaks for the node at the other end of the session, and for no other.
    if pulse.incarnation == from.incarnation {
        node_view.reach.came(&from.name, from.incarnation, Instant::now());
        node_view.lists.heard(&from.name, node_view.ballots.voting().list, pulse.list);
        // The start is remembered durably before it is answered: from then on an older copy of it shows.
        node_view.meet(from, &pulse).await?;
        session.says(pulse.standing.start);
        node_view.keys.heard(&from.name, pulse.incarnation, pulse.keys);
    }
    Ok(Answer::Pulse(Box::new(node_view.pulse(&from.name))))
}

/// Says what this node wants of the changes that the caller has.
async fn offer(
    gate: &PeerGate,
    store: &StoreRecipients,
    session: &Admitted,
    offered: Vec<Offered>,
) -> Result<Answer, LinkError> {
    Counts::add(&gate.counts().offers);
    remembers(gate, session)?;
    has_place(gate, session.from().incarnation)?;
    let offers = offered.into_iter().map(|Offered { key, ballot, blob }| Offer { key, ballot, blob }).collect();
    let wants = ask(&store.compare_offers, CompareOffers { offers }).await?;
    Ok(Answer::Wants(wants.into_iter().map(wanted).collect()))
}

/// Takes over chosen records; answered when they are durable.
async fn learn(
    gate: &PeerGate,
    store: &StoreRecipients,
    session: &Admitted,
    epoch: Epoch,
    records: Vec<(RegisterKey, Arc<Record>)>,
) -> Result<Answer, LinkError> {
    Counts::add(&gate.counts().learns);
    remembers(gate, session)?;
    let own = |record: Arc<Record>| Arc::try_unwrap(record).unwrap_or_else(|shared| (*shared).clone());
    let records = records.into_iter().map(|(key, record)| (key, own(record))).collect();
    // The committer refuses records of an earlier epoch: their tombstone may have been dropped since.
    ask(&store.learn_records, LearnRecords { records, from: session.from().incarnation, epoch }).await?;
    Ok(Answer::Done)
}

/// Casts this node's votes; answered when all that the replies rest on is durable.
async fn vote(
    gate: &PeerGate,
    store: &StoreRecipients,
    session: &Admitted,
    mark: ListMark,
    votes: Vec<wire::Vote>,
) -> Result<Answer, LinkError> {
    Counts::add(&gate.counts().votes);
    same_list(gate, &session.from().name, mark)?;
    has_met(gate, session)?;
    // The caller named the records that it holds: those do not travel back.
    let have: Vec<_> = votes.iter().map(|vote| vote.have).collect();
    let checked = |wire::Vote { key, message, .. }| Vote { key, message: without_wrong_body(message) };
    let votes = votes.into_iter().map(checked).collect();
    let replies = ask(&store.cast_here, CastHere { votes }).await?;
    let mut room = LEARN_BYTES_MAX;
    let voted = replies.into_iter().zip(have).map(|(reply, have)| {
        let voted = Voted::of(reply?, have);
        // What does not fit is asked again.
        room = room.checked_sub(voted.weight())?;
        Some(voted)
    });
    Ok(Answer::Voted(voted.collect()))
}

/// A small body that is not what its record says counts as one that did not come.
fn without_wrong_body(mut message: Message<Arc<Record>>) -> Message<Arc<Record>> {
    if let Request::Store(_, state, _) | Request::Learn(_, state) = &mut message.request
        && let Some(record) = &mut state.value
        && let Some((object, sealed)) = record.object().and_then(|object| Some((object, object.in_hand()?)))
        && digest_of(sealed) != object.digest
        && Arc::make_mut(record).set_in_hand(None).is_ok()
    {
        log::warn!("a small body came that is not what its record says: left aside");
    }
    message
}

/// A page of what this node holds.
async fn scan(
    gate: &PeerGate,
    store: &StoreRecipients,
    session: &Admitted,
    Scan { mark, from, inclusive, to, limit }: Scan,
) -> Result<Answer, LinkError> {
    let page =
        async { ask(&store.scan_slots, ScanSlots { from: begin(from, inclusive), to, limit: most(limit) }).await };
    Counts::add(&gate.counts().scans);
    let page = counted(gate, session, mark, page).await?;
    let scanned = |(key, slot): (_, Slot<_>)| Some(Scanned { key, ballot: slot.accepted, chosen: slot.chosen });
    Ok(Answer::Scanned(page.map(scanned)))
}

/// What a list shows of what this node holds.
async fn show(
    gate: &PeerGate,
    store: &StoreRecipients,
    session: &Admitted,
    Show { mark, folds, from, inclusive, to, limit, closed }: Show,
) -> Result<Answer, LinkError> {
    let in_items = folds.delimiter().is_some() || closed.is_some();
    let asked = ShowSlots { folds, from: begin(from, inclusive), to, limit: most(limit) };
    let page = async {
        // First: what is stored once it is closed here is nothing that a deletion could miss.
        if let Some(closed) = closed
            && !ask(&store.holds_closed, HoldsClosed(closed)).await?
        {
            return Ok(None);
        }
        ask(&store.show_slots, asked).await.map(Some)
    };
    Counts::add(&gate.counts().scans);
    let Some(page) = counted(gate, session, mark, page).await? else { return Ok(Answer::Shown(Shown::Open)) };
    let items = page.map(|(key, slot)| Some(blocks::item(key, &slot)));
    Ok(Answer::Shown(if in_items { Shown::Items(items) } else { Shown::Blocks(blocks::of(&items)) }))
}

fn begin(from: RegisterKey, inclusive: bool) -> Bound<RegisterKey> {
    if inclusive { Bound::Included(from) } else { Bound::Excluded(from) }
}

fn most(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(ENTRIES_MAX).min(ENTRIES_MAX)
}

/// A page, or a sum, that counts as this node's vote on all that it says.
async fn counted<T>(
    gate: &PeerGate,
    session: &Admitted,
    mark: ListMark,
    page: impl Future<Output = Result<T, LinkError>>,
) -> Result<T, LinkError> {
    let from = &session.from().name;
    same_list(gate, from, mark)?;
    has_met(gate, session)?;
    let page = page.await?;
    // In a later epoch tombstones may have been dropped meanwhile that the asker, in this one, does not know of.
    same_list(gate, from, mark)?;
    Ok(page)
}

/// Whether a peer is to send a body.
async fn bring(gate: &PeerGate, store: &StoreRecipients, from: &PeerInfo, head: BlobRef) -> Result<Bring, LinkError> {
    match ask(&store.open_outgoing, OpenOutgoing { body: head.body }).await {
        // Whatever has a blob's name was checked before it got that.
        Ok(there) if there.sealed_len() == head.sealed_len => return Ok(Bring::There),
        Ok(_) | Err(LinkError::Store(StoreError::NoSuchKey)) => {}
        Err(error) => return Err(error),
    }
    // Said before it travels.
    gate.node_view().ballots.check_fits(head.sealed_len)?;
    let arriving = gate.arrivals().offered(head.body, from.incarnation, Instant::now());
    Ok(arriving.map_or(Bring::Send, Bring::Arriving))
}

/// Nodes of different member lists exchange no votes: nobody could say whose count.
fn same_list(gate: &PeerGate, from: &NodeName, mark: ListMark) -> Result<(), LinkError> {
    if gate.node_view().ballots.voting().list == mark {
        return Ok(());
    }
    gate.node_view().lists.refused_here(from);
    Err(LinkError::OtherList)
}

/// No vote passes to a node that has forgotten what it had promised, or from one, before the two have told each other
/// what they remember.
fn has_met(gate: &PeerGate, session: &Admitted) -> Result<(), LinkError> {
    let start = has_said(session)?;
    match gate.node_view().ballots.is_met(session.from().incarnation, start) {
        true => Ok(()),
        false => Err(LinkError::NotMet),
    }
}

/// Nothing passes between two lives of a cluster: the caller has said, in this session, which it is of.
fn has_said(session: &Admitted) -> Result<Start, LinkError> {
    session.start().ok_or(LinkError::NotMet)
}

/// Nothing is learned from a node that has forgotten what it had said, an older copy of a directory: it may hold what
/// was deleted and forgotten by everybody else.
fn remembers(gate: &PeerGate, session: &Admitted) -> Result<(), LinkError> {
    has_said(session)?;
    match gate.node_view().lists.has_forgotten(&session.from().name) {
        false => Ok(()),
        true => Err(LinkError::NotMet),
    }
}

/// A node without a place has its offers refused, so that their bodies need not travel. The store judges that again.
fn has_place(gate: &PeerGate, from: Incarnation) -> Result<(), LinkError> {
    let (voting, me) = (gate.node_view().ballots.voting(), gate.node_view().me.incarnation);
    if voting.node.roster.as_ref().is_some_and(|list| list.is_stranger(me, from)) {
        Err(LinkError::OtherList)
    } else {
        Ok(())
    }
}

fn wanted(want: Want) -> Wanted {
    match want {
        Want::Nothing => Wanted::Nothing,
        Want::Record => Wanted::Record,
        Want::BlobAndRecord => Wanted::BlobAndRecord,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::testing::record;
    use crate::base::{Lineage, State};
    use crate::register::{Attempt, Traced, Under};

    #[test]
    fn a_small_body_that_is_not_what_its_record_says_counts_as_one_that_did_not_come() {
        let mut other = Arc::unwrap_or_clone(record(5));
        let State::Object(object) = &mut other.state else { panic!("an object") };
        object.digest[0] ^= 1;
        for (record, comes) in [(record(5), true), (Arc::new(other), false)] {
            let state = Traced { lineage: Lineage::NOTHING, value: Some(Arc::clone(&record)) };
            let requests =
                [Request::Store(record.ballot, state.clone(), Under::default()), Request::Learn(record.ballot, state)];
            for request in requests {
                let message = without_wrong_body(Message { epoch: Epoch(1), attempt: Attempt(1), request });
                let (Request::Store(_, state, _) | Request::Learn(_, state)) = message.request else {
                    panic!("a state")
                };
                let came = state.value.expect("a record");
                assert_eq!((came.in_hand().is_some(), &came), (comes, &record));
            }
        }
    }
}
