//! What people read of the generations of the cluster's key.
//!
//! Whatever a node said, what is printed cannot steer a terminal.

use super::plain::plain;
use serde_json::Value;

/// A generation of the key ring, and what it does here.
pub fn generation(key: &Value) -> String {
    let (waits, needed, keys) = (names(key, "waits_for"), names(key, "needed_by"), count(key, "references"));
    let role = match (flag(key, "active"), flag(key, "removable")) {
        (true, _) => format!("seals and opens; {keys} keys"),
        (false, true) => "opens; no member needs it: its file may go".to_owned(),
        (false, false) if !needed.is_empty() => format!("opens; {keys} keys here; needed by {needed}"),
        (false, false) if waits.is_empty() => "opens; 'boveda key rotate' has it seal".to_owned(),
        (false, false) => format!("opens; cannot seal before these open it: {waits}"),
    };
    format!("generation {}  id {}  {role}", count(key, "number"), text(key, "id"))
}

/// What keeps a generation from being made the one that seals.
pub fn attention(key: &Value) -> Option<String> {
    let (number, waits, clashes) = (count(key, "number"), names(key, "waits_for"), names(key, "clashes_with"));
    match (clashes.is_empty(), waits.is_empty()) {
        (true, true) => None,
        (true, false) => {
            Some(format!("key generation {number} cannot seal yet: put its file into the key directories of {waits}"))
        }
        (false, _) => Some(format!(
            "key generation {number} here is another key than that of {clashes}: it was made on several nodes, and has to \
             be made on one; docs/operations.md, \"Two keys of one number\", says which to keep"
        )),
    }
}

/// How far a rotation has come: of the generations older than the one that seals, keys left here and who needs them.
pub fn progress(keys: &Value) -> String {
    let left = keys.pointer("/resealing/left").and_then(Value::as_u64).unwrap_or(0);
    let mut needed: Vec<String> = older(keys).flat_map(|key| all_names(key, "needed_by")).collect();
    needed.sort();
    needed.dedup();
    format!("{left} keys left on this node; older generations are needed by {}", needed.join(" "))
}

/// Whether the node seals under the generation of that number, or a newer one, and no member needs an older one. It hears
/// of a decision a moment after it was made, perhaps.
pub fn is_done(keys: &Value, decided: u64) -> bool {
    active(keys) >= decided && older(keys).all(|key| flag(key, "removable"))
}

/// The generations that are older than the one that seals.
pub fn older(keys: &Value) -> impl Iterator<Item = &Value> {
    let active = active(keys);
    all(keys).filter(move |key| number(key).is_some_and(|number| number < active))
}

fn all(keys: &Value) -> impl Iterator<Item = &Value> {
    keys.get("generations").and_then(Value::as_array).into_iter().flatten()
}

/// The number of the generation that seals; zero where none is said to.
fn active(keys: &Value) -> u64 {
    all(keys).find(|key| flag(key, "active")).and_then(number).unwrap_or(0)
}

fn number(key: &Value) -> Option<u64> {
    key.get("number").and_then(Value::as_u64)
}

fn count(of: &Value, name: &str) -> String {
    of.get(name).and_then(Value::as_u64).map_or_else(|| "-".to_owned(), |n| n.to_string())
}

fn text(of: &Value, name: &str) -> String {
    plain(of.get(name).and_then(Value::as_str).unwrap_or("-"))
}

fn flag(of: &Value, name: &str) -> bool {
    of.get(name).and_then(Value::as_bool) == Some(true)
}

fn all_names(of: &Value, name: &str) -> Vec<String> {
    of.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(plain).collect()
}

fn names(of: &Value, name: &str) -> String {
    all_names(of, name).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_generation_says_what_may_become_of_it() {
        let first = json!({ "number": 1, "id": "aa", "references": 7, "needed_by": ["n1", "n2\u{1b}"] });
        let gone = json!({ "number": 1, "id": "aa", "references": 0, "removable": true });
        let active = json!({ "number": 2, "id": "bb", "active": true, "references": 9 });
        let waits = json!({ "number": 3, "id": "cc", "waits_for": ["n3"] });
        let ready = json!({ "number": 4, "id": "dd" });
        for (key, shown) in [
            (&first, "generation 1  id aa  opens; 7 keys here; needed by n1 n2?"),
            (&gone, "generation 1  id aa  opens; no member needs it: its file may go"),
            (&active, "generation 2  id bb  seals and opens; 9 keys"),
            (&waits, "generation 3  id cc  opens; cannot seal before these open it: n3"),
            (&ready, "generation 4  id dd  opens; 'boveda key rotate' has it seal"),
        ] {
            assert_eq!(generation(key), shown);
        }
        assert_eq!(attention(&ready), None);
        assert!(attention(&waits).is_some_and(|said| said.ends_with("key directories of n3")));
        let keys = |first: &Value| json!({ "generations": [first, active, waits], "resealing": { "left": 7 } });
        assert!(!is_done(&keys(&first), 2) && is_done(&keys(&gone), 2) && is_done(&keys(&gone), 1));
        assert!(!is_done(&keys(&gone), 3), "it was decided, and this node has not heard of it yet");
        assert_eq!(progress(&keys(&first)), "7 keys left on this node; older generations are needed by n1 n2?");
    }
}
