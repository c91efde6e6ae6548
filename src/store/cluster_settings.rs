//! The settings that the nodes of a cluster decide on together: what may become of them.
//!
//! Invariant: the active key generation never goes back to an older one, and never to another one of the same number.

use crate::base::{ActiveKey, Record, SettingsRecord};
use crate::register::Choice;

/// What is wanted of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingsChange {
    /// This generation of the cluster's key seals from now on. Whether all members open it is for whoever asks to find
    /// out: it is not in the register.
    Activate(ActiveKey),
}

impl SettingsChange {
    /// What becomes of the settings that were found.
    pub fn decide(&self, found: Option<&Record>) -> Choice<SettingsRecord> {
        let found = found.and_then(Record::settings).cloned().unwrap_or_default();
        match self {
            SettingsChange::Activate(next) => match found.active {
                Some(now) if now == *next => Choice::Keep,
                Some(now) if now.number >= next.number => Choice::Refuse,
                Some(_) | None => Choice::Put(SettingsRecord { active: Some(*next) }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{KekId, State};
    use crate::store::mutation::proposed;

    #[test]
    fn a_generation_follows_an_older_one_and_nothing_else() {
        let key = |number, id| ActiveKey { number, kek: KekId([id; 16]) };
        let settings = |active| SettingsRecord { active };
        let decide = |found: Option<ActiveKey>, next| {
            let found = proposed(State::Settings(Box::new(settings(found))), 1);
            SettingsChange::Activate(next).decide(Some(&found))
        };
        let put = |key| Choice::Put(settings(Some(key)));
        assert_eq!(SettingsChange::Activate(key(2, 2)).decide(None), put(key(2, 2)));
        assert_eq!(decide(None, key(2, 2)), put(key(2, 2)));
        assert_eq!(decide(Some(key(2, 2)), key(4, 4)), put(key(4, 4)), "a number may be left out");
        assert_eq!(decide(Some(key(2, 2)), key(2, 2)), Choice::Keep);
        assert_eq!(decide(Some(key(2, 2)), key(2, 9)), Choice::Refuse, "another key of the same number");
        assert_eq!(decide(Some(key(3, 3)), key(2, 2)), Choice::Refuse, "an older one");
    }
}
