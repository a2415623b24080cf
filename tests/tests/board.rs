//! The emulated board and its drivers, with the bring-up image: what every other test on the board stands on.

use std::{
    io::{self, Read, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::mpsc,
    thread,
};

use anyhow::{Context, Result, anyhow};
use gridpost_tests::agent::PATIENCE;
use gridpost_tests::qemu::{LinkAddress, Qemu, QemuOptions, board_image, new_flash_image};
use tempfile::TempDir;

struct Bench {
    options: QemuOptions,
    listener: UnixListener,
    _folder: TempDir,
}

/// A bench with a factory-new flash; `None` on a machine that cannot have one.
fn bench() -> Result<Option<Bench>> {
    let Some(elf) = board_image("qemu", "bring-up")? else { return Ok(None) };
    let folder = TempDir::with_prefix("gridpost-board-")?;
    let file = |name: &str| -> PathBuf { folder.path().join(name) };
    let flash_image = file("flash.img");
    new_flash_image(&flash_image)?;
    let listener = UnixListener::bind(file("link"))?;
    let options = QemuOptions {
        elf,
        flash_image,
        link: LinkAddress::Unix(file("link")),
        microphone: None,
        log: file("board.log"),
    };
    Ok(Some(Bench { options, listener, _folder: folder }))
}

/// Accepts QEMU's connection, or fails when it never comes.
fn accept<S: Send + 'static>(accept: impl FnOnce() -> io::Result<S> + Send + 'static) -> Result<S> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(accept()));
    Ok(receiver.recv_timeout(PATIENCE).context("QEMU did not connect to the link")??)
}

#[test]
fn the_board_starts_and_tells_what_it_is() -> Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    let mut board = Qemu::start(&bench.options)?;
    board.wait_for_log(PATIENCE, |line| line.contains("on ast1030-evb"))?;
    Ok(())
}

#[test]
fn the_sensor_reads_what_the_test_sets() -> Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    let mut board = Qemu::start(&bench.options)?;
    for (set, reads) in [(23_500, 23_500), (-40_000, -40_000), (31_030, 31_000), (127_000, 127_000)] {
        board.set_temperature(set)?;
        let wanted = format!("temperature {reads} m");
        board.wait_for_log(PATIENCE, |line| line.contains(&wanted))?;
    }
    let refused = board.set_temperature(200_000).unwrap_err();
    assert!(refused.to_string().contains("out of range"), "{refused}");
    Ok(())
}

#[test]
fn an_address_where_no_device_is_gives_an_error() -> Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    let mut board = Qemu::start(&bench.options)?;
    let line = board.wait_for_log(PATIENCE, |line| line.contains("where no device is"))?;
    assert!(line.contains("NoDevice"), "{line}");
    Ok(())
}

#[test]
fn the_link_loses_no_byte_although_it_is_filled_faster_than_it_is_emptied() -> Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    let mut board = Qemu::start(&bench.options)?;
    let listener = bench.listener;
    let (mut link, _) = accept(move || listener.accept())?;
    link.set_read_timeout(Some(PATIENCE))?;
    link.set_write_timeout(Some(PATIENCE))?;
    board.wait_for_log(PATIENCE, |line| line.contains("the link echoes"))?;

    let sent: Vec<u8> = (0..65_536u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut writing = link.try_clone()?;
    let to_write = sent.clone();
    let writer = thread::spawn(move || writing.write_all(&to_write));
    let mut received = vec![0; sent.len()];
    link.read_exact(&mut received)?;
    writer.join().map_err(|_| anyhow!("the writer panicked"))??;
    assert!(received == sent, "what came back differs from what was sent");
    Ok(())
}

#[test]
fn the_flash_keeps_its_contents_over_a_power_cut() -> Result<()> {
    let Some(bench) = bench()? else { return Ok(()) };
    for start in 1..=3 {
        let mut board = Qemu::start(&bench.options)?;
        let wanted = format!("start {start} of this flash");
        board.wait_for_log(PATIENCE, |line| line.contains(&wanted))?;
        board.stop()?;
        board.kill9()?;
    }
    Ok(())
}

#[test]
fn a_board_whose_gateway_went_away_connects_again() -> Result<()> {
    let Some(mut bench) = bench()? else { return Ok(()) };
    let listener = TcpListener::bind("127.0.0.1:0")?;
    bench.options.link = LinkAddress::Tcp(listener.local_addr()?);
    let mut board = Qemu::start(&bench.options)?;
    let again = listener.try_clone()?;
    let first = accept(move || listener.accept())?;
    board.wait_for_log(PATIENCE, |line| line.contains("the link echoes"))?;
    drop(first);
    let (mut second, _) = accept(move || again.accept())?;
    second.set_read_timeout(Some(PATIENCE))?;
    second.write_all(b"again")?;
    let mut received = [0; 5];
    second.read_exact(&mut received)?;
    assert_eq!(&received, b"again");
    Ok(())
}
