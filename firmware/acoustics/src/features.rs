//! Differences between levels that tell kinds of noise apart. All in dB.

use super::Interval;

impl Interval {
    /// LCeq - LAeq: how much of the sound is low. Above 10 look closer (WHO); above 20 low-frequency (DIN 45680).
    #[must_use]
    pub fn lceq_minus_laeq(&self) -> f32 {
        self.lceq() - self.laeq()
    }

    /// LAIeq - LAeq: how impulsive the sound is. Traffic has about 2, hammering 12.
    #[must_use]
    pub fn laieq_minus_laeq(&self) -> f32 {
        self.laieq() - self.laeq()
    }

    /// LAFmax - LAeq.
    #[must_use]
    pub fn lafmax_minus_laeq(&self) -> f32 {
        self.lafmax() - self.laeq()
    }

    /// LAFmax - LAFmin: up to 3 dB the noise is steady (GB 12348-2008), and a minute of it is enough.
    #[must_use]
    pub fn fluctuation(&self) -> f32 {
        self.lafmax() - self.lafmin()
    }
}

/// The adjustment for low frequencies by LCeq - LAeq, in dB (Spain, RD 1367/2007): 0 up to 10, 3 up to 15, 6 above.
#[must_use]
pub fn low_frequency_adjustment(lceq_minus_laeq: f32) -> u8 {
    spanish_steps(lceq_minus_laeq)
}

/// The adjustment for impulses by LAIeq - LAeq, in dB (Spain, RD 1367/2007): 0 up to 10, 3 up to 15, 6 above.
#[must_use]
pub fn impulse_adjustment(laieq_minus_laeq: f32) -> u8 {
    spanish_steps(laieq_minus_laeq)
}

fn spanish_steps(difference: f32) -> u8 {
    match difference {
        ..=10.0 => 0,
        ..=15.0 => 3,
        _ => 6,
    }
}
