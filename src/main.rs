//! Boveda: the command line. Everything is in the library, so that tests reach it.

use std::process::ExitCode;

/// What one thread allocates another one frees, all day: records that workers read and the cache drops, bodies on their
/// way to the committer. See docs/adr/0031-growth.md.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    boveda::cli::run(std::env::args_os(), std::env::vars_os())
}
