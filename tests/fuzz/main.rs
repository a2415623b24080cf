//! The fuzzer: runs the target that `FUZZ_TARGET` names. The targets are shared with `tests/tests/fuzz_corpus.rs`, which replays the
//! corpus on stable.

#![no_main]

use std::sync::LazyLock;

#[path = "targets/device.rs"]
mod device;
#[cfg(feature = "agent")]
#[path = "targets/files.rs"]
mod files;
#[path = "targets/pack.rs"]
mod pack;
#[cfg(feature = "agent")]
#[path = "targets/platform.rs"]
mod platform;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let targets = device::TARGETS.iter().chain(pack::TARGETS);
    #[cfg(feature = "agent")]
    let targets = targets.chain(files::TARGETS).chain(platform::TARGETS);
    let targets: Vec<_> = targets.collect();
    let Some((_, run)) = targets.iter().find(|(target, _)| *target == name) else {
        let names: Vec<&str> = targets.iter().map(|(name, _)| *name).collect();
        panic!("there is no target {name:?}; there are {}", names.join(", "))
    };
    *run
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
