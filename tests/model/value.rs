//! What the model's register holds, and what its clients want.

use crate::lin::{Condition, Held};
use boveda::base::{BodyId, Epoch};
use boveda::register::{Choice, Intent, Listed, Traced, Value};

/// A small record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Val {
    Gone,
    Here {
        id: u8,
        blob: bool,
    },
    /// A member list, by its place among the world's.
    #[allow(dead_code)] // The exhaustive model has one list, on no register.
    List {
        epoch: Epoch,
        at: usize,
    },
}

impl Value for Val {
    fn blob(&self) -> Option<BodyId> {
        match *self {
            Val::Here { id, blob: true } => Some(BodyId([id; 16])),
            Val::Here { .. } | Val::Gone | Val::List { .. } => None,
        }
    }

    fn tombstone(&self) -> bool {
        *self == Val::Gone
    }

    fn ended(&self) -> Self {
        Val::Gone
    }
}

impl Listed for Val {
    fn list_epoch(&self) -> Option<Epoch> {
        match *self {
            Val::List { epoch, .. } => Some(epoch),
            Val::Here { .. } | Val::Gone => None,
        }
    }
}

/// What a client sees of it.
pub fn seen(value: Option<&Val>) -> Held {
    match value {
        Some(Val::Here { id, .. }) => Some(u32::from(*id)),
        Some(Val::Gone | Val::List { .. }) | None => None,
    }
}

/// What a client sees of a state.
pub fn held(state: &Traced<Val>) -> Held {
    seen(state.value.as_ref())
}

/// What a writing client wants.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub value: Val,
    pub condition: Condition,
}

impl Intent<Val> for Plan {
    fn decide(&self, found: Option<&Val>) -> Choice<Val> {
        let there = seen(found);
        match self.value {
            Val::Gone if there.is_none() => Choice::Keep,
            _ if self.condition.holds(there) => Choice::Put(self.value),
            _ => Choice::Refuse,
        }
    }
}
