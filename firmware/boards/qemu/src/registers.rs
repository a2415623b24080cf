//! The board's memory map, and the only way to it.
//!
//! Every block of registers is a constant of this file, so that the argument why an access is sound is made once: the
//! address range belongs to a device of the AST1030 and to nothing that Rust knows of. Which driver uses which block
//! is the drivers' business; no block is used by two.
#![expect(unsafe_code, reason = "registers are reached by address; this is the one file that does so")]

/// A device's registers.
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    base: usize,
    length: usize,
}

/// Timer 1 to 8.
pub(crate) const TIMERS: Registers = Registers::at(0x7e78_2000, 0x1000);
/// QEMU's serial 1.
pub(crate) const UART1: Registers = Registers::at(0x7e78_3000, 0x1000);
/// QEMU's serial 0.
pub(crate) const UART5: Registers = Registers::at(0x7e78_4000, 0x1000);
/// The I2C controllers: shared registers, then one block of 0x80 bytes a bus.
pub(crate) const I2C: Registers = Registers::at(0x7e7b_0000, 0x1000);
/// The controller of the SPI bus that the NOR flash is on.
pub(crate) const SPI1: Registers = Registers::at(0x7e63_0000, 0x1000);
/// In user mode, what is written here is clocked out to the flash, and reading clocks in.
pub(crate) const SPI1_DATA: Registers = Registers::at(0x9000_0000, 0x1000);
/// The core's own 24-bit timer.
pub(crate) const SYSTICK: Registers = Registers::at(0xe000_e010, 0x10);
/// The core's fault status registers.
pub(crate) const FAULT_STATUS: Registers = Registers::at(0xe000_ed28, 0x18);

impl Registers {
    /// Private to this file: the constants above are all the blocks there are.
    const fn at(base: usize, length: usize) -> Self {
        Self { base, length }
    }

    /// A smaller block within this one.
    pub(crate) const fn part(self, offset: usize, length: usize) -> Self {
        assert!(offset + length <= self.length, "a part reaches beyond its block");
        Self { base: self.base + offset, length }
    }

    fn address(self, offset: usize, width: usize) -> usize {
        assert!(
            offset + width <= self.length && offset.is_multiple_of(width),
            "a register outside its block"
        );
        self.base + offset
    }

    pub(crate) fn read(self, offset: usize) -> u32 {
        // SAFETY: the address is aligned and inside a device's block (checked above); any value is a valid u32.
        unsafe { (self.address(offset, 4) as *const u32).read_volatile() }
    }

    pub(crate) fn write(self, offset: usize, value: u32) {
        // SAFETY: the address is aligned and inside a device's block (checked above), where no Rust object lives.
        unsafe { (self.address(offset, 4) as *mut u32).write_volatile(value) }
    }

    pub(crate) fn read_byte(self, offset: usize) -> u8 {
        // SAFETY: as in `read`; the data window of the flash can be read in bytes.
        unsafe { (self.address(offset, 1) as *const u8).read_volatile() }
    }

    pub(crate) fn write_byte(self, offset: usize, value: u8) {
        // SAFETY: as in `write`; the data window of the flash can be written in bytes.
        unsafe { (self.address(offset, 1) as *mut u8).write_volatile(value) }
    }
}
