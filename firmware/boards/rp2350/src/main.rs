//! The Gridpost noise node on a Raspberry Pi RP2350, such as the Pico 2: pins, clocks and tasks. Wiring: `README.md` beside this.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is firmware: build it with firmware/boards/build rp2350");
}

#[cfg(target_os = "none")]
mod fault;
#[cfg(target_os = "none")]
mod microphone;

#[cfg(target_os = "none")]
mod board {
    use core::future::poll_fn;
    use core::pin::{Pin, pin};
    use core::task::{Context, Poll};

    use embassy_executor::Spawner;
    use embassy_rp::flash::{self, Flash};
    use embassy_rp::gpio::{Level, Output};
    use embassy_rp::pio_programs::i2s::{PioI2sIn, PioI2sInProgram};
    use embassy_rp::uart::{self, BufferedUart, BufferedUartRx, BufferedUartTx};
    use embassy_rp::{bind_interrupts, config, dma, i2c, peripherals, pio};
    use embassy_time::{Delay, Duration, Timer};
    use gridpost_firmware::acoustics::{Range, SAMPLE_RATE, Sensitivity};
    use gridpost_firmware::node::{About, Journal, Memory, Node, TalkError};
    use gridpost_firmware::own_flash::Halting;
    use gridpost_firmware::region::Region;
    use gridpost_firmware::sensors::sht4x::Sht4x;
    use gridpost_firmware::sensors::sound_level::SoundLevel;
    use gridpost_firmware::store::Store;
    use gridpost_firmware::wall::SyncedClock;
    use gridpost_protocol::id::Seq;
    use gridpost_protocol::message::ResetCause;
    use static_cell::{ConstStaticCell, StaticCell};

    use crate::fault;
    use crate::microphone::{self, I2sMicrophone};

    bind_interrupts!(struct Irqs {
        PIO0_IRQ_0 => pio::InterruptHandler<peripherals::PIO0>;
        DMA_IRQ_0 => dma::InterruptHandler<peripherals::DMA_CH0>;
        UART0_IRQ => uart::BufferedInterruptHandler<peripherals::UART0>;
        I2C0_IRQ => i2c::InterruptHandler<peripherals::I2C0>;
    });

    /// The Pico 2's flash.
    const FLASH_BYTES: usize = 4 * 1024 * 1024;
    /// Where the program's part of it ends (memory.x) and the store's begins.
    const STORE_FROM: u32 = 512 * 1024;
    const STORE_BYTES: usize = FLASH_BYTES - STORE_FROM as usize;
    const RING_SECTORS: u32 = 600;
    const TEMPERATURE_EVERY: Duration = Duration::from_secs(60);
    const AGAIN_AFTER: Duration = Duration::from_secs(1);
    /// Of a microphone with -26 dBFS at 94 dB SPL, as ICS-43434 and INMP441 have; a field calibration corrects it.
    const DBFS_AT_94: f32 = -26.0;

    /// The light flashes when something is wrong; there is no log.
    struct Quiet;

    impl Journal for Quiet {
        fn appended(&self, _: Seq) {}
        fn trouble(&self, _: core::fmt::Arguments<'_>) {}
    }

    type BoardFlash = Region<Halting<Flash<'static, peripherals::FLASH, flash::Blocking, FLASH_BYTES>>>;
    type BoardNode = Node<BoardFlash, SyncedClock, Quiet, &'static Memory>;
    type Temperature = Sht4x<i2c::I2c<'static, peripherals::I2C0, i2c::Async>, Delay>;

    /// What is there beside the flash.
    struct Parts {
        light: Output<'static>,
        link: (BufferedUartRx, BufferedUartTx),
        temperature: Temperature,
        microphone: PioI2sIn<'static, peripherals::PIO0, 0>,
    }

    #[embassy_executor::task]
    async fn measure(node: &'static BoardNode, mut temperature: Temperature) {
        node.measure(&mut temperature).await;
    }

    #[embassy_executor::task]
    async fn listen(
        node: &'static BoardNode,
        microphone: &'static mut I2sMicrophone,
        sound: &'static mut SoundLevel,
    ) {
        node.listen(microphone, sound).await;
    }

    #[embassy_executor::task]
    async fn talk(node: &'static BoardNode, mut reader: BufferedUartRx, mut writer: BufferedUartTx) {
        loop {
            match node.talk(&mut reader, &mut writer).await {
                TalkError::Restart => fault::reset(),
                TalkError::Closed | TalkError::Link(_) => Timer::after(AGAIN_AFTER).await,
            }
        }
    }

    /// Opens the store and works with it, for the tasks that it starts when it is open.
    #[embassy_executor::task]
    async fn run(spawner: Spawner, about: About, flash: BoardFlash, mut parts: Parts) {
        let node = {
            let mut opening = pin!(open(flash, about));
            poll_fn(|context| poll_apart(opening.as_mut(), context)).await
        };
        // Not provisioned, or its flash is worn out: the page says what the flashing means.
        let Some(node) = node else { return fault::flash_for_ever(&mut parts.light).await };
        start(spawner, node, parts);
        node.serve().await;
    }

    /// [`None`] when the store cannot be used.
    async fn open(flash: BoardFlash, about: About) -> Option<&'static BoardNode> {
        let store = Store::open_with_ring(flash, RING_SECTORS).await.ok()?;
        Some(node(store, about))
    }

    /// Polls what is done once, in a function of its own: in one with what goes on for ever its place on the stack would stay.
    #[inline(never)]
    fn poll_apart<F: Future>(future: Pin<&mut F>, context: &mut Context<'_>) -> Poll<F::Output> {
        future.poll(context)
    }

    /// The node, in its place. As [`meter`] and [`start`] a function of its own, so that what it takes on the stack is gone after it.
    #[inline(never)]
    fn node(store: Store<BoardFlash>, about: About) -> &'static BoardNode {
        static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
        static NODE: StaticCell<BoardNode> = StaticCell::new();
        NODE.init(Node::with(MEMORY.take(), store, about, SyncedClock::default(), Quiet))
    }

    #[inline(never)]
    fn meter() -> &'static mut SoundLevel {
        static SOUND: StaticCell<SoundLevel> = StaticCell::new();
        let sensitivity = Sensitivity::from_dbfs_at_94(DBFS_AT_94).unwrap_or(Sensitivity::ONE_PASCAL);
        SOUND.init_with(|| SoundLevel::new(sensitivity, Range::default()))
    }

    #[inline(never)]
    fn start(spawner: Spawner, node: &'static BoardNode, parts: Parts) {
        let (reader, writer) = parts.link;
        // The microphone is heard from when there is somebody who listens.
        let (hear, microphone) = microphone::hear(parts.microphone);
        let measure = measure(node, parts.temperature);
        let listen = listen(node, microphone, meter());
        let tasks = (hear, measure, listen, talk(node, reader, writer));
        let (Ok(hear), Ok(measure), Ok(listen), Ok(talk)) = tasks else { fault::reset() };
        spawner.spawn(hear);
        spawner.spawn(measure);
        spawner.spawn(listen);
        spawner.spawn(talk);
    }

    #[embassy_executor::main]
    async fn main(spawner: Spawner) {
        static RECEIVED: StaticCell<[u8; 1024]> = StaticCell::new();
        static TO_SEND: StaticCell<[u8; 1024]> = StaticCell::new();

        // 150 MHz from the crystal: through 24.4140625, which the state machine's divider has exactly, it is 48 kHz.
        let p = embassy_rp::init(config::Config::default());
        let about =
            About { firmware: env!("CARGO_PKG_VERSION"), board: "rp2350", reset_cause: ResetCause::Unknown };
        let mut light = Output::new(p.PIN_25, Level::Low);

        let flash = Flash::<_, _, FLASH_BYTES>::new_blocking(p.FLASH);
        let Some(flash) = Region::new(Halting(flash), STORE_FROM, STORE_BYTES) else {
            return fault::flash_for_ever(&mut light).await;
        };

        let link = BufferedUart::new(
            p.UART0,
            p.PIN_0,
            p.PIN_1,
            Irqs,
            TO_SEND.init([0; 1024]),
            RECEIVED.init([0; 1024]),
            uart::Config::default(),
        );
        let (writer, reader) = link.split();
        let link = (reader, writer);
        let bus = i2c::I2c::new_async(p.I2C0, p.PIN_5, p.PIN_4, Irqs, i2c::Config::default());
        let temperature = Sht4x::new(bus, sht4x::Address::Address0x44, Delay, TEMPERATURE_EVERY);

        let pio::Pio { mut common, sm0, .. } = pio::Pio::new(p.PIO0, Irqs);
        let program = PioI2sInProgram::new(&mut common);
        let i2s = PioI2sIn::new(
            &mut common,
            sm0,
            p.DMA_CH0,
            Irqs,
            // By a resistor: the chip's own do not hold (RP2350 data sheet, erratum E9).
            false,
            p.PIN_18,
            p.PIN_19,
            p.PIN_20,
            SAMPLE_RATE,
            32,
            2,
            &program,
        );
        let parts = Parts { light, link, temperature, microphone: i2s };
        let Ok(run) = run(spawner, about, flash, parts) else { fault::reset() };
        spawner.spawn(run);
    }
}
