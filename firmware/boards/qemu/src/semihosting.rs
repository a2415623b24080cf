//! Files of the machine that QEMU runs on: for measuring and testing, where a link would be slower.
//!
//! Only where QEMU was started with `-semihosting-config enable=on`; elsewhere a call is a hard fault.
#![expect(unsafe_code, reason = "the host is called with addresses of what it is to read or write")]

use core::ffi::CStr;

use cortex_m::asm::semihosting_syscall;

const SYS_OPEN: u32 = 0x01;
const SYS_WRITE: u32 = 0x05;
const SYS_READ: u32 = 0x06;
const SYS_EXIT: u32 = 0x18;
const STOPPED_BY_APPLICATION: u32 = 0x2_0026;
const READ_BINARY: u32 = 1;
const WRITE_BINARY: u32 = 5;

/// A file in the folder that QEMU was started in.
pub struct File(u32);

/// The host refused.
#[derive(Clone, Copy, Debug)]
pub struct Refused;

impl File {
    /// Opens a file to read it from its beginning.
    ///
    /// # Errors
    /// It is not there.
    pub fn open(name: &CStr) -> Result<Self, Refused> {
        Self::with_mode(name, READ_BINARY)
    }

    /// Makes a file, or empties the one there is.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(name: &CStr) -> Result<Self, Refused> {
        Self::with_mode(name, WRITE_BINARY)
    }

    fn with_mode(name: &CStr, mode: u32) -> Result<Self, Refused> {
        let arguments = [name.as_ptr() as u32, mode, name.count_bytes() as u32];
        // SAFETY: the host reads the name, which lives until it is back.
        let handle = unsafe { semihosting_syscall(SYS_OPEN, arguments.as_ptr() as u32) };
        if handle == u32::MAX { Err(Refused) } else { Ok(Self(handle)) }
    }

    /// Fills the buffer as far as the file goes; says how far.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        let arguments = [self.0, buffer.as_mut_ptr() as u32, buffer.len() as u32];
        // SAFETY: the host writes into the buffer, which is borrowed until it is back, and no further than its length.
        let left = unsafe { semihosting_syscall(SYS_READ, arguments.as_ptr() as u32) };
        buffer.len().saturating_sub(left as usize)
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The host could not.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refused> {
        let arguments = [self.0, bytes.as_ptr() as u32, bytes.len() as u32];
        // SAFETY: the host reads the bytes, which live until it is back.
        let left = unsafe { semihosting_syscall(SYS_WRITE, arguments.as_ptr() as u32) };
        if left == 0 { Ok(()) } else { Err(Refused) }
    }
}

/// Ends QEMU.
pub fn exit() -> ! {
    loop {
        // SAFETY: nothing is to go on after it.
        unsafe { semihosting_syscall(SYS_EXIT, STOPPED_BY_APPLICATION) };
    }
}
