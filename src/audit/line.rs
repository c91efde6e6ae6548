//! One line: what is written of a change, a refusal, or the node itself.
//!
//! Invariants
//! - No secret is ever in a line: it has no place for one, and whoever fills `change` gives grants, names and states.
//! - A line is JSON, and a reader passes over members that it does not know.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who calls when nobody is known to.
pub const ANONYMOUS: &str = "anonymous";
/// Who acts when nobody asked: the node itself.
pub const NODE: &str = "node";
/// Who acts on a directory that no node uses: whoever runs a command there.
pub const OPERATOR: &str = "operator";

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A change is about to be made; a line with the same `request` says how it went. Where none follows, nobody knows:
    /// the node or the connection ended first.
    Asked,
    /// It was done.
    Done,
    /// The caller may not.
    Refused,
    /// It was tried, and `code` says why it was not done.
    Failed,
}

impl Outcome {
    /// As the line has it.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Asked => "asked",
            Outcome::Done => "done",
            Outcome::Refused => "refused",
            Outcome::Failed => "failed",
        }
    }
}

/// What became another thing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Change {
    /// How it was.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub old: Value,
    /// How it is.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub new: Value,
}

/// A line of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When, by the clock of the node: RFC 3339, in milliseconds, UTC.
    pub time: String,
    /// On which node.
    pub node: String,
    /// The id of the request, as its answer carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The id of the access key by which it was asked, or one of `ANONYMOUS`, `NODE`, `OPERATOR`.
    pub actor: String,
    /// Whether it was asked by a link that the key of `actor` has signed, by whoever was given it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_link: bool,
    /// The id that a caller named who was not let in by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claims: Option<String>,
    /// From which address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What was to be done, as `bucket:create`.
    pub action: String,
    /// To what: a bucket, an object, the id of a key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub target: String,
    /// How it went.
    pub outcome: Outcome,
    /// The status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The code of an answer that says why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What became another thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// How many refusals this line stands for, where it is more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
}

impl Line {
    /// A line of what was done by somebody; whoever writes it knows the node and the time.
    pub fn of(actor: &str, action: &str, outcome: Outcome) -> Self {
        Line {
            time: String::new(),
            node: String::new(),
            request: None,
            actor: actor.to_owned(),
            by_link: false,
            claims: None,
            address: None,
            action: action.to_owned(),
            target: String::new(),
            outcome,
            status: None,
            code: None,
            change: None,
            count: None,
        }
    }

    /// The same with a target.
    pub fn at(mut self, target: impl Into<String>) -> Self {
        self.target = target.into();
        self
    }

    /// The same with what there is now.
    pub fn with_new(mut self, new: Value) -> Self {
        self.change = Some(Change { old: Value::Null, new });
        self
    }

    /// The bytes that are sealed.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and JSON values become JSON")
    }

    /// Reads what `encode` made; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_survives_the_trip_and_grows_members_later() {
        let line =
            Line::of("A", "access:create", Outcome::Done).at("B").with_new(serde_json::json!({ "grants": ["*:read"] }));
        assert_eq!(Line::decode(&line.encode()), Some(line.clone()));
        let mut json: Value = serde_json::from_slice(&line.encode()).expect("JSON");
        assert_eq!(json.as_object().map(serde_json::Map::len), Some(7), "what is not said is not there: {json}");
        json["weather"] = "fair".into();
        assert_eq!(Line::decode(json.to_string().as_bytes()), Some(line));
        assert_eq!(Line::decode(b"{}"), None);
    }
}
