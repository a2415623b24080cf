//! `gridpost catalogue import`: a district's spreadsheet becomes a pack's `catalogue.csv` and `departments.csv`.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::exit::Failure;
use super::print;
use super::save::{has_folder, not_over, save};
use crate::config::folder_of;
use crate::files;
use crate::import::{
    self, Departments, Earlier, Encoding, FILE_BYTES_MAX, Field, Imported, Options, Problem, write,
};

/// How many unusable rows are shown when nothing is written; with `--skip-bad`, all are.
const PROBLEMS_SHOWN_MAX: usize = 200;

/// Arguments of `gridpost catalogue`.
#[derive(Debug, Args)]
pub struct CatalogueArgs {
    #[command(subcommand)]
    command: CatalogueCommand,
}

#[derive(Debug, Subcommand)]
enum CatalogueCommand {
    /// Make catalogue.csv and departments.csv of a district's list (XLSX, or CSV in UTF-8 or GB18030)
    Import(ImportArgs),
}

/// Arguments of `gridpost catalogue import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The district's list
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to write the catalogue
    #[arg(short, long, value_name = "FILE", default_value = "catalogue.csv")]
    output: PathBuf,
    /// The departments: read if there, so that they keep their ids, and written with new ones added [default:
    /// departments.csv beside the catalogue]
    #[arg(long, value_name = "FILE")]
    departments: Option<PathBuf>,
    /// The sheet's name [default: the first visible one]
    #[arg(long, value_name = "NAME")]
    sheet: Option<String>,
    /// The encoding of a CSV file [default: found out]
    #[arg(long, value_enum)]
    encoding: Option<Encoding>,
    /// What a column is: code, name_zh, name_en, group_1 to group_4, group_en_1 to group_en_4, department, assisting_zh,
    /// level, deadline, deadline_h, closing_zh, legal_basis_zh, code:SYSTEM, ignore; may be repeated
    #[arg(long = "column", value_name = "HEADER=FIELD", value_parser = column)]
    columns: Vec<(String, Field)>,
    /// What a deadline's bare number counts
    #[arg(long, value_enum)]
    deadline_unit: Option<Unit>,
    /// How many digits codes have that the spreadsheet keeps as numbers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    code_digits: Option<u8>,
    /// The catalogue.csv of an earlier import: codes that it gave stay with their matters, and none is given again. May be
    /// the file that is written
    #[arg(long, value_name = "FILE")]
    earlier: Option<PathBuf>,
    /// Leave unusable rows out, and list them; without it nothing is written when there are any
    #[arg(long)]
    skip_bad: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Unit {
    Hours,
    Days,
}

fn column(text: &str) -> Result<(String, Field), String> {
    let (header, word) = text.rsplit_once('=').ok_or("write HEADER=FIELD, such as 承办单位=department")?;
    let field = Field::from_word(word).ok_or_else(|| format!("`{word}` is no field"))?;
    Ok((header.to_owned(), field))
}

/// Runs a subcommand of `gridpost catalogue`.
///
/// # Errors
/// When the list cannot be read, has unusable rows, or files cannot be written.
pub fn catalogue(args: CatalogueArgs) -> Result<(), Failure> {
    let CatalogueCommand::Import(args) = args.command;
    let departments_file =
        args.departments.clone().unwrap_or_else(|| folder_of(&args.output).join("departments.csv"));
    not_over(&args.output, &[&args.file, &departments_file])?;
    not_over(&departments_file, &[&args.file])?;
    has_folder(&args.output)?;
    has_folder(&departments_file)?;
    let departments = match read(&departments_file)? {
        Some(bytes) => Departments::read(&bytes).map_err(|error| in_file(&departments_file, &error))?,
        None => Departments::default(),
    };
    let bytes =
        read(&args.file)?.ok_or_else(|| in_file(&args.file, &"there is no such file; correct the path"))?;
    let options = Options {
        sheet: args.sheet.clone(),
        encoding: args.encoding,
        columns: args.columns.clone(),
        deadline_hours: args.deadline_unit.map(|unit| match unit {
            Unit::Hours => 1,
            Unit::Days => 24,
        }),
        code_digits: args.code_digits.map(usize::from),
        earlier: args.earlier.as_deref().map(earlier).transpose()?,
    };
    let again = departments.clone();
    let imported =
        import::import(&bytes, departments, &options).map_err(|error| in_file(&args.file, &error))?;
    print::all(&understood(&args.file, &imported))?;
    if options.earlier.is_none() {
        codes_stay(&args, &bytes, again, &options, &imported)?;
    }
    if imported.bad_rows > 0 && !args.skip_bad {
        let shown = listed(&imported.problems, PROBLEMS_SHOWN_MAX);
        let way_out = "correct them, or leave them out with --skip-bad; nothing was written";
        return Err(in_file(
            &args.file,
            &format!("{} not usable:\n{shown}{way_out}", are(imported.bad_rows)),
        ));
    }
    if imported.matters.is_empty() {
        return Err(in_file(&args.file, &"no row is a usable matter; nothing was written"));
    }
    let unwritten = |error: csv::Error| Failure::running(error.to_string());
    // Departments first: a catalogue must never name one that is not there.
    save(&departments_file, &write::departments(&imported.departments).map_err(unwritten)?)?;
    save(&args.output, &write::catalogue(&imported).map_err(unwritten)?)?;
    if imported.bad_rows > 0 {
        let shown = listed(&imported.problems, usize::MAX);
        print::aside(&format!("{} left out:\n{}", rows(imported.bad_rows), shown.trim_end()));
    }
    print::all(&format!("wrote {} and {}\n", args.output.display(), departments_file.display()))
}

/// An earlier catalogue.
fn earlier(path: &Path) -> Result<Earlier, Failure> {
    let bytes = read(path)?
        .ok_or_else(|| in_file(path, &"there is no such file; name the catalogue.csv of before"))?;
    Earlier::read(&bytes).map_err(|error| in_file(path, &error))
}

/// Refuses to write over a catalogue in which matters have other codes: those may be in events.
fn codes_stay(
    args: &ImportArgs,
    bytes: &[u8],
    departments: Departments,
    options: &Options,
    imported: &Imported,
) -> Result<(), Failure> {
    // What is there and no catalogue is none of ours.
    let Ok(there) = earlier(&args.output) else { return Ok(()) };
    let with = Options { earlier: Some(there), ..options.clone() };
    let Ok(kept) = import::import(bytes, departments, &with) else { return Ok(()) };
    let codes: HashMap<usize, &str> =
        kept.matters.iter().map(|entry| (entry.row, entry.code.as_str())).collect();
    let mut other = imported.matters.iter().filter_map(|entry| {
        let before = codes.get(&entry.row).filter(|code| **code != entry.code)?;
        Some((entry, *before))
    });
    let Some((entry, before)) = other.next() else { return Ok(()) };
    Err(in_file(
        &args.output,
        &format!(
            "is there already, and with it {} of the codes would be others (row {}, `{}`: {before}, and now {}); codes are in \
             events that were published. Keep them with --earlier {}; or, where none of them was ever used, as in a copy of the \
             sample, remove {} and import again; nothing was written",
            other.count() + 1,
            entry.row,
            print::without_controls(&entry.name_zh),
            entry.code,
            args.output.display(),
            args.output.display()
        ),
    ))
}

/// `1 row is`, `2 rows are`.
fn are(count: usize) -> String {
    format!("{} {}", rows(count), if count == 1 { "is" } else { "are" })
}

fn rows(count: usize) -> String {
    format!("{count} {}", if count == 1 { "row" } else { "rows" })
}

fn in_file(file: &Path, what: &dyn std::fmt::Display) -> Failure {
    Failure::unusable(format!("{}: {what}", file.display()))
}

/// The file's content; `None` when there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match files::read(path, FILE_BYTES_MAX) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(in_file(path, &format!("cannot be read: {error}"))),
    }
}

fn listed(problems: &[Problem], most: usize) -> String {
    let mut text = String::new();
    for problem in problems.iter().take(most) {
        let _ = writeln!(text, "  {}", print::without_controls(&problem.to_string()));
    }
    if problems.len() > most {
        let _ = writeln!(text, "  and {} more", problems.len() - most);
    }
    text
}

/// What was understood, for a person to compare with the list.
fn understood(file: &Path, imported: &Imported) -> String {
    let mut text =
        format!("{}: {}, header in row {}\n", file.display(), imported.source, imported.header.row);
    for column in imported.header.columns.iter().filter(|column| !column.header.is_empty()) {
        let header = print::without_controls(&column.header);
        let _ = match &column.field {
            Some(Field::Ignored) => writeln!(text, "  {header}: not needed"),
            Some(field) => writeln!(text, "  {header} → {}", field.word()),
            None => writeln!(
                text,
                "  {header}: NOT UNDERSTOOD, and left out; if it is needed, --column '{header}=FIELD'"
            ),
        };
    }
    let departments = imported.departments.list();
    let new: Vec<_> = departments.iter().filter(|department| department.is_new).collect();
    let _ = writeln!(
        text,
        "{} matters in {} groups; {} departments, {} of them new; {} not usable",
        imported.matters.len(),
        imported.groups.len(),
        departments.len(),
        new.len(),
        rows(imported.bad_rows)
    );
    for department in new {
        let _ = writeln!(text, "  new: {} {}", department.id, print::without_controls(&department.name_zh));
    }
    for note in &imported.notes {
        let _ = writeln!(text, "note: {}", print::without_controls(note));
    }
    for old in imported.retired.iter().filter(|old| !old.retired) {
        let _ = writeln!(
            text,
            "note: {} `{}` is gone; its code stays in the catalogue as retired, and is not given again",
            old.code,
            print::without_controls(&old.name_zh)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_row_is_and_two_rows_are() {
        assert_eq!([super::are(1), super::are(2)], ["1 row is", "2 rows are"]);
    }
}
