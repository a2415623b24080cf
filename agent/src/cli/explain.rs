//! `gridpost explain`: which rules were considered at a reading, why each did or did not say something, and why an event is of
//! its matter.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use clap::Args;
use gridpost_protocol::id::{DeviceId, Seq};
use gridpost_protocol::pack::Pack;

use super::exit::Failure;
use super::print;
use crate::event::cloudevent::CloudEvent;
use crate::files;
use crate::pack::source;
use crate::spool::SpoolReader;
use crate::trial::given::{self, Given, READINGS_MAX};
use crate::trial::{Trial, TrialError, explain};

/// Arguments of `gridpost explain`.
#[derive(Debug, Args)]
#[command(
    after_help = "The last reading is explained; those before it fill the windows. With an event and its spool, it is the\n\
  reading that decided; an event is named by its id as long as it waits in the spool, and else by a file\n\
  with its JSON. A device without readings: its rules, and when it counts as silent.\n\n  \
  gridpost explain --pack pack --device 6770000000000001 \\\n    \
  --reading \"LAeq=71.4@2026-11-22T23:00:00+08:00..2026-11-22T23:10:00+08:00\"\n  \
  gridpost explain 6770000000000001-construction-noise-night-4711-1 --pack pack --spool /var/lib/gridpost/spool.db"
)]
pub struct ExplainArgs {
    /// The pack
    #[arg(long, value_name = "PACK", default_value = "pack")]
    pack: PathBuf,
    /// The device whose readings these are
    #[arg(long, value_name = "ID")]
    device: Option<DeviceId>,
    /// A reading, or with `..` one at each interval of the quantity; may be repeated
    #[arg(long = "reading", value_name = "QUANTITY=VALUE@TIME[..TIME]")]
    readings: Vec<String>,
    /// A file of readings: columns time, quantity, value, and where need be device
    #[arg(long, value_name = "CSV")]
    readings_csv: Option<PathBuf>,
    /// An event: its id, with --spool, or a file with its JSON
    #[arg(value_name = "EVENT", conflicts_with_all = ["readings", "readings_csv"])]
    event: Option<String>,
    /// The spool that has the event's readings; it is only read
    #[arg(long, value_name = "FILE")]
    spool: Option<PathBuf>,
}

/// Explains.
///
/// # Errors
/// What was given cannot be used.
pub fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let pack = source::load(&args.pack).map_err(|error| Failure::configuration(&error))?.pack;
    let mut text = String::new();
    let given = match (&args.event, &args.spool) {
        (Some(event), spool) => {
            let (event, spool) = find(event, spool.as_deref())?;
            text.push_str(&explain::event(&event, &pack));
            match spool {
                // What no reading decided is explained by the event alone.
                Some(_) if event.data.measurement.is_none() => return print::all(&text),
                Some(spool) => match stored(&spool, &event, &pack) {
                    Ok(given) => given,
                    Err(failure) => {
                        print::all(&text)?;
                        return Err(failure);
                    }
                },
                None => {
                    text.push_str("\nwith --spool FILE the reading that decided is explained too\n");
                    return print::all(&text);
                }
            }
        }
        (None, _) => written(args)?,
    };
    let mut trial = Trial::new(&pack);
    let mut last = None;
    for (at, device, reading) in &given {
        let took = trial.take(*device, *at, reading).map_err(|error| Failure::unusable(error.to_string()))?;
        last = Some((*device, *at, *reading, took));
    }
    let Some((device, at, reading, took)) = last else {
        if let Some(id) = args.device.filter(|_| args.event.is_none()) {
            let placed = pack.device(id).ok_or(TrialError::Unplaced(id));
            let placed = placed.map_err(|error| Failure::unusable(error.to_string()))?;
            return print::all(&explain::device(&pack, placed));
        }
        return Err(Failure::usage(
            "there is no reading: give --reading, --readings-csv, an event with --spool, or --device alone",
        ));
    };
    text.push_str(&explain::reading(&pack, device, at, &reading, &took));
    print::all(&text)
}

/// The readings of the command line and of a file, in the order of their times.
fn written(args: &ExplainArgs) -> Result<Vec<Given>, Failure> {
    let mut readings = Vec::new();
    for text in &args.readings {
        let device = args.device.ok_or_else(|| Failure::usage("a --reading needs --device"))?;
        given::one(text, device, &mut readings)
            .map_err(|what| Failure::usage(format!("--reading \"{text}\": {what}")))?;
    }
    if let Some(path) = &args.readings_csv {
        let failed = |what: String| Failure::unusable(format!("{}: {what}", path.display()));
        let csv = files::read(path, given::READINGS_BYTES_MAX).map_err(|error| failed(error.to_string()))?;
        given::rows(&csv, args.device, &mut readings).map_err(failed)?;
    }
    readings.sort_by_key(|(at, ..)| *at);
    Ok(readings)
}

/// The event, and the spool that it is in.
fn find(event: &str, spool: Option<&Path>) -> Result<(CloudEvent, Option<SpoolReader>), Failure> {
    let spool = spool.map(SpoolReader::open_beside).transpose();
    let spool = spool.map_err(|error| Failure::configuration(&error))?;
    let payload = match (files::read(Path::new(event), files::TEXT_BYTES_MAX), &spool) {
        (Ok(bytes), _) => bytes,
        (Err(_), Some(spool)) => {
            let found = spool.event(event).map_err(|error| Failure::configuration(&error))?;
            found.ok_or_else(|| {
                Failure::unusable(format!(
                    "`{event}` is no file, and the spool has no such event (it lets go of what the broker has); give its JSON as a file"
                ))
            })?
        }
        (Err(error), None) => {
            return Err(Failure::usage(format!("`{event}` is no file ({error}); an id needs --spool")));
        }
    };
    let mut events = print::harmless(&payload)
        .map_err(|error| Failure::unusable(format!("`{event}` is no event: {error}")))?;
    match (events.pop(), events.len()) {
        (Some(event), 0) => Ok((event, spool)),
        (_, others) => {
            Err(Failure::unusable(format!("`{event}` is a batch of {} events: give one of them", others + 1)))
        }
    }
}

/// The stored readings of the event's site, up to the one that decided.
fn stored(spool: &SpoolReader, event: &CloudEvent, pack: &Pack) -> Result<Vec<Given>, Failure> {
    let device: Option<DeviceId> = event.data.device.as_ref().and_then(|device| device.id.parse().ok());
    let (Some(device), Some(placed)) = (device, device.and_then(|id| pack.device(id))) else {
        return Err(Failure::unusable(
            "the event is of no device of this pack: there are no readings to explain",
        ));
    };
    let decided = Seq(event.data.quality.record);
    let mut given = VecDeque::new();
    let found = spool.readings_until(device, decided, |id, at, reading| {
        if pack.device(id).is_some_and(|other| other.site == placed.site) {
            if given.len() == READINGS_MAX {
                given.pop_front();
            }
            given.push_back((at, id, reading));
        }
    });
    if found.map_err(|error| Failure::configuration(&error))? {
        return Ok(given.into());
    }
    Err(Failure::unusable(format!(
        "the spool does not have record {decided} of device {device}, which decided: a device that decides itself keeps its readings, and old ones are let go of"
    )))
}
