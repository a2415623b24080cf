//! `gridpost spool`: what a gateway's spool holds, read beside the running gateway. Nothing is changed.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write, stdout};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use gridpost_protocol::id::DeviceId;
use gridpost_protocol::quantity::Quantity;
use gridpost_protocol::time::UnixMillis;
use serde_json::{Value, json};

use super::exit::{CONFIGURATION, FAILED, Failure};
use super::print;
use super::save::not_over;
use crate::config::Config;
use crate::event::make::rfc3339;
use crate::spool::{SpoolError, SpoolReader, Table, Wanted};

/// Arguments of `gridpost spool`.
#[derive(Debug, Args)]
pub struct SpoolArgs {
    #[command(subcommand)]
    command: SpoolCommand,
}

#[derive(Debug, Subcommand)]
enum SpoolCommand {
    /// What waits, what was refused and why, and which devices are known
    Status(Which),
    /// Check every page, and whether what is kept agrees with itself; exit code 1 when something is wrong
    Verify(Which),
    /// Readings, minutes or waiting events as CSV or JSON lines
    Export(ExportArgs),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").args(["config", "spool"]))]
struct Which {
    /// The gateway's configuration, which names the spool
    #[arg(short, long, value_name = "FILE", default_value = "/etc/gridpost/gridpost.toml")]
    config: PathBuf,
    /// Or the spool itself
    #[arg(long, value_name = "FILE")]
    spool: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ExportArgs {
    #[command(flatten)]
    which: Which,
    /// What to export
    #[arg(value_enum, default_value_t = What::Readings)]
    what: What,
    /// Of which device; events of all devices without it
    #[arg(long, value_name = "ID")]
    device: Option<DeviceId>,
    /// From this time on, such as 2026-11-22T22:00:00+08:00
    #[arg(long, value_name = "TIME", value_parser = crate::trial::given::time)]
    from: Option<jiff::Timestamp>,
    /// To this time, not included
    #[arg(long, value_name = "TIME", value_parser = crate::trial::given::time)]
    to: Option<jiff::Timestamp>,
    /// Only this quantity; may be repeated
    #[arg(long = "quantity", value_name = "NAME")]
    quantities: Vec<Quantity>,
    /// CSV, or a JSON object a line
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Into this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// Readings, as devices sent them
    Readings,
    /// Minutes of devices that decide themselves
    Summaries,
    /// Events that wait for the platform; always JSON
    Events,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// With a line of headers
    Csv,
    /// A JSON object a line
    Json,
}

/// Reads the spool.
///
/// # Errors
/// When it cannot be read, something is wrong in it, or the output cannot be written.
pub fn spool(args: &SpoolArgs) -> Result<(), Failure> {
    match &args.command {
        SpoolCommand::Status(which) => status(&which.open()?),
        SpoolCommand::Verify(which) => verify(&which.open()?),
        SpoolCommand::Export(args) => export(args),
    }
}

impl Which {
    fn open(&self) -> Result<SpoolReader, Failure> {
        let path = match &self.spool {
            Some(path) => path.clone(),
            None => Config::load(&self.config).map_err(|error| Failure::configuration(&error))?.gateway.spool,
        };
        SpoolReader::open_beside(&path).map_err(|error| match error {
            SpoolError::Unusable { .. } | SpoolError::NotASpool { .. } | SpoolError::Newer { .. } => {
                Failure::because(CONFIGURATION, &error)
            }
            _ => unreadable(&error),
        })
    }
}

fn unreadable(error: &SpoolError) -> Failure {
    Failure::because(FAILED, error)
}

fn status(spool: &SpoolReader) -> Result<(), Failure> {
    let failed = |error: SpoolError| unreadable(&error);
    let now = spool.overview().map_err(failed)?;
    let mut said = String::new();
    // Writing into a string does not fail.
    let _ = writeln!(
        said,
        "spool            {}, schema {}, {} bytes",
        spool.path().display(),
        spool.schema(),
        now.file_bytes
    );
    let oldest =
        now.oldest.map(|at| format!(", the oldest of {}", print::without_controls(&at))).unwrap_or_default();
    let _ = writeln!(said, "events waiting   {} ({} bytes){oldest}", now.events, now.event_bytes);
    let _ = writeln!(said, "events evicted   {} ever, because there was no room", now.events_evicted);
    let _ = writeln!(said, "events refused   {} kept, {} dropped ever", now.refused, now.refused_dropped);
    for kind in spool.refused_kinds().map_err(failed)? {
        let _ = writeln!(
            said,
            "                 {} on {}: {}",
            kind.count,
            print::without_controls(&kind.topic),
            print::without_controls(&kind.reason)
        );
    }
    for (name, table) in [("open episodes", Table::OpenEpisodes), ("devices", Table::Devices)] {
        let _ = writeln!(said, "{name:<16} {}", spool.count(table).map_err(failed)?);
    }
    for (name, count, from, evicted) in [
        ("readings kept", now.readings, now.readings_from, now.readings_evicted),
        ("minutes kept", now.minutes, now.minutes_from, now.minutes_evicted),
    ] {
        let from = from.map(|from| format!(", the first of {from}")).unwrap_or_default();
        let _ = writeln!(
            said,
            "{name:<16} {count}{from}; {evicted} went before their time ever, because there were too many"
        );
    }
    let devices = spool.devices(None, usize::MAX).map_err(failed)?;
    if !devices.is_empty() {
        let _ = writeln!(
            said,
            "\n{:<16}  {:>20}  {:>10}  {:<24}  {:>8}  {:<24}  {:>8}  from",
            "device", "last record", "boot", "newest reading", "readings", "from", "minutes"
        );
    }
    for one in devices {
        let at = |time: Option<UnixMillis>| time.map_or_else(|| "-".to_owned(), rfc3339);
        let (newest, from, minutes_from) = (at(one.newest), at(one.readings_from), at(one.minutes_from));
        let _ = writeln!(
            said,
            "{}  {:>20}  {:>10}  {newest:<24}  {:>8}  {from:<24}  {:>8}  {minutes_from}",
            one.device, one.cursor, one.boot, one.readings, one.minutes
        );
    }
    print::all(&said)
}

fn verify(spool: &SpoolReader) -> Result<(), Failure> {
    let problems = spool.verify().map_err(|error| unreadable(&error))?;
    if problems.is_empty() {
        return print::all(&format!("{}: sound\n", spool.path().display()));
    }
    Err(Failure::running(format!(
        "{} is not sound:\n  {}\nStop the gateway and start it again: what is damaged is set aside, and what can be read is brought over",
        spool.path().display(),
        problems.join("\n  ")
    )))
}

fn export(args: &ExportArgs) -> Result<(), Failure> {
    if args.what != What::Events && args.device.is_none() {
        return Err(Failure::usage("--device: of which device? `gridpost spool status` lists them"));
    }
    let at = |time: Option<jiff::Timestamp>, otherwise| {
        time.map_or(otherwise, |time| UnixMillis(time.as_millisecond()))
    };
    let wanted = Wanted {
        device: args.device.unwrap_or(DeviceId(0)),
        from: at(args.from, UnixMillis(i64::MIN)),
        to: at(args.to, UnixMillis(i64::MAX)),
        quantities: args.quantities.clone(),
        after: 0,
    };
    if wanted.from.0 >= wanted.to.0 {
        return Err(Failure::usage("--from is not before --to"));
    }
    let spool = args.which.open()?;
    if let Some(output) = &args.output {
        let beside = ["", "-wal", "-shm"].map(|end| {
            let mut name = spool.path().as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        });
        not_over(output, &beside.each_ref().map(PathBuf::as_path))?;
    }
    let unwritable = |path: &Path, error: &io::Error| {
        Failure::running(format!("cannot write {}: {error}", path.display()))
    };
    let mut out: Box<dyn Write> = match &args.output {
        Some(path) => Box::new(BufWriter::new(File::create(path).map_err(|error| unwritable(path, &error))?)),
        None => Box::new(BufWriter::new(stdout().lock())),
    };
    let mut written = Ok(());
    let read = write(&spool, args, &wanted, out.as_mut(), &mut written);
    let written = written.and_then(|()| out.flush());
    read.map_err(|error| unreadable(&error))?;
    match (written, &args.output) {
        (Ok(()), _) => Ok(()),
        (Err(error), Some(path)) => Err(unwritable(path, &error)),
        // That nobody reads on is no failure.
        (Err(error), None) => Failure::of_output(&error).map_or(Ok(()), Err),
    }
}

/// Writes row by row: no export is too long for memory. Ends at the first row that cannot be written.
fn write(
    spool: &SpoolReader,
    args: &ExportArgs,
    wanted: &Wanted,
    out: &mut dyn Write,
    written: &mut io::Result<()>,
) -> Result<(), SpoolError> {
    let csv = args.format == Format::Csv;
    match args.what {
        What::Readings => {
            if csv {
                *written = writeln!(out, "device,record,at,quantity,value,unit,quality,clock");
            }
            spool.readings(wanted, |kept| {
                let (quantity, value) = (kept.reading.quantity, kept.reading.value.to_f64());
                let (at, unit, quality) = (rfc3339(kept.at), quantity.unit(), kept.reading.quality.0);
                *written = if csv {
                    writeln!(out, "{},{},{at},{quantity},{value},{unit},{quality},{}", wanted.device, kept.seq, kept.clock)
                } else {
                    writeln!(out, "{}", json!({"device": wanted.device.to_string(), "record": kept.seq.0, "at": at,
                        "quantity": quantity.to_string(), "value": value, "unit": unit, "quality": quality, "clock": kept.clock}))
                };
                written.is_ok()
            })
        }
        What::Summaries => {
            if csv {
                *written = writeln!(out, "device,from,quantity,statistic,readings,value,unit,quality");
            }
            spool.minutes(wanted, |kept| {
                let (from, quantity, value) = (rfc3339(kept.at), kept.quantity, kept.value.to_f64());
                let (unit, quality) = (quantity.unit(), kept.quality.0);
                *written = if csv {
                    writeln!(out, "{},{from},{quantity},{},{},{value},{unit},{quality}", wanted.device, kept.statistic, kept.readings)
                } else {
                    writeln!(out, "{}", json!({"device": wanted.device.to_string(), "from": from, "quantity": quantity.to_string(),
                        "statistic": kept.statistic, "readings": kept.readings, "value": value, "unit": unit, "quality": quality}))
                };
                written.is_ok()
            })
        }
        What::Events => spool.events(|kept| {
            let Ok(event) = serde_json::from_slice::<Value>(&kept.payload) else { return true };
            let at = event["time"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
            let within = at.is_none_or(|at| (wanted.from.0..wanted.to.0).contains(&at.as_millisecond()));
            let device = args.device.map(|device| device.to_string());
            if within && device.is_none_or(|device| event["data"]["device"]["id"] == device.as_str()) {
                *written = out.write_all(&kept.payload).and_then(|()| out.write_all(b"\n"));
            }
            written.is_ok()
        }),
    }
}
