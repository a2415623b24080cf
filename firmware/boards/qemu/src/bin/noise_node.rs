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
    use core::future::poll_fn;
    use core::pin::{Pin, pin};
    use core::sync::atomic::{AtomicUsize, Ordering};
    use core::task::{Context, Poll};

    use embassy_executor::{SpawnError, Spawner};
    use embassy_time::{Duration, Instant, Timer};
    use gridpost_board_qemu::flash::Flash;
    use gridpost_board_qemu::i2c::I2cBus;
    use gridpost_board_qemu::link::{Link, Receiver, Sender};
    use gridpost_board_qemu::semihosting::File;
    use gridpost_board_qemu::{fault, stack};
    use gridpost_firmware::acoustics::{Range, Sensitivity};
    use gridpost_firmware::node::{About, Journal, Memory, Node, TalkError};
    use gridpost_firmware::sensors::SensorError;
    use gridpost_firmware::sensors::sound_level::{BLOCK, Heard, Microphone, PART, SoundLevel};
    use gridpost_firmware::sensors::tmp105::Tmp105;
    use gridpost_firmware::store::Store;
    use gridpost_firmware::wall::SyncedClock;
    use gridpost_protocol::id::Seq;
    use gridpost_protocol::message::ResetCause;
    use static_cell::{ConstStaticCell, StaticCell};

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

    /// How deep the stack was said to be.
    static DEEPEST: AtomicUsize = AtomicUsize::new(0);

    /// Tells on the log what the node does, and how much stack it takes; tests read it.
    struct BoardLog;

    impl Journal for BoardLog {
        fn appended(&self, seq: Seq) {
            log::info!("appended {seq}");
            let deepest = stack::deepest();
            if DEEPEST.swap(deepest, Ordering::Relaxed) < deepest {
                log::info!("stack {deepest}");
            }
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
        /// The block that is played, 16 bits a sample, as far as there was something to play.
        bytes: [u8; BLOCK * 2],
        read: usize,
    }

    impl Tape {
        /// Fills the block as far as there is something to play; says how far.
        fn play(&mut self) -> usize {
            if self.playing.is_none()
                && self.blocks.is_multiple_of(BLOCKS_A_SECOND)
                && let [name, others @ ..] = self.next
                && let Ok(file) = File::open(name)
            {
                (self.playing, self.next) = (Some(file), others);
            }
            let Some(file) = &mut self.playing else { return 0 };
            let read = file.read(&mut self.bytes);
            if read < self.bytes.len() {
                self.playing = None;
            }
            read
        }
    }

    impl Microphone for Tape {
        const NAME: &'static str = "tape";

        type Block = ();

        async fn block(&mut self) -> Result<Heard<()>, SensorError> {
            self.due += BLOCK_TIME;
            Timer::at(self.due).await;
            self.read = self.play();
            self.blocks = self.blocks.wrapping_add(1);
            Ok(Heard { block: (), lost: 0 })
        }

        fn samples(&mut self, (): &(), part: usize, samples: &mut [i32; PART]) {
            let (shorts, _) = self.bytes.as_chunks::<2>();
            *samples = core::array::from_fn(|index| {
                let index = part * PART + index;
                if index * 2 < self.read {
                    i32::from(i16::from_le_bytes(shorts[index])) << 8
                } else {
                    // A faint tone: samples that do not change would be a dead microphone.
                    if (index / 24).is_multiple_of(2) { 2_000 } else { -2_000 }
                }
            });
        }
    }

    type BoardNode = Node<Flash, SyncedClock, BoardLog, &'static Memory>;

    #[embassy_executor::task]
    async fn measure(node: &'static BoardNode, mut temperature: Tmp105<I2cBus>) {
        node.measure(&mut temperature).await;
    }

    #[embassy_executor::task]
    async fn listen(node: &'static BoardNode, sound: &'static mut SoundLevel) {
        let mut tape = Tape {
            playing: None,
            next: &TAPES,
            due: Instant::now(),
            blocks: 0,
            bytes: [0; BLOCK * 2],
            read: 0,
        };
        node.listen(&mut tape, sound).await;
    }

    #[embassy_executor::task]
    async fn talk(node: &'static BoardNode, mut reader: Receiver, mut writer: Sender) {
        loop {
            match node.talk(&mut reader, &mut writer).await {
                TalkError::Restart => fault::reset(),
                TalkError::Closed => Timer::after(Duration::from_secs(1)).await,
            }
        }
    }

    #[cortex_m_rt::entry]
    fn main() -> ! {
        gridpost_board_qemu::start(|spawner, board| {
            log::info!("gridpost {} on ast1030-evb, a noise node", env!("CARGO_PKG_VERSION"));
            let [_, sensors, ..] = board.i2c;
            spawner.spawn(run(spawner, board.flash, board.link, sensors)?);
            Ok(())
        })
    }

    #[embassy_executor::task]
    async fn run(spawner: Spawner, flash: Flash, link: Link, sensors: I2cBus) {
        let node = {
            let mut opening = pin!(open(flash));
            poll_fn(|context| poll_apart(opening.as_mut(), context)).await
        };
        let Some(node) = node else { return };
        if let Err(error) = start(spawner, node, link, sensors) {
            log::error!("a task did not start: {error:?}");
            fault::reset();
        }
        node.serve().await;
    }

    async fn open(flash: Flash) -> Option<&'static BoardNode> {
        match Store::open_with_ring(flash, RING_SECTORS).await {
            Ok(store) => {
                let (device, boot, next) = (store.identity().device, store.boot(), store.next_seq());
                log::info!("device {device} boot {boot} next {next}");
                Some(node(store))
            }
            Err(error) => {
                log::error!("{error}");
                None
            }
        }
    }

    /// Polls what is done once, in a function of its own, as the other boards do.
    #[inline(never)]
    fn poll_apart<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        future.poll(context)
    }

    #[inline(never)]
    fn node(store: Store<Flash>) -> &'static BoardNode {
        static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
        static NODE: StaticCell<BoardNode> = StaticCell::new();
        NODE.init(Node::with(MEMORY.take(), store, ABOUT, SyncedClock::default(), BoardLog))
    }

    #[inline(never)]
    fn meter() -> &'static mut SoundLevel {
        static SOUND: StaticCell<SoundLevel> = StaticCell::new();
        let sensitivity = Sensitivity::from_pascals(FULL_SCALE_PA).unwrap_or(Sensitivity::ONE_PASCAL);
        SOUND.init_with(|| SoundLevel::new(sensitivity, Range::default()))
    }

    #[inline(never)]
    fn start(
        spawner: Spawner,
        node: &'static BoardNode,
        link: Link,
        sensors: I2cBus,
    ) -> Result<(), SpawnError> {
        let (reader, writer) = link.split();
        spawner.spawn(measure(node, Tmp105::new(sensors, TMP105, TEMPERATURE_EVERY))?);
        spawner.spawn(listen(node, meter())?);
        spawner.spawn(talk(node, reader, writer)?);
        Ok(())
    }
}
