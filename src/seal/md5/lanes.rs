//! Several MD5s, block by block: each step of one stands beside the same step of the others.
//!
//! Two or three are interleaved in the registers of a core that has room for them; four, the compiler makes one vector of.
//! There is nothing of a particular processor in it. What that comes to: docs/adr/0052-md5-in-lockstep.md.

use super::{BLOCK_BYTES, Work};
use std::array::from_fn;

/// Most that go together: more are no faster without wider vectors than every processor has.
pub const LANES_MAX: usize = 4;

/// The same word of several messages.
type Lanes<const N: usize> = [u32; N];

/// RFC 1321, section 3.4: the integer parts of 2^32 times the sine of 1, 2, 3 and so on, without its sign.
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];
/// By how many bits a round turns, step by step, over and over.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
/// Which word of a block the steps of a round take: the first one, and how far on the next one is.
const WORDS: [[usize; 2]; 4] = [[0, 1], [1, 5], [5, 3], [0, 7]];

/// Takes in of each as many blocks as all of them have ready, `most` at most.
pub fn advance(works: &mut [&mut Work], most: usize) {
    let blocks = works.iter_mut().map(|work| work.ready()).min().unwrap_or_default().min(most);
    match works {
        [a, b] => together([a, b], blocks),
        [a, b, c] => together([a, b, c], blocks),
        [a, b, c, d] => together([a, b, c, d], blocks),
        // One alone, and whoever has brought too many.
        works => works.iter_mut().for_each(|work| work.take(blocks)),
    }
}

fn together<const N: usize>(works: [&mut Work; N], blocks: usize) {
    let mut states: [Lanes<N>; 4] = from_fn(|word| from_fn(|lane| works[lane].md5.state[word]));
    let texts: [_; N] = from_fn(|lane| works[lane].blocks(blocks));
    (0..blocks).for_each(|at| compress(&mut states, from_fn(|lane| &texts[lane][at])));
    for (lane, work) in works.into_iter().enumerate() {
        work.md5.state = from_fn(|word| states[word][lane]);
        work.took(blocks);
    }
}

/// Takes in a block of each.
fn compress<const N: usize>(states: &mut [Lanes<N>; 4], blocks: [&[u8; BLOCK_BYTES]; N]) {
    let words: [Lanes<N>; 16] = from_fn(|word| from_fn(|lane| u32::from_le_bytes(blocks[lane].as_chunks().0[word])));
    let before = *states;
    let next = round::<N, 0>(before, &words, |b, c, d| d ^ (b & (c ^ d)));
    let next = round::<N, 1>(next, &words, |b, c, d| c ^ (d & (b ^ c)));
    let next = round::<N, 2>(next, &words, |b, c, d| b ^ c ^ d);
    let next = round::<N, 3>(next, &words, |b, c, d| c ^ (b | !d));
    *states = from_fn(|word| each(|lane| before[word][lane].wrapping_add(next[word][lane])));
}

/// A round of sixteen steps. They are written out, since a loop of them becomes no vector.
#[inline(always)]
fn round<const N: usize, const R: usize>(
    states: [Lanes<N>; 4],
    words: &[Lanes<N>; 16],
    mix: impl Fn(u32, u32, u32) -> u32 + Copy,
) -> [Lanes<N>; 4] {
    let states = four_steps::<N, R, 0>(states, words, mix);
    let states = four_steps::<N, R, 4>(states, words, mix);
    let states = four_steps::<N, R, 8>(states, words, mix);
    four_steps::<N, R, 12>(states, words, mix)
}

/// Four steps of round `R`, from step `FIRST` on: each word of the state once.
#[inline(always)]
fn four_steps<const N: usize, const R: usize, const FIRST: usize>(
    [a, b, c, d]: [Lanes<N>; 4],
    words: &[Lanes<N>; 16],
    mix: impl Fn(u32, u32, u32) -> u32 + Copy,
) -> [Lanes<N>; 4] {
    let step = |at: usize, a: Lanes<N>, b: Lanes<N>, c: Lanes<N>, d: Lanes<N>| -> Lanes<N> {
        let [first, on] = WORDS[R];
        let word = &words[(first + on * (FIRST + at)) % 16];
        let sine = SINES[16 * R + FIRST + at];
        each(|lane| {
            let mixed = mix(b[lane], c[lane], d[lane]).wrapping_add(a[lane]);
            let sum = mixed.wrapping_add(word[lane].wrapping_add(sine));
            sum.rotate_left(TURNS[R][at]).wrapping_add(b[lane])
        })
    };
    let a = step(0, a, b, c, d);
    let d = step(1, d, a, b, c);
    let c = step(2, c, d, a, b);
    let b = step(3, b, c, d, a);
    [a, b, c, d]
}

/// A word of each lane.
#[inline(always)]
fn each<const N: usize>(word: impl Fn(usize) -> u32) -> Lanes<N> {
    from_fn(word)
}
