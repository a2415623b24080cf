//! Holds the sound level meter to its standards: see `--help`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use gridpost_tests::metrology::{case, check, measure::Format, report};

const HELP: &str = "\
usage: metrology [--format f32|i24|i16] FILE

  FILE            runs the cases of a file in the format of tests/data/acoustics_vectors.json
  --format FORM   what the meter gets its samples as; f32 unless said otherwise

Ends with 1 if anything is out of tolerance, with 2 if a file cannot be understood.";

struct Options {
    file: Option<PathBuf>,
    format: Format,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match options(arguments).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("metrology: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn options(arguments: Vec<String>) -> Result<Options> {
    let mut options = Options { file: None, format: Format::F32 };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--format" => {
                let name = arguments.next().context("--format: which?")?;
                options.format =
                    Format::from_name(&name).with_context(|| format!("--format: unknown format {name:?}"))?;
            }
            unknown if unknown.starts_with('-') => bail!("unknown option {unknown}\n{HELP}"),
            file if options.file.is_none() => options.file = Some(file.into()),
            _ => bail!("one file at a time\n{HELP}"),
        }
    }
    if options.file.is_none() {
        bail!("nothing to do\n{HELP}");
    }
    Ok(options)
}

/// Whether everything is within tolerance.
fn run(options: &Options) -> Result<bool> {
    let mut good = true;
    if let Some(file) = &options.file {
        let rows = check::check_all(&case::read(file)?, &check::Host(options.format))?;
        print!("{}", report::table(&rows));
        good &= rows.iter().all(check::Row::passes);
    }
    Ok(good)
}
