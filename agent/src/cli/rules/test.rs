//! `gridpost rules test`: cases of rule authors are run against a pack.

use std::path::{Path, PathBuf};

use clap::Args;

use super::super::exit::Failure;
use super::super::print;
use crate::files;
use crate::pack::source;
use crate::trial::cases::{self, Outcome};

/// Arguments of `gridpost rules test`.
#[derive(Debug, Args)]
#[command(after_help = "A case:\n\
  \n  [[case]]\n  name = \"piling by day\"\n  device = \"6770000000000001\"        # or site = \"PS-0001\": its first device\n  \
  start = \"2026-11-23T09:00:00+08:00\"\n  readings = [\n    { quantity = \"LAeq\", from = \"0s\", to = \"12min\", every = \"1s\", value = 75 },\n    \
  { quantity = \"impulse_prominence\", at = \"30s\", value = 8 },\n  ]\n  expect = [\n    \
  { phase = \"exceeded\", rule = \"construction-piling\", matter = \"0102004\", from = \"1min\", to = \"5min\" },\n  ]\n\n\
  Readings: at, or from, to and every; value, and to_value for one that changes evenly; device for another one at the site;\n\
  quality = \"calibration\", \"fault\", \"overload\". Expected: phase, and any of rule, matter, cause, severity, device, from, to.\n\
  listen = \"45min\" beside start: for so long the gateway listens, and [[silence]] rules are told as events of phase \"fault\", and\n\
  \"cleared\" with cause \"heard-again\"; the case's devices spoke before.\n\
  Every event must be expected, in this order; expect = [] is for what must stay quiet.\n\
  Exit codes: 0 all as expected, 1 not, 3 the file or the pack is not usable.")]
pub(super) struct TestArgs {
    /// The files of cases
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The pack; without it, the folder in which the file is
    #[arg(long, value_name = "PACK")]
    pack: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// What does not go as expected, or cannot be used.
pub(super) fn test(args: &TestArgs) -> Result<(), Failure> {
    let (mut ran, mut failed) = (0, 0);
    for file in &args.files {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // First, so that a mistyped name is not told as a folder without a pack.
        let text = files::text(file, files::TEXT_BYTES_MAX)
            .map_err(|error| Failure::unusable(format!("{}: cannot be read: {error}", file.display())))?;
        let pack = source::load(args.pack.as_deref().unwrap_or(folder))
            .map_err(|error| Failure::configuration(&error))?
            .pack;
        let cases = cases::read(&text, &pack)
            .map_err(|error| Failure::unusable(format!("{}:{error}", file.display())))?;
        for case in &cases {
            let outcome = case.run(&pack);
            print::all(&show(case.name(), &outcome))?;
            ran += 1;
            failed += usize::from(!outcome.is_as_expected());
        }
    }
    print::all(&format!("{ran} cases, {failed} not as expected\n"))?;
    if failed > 0 {
        return Err(Failure::running("not all cases are as expected"));
    }
    Ok(())
}

fn show(name: &str, outcome: &Outcome) -> String {
    let mut text = format!("{}  {name}\n", if outcome.is_as_expected() { "ok  " } else { "FAIL" });
    if !outcome.is_as_expected() {
        for line in &outcome.lines {
            text.push_str(&format!("      {line}\n"));
        }
    }
    text
}
