//! Rules: the sentences of the contract that a test can switch off, one by one.
//!
//! The product runs `Rules::CONTRACT` and nothing else. Each sentence is here because leaving it
//! out breaks some history: `tests/model_register.rs` finds that history for every one of them.

use crate::base::Lineage;

/// Which sentences of the contract hold. All of them do, outside the model's own tests.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// After a restart the floor is the reserved stamp.
    pub floor_on_restart: bool,
    /// On entering an epoch the floor is the reserved stamp. It covers dropped tombstones a second time: leaving it out
    /// breaks a history only where dropping one does not raise the floor either.
    pub floor_on_enter: bool,
    /// The floor is applied to `Store` too.
    pub floor_in_store: bool,
    /// A stamp must be above the floor; a stamp equal to it is refused.
    pub floor_strict: bool,
    /// A ballot already promised is not promised again.
    pub promise_once: bool,
    /// `Store` is refused below the promise.
    pub promise_in_store: bool,
    /// `Learn` leaves the promise alone.
    pub learn_keeps_promise: bool,
    /// Promises are forgotten only by raising the floor above them.
    pub forget_raises_floor: bool,
    /// A new ballot clears the chosen mark.
    pub store_clears_mark: bool,
    /// A replica refuses an epoch lower than its own.
    pub epoch_refused: bool,
    /// A read returns chosen records only.
    pub read_chosen: bool,
    /// A chosen mark counts at the highest ballot only.
    pub mark_of_highest: bool,
    /// What is settled is the record found by the settling Prepare, never an earlier Query's.
    pub settle_prepared: bool,
    /// An answer without a write rests on a chosen record.
    pub rest_on_chosen: bool,
    /// A retry looks for its earlier attempts in the lineage of what it found.
    pub lineage_checked: bool,
    /// It does so in every later round.
    pub lineage_every_round: bool,
    /// A record that names neither the attempts nor anything that led to them says nothing: the outcome is unknown.
    pub neither_is_unknown: bool,
    /// A record below the attempt's ballot is judged by its lineage like any other.
    pub below_by_lineage: bool,
    /// An empty base is named by lineages like any other, and never across epochs.
    pub empty_base_by_lineage: bool,
    /// Success by lineage stores the found record again first, unless it is known to be chosen.
    pub lineage_stored_again: bool,
    /// Every attempt that stores a new record has an id of its own.
    pub id_per_attempt: bool,
    /// Answers are matched by attempt, not by ballot alone.
    pub match_attempt: bool,
    /// A majority is one of the configured voters, not of those that answered.
    pub majority_of_configured: bool,
    /// What was sent before its bucket went is looked for; shown by `tests/model_fence.rs`, as the next one is.
    pub sent_is_looked_for: bool,
    /// A tombstone behind the end of a bucket does not name what it takes the place of.
    pub ended_names_nothing: bool,
    /// Ids that a record carries: 1 to `Lineage::IDS_MAX`.
    pub lineage_ids: usize,
}

impl Rules {
    /// All rules on: what every node runs.
    pub const CONTRACT: Rules = Rules {
        floor_on_restart: true,
        floor_on_enter: true,
        floor_in_store: true,
        floor_strict: true,
        promise_once: true,
        promise_in_store: true,
        learn_keeps_promise: true,
        forget_raises_floor: true,
        store_clears_mark: true,
        epoch_refused: true,
        read_chosen: true,
        mark_of_highest: true,
        settle_prepared: true,
        rest_on_chosen: true,
        lineage_checked: true,
        lineage_every_round: true,
        neither_is_unknown: true,
        below_by_lineage: true,
        empty_base_by_lineage: true,
        lineage_stored_again: true,
        id_per_attempt: true,
        match_attempt: true,
        majority_of_configured: true,
        sent_is_looked_for: true,
        ended_names_nothing: true,
        lineage_ids: Lineage::IDS_MAX,
    };
}
