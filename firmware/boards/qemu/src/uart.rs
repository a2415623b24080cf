//! The registers of a 16550 UART, as both serial lines have them.

use crate::registers::Registers;

/// One UART. The registers are 32 bits apart, of which the lowest eight count.
#[derive(Clone, Copy)]
pub(crate) struct Uart(pub(crate) Registers);

/// Bytes that the UART's own transmit buffer takes once it is empty.
pub(crate) const FIFO_BYTES: usize = 16;

const DATA: usize = 0x00;
const INTERRUPT_ENABLE: usize = 0x04;
const FIFO_CONTROL: usize = 0x08;
const LINE_CONTROL: usize = 0x0c;
const LINE_STATUS: usize = 0x14;

/// Buffers on and emptied; interrupt at the fourteenth byte received, or when nothing has followed for four byte times.
/// An interrupt for every byte would make QEMU hand over single bytes, at a tenth of the speed.
const FIFO_ON: u32 = 0b1100_0111;
const EIGHT_BITS_NO_PARITY: u32 = 0b0000_0011;
/// While set, the first two registers hold the baud rate's divisor.
const DIVISOR_ACCESS: u32 = 1 << 7;
/// The highest baud rate. QEMU sends as fast as it can, but takes its "four byte times" from this: about 1 ms.
const DIVISOR: u32 = 1;
const ON_RECEIVED: u32 = 1 << 0;
const ON_TRANSMIT_EMPTY: u32 = 1 << 1;

/// What the line status register says.
#[derive(Clone, Copy)]
pub(crate) struct Status(u32);

impl Status {
    /// At least one received byte waits.
    pub(crate) fn received(self) -> bool {
        self.0 & 1 << 0 != 0
    }
    /// Bytes have been lost since the status was last read.
    pub(crate) fn overrun(self) -> bool {
        self.0 & 1 << 1 != 0
    }
    /// The transmit buffer takes [`FIFO_BYTES`] bytes.
    pub(crate) fn transmit_empty(self) -> bool {
        self.0 & 1 << 5 != 0
    }
}

impl Uart {
    pub(crate) fn init(self) {
        self.0.write(INTERRUPT_ENABLE, 0);
        self.0.write(LINE_CONTROL, EIGHT_BITS_NO_PARITY | DIVISOR_ACCESS);
        self.0.write(DATA, DIVISOR);
        self.0.write(INTERRUPT_ENABLE, 0);
        self.0.write(LINE_CONTROL, EIGHT_BITS_NO_PARITY);
        self.0.write(FIFO_CONTROL, FIFO_ON);
    }

    /// Chooses what the UART interrupts for.
    pub(crate) fn set_interrupts(self, on_received: bool, on_transmit_empty: bool) {
        let received = if on_received { ON_RECEIVED } else { 0 };
        let transmit_empty = if on_transmit_empty { ON_TRANSMIT_EMPTY } else { 0 };
        self.0.write(INTERRUPT_ENABLE, received | transmit_empty);
    }

    pub(crate) fn status(self) -> Status {
        Status(self.0.read(LINE_STATUS))
    }

    /// Takes a received byte; only meaningful when the status says that there is one.
    pub(crate) fn receive(self) -> u8 {
        self.0.read(DATA).to_le_bytes()[0]
    }

    /// Gives a byte to send; only when the status says that the buffer takes it.
    pub(crate) fn transmit(self, byte: u8) {
        self.0.write(DATA, u32::from(byte));
    }
}
