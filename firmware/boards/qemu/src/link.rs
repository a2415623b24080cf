//! The serial line to the gateway: UART5, interrupt driven, with a ring each way.
//!
//! **Nothing received is dropped here**: when the receive ring is full the receive interrupt is switched off, the UART's
//! own buffer fills, and the other side (QEMU's character device; on real hardware, flow control) has to wait. Reading
//! switches it on again. Bytes that arrive before [`Link`] exists are lost, so the node speaks first.

use core::{
    convert::Infallible,
    future::poll_fn,
    sync::atomic::{AtomicU32, Ordering},
    task::Poll,
};

use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, pipe::Pipe, waitqueue::AtomicWaker};
use embedded_io_async::{ErrorType, Read, Write};

use crate::{
    registers::UART5,
    uart::{FIFO_BYTES, Status, Uart},
};

/// Room for received bytes: two frames of 512 bytes, so that one can arrive while one is worked on.
pub const RECEIVE_BYTES: usize = 1024;
/// Room for bytes to be sent: two frames of 512 bytes.
pub const TRANSMIT_BYTES: usize = 1024;

const UART: Uart = Uart(UART5);

static RECEIVED: Pipe<CriticalSectionRawMutex, RECEIVE_BYTES> = Pipe::new();
static TO_SEND: Pipe<CriticalSectionRawMutex, TRANSMIT_BYTES> = Pipe::new();
static SENT: AtomicWaker = AtomicWaker::new();
static OVERRUNS: AtomicU32 = AtomicU32::new(0);

/// The link as a whole; [`Link::split`] parts it for a reading and a writing task.
pub struct Link {
    receiver: Receiver,
    sender: Sender,
}

/// The receiving half.
pub struct Receiver(());

/// The sending half.
pub struct Sender(());

impl Link {
    /// Switches the UART on. To be called once.
    pub(crate) fn new() -> Self {
        UART.init();
        update_interrupts();
        Self { receiver: Receiver(()), sender: Sender(()) }
    }

    /// Parts the link into its two directions.
    pub fn split(self) -> (Receiver, Sender) {
        (self.receiver, self.sender)
    }

    /// How often the UART has lost bytes since start, because the interrupt came too late. 0 in QEMU.
    pub fn overruns() -> u32 {
        OVERRUNS.load(Ordering::Relaxed)
    }
}

/// The UART's status. Reading it clears the note of lost bytes, so it is counted here, in the only place that reads it.
fn status() -> Status {
    let status = UART.status();
    if status.overrun() {
        OVERRUNS.fetch_add(1, Ordering::Relaxed);
    }
    status
}

/// Nothing is left to be sent, neither in the ring nor in the UART's own buffer.
fn all_sent() -> bool {
    TO_SEND.is_empty() && status().transmit_empty()
}

/// Listens for what can be dealt with: bytes if there is room, an empty transmitter until all is sent.
fn update_interrupts() {
    critical_section::with(|_| UART.set_interrupts(RECEIVED.free_capacity() > 0, !all_sent()));
}

/// UART5 wants something.
pub(crate) fn on_interrupt() {
    receive_all();
    transmit_some();
    update_interrupts();
    if all_sent() {
        SENT.wake();
    }
}

fn receive_all() {
    while RECEIVED.free_capacity() > 0 && status().received() {
        // There is room (checked above) and interrupts do not nest, so this cannot be refused.
        let _ = RECEIVED.try_write(&[UART.receive()]);
    }
}

fn transmit_some() {
    if !status().transmit_empty() {
        return;
    }
    let mut bytes = [0; FIFO_BYTES];
    if let Ok(count) = TO_SEND.try_read(&mut bytes) {
        bytes.iter().take(count).for_each(|&byte| UART.transmit(byte));
    }
}

impl ErrorType for Receiver {
    type Error = Infallible;
}

impl Read for Receiver {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = RECEIVED.read(buffer).await;
        update_interrupts();
        Ok(count)
    }
}

impl ErrorType for Sender {
    type Error = Infallible;
}

impl Write for Sender {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let count = TO_SEND.write(bytes).await;
        update_interrupts();
        Ok(count)
    }

    /// Waits until the last byte has left the ring and the UART's buffer.
    async fn flush(&mut self) -> Result<(), Infallible> {
        poll_fn(|context| {
            SENT.register(context.waker());
            if all_sent() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Ok(())
    }
}

impl ErrorType for Link {
    type Error = Infallible;
}

impl Read for Link {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Infallible> {
        self.receiver.read(buffer).await
    }
}

impl Write for Link {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        self.sender.write(bytes).await
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        self.sender.flush().await
    }
}
