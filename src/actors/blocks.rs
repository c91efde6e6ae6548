//! Blocks: what two nodes compare of a list, in place of all its names.
//!
//! Invariant: two blocks of the same registers are equal when both nodes hold these under the same ballots, and no more
//! of what is present between the first and the last of them.

use crate::actors::messages::RegisterSlot;
use crate::base::{Ballot, Page, RegisterKey};
use crate::seal::digest::BodyDigest;
use crate::wire::lists::{BLOCK_DIGEST_BYTES, BLOCK_ITEMS};
use crate::wire::{Block, Blocks, Item};

/// Whether there is something in a register.
pub fn is_present(slot: &RegisterSlot) -> bool {
    slot.state.value.as_ref().is_some_and(|record| record.is_present())
}

/// A register as a list tells it to others.
pub fn item(key: RegisterKey, slot: &RegisterSlot) -> Item {
    Item { key, ballot: slot.accepted, chosen: slot.chosen, present: is_present(slot) }
}

/// A page of items in blocks.
pub fn of(page: &Page<Item>) -> Blocks {
    let present: Vec<_> = page.entries.iter().filter(|item| item.present).collect();
    let blocks = present.chunks(BLOCK_ITEMS).filter_map(|some| {
        let digest = digest(some.iter().map(|item| (&item.key, item.ballot)));
        Some(Block { last: some.last()?.key.clone(), digest })
    });
    let unsettled = page.entries.iter().filter(|item| !item.chosen).cloned().collect();
    Blocks { blocks: blocks.collect(), unsettled, complete: page.complete.clone() }
}

/// The digest of registers and their ballots, in order: the first bytes of BLAKE3 over `length of the key (4) | key |
/// stamp (8) | node (8)` of each.
pub fn digest<'a>(items: impl Iterator<Item = (&'a RegisterKey, Ballot)>) -> [u8; BLOCK_DIGEST_BYTES] {
    let mut all = BodyDigest::new();
    for (key, ballot) in items {
        let key = key.as_bytes();
        all.update(&u32::try_from(key.len()).expect("a key is short").to_le_bytes());
        all.update(key);
        all.update(&ballot.stamp.0.to_le_bytes());
        all.update(&ballot.node.0.to_le_bytes());
    }
    let whole = all.finalize();
    std::array::from_fn(|at| whole[at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Incarnation, Stamp};
    use serde_json::Value;

    fn bytes(hex: &Value) -> Vec<u8> {
        let hex = hex.as_str().expect("hex");
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
    }

    fn key(hex: &Value) -> RegisterKey {
        RegisterKey::bound(&bytes(hex)).expect("a key")
    }

    #[test]
    fn what_the_protocol_page_says_is_what_is_told() {
        let fixture: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/list-blocks-v1.json")).expect("JSON");
        let pages = fixture["pages"].as_array().expect("pages");
        for page in pages {
            let item = |item: &Value| {
                let mut fields = item.as_str().expect("a text").split(' ');
                let key = key(&fields.next().expect("a key").into());
                let mut number = || fields.next().and_then(|text| text.parse().ok()).expect("a number");
                let ballot = Ballot { stamp: Stamp(number()), node: Incarnation(number()) };
                Item { key, ballot, chosen: true, present: true }
            };
            let items: Vec<Item> = page["items"].as_array().expect("items").iter().map(item).collect();
            let block = |block: &Value| {
                let digest = bytes(&block["digest"]).try_into().expect("16 bytes");
                Block { last: key(&block["last"]), digest }
            };
            let blocks: Vec<Block> = page["blocks"].as_array().expect("blocks").iter().map(block).collect();
            // A tombstone is in no block, and what is not known to be chosen is told besides.
            let mut told = items.clone();
            if let Some(first) = told.first_mut() {
                first.chosen = false;
                let tombstone = Item { present: false, ..first.clone() };
                told.insert(0, tombstone);
            }
            let unsettled: Vec<Item> = told.iter().take(2).filter(|item| !item.chosen).cloned().collect();
            assert_eq!(of(&Page::whole(told)), Blocks { blocks, unsettled, complete: Default::default() });
        }
        assert_eq!(pages.len(), 3);
    }
}
