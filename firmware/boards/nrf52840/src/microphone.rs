//! A PDM microphone, at 16 kHz, brought to the meter's 48 kHz.
//!
//! The converter fills two buffers by turns, and the program has the time of one of them, 20 ms, to name the next: a slice of an erase
//! (5 ms, `flash.rs`), a record's words (5 ms) and a block's levels (2 ms) may lie in between.

use core::sync::atomic::{AtomicU32, Ordering};

use embassy_executor::SpawnError;
use embassy_executor::SpawnToken;
use embassy_nrf::pdm::{Pdm, SamplerState};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::channel::Channel;
use gridpost_firmware::acoustics::upsample::{FACTOR, Upsampler};
use gridpost_firmware::sensors::SensorError;
use gridpost_firmware::sensors::sound_level::{BLOCK, Heard, Microphone, PART};
use static_cell::ConstStaticCell;

/// Samples of the converter in a block of the meter.
const CONVERTED: usize = BLOCK / FACTOR;
/// Samples in a buffer: 20 ms.
const BUFFER: usize = 2 * CONVERTED;
/// Blocks that wait: three buffers.
const WAITING: usize = 6;

static BLOCKS: Channel<CriticalSectionRawMutex, [i16; CONVERTED], WAITING> = Channel::new();
/// Blocks that found no room.
static LOST: AtomicU32 = AtomicU32::new(0);

/// The task that listens.
pub(crate) fn hear(pdm: Pdm<'static>) -> Result<SpawnToken<impl Sized>, SpawnError> {
    listen(pdm)
}

#[embassy_executor::task]
async fn listen(mut pdm: Pdm<'static>) {
    static BUFFERS: ConstStaticCell<[[i16; BUFFER]; 2]> = ConstStaticCell::new([[0; BUFFER]; 2]);
    let buffers = BUFFERS.take();
    loop {
        let sampled = pdm.run_task_sampler(buffers, |samples: &[i16; BUFFER]| {
            let (blocks, _) = samples.as_chunks::<CONVERTED>();
            for block in blocks {
                if BLOCKS.try_send(*block).is_err() {
                    LOST.fetch_add(1, Ordering::Relaxed);
                }
            }
            SamplerState::Sampled
        });
        // It ends only when the converter fails; then it is begun again.
        let _ = sampled.await;
        embassy_time::Timer::after_secs(1).await;
    }
}

/// The microphone as the node hears it.
#[derive(Default)]
pub(crate) struct PdmMicrophone {
    upsampler: Upsampler,
}

impl Microphone for PdmMicrophone {
    const NAME: &'static str = "pdm-microphone";

    type Block = [i16; CONVERTED];

    async fn block(&mut self) -> Result<Heard<Self::Block>, SensorError> {
        let patience = embassy_time::Duration::from_secs(2);
        let Ok(block) = embassy_time::with_timeout(patience, BLOCKS.receive()).await else {
            return Err(SensorError::Absent);
        };
        Ok(Heard { block, lost: LOST.swap(0, Ordering::Relaxed) * BLOCK as u32 })
    }

    fn samples(&mut self, block: &Self::Block, part: usize, samples: &mut [i32; PART]) {
        let (parts, _) = block.as_chunks::<{ PART / FACTOR }>();
        let (threes, _) = samples.as_chunks_mut::<FACTOR>();
        for (three, sample) in threes.iter_mut().zip(parts[part]) {
            // 16 bits become 24; the interpolator may go over by a little, and is held.
            *three = self
                .upsampler
                .push(f32::from(sample) * 256.0)
                .map(|one| (one as i32).clamp(-8_388_608, 8_388_607));
        }
    }
}
