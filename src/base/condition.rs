//! Conditions of writes: what must hold of the present state of an object for a write to take place.
//!
//! Invariant: a condition is judged on the entity tag of the state that the write replaces, and on
//! nothing older.

/// What `If-Match` and `If-None-Match` of a write say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// There is an object, and it has one of these tags.
    pub matches: Option<Tags>,
    /// There is no object, or it has none of these tags.
    pub differs: Option<Tags>,
}

/// A list of entity tags, without quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// Every tag: `*`. What is not there has none.
    Any,
    /// Any of these, in the form in which an ETag is answered.
    OneOf(Vec<String>),
}

impl Tags {
    fn has(&self, etag: &str) -> bool {
        match self {
            Tags::Any => true,
            Tags::OneOf(tags) => tags.iter().any(|tag| tag == etag),
        }
    }
}

impl Condition {
    /// No condition: whatever is there, the write may take place.
    pub const NONE: Condition = Condition { matches: None, differs: None };

    /// Whether anything is asked at all.
    pub fn is_none(&self) -> bool {
        self.matches.is_none() && self.differs.is_none()
    }

    /// Whether it holds of an object with this tag; `None` where there is none.
    pub fn holds(&self, etag: Option<&str>) -> bool {
        let matches = self.matches.as_ref().is_none_or(|tags| etag.is_some_and(|etag| tags.has(etag)));
        let differs = self.differs.as_ref().is_none_or(|tags| etag.is_none_or(|etag| !tags.has(etag)));
        matches && differs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_about_the_state_that_is_replaced() {
        let one = |tag: &str| Some(Tags::OneOf(vec!["x".into(), tag.into()]));
        for (matches, differs, there, absent) in [
            (None, None, true, true),
            (Some(Tags::Any), None, true, false),
            (one("e"), None, true, false),
            (one("f"), None, false, false),
            (None, Some(Tags::Any), false, true),
            (None, one("e"), false, true),
            (None, one("f"), true, true),
            (one("e"), one("f"), true, false),
            (one("e"), one("e"), false, false),
            (Some(Tags::OneOf(vec![])), None, false, false),
        ] {
            let condition = Condition { matches, differs };
            assert_eq!((condition.holds(Some("e")), condition.holds(None)), (there, absent), "{condition:?}");
        }
        assert!(Condition::NONE.is_none() && Condition::NONE.holds(None));
    }
}
