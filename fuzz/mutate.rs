//! Changed copies of inputs, the same for the same seed.

use boveda::disk::crash::Rng;

/// Numbers that decoders stumble over: lengths and counts at their borders.
const NUMBERS: [u64; 10] = [0, 1, 127, 255, 256, 4_096, 65_535, 0x7fff_ffff, 0xffff_ffff, u64::MAX];
/// Longest input that is made; lengths beyond are only named.
const INPUT_BYTES_MAX: usize = 16 * 1024;

/// One input, changed in a few places.
pub fn changed(inputs: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let below = |rng: &mut Rng, bound: usize| usize::try_from(rng.below(bound.max(1) as u64)).expect("small");
    let mut out = inputs[below(rng, inputs.len())].clone();
    for _ in 0..=rng.below(4) {
        let at = below(rng, out.len() + 1);
        match rng.below(7) {
            0 => out.truncate(at),
            1 => out.insert(at, rng.below(256) as u8),
            2 if at < out.len() => out[at] ^= 1 << rng.below(8),
            3 if at < out.len() => out[at] = rng.below(256) as u8,
            4 => {
                let number = NUMBERS[below(rng, NUMBERS.len())].to_le_bytes();
                let width = [1, 2, 4, 8][below(rng, 4)];
                let end = (at + width).min(out.len());
                out.splice(at..end, number[..width].iter().copied());
            }
            5 => {
                let other = &inputs[below(rng, inputs.len())];
                let from = below(rng, other.len() + 1);
                out.truncate(at);
                out.extend_from_slice(&other[from..]);
            }
            _ => {
                let (from, to) = (at, (at + 1 + below(rng, 16)).min(out.len()));
                let again = out[from..to].to_vec();
                out.splice(at..at, again);
            }
        }
    }
    out.truncate(INPUT_BYTES_MAX);
    out
}
