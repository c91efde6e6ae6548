//! Small bodies, which answers do not bring: whoever has one gives it to who is to store its record again.

use super::world::World;
use boveda::base::{Incarnation, Record};
use boveda::store::incoming::Purpose;

impl World {
    /// Takes the body of a record to a node of the list that `at` votes under. Whether it is there now.
    pub fn ship(&self, at: usize, to: Incarnation, record: &Record) -> bool {
        let to = self.place(to).and_then(|to| self.voter(at, to));
        let (Some(blob), Some(to)) = (record.bodies().next(), to) else { return false };
        let mut voters = (0..self.nodes.len()).filter_map(|from| self.voter(at, from));
        let Some(sealed) = voters.find_map(|from| from.read_body(&blob).ok()) else { return false };
        let begun = to.begin_incoming(blob.body, Some(blob.sealed_len), Purpose::Copy);
        let mut incoming = begun.expect("a healthy disk");
        incoming.append(&[sealed]).and_then(|()| incoming.finish(blob)).is_ok()
    }
}
