//! Exercises every driver of the board by itself: what to run first on a board that is new, changed or in doubt.
//!
//! Log: the flash's id and how often this flash has seen a start (one word is written for each); the temperature, at
//! start and whenever it changes. Link: every byte comes back.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is firmware: build it with firmware/boards/build qemu bring-up");
}

#[cfg(target_os = "none")]
mod bring_up {
    use embassy_time::{Duration, Ticker};
    use embedded_hal_async::i2c::I2c;
    use embedded_io_async::{Read, Write};
    use embedded_storage_async::nor_flash::{NorFlash, ReadNorFlash};
    use gridpost_board_qemu::{
        flash::{Flash, FlashError, SECTOR_BYTES, WORD_BYTES},
        i2c::{I2cBus, I2cError},
        link::Link,
    };

    const TMP105: u8 = 0x4d;
    const NOBODY: u8 = 0x3b;
    const RESOLUTION_12_BITS: [u8; 2] = [0x01, 0x60];
    const TEMPERATURE: [u8; 1] = [0x00];
    const EVERY: Duration = Duration::from_millis(20);

    #[cortex_m_rt::entry]
    fn main() -> ! {
        gridpost_board_qemu::start(|spawner, board| {
            log::info!("bring-up {} on ast1030-evb", env!("CARGO_PKG_VERSION"));
            let [_, sensors, ..] = board.i2c;
            spawner.spawn(flash(board.flash)?);
            spawner.spawn(temperature(sensors)?);
            spawner.spawn(echo(board.link)?);
            Ok(())
        })
    }

    #[embassy_executor::task]
    async fn flash(mut flash: Flash) {
        log::info!("flash id {:02x?}", flash.id());
        match count_start(&mut flash).await {
            Ok(starts) => log::info!("start {starts} of this flash"),
            Err(error) => log::error!("flash: {error:?}"),
        }
    }

    /// Writes one more word of the first sector; when the sector is full, erases it and begins again.
    async fn count_start(flash: &mut Flash) -> Result<usize, FlashError> {
        const UNWRITTEN: [u8; WORD_BYTES] = [0xff; WORD_BYTES];
        for offset in (0..SECTOR_BYTES).step_by(WORD_BYTES) {
            let mut word = [0; WORD_BYTES];
            flash.read(offset as u32, &mut word).await?;
            if word == UNWRITTEN {
                let starts = offset / WORD_BYTES + 1;
                flash.write(offset as u32, &(starts as u32).to_le_bytes()).await?;
                return Ok(starts);
            }
        }
        flash.erase(0, SECTOR_BYTES as u32).await?;
        flash.write(0, &1u32.to_le_bytes()).await?;
        Ok(1)
    }

    #[embassy_executor::task]
    async fn temperature(mut bus: I2cBus) {
        log::info!("where no device is: {:?}", I2c::write(&mut bus, NOBODY, &[0]).await);
        let mut every = Ticker::every(EVERY);
        let mut last = None;
        loop {
            match read_temperature(&mut bus).await {
                Ok(now) if last != Some(now) => {
                    log::info!("temperature {now} m°C");
                    last = Some(now);
                }
                Ok(_) => {}
                Err(error) => log::error!("temperature: {error:?}"),
            }
            every.next().await;
        }
    }

    /// In thousandths of a degree Celsius.
    async fn read_temperature(bus: &mut I2cBus) -> Result<i32, I2cError> {
        let mut raw = [0; 2];
        I2c::write(bus, TMP105, &RESOLUTION_12_BITS).await?;
        I2c::write_read(bus, TMP105, &TEMPERATURE, &mut raw).await?;
        Ok(i32::from(i16::from_be_bytes(raw)) * 1000 / 256)
    }

    #[embassy_executor::task]
    async fn echo(mut link: Link) {
        let mut buffer = [0; 256];
        log::info!("the link echoes");
        loop {
            // The link's errors are uninhabited: there is nothing to handle.
            let Ok(count) = link.read(&mut buffer).await;
            let Ok(()) = link.write_all(&buffer[..count]).await;
            let Ok(()) = link.flush().await;
        }
    }
}
