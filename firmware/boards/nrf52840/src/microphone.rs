//! A PDM microphone, at 16 kHz, brought to the meter's 48 kHz.
//!
//! The converter fills two buffers by turns, and the program has the time of one of them, 20 ms, to name the next: a slice of an erase
//! (5 ms, `flash.rs`), a record's words (5 ms) and a block's levels (2 ms) may lie in between.

use core::sync::atomic::AtomicU32;

use embassy_executor::SpawnError;
use embassy_executor::SpawnToken;
use embassy_nrf::pdm::{Pdm, SamplerState};
use gridpost_firmware::acoustics::upsample::{FACTOR, Upsampler};
use gridpost_firmware::sensors::SensorError;
use gridpost_firmware::sensors::sound_level::{BLOCK, Heard, Microphone, PART};
use gridpost_firmware::sensors::waiting::{Filling, Line, Waiting, ends};
use static_cell::{ConstStaticCell, StaticCell};

/// Samples of the converter in a block of the meter.
const CONVERTED: usize = BLOCK / FACTOR;
/// Samples in a buffer: 20 ms.
const BUFFER: usize = 2 * CONVERTED;
/// Blocks that wait: three buffers.
const WAITING: usize = 6;

type Block = [i16; CONVERTED];

/// Samples that found no room, at the meter's rate.
static LOST: AtomicU32 = AtomicU32::new(0);

/// The task that listens, and the microphone as the node hears it.
pub(crate) fn hear(
    pdm: Pdm<'static>,
) -> (Result<SpawnToken<impl Sized>, SpawnError>, &'static mut PdmMicrophone) {
    static PLACES: ConstStaticCell<[Block; WAITING]> = ConstStaticCell::new([[0; CONVERTED]; WAITING]);
    static MICROPHONE: StaticCell<PdmMicrophone> = StaticCell::new();
    static LINE: StaticCell<Line<Block>> = StaticCell::new();
    let (filling, waiting) = ends(LINE.init(Line::new(PLACES.take())), &LOST);
    let microphone = PdmMicrophone { waiting, upsampler: Upsampler::default() };
    (listen(pdm, filling), MICROPHONE.init(microphone))
}

#[embassy_executor::task]
async fn listen(mut pdm: Pdm<'static>, mut filling: Filling<Block>) {
    static BUFFERS: ConstStaticCell<[[i16; BUFFER]; 2]> = ConstStaticCell::new([[0; BUFFER]; 2]);
    let buffers = BUFFERS.take();
    loop {
        let sampled = pdm.run_task_sampler(buffers, |samples: &[i16; BUFFER]| {
            let (blocks, _) = samples.as_chunks::<CONVERTED>();
            for block in blocks {
                filling.put(BLOCK as u32, |place| *place = *block);
            }
            SamplerState::Sampled
        });
        // It ends only when the converter fails; then it is begun again.
        let _ = sampled.await;
        embassy_time::Timer::after_secs(1).await;
    }
}

/// The microphone as the node hears it.
pub(crate) struct PdmMicrophone {
    waiting: Waiting<Block>,
    upsampler: Upsampler,
}

impl Microphone for PdmMicrophone {
    const NAME: &'static str = "pdm-microphone";

    /// Waits in its place.
    type Block = ();

    async fn block(&mut self) -> Result<Heard<()>, SensorError> {
        self.waiting.next().await
    }

    fn samples(&mut self, (): &(), part: usize, samples: &mut [i32; PART]) {
        let Some(block) = self.waiting.block() else { return };
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
