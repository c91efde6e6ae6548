//! (to come)
/// (to come)
#[derive(Debug)]
pub struct Download;

impl Download {
    /// (to come)
    pub fn set_range(&mut self, _start: u64, _len: u64) {}
}
