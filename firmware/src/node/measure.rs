//! A sensor's way into the node: read at its interval, watched, and told about when it does not work.

use core::borrow::Borrow;

use embassy_time::{Duration, Instant, Timer, with_timeout};
use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::fault::{FaultKind, SENSOR_NAME_BYTES_MAX, SensorState};
use gridpost_protocol::record::Record;
use gridpost_protocol::time::UptimeMillis;

use super::memory::Waiting;
use super::serve::{Done, Job};
use super::{Journal, Memory, Node, uptime};
use crate::sensors::watchdog::{State, Verdict, Watchdog};
use crate::sensors::{Sensor, SensorError};
use crate::wall::WallClock;

/// How many sensors have names of their own.
pub(super) const SENSORS_MAX: usize = 16;

/// A sensor's name.
pub(super) type SensorName = heapless::String<SENSOR_NAME_BYTES_MAX>;

/// A sensor that is more intervals late than this does not catch up.
const LATE_INTERVALS_MAX: u32 = 10;

impl<F, W, J, M> Node<F, W, J, M>
where
    F: MultiwriteNorFlash,
    W: WallClock,
    J: Journal,
    M: Borrow<Memory>,
{
    /// Measures for ever, at the sensor's interval. What the sensor's watchdog lets pass is observed; that a sensor does not work is a
    /// record, and that it works again is one too.
    pub async fn measure<S: Sensor>(&self, sensor: &mut S) -> ! {
        let name = self.name(S::NAME);
        let mut watchdog = self.watchdog(&name, sensor.interval()).await;
        let mut due = Instant::now() + sensor.warm_up();
        Timer::at(due).await;
        loop {
            // A bus whose line is held down by a chip never ends a transfer.
            let patience = sensor.patience();
            let read = with_timeout(patience, sensor.read()).await.unwrap_or(Err(SensorError::Bus));
            if let Err(error) = read {
                self.count_sensor_error();
                self.journal.trouble(format_args!("{name}: {error}"));
            }
            // The time at which they were to be made, so that readings are at even distances.
            let at = UptimeMillis(due.as_millis());
            let Verdict { readings, tell } =
                watchdog.judge(at, read, |quantity| sensor.stuck_after(quantity));
            for reading in &readings {
                self.memory().waiting.send(Waiting::new(at, reading)).await;
            }
            if let Some(state) = tell {
                self.tell_sensor(&name, state, &mut watchdog).await;
            }
            due += sensor.interval();
            if due + sensor.interval() * LATE_INTERVALS_MAX < Instant::now() {
                due = Instant::now();
            }
            Timer::at(due).await;
        }
    }

    /// The name of a sensor that begins to measure: of several of one kind the second is `-2`, and so on. They begin in the order in which
    /// the board measures them, so each has the same name at every start.
    pub(super) fn name(&self, kind: &'static str) -> SensorName {
        let mut kinds = self.kinds.borrow_mut();
        let before = kinds.iter().filter(|known| **known == kind).count();
        // Of more sensors than that, those of one kind share a name.
        let _ = kinds.push(kind);
        let mut name = SensorName::new();
        // A name that is too long is cut: the gateway takes at most as much.
        for char in kind.chars() {
            let _ = name.push(char);
        }
        if let Some(number) = char::from_digit(before as u32 + 1, 36).filter(|_| before > 0) {
            let _ = name.push('-').and_then(|()| name.push(number));
        }
        name
    }

    /// A watchdog for a sensor of this name.
    pub(super) async fn watchdog(&self, sensor: &str, interval: Duration) -> Watchdog {
        Watchdog::new(interval, self.store.lock().await.is_failing(sensor))
    }

    pub(super) fn count_sensor_error(&self) {
        self.sensor_errors.set(self.sensor_errors.get().saturating_add(1));
    }

    /// Keeps what is to be told of a sensor. That it was told to fail is remembered first: then a start tells that it works even if
    /// the power went in between, which is once too often at the worst. What cannot be kept the watchdog tells again.
    pub(super) async fn tell_sensor(&self, sensor: &str, state: State, watchdog: &mut Watchdog) {
        let fault: Option<FaultKind> = match state {
            State::Works => None,
            State::Fails(kind) => Some(kind),
        };
        match fault {
            Some(kind) => self.journal.trouble(format_args!("sensor {sensor} does not work: {kind}")),
            None => self.journal.trouble(format_args!("sensor {sensor} works again")),
        }
        let mut name = SensorName::new();
        // As long as a name is, or cut.
        sensor.chars().for_each(|char| drop(name.push(char)));
        if self.ask(Job::Sensor(name, fault)).await == Done::Kept(true) {
            watchdog.told(state);
        }
    }

    /// Puts into the store what is told of a sensor; whether that succeeded.
    pub(super) async fn keep_sensor(&self, sensor: &str, fault: Option<FaultKind>) -> bool {
        let kept = async {
            if fault.is_some() {
                self.store.lock().await.set_failing(sensor, true).await?;
            }
            self.keep(uptime(), &Record::Sensor(SensorState { sensor, fault })).await?;
            if fault.is_none() {
                self.store.lock().await.set_failing(sensor, false).await?;
            }
            Ok::<_, crate::store::StoreError<F::Error>>(())
        };
        let kept = kept.await;
        if let Err(error) = &kept {
            self.journal.trouble(format_args!("a record is not kept: {error}"));
        }
        kept.is_ok()
    }
}
