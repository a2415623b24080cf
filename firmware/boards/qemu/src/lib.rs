//! The board support of QEMU's `ast1030-evb`: an Aspeed AST1030 (Cortex-M4F) with UARTs, I2C buses and SPI NOR.
//!
//! One file a peripheral, each implementing the traits that the node library is written against; nothing in here
//! knows what a reading is. [`start`] brings the chip up and hands every peripheral out once, as a [`Board`].
//!
//! | what | where | as |
//! | --- | --- | --- |
//! | the link to the gateway | UART5 (QEMU's serial 0) | [`link::Link`]: `embedded_io_async` |
//! | the log, for a technician | UART1 (QEMU's serial 1) | the `log` crate, through [`console`] |
//! | sensors | I2C 0 to 13; a TMP105 sits on bus 1 at 0x4d | [`i2c::I2cBus`]: `embedded_hal`, `embedded_hal_async` |
//! | the record store | a W25Q32 behind SPI1, chip select 0 | [`flash::Flash`]: `embedded_storage_async` |
//! | time | timer 1 and the core's SysTick | `embassy_time`, through [`time`] |
//! | files of the host | semihosting, for measuring and testing | [`semihosting`] |
//!
//! Unsafe code is confined to [`registers`] (what may be written to), [`executor`] (when the core may sleep),
//! [`semihosting`] (what the host is shown) and [`stack`] (how much of it was used).
#![no_std]
#![cfg(target_os = "none")]

pub mod console;
pub mod executor;
pub mod fault;
pub mod flash;
pub mod i2c;
mod interrupts;
pub mod link;
mod registers;
pub mod semihosting;
pub mod stack;
pub mod time;
mod uart;

use embassy_executor::{SpawnError, Spawner};

/// Everything on the board that a program can own. There is one: [`start`] makes it.
pub struct Board {
    /// The serial line to the gateway.
    pub link: link::Link,
    /// The I2C buses, by their number.
    pub i2c: [i2c::I2cBus; i2c::BUSES],
    /// The SPI NOR flash.
    pub flash: flash::Flash,
}

/// Brings the board up, lets `spawn` start the program's tasks, and runs them for ever.
///
/// To be called once, as the whole of `main`. A task that cannot be spawned resets the board with a message.
pub fn start(spawn: fn(Spawner, Board) -> Result<(), SpawnError>) -> ! {
    stack::paint();
    console::init();
    time::init();
    let board = Board { link: link::Link::new(), i2c: i2c::buses(), flash: flash::Flash::new() };
    interrupts::enable();
    executor::run(|spawner| {
        if let Err(error) = spawn(spawner, board) {
            log::error!("a task did not start: {error:?}");
            fault::reset()
        }
    })
}
