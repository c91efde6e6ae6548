//! libFuzzer over one of the targets; `$BOVEDA_FUZZ_TARGET` names it. Built and started by `fuzz/run`.
#![no_main]

mod targets;

use std::sync::OnceLock;

static TARGET: OnceLock<&targets::Target> = OnceLock::new();

/// Finds the target, and leaves what its encoders make in `$BOVEDA_FUZZ_SEEDS`.
fn begin() {
    let name = std::env::var("BOVEDA_FUZZ_TARGET").unwrap_or_default();
    let Some(target) = targets::named(&name) else {
        let known: Vec<_> = targets::TARGETS.iter().map(|target| target.name).collect();
        eprintln!("BOVEDA_FUZZ_TARGET is one of {}", known.join(" "));
        std::process::exit(2);
    };
    if let Ok(folder) = std::env::var("BOVEDA_FUZZ_SEEDS") {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(format!("{folder}/seed-{number}"), seed).expect("a seed is kept");
        }
    }
    let _ = TARGET.set(target);
}

libfuzzer_sys::fuzz_target!(init: begin(), |data: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(data);
    }
});
