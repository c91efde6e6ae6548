//! (to come)
/// (to come)
#[derive(Debug)]
pub struct Download;
