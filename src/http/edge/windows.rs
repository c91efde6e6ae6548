//! Permits for bodies: how many bytes of one may be in memory at once.
//!
//! Invariants
//! - No more than the window of a permit is in memory: one piece at the store, one being gathered; or, when permits are
//!   short, one piece in all.
//! - Who waits for a permit waits in line, and at most for its turn's time: then the answer is 503.

use super::errors::HttpError;
use super::pieces::LARGE_BUFFER_BYTES;
use super::settings::HttpSettings;
use super::worker::Shared;
use crate::actors::messages::{PIECE_BYTES, upload_holds};
use crate::base::{Budget, LARGE_BODY_BYTES, Permit};
use std::time::Duration;
use tokio::time::timeout;

/// Most bytes of one upload that are in memory at once.
const WINDOW_BYTES: u64 = 2 * PIECE_BYTES as u64;
/// Least that a request's permit counts for its body.
const PERMIT_BYTES_MIN: u64 = 4096;

/// The right to move one body, and how.
pub struct Window {
    pub(super) permit: Permit,
    /// Whether a second piece may be in memory while the first one is worked on.
    pub(super) ahead: bool,
    /// Whether pieces may be large.
    pub(super) large: bool,
}

/// A window for a body of that length, or the refusal. When permits are short a large body gets a
/// window of one piece: slower, but under way. When there are none, a body waits for its turn for `turn_max`.
pub async fn window_for(budget: &Budget, len: Option<u64>, turn_max: Duration) -> Result<Window, HttpError> {
    window_beside(budget, len, 0, turn_max).await
}

/// A window for a body beside which `more` bytes are held.
async fn window_beside(budget: &Budget, len: Option<u64>, more: u64, turn_max: Duration) -> Result<Window, HttpError> {
    let bytes = len.map_or(WINDOW_BYTES, |len| len.clamp(PERMIT_BYTES_MIN, WINDOW_BYTES));
    let first = !budget.is_waited_for();
    if first && let Some(permit) = budget.take(bytes + more) {
        return Ok(Window { permit, ahead: true, large: false });
    }
    let least = bytes.min(PIECE_BYTES as u64);
    let permit = claim(budget, least + more, turn_max).await?;
    Ok(Window { permit, ahead: least == bytes, large: false })
}

/// A permit for so many bytes, waited for; `SlowDown` at once where too many requests wait or work already.
pub async fn claim(budget: &Budget, bytes: u64, turn_max: Duration) -> Result<Permit, HttpError> {
    match timeout(turn_max, budget.claim(bytes)).await {
        Ok(permit) => permit.ok_or(HttpError::SlowDown),
        Err(_) => {
            budget.refuse();
            Err(HttpError::SlowDown)
        }
    }
}

/// A window for a body to be stored. With large buffers, a large one gets large pieces, which cost the processor less,
/// as long as others have room beside it: two, as one connection alone is faster with, or one, as many are as fast
/// with. What does not fit a record is written from memory of its own, which counts too.
pub async fn upload_window_for(shared: &Shared, len: Option<u64>) -> Result<Window, HttpError> {
    let HttpSettings { inline_max, segment_max, large_buffers, turn_max, .. } = *shared.settings;
    let more = if len.is_some_and(|len| len <= inline_max as u64) { 0 } else { upload_holds(len, segment_max) };
    upload_window(&shared.budget, len, large_buffers, more, turn_max).await
}

async fn upload_window(
    budget: &Budget,
    len: Option<u64>,
    large: bool,
    more: u64,
    turn_max: Duration,
) -> Result<Window, HttpError> {
    const PIECE: u64 = LARGE_BUFFER_BYTES as u64;
    let large = large && len.is_some_and(|len| len >= LARGE_BODY_BYTES);
    let level = budget.level();
    for (pieces, part) in [(2, 16), (1, 2)] {
        if large
            && level.bytes + pieces * PIECE <= level.bytes_max / part
            && let Some(permit) = budget.take(pieces * PIECE)
        {
            return Ok(Window { permit, ahead: pieces > 1, large });
        }
    }
    window_beside(budget, len, more, turn_max).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    #[tokio::test]
    async fn short_permits_narrow_the_window_before_they_refuse() {
        let piece = PIECE_BYTES as u64;
        let budget = Budget::new(10, 4 * piece - 1);
        let first = window_for(&budget, None, AT_ONCE).await.unwrap();
        let second = window_for(&budget, Some(100 * piece), AT_ONCE).await.unwrap();
        assert_eq!((first.ahead, second.ahead), (true, false));
        assert!(window_for(&budget, None, AT_ONCE).await.is_err());
        let small = window_for(&budget, Some(100), AT_ONCE).await.unwrap();
        assert!(small.ahead);
        assert_eq!((budget.level().bytes, budget.level().refused), (3 * piece + PERMIT_BYTES_MIN, 1));
        drop((first, second, small));
        assert_eq!(budget.level().bytes, 0);
        let full = Budget::new(10, piece / 2);
        assert!(window_for(&full, Some(piece), AT_ONCE).await.is_err());
        assert!(window_for(&full, Some(piece / 2), AT_ONCE).await.unwrap().ahead);
    }

    #[tokio::test]
    async fn a_body_waits_for_its_turn() {
        let piece = PIECE_BYTES as u64;
        let budget = Budget::new(10, piece);
        let held = window_for(&budget, Some(piece), AT_ONCE).await.unwrap();
        let mut next = Box::pin(window_for(&budget, Some(piece), Duration::from_secs(60)));
        assert!(futures::poll!(&mut next).is_pending());
        drop(held);
        assert!(next.await.unwrap().ahead);
    }

    #[tokio::test]
    async fn large_bodies_get_large_pieces_while_there_is_room_for_others() {
        let piece = LARGE_BUFFER_BYTES as u64;
        let budget = Budget::new(100, 32 * piece);
        let window = async |len, large| upload_window(&budget, len, large, 7, AT_ONCE).await.unwrap();
        let mut windows = Vec::new();
        for _ in 0..20 {
            windows.push(window(Some(LARGE_BODY_BYTES), true).await);
        }
        let kinds: Vec<_> = windows.iter().map(|window| (window.large, window.ahead)).collect();
        assert_eq!(kinds[..1], [(true, true)], "a sixteenth of the bytes");
        assert_eq!(kinds[1..15], [(true, false); 14], "half of them");
        assert_eq!(kinds[15..], [(false, true); 5]);
        assert_eq!(budget.level().bytes, 16 * piece + 5 * (WINDOW_BYTES + 7));
        drop(windows);
        for (len, large) in [(Some(LARGE_BODY_BYTES), false), (Some(LARGE_BODY_BYTES - 1), true), (None, true)] {
            let plain = window(len, large).await;
            assert!(plain.ahead && !plain.large && budget.level().bytes == WINDOW_BYTES + 7, "{len:?}, {large}");
        }
    }
}
