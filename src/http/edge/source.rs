//! Where the bytes of a body come from: a request, a part of a form, or what unwraps another source.

use super::errors::HttpError;
use crate::base::ExpectedSums;
use bytes::Bytes;

/// A body, chunk by chunk. An error anywhere ends it: whoever stores it drops what was stored so far.
pub trait Source {
    /// The next bytes; `None` after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError>;

    /// What the sums of its bytes must come to, as the sender says: asked once, after the source has told its end.
    fn expected(&self) -> ExpectedSums {
        ExpectedSums::default()
    }
}
