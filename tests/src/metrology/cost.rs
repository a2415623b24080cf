//! What the meter costs on the microcontroller.

use std::fmt::Write as _;

use anyhow::Result;

use super::{
    board::{Beside, OnBoard},
    measure::Filters,
    signal::{pressure, samples, sine},
};

/// What is counted, from little to much.
const STEPS: [(&str, Beside); 5] = [
    ("A, C, Z, F, S, I, Leq, peak, faults", beside(false, false, false)),
    ("and octaves", beside(true, false, false)),
    ("and features", beside(true, false, true)),
    ("and third-octaves", beside(true, true, true)),
    ("third-octaves, no octaves, no features", beside(false, true, false)),
];

const fn beside(octaves: bool, thirds: bool, features: bool) -> Beside {
    Beside { filters: Filters { octaves, thirds }, features }
}

/// Instructions per sample, for noise and for the worst tone for the search of peaks.
///
/// # Errors
/// The board does not run.
pub fn text(board: &OnBoard) -> Result<String> {
    let tone = sine(7943.282, 94.0, 3.0);
    // Any noise will do.
    let mut state = 1u32;
    let noise: Vec<f64> = (0..samples(3.0))
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (f64::from(state) / 4_294_967_296.0 - 0.5) * pressure(94.0)
        })
        .collect();
    let mut text = "instructions per sample on a Cortex-M4F (QEMU, -icount shift=0)\n".to_owned();
    let _ = writeln!(text, "  {:40} {:>8} {:>10} {:>20}", "", "noise", "8 kHz", "of a 64 MHz core");
    for (name, beside) in STEPS {
        let (noise, tone) =
            (board.instructions_per_sample(&noise, beside)?, board.instructions_per_sample(&tone, beside)?);
        let share = noise.max(tone) * 48_000.0 / 64e6 * 100.0;
        let _ = writeln!(text, "  {name:40} {noise:8.1} {tone:10.1} {share:18.1} %");
    }
    Ok(text)
}
