//! What the operating system says of this process (Linux, `proc(5)`). Three small files are read by hand: a crate for all of
//! `/proc` would be built for five numbers.

use std::fs;

/// Seconds of a clock tick, bytes of a page: asked for once a reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessStats {
    /// User and system time, in seconds.
    pub cpu_s: f64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Virtual memory, in bytes.
    pub virtual_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many file descriptors may be open, if there is a limit.
    pub max_fds: Option<u64>,
}

/// Reads them; [`None`] where there is no `/proc`.
#[must_use]
pub fn read() -> Option<ProcessStats> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The one that reads the folder is not one of ours.
    let open_fds = u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?.saturating_sub(1);
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    parse(
        &stat,
        rustix::param::clock_ticks_per_second(),
        u64::try_from(rustix::param::page_size()).ok()?,
        open_fds,
        max_fds(&limits),
    )
}

fn parse(
    stat: &str,
    ticks_per_s: u64,
    page_bytes: u64,
    open_fds: u64,
    max_fds: Option<u64>,
) -> Option<ProcessStats> {
    // The second field is the program's name in brackets, and may hold blanks and brackets.
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().collect();
    // Counted as in proc(5), from 1; the third field is the first here.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(ProcessStats {
        cpu_s: (field(14)? + field(15)?) as f64 / ticks_per_s.max(1) as f64,
        threads: field(20)?,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)?.saturating_mul(page_bytes),
        open_fds,
        max_fds,
    })
}

fn max_fds(limits: &str) -> Option<u64> {
    limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_have_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 7 0 900 104857600 2560 18446744073709551615";
        let found = parse(stat, 100, 4096, 9, Some(1024)).unwrap();
        assert_eq!(found.cpu_s, 3.0);
        assert_eq!((found.threads, found.virtual_bytes, found.resident_bytes), (7, 100 << 20, 10 << 20));
        assert_eq!(parse("42 (a", 100, 4096, 0, None), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let found = read().unwrap();
        assert!(found.resident_bytes > 0 && found.virtual_bytes >= found.resident_bytes, "{found:?}");
        assert!(found.threads > 0 && found.open_fds > 0, "{found:?}");
        assert_eq!(
            max_fds("Limit  Soft Limit\nMax open files            1024                 4096      files\n"),
            Some(1024)
        );
        assert_eq!(
            max_fds("Max open files            unlimited            unlimited            files"),
            None
        );
    }
}
