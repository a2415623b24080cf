//! Designs the band-passes while the program is compiled: no table to keep, and no f64 mathematics on the node.

use core::f64::consts::PI;

use crate::SAMPLE_RATE;

/// The order of the low-pass that the band-passes are made of, and so the second-order sections of each.
pub(super) const ORDER: usize = 4;

/// A section `(1 - z⁻²) / (1 + a1·z⁻¹ + a2·z⁻²)`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    pub(super) a1: f32,
    pub(super) a2: f32,
}

/// A band-pass, at the sampling rate of its stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    /// How often the sampling rate was halved.
    pub(super) stage: u8,
    pub(super) sections: [Section; ORDER],
    /// What the squares are to be multiplied by, so that the gain at the mid-band frequency is 1.
    pub(super) gain: f32,
}

/// The octave bands, highest first.
pub(super) const fn octaves() -> [Band; super::OCTAVES] {
    const NONE: Band = Band { stage: 0, sections: [Section { a1: 0.0, a2: 0.0 }; ORDER], gain: 0.0 };
    let mut bands = [NONE; super::OCTAVES];
    let mut index = 0;
    while index < bands.len() {
        // 16 kHz is 24/20 of a decade above 1 kHz, and octaves are 6/20 apart. The two highest are not decimated.
        let stage = if index < 2 { 0 } else { index - 1 };
        bands[index] = band(24 - 6 * index as i32, 3, stage as u8);
        index += 1;
    }
    bands
}

/// The third-octave bands, highest first.
#[cfg_attr(not(feature = "third-octaves"), expect(dead_code, reason = "designs cost nothing until used"))]
pub(super) const fn third_octaves() -> [Band; super::THIRD_OCTAVES] {
    const NONE: Band = Band { stage: 0, sections: [Section { a1: 0.0, a2: 0.0 }; ORDER], gain: 0.0 };
    let mut bands = [NONE; super::THIRD_OCTAVES];
    let mut index = 0;
    while index < bands.len() {
        // 20 kHz to 6.3 kHz are not decimated; then three a stage, but 20 Hz shares that of 25 to 40 Hz.
        let stage = if index < 6 { 0 } else { (index - 3) / 3 };
        let stage = if stage > 8 { 8 } else { stage };
        bands[index] = band(26 - 2 * index as i32, 1, stage as u8);
        index += 1;
    }
    bands
}

/// The band around `mid` twentieths of a decade above 1 kHz, `half_width` twentieths to either side.
const fn band(mid: i32, half_width: i32, stage: u8) -> Band {
    let rate = SAMPLE_RATE as f64 / (1u32 << stage) as f64;
    // Analogue frequencies that the bilinear transform, s = (1 - z⁻¹)/(1 + z⁻¹), maps onto the edges.
    let low = tan(PI * frequency(mid - half_width) / rate);
    let high = tan(PI * frequency(mid + half_width) / rate);
    let width = high - low;
    let square = low * high;
    let mut sections = [Section { a1: 0.0, a2: 0.0 }; ORDER];
    // cos ω and cos 2ω at the mid-band frequency.
    let omega = 2.0 * PI * frequency(mid) / rate;
    let mut power = 1.0;
    let mut pair = 0;
    while pair < ORDER / 2 {
        // A pole of the low-pass in the upper half plane; with its conjugate it makes two sections.
        let angle = PI * (2 * pair + 1) as f64 / (2 * ORDER) as f64;
        let pole = (-sin(angle) * width / 2.0, cos(angle) * width / 2.0);
        // The band-pass has s² - 2·pole·s + square = 0.
        let root = sqrt_complex((pole.0 * pole.0 - pole.1 * pole.1 - square, 2.0 * pole.0 * pole.1));
        let mut sign = 0;
        while sign < 2 {
            let s = if sign == 0 {
                (pole.0 + root.0, pole.1 + root.1)
            } else {
                (pole.0 - root.0, pole.1 - root.1)
            };
            // z = (1 + s)/(1 - s)
            let below = (1.0 - s.0) * (1.0 - s.0) + s.1 * s.1;
            let z = ((1.0 - s.0 * s.0 - s.1 * s.1) / below, 2.0 * s.1 / below);
            let (a1, a2) = (-2.0 * z.0, z.0 * z.0 + z.1 * z.1);
            sections[2 * pair + sign] = Section { a1: a1 as f32, a2: a2 as f32 };
            // |1 - z⁻²|² over |1 + a1·z⁻¹ + a2·z⁻²|²
            let above = 2.0 - 2.0 * cos(2.0 * omega);
            let real = 1.0 + a1 * cos(omega) + a2 * cos(2.0 * omega);
            let imaginary = a1 * sin(omega) + a2 * sin(2.0 * omega);
            power *= above / (real * real + imaginary * imaginary);
            sign += 1;
        }
        pair += 1;
    }
    Band { stage, sections, gain: (1.0 / power) as f32 }
}

/// 1 kHz times 10^(twentieths/20): IEC 61260-1 5.2 to 5.4, G = 10^0.3.
const fn frequency(twentieths: i32) -> f64 {
    const STEP: f64 = 1.122_018_454_301_963_3;
    let mut frequency = 1000.0;
    let mut left = twentieths;
    while left > 0 {
        frequency *= STEP;
        left -= 1;
    }
    while left < 0 {
        frequency /= STEP;
        left += 1;
    }
    frequency
}

/// For 0 to 2π.
const fn sin(x: f64) -> f64 {
    let x = if x > PI { x - 2.0 * PI } else { x };
    // Taylor; at π the 15th term is below 1e-17.
    let mut term = x;
    let mut sum = x;
    let mut n = 1;
    while n < 16 {
        term *= -x * x / ((2 * n) * (2 * n + 1)) as f64;
        sum += term;
        n += 1;
    }
    sum
}

/// For -π/2 to 2π.
const fn cos(x: f64) -> f64 {
    let shifted = x + PI / 2.0;
    sin(if shifted > 2.0 * PI { shifted - 2.0 * PI } else { shifted })
}

const fn tan(x: f64) -> f64 {
    sin(x) / cos(x)
}

/// For positive numbers from 1e-9 to 1e9: Newton's method.
const fn sqrt(x: f64) -> f64 {
    let mut root = if x > 1.0 { x } else { 1.0 };
    let mut round = 0;
    while round < 60 && x > 0.0 {
        root = (root + x / root) / 2.0;
        round += 1;
    }
    if x > 0.0 { root } else { 0.0 }
}

/// The root with a positive real part.
const fn sqrt_complex((real, imaginary): (f64, f64)) -> (f64, f64) {
    let magnitude = sqrt(real * real + imaginary * imaginary);
    let across = sqrt((magnitude + real) / 2.0);
    let up = sqrt((magnitude - real) / 2.0);
    (across, if imaginary < 0.0 { -up } else { up })
}
