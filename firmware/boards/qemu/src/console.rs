//! The log, for whoever has a terminal on UART1: one line a message, stamped with the time since start.
//!
//! Written byte by byte while the program waits: a message is out before what follows it happens, which is what one
//! wants to read after a fault. A line nobody takes bytes from is given up on (see [`PATIENCE_POLLS`]).

use core::fmt::{self, Write};

use embassy_time::Instant;
use log::{LevelFilter, Log, Metadata, Record};

use crate::{registers::UART1, uart::Uart};

/// How often the UART is asked whether it takes another byte before the byte is dropped: some milliseconds, so that a
/// blocked log slows the node down but never stops it.
const PATIENCE_POLLS: u32 = 100_000;

/// Messages less important than this are not compiled in.
const LEVEL: LevelFilter = LevelFilter::Info;

struct Console;

static CONSOLE: Console = Console;

/// From here on the `log` macros write to UART1.
pub(crate) fn init() {
    Uart(UART1).init();
    // An error says that a logger is set already; then the log works all the same.
    if log::set_logger(&CONSOLE).is_ok() {
        log::set_max_level(LEVEL);
    }
}

impl Log for Console {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= LEVEL
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let now = Instant::now().as_micros();
            let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
            // Writing to the UART cannot fail.
            let _ = writeln!(Bytes, "[{seconds:5}.{micros:06}] {:5} {}", record.level(), record.args());
        }
    }

    fn flush(&self) {}
}

struct Bytes;

impl Write for Bytes {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let uart = Uart(UART1);
        for byte in text.bytes() {
            if (0..PATIENCE_POLLS).any(|_| uart.status().transmit_empty()) {
                uart.transmit(byte);
            }
        }
        Ok(())
    }
}
