//! The Gridpost node on QEMU's `ast1030-evb`.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
#[cortex_m_rt::entry]
fn main() -> ! {
    gridpost_board_qemu::start(|_spawner, _board| {
        log::info!("gridpost {} on ast1030-evb", env!("CARGO_PKG_VERSION"));
        Ok(())
    })
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is firmware: build it with firmware/boards/build qemu");
}
