//! Replays the fuzzer's corpus (`tests/fuzz`) on stable: what was ever found to reach new code, or to break something, is tried at every run.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

#[allow(clippy::expect_used, reason = "a target panics when a promise is broken")]
#[path = "../fuzz/targets/device.rs"]
mod device;
#[allow(clippy::expect_used, reason = "a target panics when a promise is broken")]
#[path = "../fuzz/targets/files.rs"]
mod files;
#[allow(clippy::expect_used, reason = "a target panics when a promise is broken")]
#[path = "../fuzz/targets/pack.rs"]
mod pack;
#[allow(clippy::expect_used, reason = "a target panics when a promise is broken")]
#[path = "../fuzz/targets/platform.rs"]
mod platform;

/// The corpus is small, so that it stays in the repository.
const CORPUS_BYTES_MAX: u64 = 2 << 20;

#[test]
fn every_input_of_the_corpus_keeps_every_promise() -> Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut bytes = 0;
    let targets = [device::TARGETS, pack::TARGETS, files::TARGETS, platform::TARGETS];
    for (name, run) in targets.into_iter().flatten() {
        let mut inputs = 0;
        for file in fs::read_dir(corpus.join(name)).with_context(|| format!("the corpus of {name}"))? {
            let path = file?.path();
            let data = fs::read(&path)?;
            let replayed = std::panic::catch_unwind(|| run(&data));
            ensure!(replayed.is_ok(), "{name} breaks at {}", path.display());
            bytes += data.len() as u64;
            inputs += 1;
        }
        ensure!(inputs > 0, "{name} has no input");
    }
    ensure!(bytes < CORPUS_BYTES_MAX, "the corpus has {bytes} bytes: merge it, see tests/fuzz/README.md");
    Ok(())
}
