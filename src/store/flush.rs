//! Small bodies on their way out of the log: a checkpoint appends those of its layer to a segment, in the order in which
//! they were made, before the index names where they lie.
//!
//! Invariants
//! - The index names no place of a small body that is not durable.
//! - Until it does, the body is read from memory, and a start finds it in the log.
//! - What fails here changes nothing: the layer is still in the log, and the next checkpoint begins with it.

use super::claims::Flushed;
use super::core::Core;
use super::error::StoreError;
use super::overlay::Layer;
use super::segments::NewBody;

impl Core {
    /// Appends the small bodies of a layer to a segment, durably.
    pub(super) fn flush_small(&self, layer: &Layer) -> Result<Flushed, StoreError> {
        let new = |(of, sealed): &(_, bytes::Bytes)| NewBody { blob: *of, sealed: sealed.clone() };
        let placed = self.segments.append_all(layer.small.values().map(new).collect());
        let flushed = layer.small.keys().zip(placed).map(|(body, placed)| {
            let claim = placed.blocking_recv().unwrap_or(Err(StoreError::ShuttingDown))?;
            Ok((*body, claim))
        });
        flushed.collect::<Result<_, StoreError>>().map(Flushed::new)
    }
}

#[cfg(test)]
mod tests;
