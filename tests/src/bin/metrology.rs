//! Holds the sound level meter to its standards: see `--help`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result, bail};
use gridpost_tests::metrology::{
    board::OnBoard,
    case, check, cost, filters,
    measure::{self, Format},
    report, tables,
};

const HELP: &str = "\
usage: metrology [--format f32|i24|i16] [--qemu] [--tables] [--markdown OUT] [--cost] [FILE]

  FILE            runs the cases of a file in the format of tests/data/acoustics_vectors.json
  --tables        measures the tables of IEC 61672-1 and IEC 61260-1 and prints them
  --markdown OUT  does that too, and writes them as a page of Markdown
  --qemu          measures on the emulated Cortex-M4F instead of this machine
  --cost          counts the instructions per sample on the emulated Cortex-M4F
  --format FORM   what the meter gets its samples as; f32 for files, i24 for tables unless said otherwise

Ends with 1 if anything is out of tolerance, with 2 if a file cannot be understood.";

struct Options {
    file: Option<PathBuf>,
    format: Option<Format>,
    tables: bool,
    qemu: bool,
    cost: bool,
    markdown: Option<PathBuf>,
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
    let mut options =
        Options { file: None, format: None, tables: false, qemu: false, cost: false, markdown: None };
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--format" => {
                let name = arguments.next().context("--format: which?")?;
                let format = Format::from_name(&name);
                options.format = Some(format.with_context(|| format!("--format: unknown format {name:?}"))?);
            }
            "--qemu" => options.qemu = true,
            "--cost" => options.cost = true,
            "--tables" => options.tables = true,
            "--markdown" => {
                options.markdown = Some(arguments.next().context("--markdown: where to?")?.into())
            }
            unknown if unknown.starts_with('-') => bail!("unknown option {unknown}\n{HELP}"),
            file if options.file.is_none() => options.file = Some(file.into()),
            _ => bail!("one file at a time\n{HELP}"),
        }
    }
    if options.file.is_none() && !options.tables && !options.cost && options.markdown.is_none() {
        bail!("nothing to do\n{HELP}");
    }
    Ok(options)
}

/// Whether everything is within tolerance.
fn run(options: &Options) -> Result<bool> {
    if options.cost {
        print!("{}", cost::text(&on_board(options.format.unwrap_or(Format::I24))?)?);
    }
    let mut good = true;
    if let Some(file) = &options.file {
        let (cases, format) = (case::read(file)?, options.format.unwrap_or(Format::F32));
        let rows = if options.qemu {
            check::check_all(&cases, &on_board(format)?)?
        } else {
            check::check_all(&cases, &check::Host(format))?
        };
        print!("{}", report::table(&rows));
        good &= rows.iter().all(check::Row::passes);
    }
    if options.tables || options.markdown.is_some() {
        let format = options.format.unwrap_or(Format::I24);
        let tables = if options.qemu { tables(&on_board(format)?)? } else { tables(&check::Host(format))? };
        tables.iter().for_each(|table| print!("{}", table.text()));
        good &= tables.iter().all(report::Table::passes);
        if let Some(path) = &options.markdown {
            let place = if options.qemu { "on an emulated Cortex-M4F (QEMU)" } else { "on the host" };
            let bench = format!("{place}, samples as {format:?}, full scale {} Pa", measure::FULL_SCALE_PA);
            std::fs::write(path, report::page(&tables, &bench))
                .with_context(|| path.display().to_string())?;
        }
    }
    Ok(good)
}

fn on_board(format: Format) -> Result<OnBoard> {
    OnBoard::new(format)?.context("there is no emulated board on this machine")
}

fn tables(bench: &impl check::Bench) -> Result<Vec<report::Table>> {
    let mut all = tables::meter_tables(bench)?;
    all.push(filters::octaves(bench)?);
    all.push(filters::thirds(bench)?);
    Ok(all)
}
