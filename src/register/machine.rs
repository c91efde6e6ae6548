//! Machine: what a coordinator decides with, a write or a read, as whoever drives it sees it.
//!
//! Invariants
//! - A machine does nothing by itself: it is begun, hears events, and pushes the actions that follow.
//! - `Action::Done` comes once, and last; behind it a machine wants nothing more.
//! - A round that is over, lost or superseded, hears no more events but `Event::Holds`.

use super::bucket::Known;
use super::members::Members;
use super::message::{Attempt, Message, Reply};
use crate::base::{Ballot, BodyId, Epoch, Incarnation, WriteId};
use std::sync::Arc;

/// Decides one write or one read of a register, round by round.
pub trait Machine<R> {
    /// What comes out when it has ended.
    type End;

    /// Begins a round: at the start, after `Action::Retry`, after `renew`.
    fn begin(&mut self, fresh: Fresh, out: &mut Vec<Action<R, Self::End>>);

    /// Takes in an event.
    fn on(&mut self, event: Event<R>, out: &mut Vec<Action<R, Self::End>>);

    /// Takes a later member list; the next round uses it. An earlier one changes nothing.
    fn renew(&mut self, members: Arc<Members>);

    /// The bucket of its register is gone for good, and nothing under it is seen again: it ends with what is known, or
    /// wants another round to know more.
    fn shut(&mut self, out: &mut Vec<Action<R, Self::End>>);

    /// Its time is up: it ends with what is known.
    fn deadline(&mut self, out: &mut Vec<Action<R, Self::End>>);

    /// Whether something was sent to be stored whose end it does not know.
    fn at_stake(&self) -> bool;

    /// Who votes in its next round.
    fn members(&self) -> &Members;
}

/// What a coordinator draws for each round: it has no randomness and no clock of its own.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// From a `StampClock`, after everything that came in was observed.
    pub ballot: Ballot,
    /// Names the round in every message and answer: 8 random bytes.
    pub attempt: Attempt,
    /// The id of the new record, should this round store one: `WriteId::drawn`.
    pub write: WriteId,
    /// The generation of the bucket that is decided under; anything where there is none.
    pub generation: u64,
}

/// What a coordinator's machine hears.
#[derive(Clone, Debug)]
pub enum Event<R> {
    /// An answer came in.
    Reply(Reply<R>),
    /// This peer will not answer that message: its link is down, or the send failed.
    Silent {
        /// The replica that did not answer, or could not be asked.
        from: Incarnation,
        /// The attempt of the message.
        attempt: Attempt,
    },
    /// The round has taken too long.
    Expired {
        /// The attempt that the round began with.
        attempt: Attempt,
    },
    /// A replica holds this blob, durable and checked.
    Holds {
        /// The replica that holds it now.
        node: Incarnation,
        /// The blob, durable and checked there.
        body: BodyId,
    },
    /// A replica that refused for the sake of the bucket was told what is known of it: it is asked again.
    Taught {
        /// The replica.
        node: Incarnation,
        /// The attempt of the message that it refused.
        attempt: Attempt,
    },
    /// A replica that refused for the sake of the bucket may know more of it than this node does.
    Fenced {
        /// The replica.
        node: Incarnation,
        /// The attempt of the message that it refused.
        attempt: Attempt,
    },
    /// A blob did not get to a replica that lacks it.
    Lacks {
        /// The replica, which refuses the record of the blob.
        node: Incarnation,
        /// The blob that it has not got.
        body: BodyId,
    },
}

/// What a coordinator's machine wants done, in this order.
#[derive(Clone, Debug)]
pub enum Action<R, O> {
    /// Send this. It may be lost; whoever knows that it was says `Event::Silent`.
    Send {
        /// To whom; often this node itself.
        to: Incarnation,
        /// The message, with the epoch and the attempt that its answer has to name.
        message: Message<R>,
    },
    /// Send the blob of this record, then say `Event::Holds`; or `Event::Lacks`.
    Ship {
        /// The replica that refused the record for want of it.
        to: Incarnation,
        /// Names the blob, which the sender may have to fetch first.
        body: BodyId,
        /// The record that is being stored.
        record: R,
    },
    /// A replica refused for what it knows of the bucket: teach it, where it is behind, and say `Event::Taught`; or say
    /// `Event::Fenced`. See `fence::remedy`.
    Teach {
        /// The replica.
        to: Incarnation,
        /// What it knows of the bucket.
        known: Known,
        /// The attempt of the message that it refused.
        attempt: Attempt,
    },
    /// Call `begin` with a fresh ballot, after a backoff when `tries` is not 0.
    Retry {
        /// Rounds that failed so far.
        tries: u32,
    },
    /// Call `renew` with the member list of this epoch or a later one, then `begin`.
    Renew {
        /// The epoch that a replica answered from.
        epoch: Epoch,
    },
    /// The end: answer the client. Nothing comes after it.
    Done(O),
}

impl<R, O> Action<R, O> {
    /// The same action with another kind of end.
    pub fn map<P>(self, end: impl FnOnce(O) -> P) -> Action<R, P> {
        match self {
            Action::Send { to, message } => Action::Send { to, message },
            Action::Ship { to, body, record } => Action::Ship { to, body, record },
            Action::Teach { to, known, attempt } => Action::Teach { to, known, attempt },
            Action::Retry { tries } => Action::Retry { tries },
            Action::Renew { epoch } => Action::Renew { epoch },
            Action::Done(outcome) => Action::Done(end(outcome)),
        }
    }
}
