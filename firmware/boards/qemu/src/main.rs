//! The Gridpost node on QEMU's `ast1030-evb`: a TMP105 and a scripted sound level, kept in SPI NOR, told over the UART.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is firmware: build it with firmware/boards/build qemu");
}

#[cfg(target_os = "none")]
mod node {
    use embassy_futures::join::join4;
    use embassy_time::{Duration, Timer};
    use gridpost_board_qemu::{Board, fault};
    use gridpost_firmware::node::{About, Journal, Node, TalkError};
    use gridpost_firmware::sensors::scripted_level::{ScriptedLevel, Step};
    use gridpost_firmware::sensors::tmp105::Tmp105;
    use gridpost_firmware::store::Store;
    use gridpost_firmware::wall::SyncedClock;
    use gridpost_protocol::id::Seq;
    use gridpost_protocol::message::ResetCause;
    use gridpost_protocol::reading::Milli;

    const ABOUT: About = About {
        firmware: env!("CARGO_PKG_VERSION"),
        board: "qemu-ast1030",
        reset_cause: ResetCause::Unknown,
    };
    const TMP105: u8 = 0x4d;
    const EVERY: Duration = Duration::from_secs(1);
    /// A quiet street: no rule of the sample district has anything to say about it.
    const STREET: &[Step] = &[Step { readings: 60, level: Milli(48_000) }];

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

    #[cortex_m_rt::entry]
    fn main() -> ! {
        gridpost_board_qemu::start(|spawner, board| {
            log::info!("gridpost {} on ast1030-evb", env!("CARGO_PKG_VERSION"));
            spawner.spawn(node(board)?);
            Ok(())
        })
    }

    #[embassy_executor::task]
    async fn node(board: Board) {
        let store = match Store::open(board.flash).await {
            Ok(store) => store,
            Err(error) => {
                log::error!("{error}");
                return;
            }
        };
        log::info!("device {} boot {} next {}", store.identity().device, store.boot(), store.next_seq());
        let [_, sensors, ..] = board.i2c;
        let mut temperature = Tmp105::new(sensors, TMP105, EVERY);
        let mut level = ScriptedLevel::new(STREET, EVERY);
        let (mut reader, mut writer) = board.link.split();
        let node = Node::new(store, ABOUT, SyncedClock::default(), BoardLog);
        let talk = async {
            loop {
                match node.talk(&mut reader, &mut writer).await {
                    TalkError::Restart => fault::reset(),
                    TalkError::Closed => Timer::after(EVERY).await,
                }
            }
        };
        join4(node.serve(), node.measure(&mut temperature), node.measure(&mut level), talk).await;
    }
}
