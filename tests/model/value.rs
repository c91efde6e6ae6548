//! What the model's register holds, and what its clients want.

use crate::lin::{Condition, Held};
use boveda::base::BodyId;
use boveda::register::{Choice, Intent, Traced, Value};

/// A small record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Val {
    Gone,
    Here { id: u8, blob: bool },
}

impl Value for Val {
    fn blob(&self) -> Option<BodyId> {
        match *self {
            Val::Here { id, blob: true } => Some(BodyId([id; 16])),
            Val::Here { .. } | Val::Gone => None,
        }
    }

    fn tombstone(&self) -> bool {
        *self == Val::Gone
    }
}

/// What a client sees of it.
pub fn seen(value: Option<&Val>) -> Held {
    match value {
        Some(Val::Here { id, .. }) => Some(u32::from(*id)),
        Some(Val::Gone) | None => None,
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
