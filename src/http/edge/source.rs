//! Where the bytes of a body come from: a request, a part of a form, or what unwraps another source.

use super::errors::HttpError;
use crate::base::ExpectedSums;
use bytes::Bytes;

/// A body, chunk by chunk. An error anywhere ends it: whoever stores it drops what was stored so far.
pub trait Source {
    /// The next bytes; `None` after the last.
    async fn next(&mut self) -> Result<Option<Bytes>, HttpError>;

    /// What its sender says that all of it comes to; asked once, after the last bytes.
    fn expected(&self) -> ExpectedSums {
        ExpectedSums::default()
    }
}
