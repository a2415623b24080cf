//! A field calibration: asked for by the gateway, done by the meter that the node listens with, and told as a record.

use core::borrow::Borrow;

use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::calibration::{Calibrate, CalibrationOutcome, CalibrationRefusal};
use gridpost_protocol::record::Record;
use gridpost_protocol::time::UptimeMillis;

use super::serve::{Done, Job};
use super::{Journal, Memory, Node, uptime};
use crate::sensors::calibrating;
use crate::sensors::sound_level::SoundLevel;
use crate::store::{Store, StoreError};
use crate::wall::WallClock;

/// How far the calibration is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calibration {
    /// This node does not listen.
    NoMeter,
    /// None is under way.
    None,
    /// The gateway asked for one.
    Asked(Calibrate),
    /// The meter is at it.
    Running(Calibrate),
}

impl<F, W, J, M> Node<F, W, J, M>
where
    F: MultiwriteNorFlash,
    W: WallClock,
    J: Journal,
    M: Borrow<Memory>,
{
    /// The gateway says that a calibrator is being put on.
    pub(super) async fn on_calibrate(&self, store: &mut Store<F>, now: UptimeMillis, calibrate: Calibrate) {
        let refused = match self.calibration.get() {
            Calibration::NoMeter => CalibrationRefusal::NoMeter,
            Calibration::Asked(_) | Calibration::Running(_) => CalibrationRefusal::Busy,
            Calibration::None if calibrating::calibrator(calibrate.nominal).is_none() => {
                CalibrationRefusal::UnknownLevel
            }
            Calibration::None => return self.calibration.set(Calibration::Asked(calibrate)),
        };
        let outcome = CalibrationOutcome {
            nominal: calibrate.nominal,
            measured: None,
            full_scale_upa: store.full_scale_upa().unwrap_or(0),
            refused: Some(refused),
        };
        self.tell_calibration(store, now, &outcome).await;
    }

    /// The meter is there: with the sensitivity that it was last calibrated to.
    pub(super) async fn begin_listening(&self, sound: &mut SoundLevel) {
        self.calibration.set(Calibration::None);
        let calibrated = self.store.lock().await.full_scale_upa();
        if let Some(sensitivity) = calibrated.and_then(calibrating::sensitivity) {
            sound.set_sensitivity(sensitivity);
        }
    }

    /// To be called after each block of the meter: begins a calibration that was asked for, and concludes one that is certain.
    pub(super) async fn calibrate(&self, sound: &mut SoundLevel) {
        match self.calibration.get() {
            Calibration::NoMeter | Calibration::None => {}
            Calibration::Asked(asked) => {
                self.calibration.set(Calibration::Running(asked));
                let before = self.store.lock().await.full_scale_upa().is_some();
                if let Some(calibrator) = calibrating::calibrator(asked.nominal) {
                    sound.calibrate(calibrator, calibrating::limits(before, asked.accept_drift));
                }
            }
            Calibration::Running(asked) => {
                let Some(judged) = sound.judge_calibration() else { return };
                self.calibration.set(Calibration::None);
                let outcome = calibrating::outcome(asked.nominal, &judged, sound.sensitivity());
                let kept = self.ask(Job::Calibration(outcome)).await == Done::Kept(true);
                if let (true, Ok(calibration)) = (kept, judged) {
                    sound.set_sensitivity(calibration.sensitivity);
                }
            }
        }
    }

    /// [`Self::tell_calibration`], for the meter.
    pub(super) async fn keep_outcome(&self, outcome: &CalibrationOutcome) -> bool {
        let mut store = self.store.lock().await;
        self.tell_calibration(&mut store, uptime(), outcome).await
    }

    /// Keeps what came of a calibration; whether that succeeded. If it did not, the meter stays as it is.
    async fn tell_calibration(
        &self,
        store: &mut Store<F>,
        now: UptimeMillis,
        outcome: &CalibrationOutcome,
    ) -> bool {
        match self.keep_calibration(store, now, outcome).await {
            Ok(()) => true,
            Err(error) => {
                self.journal.trouble(format_args!("a calibration is not kept: {error}"));
                let full_scale_upa = store.full_scale_upa().unwrap_or(0);
                let refused = Some(CalibrationRefusal::Store);
                let refused = CalibrationOutcome { full_scale_upa, refused, ..*outcome };
                if outcome.refused.is_none() && self.keep_calibration(store, now, &refused).await.is_err() {
                    self.count_sensor_error();
                }
                false
            }
        }
    }

    async fn keep_calibration(
        &self,
        store: &mut Store<F>,
        now: UptimeMillis,
        outcome: &CalibrationOutcome,
    ) -> Result<(), StoreError<F::Error>> {
        let stamp = self.wall.borrow().stamp(store.boot(), now);
        let record = Record::Calibration(*outcome).store(&stamp).map_err(|_| StoreError::Record)?;
        let seq = match outcome.refused {
            None => store.append_calibration(outcome.full_scale_upa, &record).await?,
            Some(_) => store.append(&record).await?,
        };
        self.appended(seq);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use embassy_futures::block_on;
    use embassy_futures::select::select3;
    use gridpost_protocol::id::{DeviceId, Seq};
    use gridpost_protocol::message::ResetCause;
    use gridpost_protocol::reading::Milli;
    use gridpost_protocol::record::Stored;
    use gridpost_protocol::seal::Key;

    use super::*;
    use crate::acoustics::{Range, Sensitivity};
    use crate::node::About;
    use crate::provision::Identity;
    use crate::sensors::SensorError;
    use crate::sensors::sound_level::{Heard, Microphone, PART};
    use crate::store::SECTORS_MIN;
    use crate::testing::flash::RamFlash;
    use crate::wall::SyncedClock;

    struct Silent;

    impl Journal for Silent {
        fn appended(&self, _: Seq) {}
        fn trouble(&self, _: core::fmt::Arguments<'_>) {}
    }

    type TestNode = Node<RamFlash, SyncedClock, Silent>;

    /// A calibrator of so many decibels, on a microphone with a full scale of 20 Pa, faster than in truth.
    struct Tone(f32);

    impl Microphone for Tone {
        const NAME: &'static str = "tone";

        type Block = ();

        async fn block(&mut self) -> Result<Heard<()>, SensorError> {
            embassy_futures::yield_now().await;
            Ok(Heard { block: (), lost: 0 })
        }

        fn samples(&mut self, (): &(), part: usize, samples: &mut [i32; PART]) {
            let amplitude = 8_388_608.0 / 20.0 * 2_f32.sqrt() * 10_f32.powf((self.0 - 93.979_4) / 20.0);
            *samples = core::array::from_fn(|n| {
                let phase = (part * PART + n) as f32 * 1000.0 / 48_000.0 * core::f32::consts::TAU;
                (amplitude * phase.sin()) as i32
            });
        }
    }

    fn start(flash: RamFlash) -> TestNode {
        let about = About { firmware: "t", board: "t", reset_cause: ResetCause::PowerOn };
        Node::new(block_on(Store::open(flash)).unwrap(), about, SyncedClock::default(), Silent)
    }

    async fn outcomes(node: &TestNode) -> Vec<CalibrationOutcome> {
        let mut all = Vec::new();
        let mut store = node.store.lock().await;
        let read = store.read_from(Seq(1), |_, stored| {
            let stored = Stored::parse(stored).unwrap();
            if let Record::Calibration(outcome) = Record::decode(stored.kind, stored.body) {
                all.push(outcome);
            }
            true
        });
        read.await.unwrap();
        all
    }

    async fn ask(node: &TestNode, decibels: i32, accept_drift: bool) {
        let mut store = node.store.lock().await;
        let calibrate = Calibrate { nominal: Milli(decibels * 1000), accept_drift };
        node.on_calibrate(&mut store, UptimeMillis(1), calibrate).await;
    }

    /// Listens to a calibrator after it was asked for; returns the last outcome and the sensitivity that is used from then on.
    fn calibrate(node: &TestNode, heard: f32, accept_drift: bool) -> (CalibrationOutcome, f32) {
        let mut sound = SoundLevel::new(Sensitivity::from_pascals(20.0).unwrap(), Range::default());
        let before = block_on(outcomes(node)).len();
        let told = async {
            while node.calibration.get() == Calibration::NoMeter {
                embassy_futures::yield_now().await;
            }
            ask(node, 94, accept_drift).await;
            loop {
                let all = outcomes(node).await;
                if all.len() > before && node.calibration.get() == Calibration::None {
                    return;
                }
                for _ in 0..200 {
                    embassy_futures::yield_now().await;
                }
            }
        };
        block_on(select3(node.serve(), node.listen(&mut Tone(heard), &mut sound), told));
        node.calibration.set(Calibration::NoMeter);
        (*block_on(outcomes(node)).last().unwrap(), sound.sensitivity().pascals())
    }

    #[test]
    fn a_calibration_is_kept_over_a_restart_and_a_drift_is_refused_until_a_person_takes_it() {
        let mut flash = RamFlash::new(SECTORS_MIN);
        flash.program(0, &Identity { device: DeviceId(7), key: Key([9; 32]), first_seq: Seq(1) }.encode());
        let node = start(flash);
        block_on(ask(&node, 94, false));
        assert_eq!(block_on(outcomes(&node))[0].refused, Some(CalibrationRefusal::NoMeter));

        // The first may be as far off as microphones of one type are.
        let (first, used) = calibrate(&node, 93.0, false);
        assert_eq!((first.refused, first.drift()), (None, Some(Milli(-1_000))));
        assert!(
            (used - 22.44).abs() < 0.01 && first.full_scale_upa.abs_diff(22_440_000) < 10_000,
            "{used} {first:?}"
        );

        let node = start(node.store.into_inner().close());
        let (drifted, used) = calibrate(&node, 93.0 - 0.8, false);
        assert_eq!((drifted.refused, drifted.drift()), (Some(CalibrationRefusal::Drift), Some(Milli(-800))));
        assert!((used - 22.44).abs() < 0.01, "as it was, over the restart: {used}");
        assert_eq!(drifted.full_scale_upa, first.full_scale_upa);
        let (accepted, used) = calibrate(&node, 93.0 - 0.8, true);
        assert_eq!((accepted.refused, accepted.drift()), (None, Some(Milli(-800))));
        assert!((used - 24.6).abs() < 0.02, "{used}");

        // What no calibrator has.
        node.calibration.set(Calibration::None);
        block_on(ask(&node, 100, false));
        assert_eq!(block_on(outcomes(&node)).last().unwrap().refused, Some(CalibrationRefusal::UnknownLevel));
        node.calibration.set(Calibration::Running(Calibrate { nominal: Milli(94_000), accept_drift: false }));
        block_on(ask(&node, 94, false));
        assert_eq!(block_on(outcomes(&node)).last().unwrap().refused, Some(CalibrationRefusal::Busy));
    }
}
