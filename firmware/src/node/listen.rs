//! The sound level meter's way into the node: samples are taken while the store writes.

use core::borrow::Borrow;

use embassy_time::{Duration, Instant, Timer};
use embedded_storage_async::nor_flash::MultiwriteNorFlash;
use gridpost_protocol::quantity::Quantity;

use super::memory::Waiting;
use super::{Journal, Memory, Node, uptime};
use crate::sensors::Readings;
use crate::sensors::sound_level::{Heard, Microphone, PART, SoundLevel};
use crate::wall::WallClock;

/// How long to wait before a microphone that failed is asked again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

impl<F, W, J, M> Node<F, W, J, M>
where
    F: MultiwriteNorFlash,
    W: WallClock,
    J: Journal,
    M: Borrow<Memory>,
{
    /// Measures sound for ever. While the store is slow readings wait; when too many do, the newest are left out and counted as
    /// sensor errors.
    pub async fn listen<P: Microphone>(&self, microphone: &mut P, sound: &mut SoundLevel) -> ! {
        let mut watchdog = self.watchdog(P::NAME, Duration::from_secs(1)).await;
        self.begin_listening(sound).await;
        loop {
            let heard = microphone.block().await;
            let level = heard.map(|heard| self.take_in(microphone, sound, &heard));
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
                    self.journal.trouble(format_args!("{}: {error}", P::NAME));
                    Timer::after(AGAIN_AFTER).await;
                    Err(error)
                }
            };
            // Every second; stuck samples and a wrong rate stand in the quality.
            if let Some(state) = watchdog.judge(uptime(), read, |_| None).tell {
                self.tell_sensor(P::NAME, state, &mut watchdog).await;
            }
        }
    }

    /// Measures a block; returns the level of the second that it ends, if it ends one.
    #[inline(never)]
    fn take_in<P: Microphone>(
        &self,
        microphone: &mut P,
        sound: &mut SoundLevel,
        heard: &Heard<P::Block>,
    ) -> Readings {
        let mut level = Readings::new();
        let part = |part: usize, samples: &mut [i32; PART]| microphone.samples(&heard.block, part, samples);
        sound.process_parts(heard.lost, Instant::now().as_micros(), part, |at, reading| {
            if reading.quantity == Quantity::LAeq {
                // The second's only one.
                let _ = level.push(reading);
            }
            if self.memory().waiting.try_send(Waiting::new(at, &reading)).is_err() {
                self.count_sensor_error();
            }
        });
        level
    }
}
