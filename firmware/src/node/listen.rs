//! The sound level meter's way into the node: samples are taken while the store writes.

use embassy_futures::join::join;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::channel::Channel;
use embassy_time::{Duration, Instant, Timer};
use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::reading::Reading;
use gridpost_protocol::record::{Log, LogLevel, Record};
use gridpost_protocol::time::UptimeMillis;

use super::{Journal, Node};
use crate::sensors::SensorError;
use crate::sensors::sound_level::{BLOCK, Microphone, SoundLevel};
use crate::wall::WallClock;

/// Readings that wait for the store: some ten seconds' and a minute's.
const WAITING_MAX: usize = 48;
/// How long to wait before a microphone that failed is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

impl<F, const SECTORS: usize, W, J> Node<F, SECTORS, W, J>
where
    F: MultiwriteNorFlash,
    W: WallClock,
    J: Journal,
{
    /// Measures sound for ever. While the store is slow readings wait; when too many do, the newest are left out and counted as
    /// sensor errors.
    pub async fn listen<M: Microphone>(&self, microphone: &mut M, sound: &mut SoundLevel) -> ! {
        let waiting: Channel<NoopRawMutex, (UptimeMillis, Reading), WAITING_MAX> = Channel::new();
        let hear = async {
            let mut samples = [0; BLOCK];
            let mut failing: Option<SensorError> = None;
            loop {
                match microphone.block(&mut samples).await {
                    Ok(lost) => {
                        failing = None;
                        for reading in sound.process(lost, &samples, Instant::now().as_micros()) {
                            if waiting.try_send(reading).is_err() {
                                self.count_sensor_error();
                            }
                        }
                    }
                    Err(error) => {
                        self.count_sensor_error();
                        if failing.replace(error) != Some(error) {
                            self.say_failing(M::NAME, error).await;
                        }
                        Timer::after(AGAIN_AFTER).await;
                    }
                }
            }
        };
        let keep = async {
            loop {
                let (at, reading) = waiting.receive().await;
                if let Err(error) = self.observe(at, &reading).await {
                    self.journal.trouble(format_args!("a reading is not kept: {error}"));
                }
            }
        };
        let ((), ()) = join(hear, keep).await;
        unreachable!("neither ends")
    }

    pub(super) fn count_sensor_error(&self) {
        self.sensor_errors.set(self.sensor_errors.get().saturating_add(1));
    }

    /// Says that a sensor fails: to whoever watches the board, and to the gateway.
    pub(super) async fn say_failing(&self, name: &str, error: SensorError) {
        let mut text = heapless::String::<64>::new();
        // Cannot fail: names and errors are short, and cut text would do too.
        let _ = core::fmt::Write::write_fmt(&mut text, format_args!("{name}: {error}"));
        self.journal.trouble(format_args!("{text}"));
        self.keep_or_say(&Record::Log(Log { level: LogLevel::Error, text: &text })).await;
    }
}
