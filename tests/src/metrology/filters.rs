//! The filters against the masks of IEC 61260-1.

use anyhow::Result;

use super::{
    check::{Bench, in_parallel},
    measure::Filters,
    report::{Table, margin},
    signal::sine,
    standard::{breakpoints, mapped, mask, mid_band},
    window::measure_window,
};

/// Of the tones, in dB: the lowest level that a meter tells is 130 dB down.
const LEVEL: f64 = 110.0;
/// Tones from where anything passes the weightings' DC blocker to just below half the sampling rate.
const TONES_HZ: std::ops::Range<f64> = 5.0..23_000.0;

/// The table of the octaves.
///
/// # Errors
/// The bench is out of order.
pub fn octaves(bench: &impl Bench) -> Result<Table> {
    let filters = Filters { octaves: true, thirds: false };
    table(bench, "Octave filters (IEC 61260-1:2014 5.10, Table 1)", 1, -5..=4, filters)
}

/// The table of the third-octaves.
///
/// # Errors
/// The bench is out of order.
pub fn thirds(bench: &impl Bench) -> Result<Table> {
    let filters = Filters { octaves: false, thirds: true };
    table(bench, "Third-octave filters (IEC 61260-1:2014 5.10, Table 1 by formula 9)", 3, -17..=13, filters)
}

/// The worst of something, and where.
#[derive(Clone, Copy, Debug)]
struct Worst {
    margin: f64,
    frequency: f64,
}

impl Worst {
    const NONE: Self = Self { margin: f64::INFINITY, frequency: 0.0 };

    fn note(&mut self, margin: f64, frequency: f64) {
        if margin < self.margin {
            *self = Self { margin, frequency };
        }
    }

    fn cell(self) -> String {
        format!("{} at {:.0} Hz", margin(self.margin), self.frequency)
    }
}

fn table(
    bench: &impl Bench,
    title: &str,
    fraction: u32,
    indices: std::ops::RangeInclusive<i32>,
    filters: Filters,
) -> Result<Table> {
    let mut table = Table::new(
        title,
        if bench.is_quick() {
            "Tones at every breakpoint of every filter's mask up to 23 kHz; every filter is judged at all of them. Margins in dB to \
             the class 1 limits."
        } else {
            "Tones at every breakpoint of the masks of the lowest, a middle and the highest filter up to 23 kHz, and at every mid-band; \
             every filter is judged at all of them. Margins in dB to the class 1 limits."
        },
        &["mid-band Hz", "error at mid-band", "margin in the band", "margin outside"],
    );
    let mids: Vec<f64> = indices.map(|index| mid_band(index, fraction)).collect();
    // What is bit for bit the same on a PC and the microcontroller does not have to be heard at 700 tones on both.
    let swept: Vec<f64> = if bench.is_quick() {
        mids.clone()
    } else {
        vec![mids[0], mids[mids.len() / 2], mids[mids.len() - 1]]
    };
    let tones =
        swept.iter().flat_map(|mid| breakpoints().into_iter().map(move |at| mid * mapped(at, fraction)));
    let mut tones: Vec<f64> =
        tones.chain(mids.iter().copied()).filter(|tone| TONES_HZ.contains(tone)).collect();
    tones.sort_by(f64::total_cmp);
    tones.dedup_by(|one, other| (*one / *other - 1.0).abs() < 1e-9);
    let levels = in_parallel(tones.len(), bench.at_once(), |index| {
        // Low filters swing longest; high tones' onset hardly sets them off.
        let settle = if tones[index] < 500.0 { 3.0 } else { 2.0 };
        let signal = sine(tones[index], LEVEL, settle + 1.0);
        let measured = measure_window(bench, &signal, settle, settle + 1.0, filters)?;
        Ok(if fraction == 1 { measured.octaves } else { measured.thirds })
    })?;
    for (band, mid) in mids.iter().enumerate() {
        let (mut inside, mut outside, mut at_mid) = (Worst::NONE, Worst::NONE, f64::NAN);
        for (tone, levels) in tones.iter().zip(&levels) {
            let attenuation = LEVEL - f64::from(levels[band]);
            let (least, most, is_inside) = mask(tone / mid, fraction);
            let margin = (attenuation - least).min(most - attenuation);
            if is_inside { &mut inside } else { &mut outside }.note(margin, *tone);
            if (tone / mid - 1.0).abs() < 1e-9 {
                at_mid = -attenuation;
            }
        }
        let passes = inside.margin >= 0.0 && outside.margin >= 0.0;
        table.push(vec![format!("{mid:.1}"), format!("{at_mid:+.3}"), inside.cell(), outside.cell()], passes);
    }
    Ok(table)
}
