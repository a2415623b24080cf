//! The sound level meter's way into the node: samples are taken while the store writes.

use embassy_futures::join::join;
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::channel::Channel;
use embassy_time::{Duration, Instant, Timer};
use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::reading::Reading;
use gridpost_protocol::time::UptimeMillis;

use super::{Journal, Node, uptime};
use crate::sensors::Readings;
use crate::sensors::sound_level::{Heard, Microphone, SoundLevel};
use crate::wall::WallClock;

/// Readings that wait for the store: some ten seconds' and a minute's.
const WAITING_MAX: usize = 48;
/// How long to wait before a microphone that failed is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

impl<F, W, J> Node<F, W, J>
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
            let mut watchdog = self.watchdog(M::NAME, Duration::from_secs(1)).await;
            self.begin_listening(sound).await;
            loop {
                let heard = microphone.block().await;
                let level = heard.map(|Heard { samples, lost }| {
                    let mut level = Readings::new();
                    for (at, reading) in sound.process(lost, &samples, Instant::now().as_micros()) {
                        if reading.quantity == Quantity::LAeq {
                            // The second's only one.
                            let _ = level.push(reading);
                        }
                        if waiting.try_send((at, reading)).is_err() {
                            self.count_sensor_error();
                        }
                    }
                    level
                });
                let read = match level {
                    Ok(level) => {
                        self.calibrate(sound).await;
                        if level.is_empty() {
                            continue;
                        }
                        Ok(level)
                    }
                    Err(error) => {
                        self.count_sensor_error();
                        self.journal.trouble(format_args!("{}: {error}", M::NAME));
                        Timer::after(AGAIN_AFTER).await;
                        Err(error)
                    }
                };
                // Every second; stuck samples and a wrong rate stand in the quality.
                if let Some(state) = watchdog.judge(uptime(), read, |_| None).tell {
                    self.tell_sensor(M::NAME, state, &mut watchdog).await;
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
}
