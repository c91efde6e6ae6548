//! The decoders over the stored corpus, over what the encoders make, and over changed copies of both: nothing panics, and
//! what decodes encodes to the same bytes again.
//!
//! `BOVEDA_FUZZ_ROUNDS=100000 cargo test --release --test fuzz_corpus` looks at more; `BOVEDA_FUZZ_SEED` picks another course.

#[path = "../fuzz/mutate.rs"]
mod mutate;
#[path = "../fuzz/targets.rs"]
mod targets;

use boveda::disk::crash::Rng;
use mutate::changed;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use targets::{TARGETS, Target};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn corpus_of(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name)
}

fn stored(target: &Target) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(corpus_of(target.name)).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).expect("a stored input")).collect()
}

fn drive(target: &Target, input: &[u8]) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| (target.run)(input))).map_err(|_| {
        let file = std::env::temp_dir().join(format!("boveda-fuzz-{}", target.name));
        std::fs::write(&file, input).expect("the input is kept");
        format!("{} panics over the {} bytes in {}", target.name, input.len(), file.display())
    })
}

#[test]
fn no_decoder_panics_and_what_decodes_has_one_encoding() {
    // A file of the engine is opened anew for each input; it gets a share that takes as long as the others'.
    let rounds = setting("BOVEDA_FUZZ_ROUNDS", 20_000);
    let seed = setting("BOVEDA_FUZZ_SEED", 1);
    let mut failed = Vec::new();
    for target in &TARGETS {
        let mut inputs = (target.seeds)();
        inputs.extend(stored(target));
        let mut rng = Rng::new(seed);
        let share = if target.name == "index_file" { rounds / 100 } else { rounds };
        let made = (0..share).map(|_| changed(&inputs, &mut rng));
        failed.extend(inputs.clone().into_iter().chain(made).find_map(|input| drive(target, &input).err()));
    }
    assert!(failed.is_empty(), "seed {seed}: {failed:#?}");
}

#[test]
fn a_decoder_that_panics_is_seen() {
    let broken = Target { name: "broken", run: |data| assert!(data.len() < 5), seeds: Vec::new };
    let mut rng = Rng::new(1);
    let inputs = [b"good".to_vec()];
    assert!((0..1_000).any(|_| drive(&broken, &changed(&inputs, &mut rng)).is_err()));
}

#[test]
fn every_folder_of_the_corpus_belongs_to_a_target() {
    let known: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let root = corpus_of("record").parent().expect("a folder").to_owned();
    let there: BTreeSet<_> = std::fs::read_dir(root)
        .expect("a corpus")
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(known, there);
    assert!(TARGETS.iter().all(|target| !stored(target).is_empty()), "each has inputs");
    assert!(targets::named("record").is_some() && targets::named("nothing").is_none());
}
