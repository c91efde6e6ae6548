//! Chance, by a seed: same seed, same numbers.

/// A small generator of pseudo-random numbers, for simulations and tests only. Same seed, same numbers.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator; seeds next to each other give unlike sequences.
    pub fn new(seed: u64) -> Self {
        Rng(seed)
    }

    /// The next number: a counter in steps of the golden ratio, stirred.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// A number below `end`; 0 when `end` is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next().checked_rem(end).unwrap_or(0)
    }
}

/// The share of changes that survive: all, none, or a drawn one, so that the corners are met often.
#[derive(Clone, Copy)]
pub struct Keep(u64);

impl Keep {
    const WHOLE: u64 = 16;

    pub fn draw(rng: &mut Rng) -> Self {
        Keep(match rng.below(6) {
            0 => 0,
            1 => Self::WHOLE,
            2 => Self::WHOLE - 1,
            _ => 1 + rng.below(Self::WHOLE - 1),
        })
    }

    pub fn has(self, rng: &mut Rng) -> bool {
        rng.below(Self::WHOLE) < self.0
    }
}
