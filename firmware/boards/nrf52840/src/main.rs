//! The Gridpost noise node on a Nordic nRF52840, such as RAK4631: pins, clocks and tasks. Wiring: `README.md` beside this.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is firmware: build it with firmware/boards/build nrf52840");
}

#[cfg(target_os = "none")]
mod fault;
#[cfg(target_os = "none")]
mod flash;
#[cfg(target_os = "none")]
mod microphone;

#[cfg(target_os = "none")]
mod board {
    use core::future::poll_fn;
    use core::pin::{Pin, pin};
    use core::task::{Context, Poll};

    use embassy_executor::Spawner;
    use embassy_nrf::buffered_uarte::{self, BufferedUarte, BufferedUarteRx, BufferedUarteTx};
    use embassy_nrf::config::{Config, HfclkSource, LfclkSource};
    use embassy_nrf::gpio::{Level, Output, OutputDrive};
    use embassy_nrf::nvmc::Nvmc;
    use embassy_nrf::{bind_interrupts, pdm, peripherals, twim, uarte};
    use embassy_time::{Delay, Duration, Timer};
    use gridpost_firmware::acoustics::{Range, Sensitivity};
    use gridpost_firmware::node::{About, Journal, Memory, Node, TalkError};
    use gridpost_firmware::own_flash::Sliced;
    use gridpost_firmware::region::Region;
    use gridpost_firmware::sensors::sht4x::Sht4x;
    use gridpost_firmware::sensors::sound_level::SoundLevel;
    use gridpost_firmware::store::Store;
    use gridpost_firmware::wall::SyncedClock;
    use gridpost_protocol::id::Seq;
    use gridpost_protocol::message::ResetCause;
    use static_cell::{ConstStaticCell, StaticCell};

    use crate::microphone::{self, PdmMicrophone};
    use crate::{fault, flash};

    bind_interrupts!(struct Irqs {
        UARTE0 => buffered_uarte::InterruptHandler<peripherals::UARTE0>;
        TWISPI0 => twim::InterruptHandler<peripherals::TWISPI0>;
        PDM => pdm::InterruptHandler<peripherals::PDM>;
    });

    /// Where the program's part of the flash ends (memory.x) and the store's begins.
    const STORE_FROM: u32 = 256 * 1024;
    const STORE_BYTES: usize = 768 * 1024;
    const RING_SECTORS: u32 = 59;
    const TEMPERATURE_EVERY: Duration = Duration::from_secs(60);
    const AGAIN_AFTER: Duration = Duration::from_secs(1);
    /// Of a microphone with -26 dBFS at 94 dB SPL, as most PDM microphones have; a field calibration corrects it.
    const DBFS_AT_94: f32 = -26.0;

    /// The light flashes when something is wrong; there is no log.
    struct Quiet;

    impl Journal for Quiet {
        fn appended(&self, _: Seq) {}
        fn trouble(&self, _: core::fmt::Arguments<'_>) {}
    }

    type BoardFlash = Region<Sliced<Nvmc<'static>>>;
    type BoardNode = Node<BoardFlash, SyncedClock, Quiet, &'static Memory>;
    type Temperature = Sht4x<twim::Twim<'static>, Delay>;

    /// What is there beside the flash.
    struct Parts {
        light: Output<'static>,
        link: (BufferedUarteRx<'static>, BufferedUarteTx<'static>),
        temperature: Temperature,
        microphone: pdm::Pdm<'static>,
    }

    #[embassy_executor::task]
    async fn measure(node: &'static BoardNode, mut temperature: Temperature) {
        node.measure(&mut temperature).await;
    }

    #[embassy_executor::task]
    async fn listen(
        node: &'static BoardNode,
        microphone: &'static mut PdmMicrophone,
        sound: &'static mut SoundLevel,
    ) {
        node.listen(microphone, sound).await;
    }

    #[embassy_executor::task]
    async fn talk(
        node: &'static BoardNode,
        mut reader: BufferedUarteRx<'static>,
        mut writer: BufferedUarteTx<'static>,
    ) {
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

    /// Why the chip started (product specification, POWER, RESETREAS); read once.
    fn reset_cause() -> ResetCause {
        let reason = embassy_nrf::pac::POWER.resetreas().read();
        // Bits stay until they are written.
        embassy_nrf::pac::POWER.resetreas().write_value(reason);
        match reason {
            _ if reason.resetpin() => ResetCause::Pin,
            _ if reason.dog() => ResetCause::Watchdog,
            _ if reason.sreq() || reason.lockup() => ResetCause::Software,
            _ if reason.0 == 0 => ResetCause::PowerOn,
            _ => ResetCause::Unknown,
        }
    }

    #[embassy_executor::main]
    async fn main(spawner: Spawner) {
        // 11.5 bytes come in a millisecond, into one half while the other is read: 22 ms each, of which a slice of an erase and a record's
        // words take 10. What is sent waits for its turn.
        static RECEIVED: StaticCell<[u8; 512]> = StaticCell::new();
        static TO_SEND: StaticCell<[u8; 128]> = StaticCell::new();
        static I2C: StaticCell<[u8; 16]> = StaticCell::new();

        let mut config = Config::default();
        // The microphone's clock comes from the crystal: RC oscillators are off by percents.
        config.hfclk_source = HfclkSource::ExternalXtal;
        config.lfclk_source = LfclkSource::ExternalXtal;
        let p = embassy_nrf::init(config);
        let about =
            About { firmware: env!("CARGO_PKG_VERSION"), board: "nrf52840", reset_cause: reset_cause() };
        let mut light = Output::new(p.P1_03, Level::Low, OutputDrive::Standard);

        let flash = Region::new(Sliced::new(Nvmc::new(p.NVMC), flash::slices()), STORE_FROM, STORE_BYTES);
        let Some(flash) = flash else { return fault::flash_for_ever(&mut light).await };

        let mut uart = uarte::Config::default();
        uart.baudrate = uarte::Baudrate::Baud115200;
        let link = BufferedUarte::new(
            p.UARTE0,
            p.TIMER0,
            p.PPI_CH0,
            p.PPI_CH1,
            p.PPI_GROUP0,
            p.P0_15,
            p.P0_16,
            Irqs,
            uart,
            RECEIVED.init([0; 512]),
            TO_SEND.init([0; 128]),
        );
        let link = link.split();
        let bus =
            twim::Twim::new(p.TWISPI0, Irqs, p.P0_13, p.P0_14, twim::Config::default(), I2C.init([0; 16]));
        let temperature = Sht4x::new(bus, sht4x::Address::Address0x44, Delay, TEMPERATURE_EVERY);

        // 1.28 MHz through 80 is 16 kHz to the last digit.
        let config = pdm::Config {
            frequency: pdm::Frequency::_1280k,
            ratio: pdm::Ratio::Ratio80,
            ..pdm::Config::default()
        };
        let pdm = pdm::Pdm::new(p.PDM, Irqs, p.P0_21, p.P0_04, config);
        let parts = Parts { light, link, temperature, microphone: pdm };
        let Ok(run) = run(spawner, about, flash, parts) else { fault::reset() };
        spawner.spawn(run);
    }
}
