//! A noise node on QEMU's `ast1030-evb`: its microphone is `microphone-1.pcm` in the folder that QEMU was started in (16 bits,
//! little-endian, 48 kHz, full scale 20 Pa), played once at its true speed from the first whole second at which it is there, and then
//! `-2` and `-3`. Before and after them it hears a quiet street. It keeps its seconds in a ring in half of the flash.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is firmware: build it with firmware/boards/build qemu noise-node");
}

#[cfg(target_os = "none")]
mod node {
    use core::ffi::CStr;

    use embassy_futures::join::join3;
    use embassy_time::{Duration, Instant, Timer};
    use gridpost_board_qemu::semihosting::File;
    use gridpost_board_qemu::{Board, fault};
    use gridpost_firmware::acoustics::{Range, Sensitivity};
    use gridpost_firmware::node::{About, Journal, Node, TalkError};
    use gridpost_firmware::sensors::SensorError;
    use gridpost_firmware::sensors::sound_level::{BLOCK, Heard, Microphone, SoundLevel};
    use gridpost_firmware::sensors::tmp105::Tmp105;
    use gridpost_firmware::store::Store;
    use gridpost_firmware::wall::SyncedClock;
    use gridpost_protocol::id::Seq;
    use gridpost_protocol::message::ResetCause;
    use static_cell::StaticCell;

    const ABOUT: About = About {
        firmware: env!("CARGO_PKG_VERSION"),
        board: "qemu-ast1030-noise",
        reset_cause: ResetCause::Unknown,
    };
    const RING_SECTORS: u32 = 512;
    const TMP105: u8 = 0x4d;
    const TEMPERATURE_EVERY: Duration = Duration::from_secs(10);
    const BLOCK_TIME: Duration = Duration::from_millis(10);
    const BLOCKS_A_SECOND: u32 = 100;
    const FULL_SCALE_PA: f32 = 20.0;

    /// Tells on the log what the node does; tests read it.
    struct BoardLog;

    impl Journal for BoardLog {
        fn appended(&self, seq: Seq) {
            log::info!("appended {seq}");
        }

        fn trouble(&self, what: core::fmt::Arguments<'_>) {
            log::warn!("{what}");
        }
    }

    const TAPES: [&CStr; 3] = [c"microphone-1.pcm", c"microphone-2.pcm", c"microphone-3.pcm"];

    /// Plays files of the host, which may come later: who waits until the node decides plays nothing to a node that does not.
    struct Tape {
        playing: Option<File>,
        /// Those that were not played; for the first of them it looks each second.
        next: &'static [&'static CStr],
        /// When the last block ended.
        due: Instant,
        /// How many blocks it has played.
        blocks: u32,
    }

    impl Tape {
        /// Fills the bytes as far as there is something to play; says how far.
        fn play(&mut self, bytes: &mut [u8]) -> usize {
            if self.playing.is_none()
                && self.blocks.is_multiple_of(BLOCKS_A_SECOND)
                && let [name, others @ ..] = self.next
                && let Ok(file) = File::open(name)
            {
                (self.playing, self.next) = (Some(file), others);
            }
            let Some(file) = &mut self.playing else { return 0 };
            let read = file.read(bytes);
            if read < bytes.len() {
                self.playing = None;
            }
            read
        }
    }

    impl Microphone for Tape {
        const NAME: &'static str = "tape";

        async fn block(&mut self) -> Result<Heard, SensorError> {
            self.due += BLOCK_TIME;
            Timer::at(self.due).await;
            let mut bytes = [0; BLOCK * 2];
            let read = self.play(&mut bytes);
            self.blocks = self.blocks.wrapping_add(1);
            let (shorts, _) = bytes.as_chunks::<2>();
            let samples = core::array::from_fn(|index| {
                if index * 2 < read {
                    i32::from(i16::from_le_bytes(shorts[index])) << 8
                } else {
                    // A faint tone: samples that do not change would be a dead microphone.
                    if index / 24 % 2 == 0 { 2_000 } else { -2_000 }
                }
            });
            Ok(Heard { samples, lost: 0 })
        }
    }

    #[cortex_m_rt::entry]
    fn main() -> ! {
        gridpost_board_qemu::start(|spawner, board| {
            log::info!("gridpost {} on ast1030-evb, a noise node", env!("CARGO_PKG_VERSION"));
            spawner.spawn(node(board)?);
            Ok(())
        })
    }

    #[embassy_executor::task]
    async fn node(board: Board) {
        static SOUND: StaticCell<SoundLevel> = StaticCell::new();
        let store = match Store::open_with_ring(board.flash, RING_SECTORS).await {
            Ok(store) => store,
            Err(error) => {
                log::error!("{error}");
                return;
            }
        };
        log::info!("device {} boot {} next {}", store.identity().device, store.boot(), store.next_seq());
        let Some(sensitivity) = Sensitivity::from_pascals(FULL_SCALE_PA) else { return };
        let sound = SOUND.init_with(|| SoundLevel::new(sensitivity, Range::default()));
        let [_, sensors, ..] = board.i2c;
        let mut temperature = Tmp105::new(sensors, TMP105, TEMPERATURE_EVERY);
        let (mut reader, mut writer) = board.link.split();
        let node = Node::new(store, ABOUT, SyncedClock::default(), BoardLog);
        let talk = async {
            loop {
                match node.talk(&mut reader, &mut writer).await {
                    TalkError::Restart => fault::reset(),
                    TalkError::Closed => Timer::after(Duration::from_secs(1)).await,
                }
            }
        };
        let mut tape = Tape { playing: None, next: &TAPES, due: Instant::now(), blocks: 0 };
        join3(node.measure(&mut temperature), node.listen(&mut tape, sound), talk).await;
    }
}
