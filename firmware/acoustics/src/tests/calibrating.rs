//! Field calibration: what it takes and what it refuses.

use super::*;
use crate::calibration::{Calibration, CalibrationLimits, CalibrationRefused, Calibrator, FieldCalibration};

/// 10 Pa at full scale.
fn in_use() -> Sensitivity {
    Sensitivity::from_pascals(10.0).unwrap()
}

fn calibrate(samples: &[f32]) -> Result<Calibration, CalibrationRefused> {
    struct Ticks(FieldCalibration);
    impl Sink for Ticks {
        fn tick(&mut self, tick: &Interval) {
            self.0.add(tick);
        }
    }
    let mut ticks = Ticks(FieldCalibration::new(Calibrator::Db94, CalibrationLimits::default()));
    Meter::new(in_use(), Range::default()).process_f32(samples, &mut ticks);
    ticks.0.finish(in_use())
}

/// A tone that is `error` dB above 94 dB with the sensitivity in use.
fn tone(frequency: f64, error: f64) -> Vec<f32> {
    sine(frequency, 0.100_237 * 2f64.sqrt() * 10f64.powf(error / 20.0), 8.0)
}

#[test]
fn a_tone_corrects_the_sensitivity() {
    let calibration = calibrate(&tone(1000.0, 0.3)).unwrap();
    assert!((calibration.drift - 0.3).abs() < 0.01, "{calibration:?}");
    assert!((calibration.measured - 94.3).abs() < 0.01 && calibration.spread < 0.01);
    // A second calibration then finds nothing to correct.
    let correction = 20.0 * (calibration.sensitivity.pascals() / 10.0).log10();
    assert!((correction + 0.3).abs() < 0.01, "{correction}");
}

#[test]
fn everything_else_is_refused() {
    assert!(matches!(calibrate(&tone(1000.0, 0.7)), Err(CalibrationRefused::Drift(_))));
    assert!(matches!(calibrate(&tone(1000.0, -5.0)), Err(CalibrationRefused::OutOfRange(_))));
    assert!(matches!(calibrate(&tone(250.0, 0.0)), Err(CalibrationRefused::NotOneKilohertz(_))));
    assert!(matches!(calibrate(&tone(1000.0, 0.0)[..200_000]), Err(CalibrationRefused::TooShort)));
    assert!(matches!(calibrate(&noise(9, 0.2, 8.0)), Err(CalibrationRefused::Unsteady(_))));
    let mut wavering = tone(1000.0, 0.0);
    wavering[240_000..].iter_mut().for_each(|sample| *sample *= 1.04);
    assert!(matches!(calibrate(&wavering), Err(CalibrationRefused::Unsteady(_))));
    let mut clipped = tone(1000.0, 0.0);
    clipped[200_000] = 1.0;
    let refused = calibrate(&clipped);
    assert!(
        matches!(refused, Err(CalibrationRefused::Fault(flags)) if flags.contains(Flags::CLIPPED)),
        "{refused:?}"
    );
}

#[test]
fn sensitivities_that_cannot_be_are_refused() {
    for pascals in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e9] {
        assert_eq!(Sensitivity::from_pascals(pascals), None);
    }
    // A usual MEMS microphone: -26 dBFS at 94 dB.
    let sensitivity = Sensitivity::from_dbfs_at_94(-26.0).unwrap();
    assert!((sensitivity.full_scale_level() - 120.0).abs() < 0.01);
}
