//! `gridpost matter`: whose is it? Matters by their own code, by a code of any other system, or by a word.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use gridpost_protocol::pack::{Matter, Pack};

use super::exit::Failure;
use super::print;
use crate::import::{half_width, short};
use crate::pack::{find, source};

/// How many matters are shown at most.
const SHOWN_MAX: usize = 50;

/// Arguments of `gridpost matter`.
#[derive(Debug, Args)]
pub struct MatterArgs {
    #[command(subcommand)]
    command: MatterCommand,
}

#[derive(Debug, Subcommand)]
enum MatterCommand {
    /// Show the matter with this code, of the list or of any other system
    Show(FindArgs),
    /// Find matters by words of their names, groups, departments or codes, in Chinese or English
    Search(FindArgs),
}

#[derive(Debug, Args)]
struct FindArgs {
    /// The code (also as SYSTEM:CODE), or words; width and case make no difference
    #[arg(value_name = "TEXT", required = true, num_args = 1..)]
    text: Vec<String>,
    /// The pack: a folder, or a file
    #[arg(long, value_name = "PACK", default_value = "pack")]
    pack: PathBuf,
    /// As JSON, one matter a line
    #[arg(long)]
    json: bool,
}

/// Runs a subcommand of `gridpost matter`.
///
/// # Errors
/// When the pack is not usable, or nothing is found.
pub fn matter(args: MatterArgs) -> Result<(), Failure> {
    let (args, is_code) = match args.command {
        MatterCommand::Show(args) => (args, true),
        MatterCommand::Search(args) => (args, false),
    };
    let text = args.text.join(" ");
    if text.trim().is_empty() {
        return Err(Failure::usage("there is no word to look for; name a code, or words of a matter's name"));
    }
    let pack = source::load(&args.pack).map_err(|error| Failure::configuration(&error))?.pack;
    let found = if is_code { find::by_code(&pack, &text) } else { find::by_words(&pack, &text) };
    if found.is_empty() {
        let group = pack.groups().iter().find(|group| group.code.as_str() == half_width(&text).trim());
        let way_out = match (is_code, group) {
            (true, Some(group)) => {
                format!("that is a group: gridpost matter search {} lists its matters", short(&group.name_zh))
            }
            (true, None) => {
                pack.instead_of_matter(text.trim(), "look for a word of its name with gridpost matter search")
            }
            (false, _) => "try fewer or other words".to_owned(),
        };
        return Err(Failure::running(format!("no matter for {:?}; {way_out}", short(&text))));
    }
    let mut shown = String::new();
    for matter in found.iter().take(SHOWN_MAX) {
        match args.json {
            true => {
                let _ = writeln!(shown, "{}", json(&pack, matter));
            }
            false if is_code || found.len() == 1 => shown.push_str(&in_full(&pack, matter)),
            false => shown.push_str(&in_brief(&pack, matter)),
        }
    }
    if found.len() > SHOWN_MAX {
        print::aside(&format!("and {} more; use more words", found.len() - SHOWN_MAX));
    }
    print::all(&shown)
}

fn in_brief(pack: &Pack, matter: &Matter) -> String {
    let department = pack.department_of(matter);
    format!(
        "{}  {}  {} {}\n",
        matter.code,
        both(&matter.name_zh, &matter.name_en),
        department.id,
        department.name_zh
    )
}

fn both(zh: &str, en: &str) -> String {
    if en.is_empty() { zh.to_owned() } else { format!("{zh} · {en}") }
}

fn in_full(pack: &Pack, matter: &Matter) -> String {
    let department = pack.department_of(matter);
    let mut text = format!("{}  {}\n", matter.code, both(&matter.name_zh, &matter.name_en));
    let groups: Vec<_> = matter
        .groups
        .iter()
        .filter_map(|code| pack.groups().iter().find(|group| group.code == *code))
        .map(|group| format!("{} {}", group.code, both(&group.name_zh, &group.name_en)))
        .collect();
    let mut line = |what: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "    {what:<8} {value}");
        }
    };
    line("in", &groups.join(" / "));
    line("who", &format!("{} {}", department.id, both(&department.name_zh, &department.name_en)));
    line("assists", &matter.assisting_zh);
    line("level", &format!("{}, within {} h", matter.level, matter.deadline_h));
    line("closed", &matter.closing_zh);
    line("basis", &matter.legal_basis_zh);
    for (system, code) in &matter.crosswalk {
        line("code", &format!("{system} {code}"));
    }
    let rules: Vec<_> = pack
        .rules()
        .iter()
        .filter(|rule| rule.matter == matter.code)
        .map(|rule| rule.id.to_string())
        .collect();
    let silences = pack.silences().iter().filter(|rule| rule.matter == matter.code);
    let silences: Vec<_> = silences.map(|rule| rule.id.to_string()).collect();
    let own = [pack.lost_records_matter(), pack.sensor_faults_matter(), pack.calibrations_matter()];
    let is_gateways = own.iter().any(|own| own.code == matter.code);
    let nothing = rules.is_empty() && silences.is_empty() && !is_gateways;
    line("rules", if nothing { "none; reports only" } else { "" });
    line("rules", &rules.join(", "));
    line("silences", &silences.join(", "));
    line(
        "gateway",
        if is_gateways { "raises it itself: missing data, faults of sensors, calibrations" } else { "" },
    );
    text
}

fn json(pack: &Pack, matter: &Matter) -> serde_json::Value {
    let department = pack.department_of(matter);
    let codes: serde_json::Map<_, _> =
        matter.crosswalk.iter().map(|(system, code)| (system.clone(), code.clone().into())).collect();
    serde_json::json!({
        "code": matter.code, "name": {"zh": matter.name_zh, "en": matter.name_en}, "groups": matter.groups,
        "department": {"id": department.id, "name": {"zh": department.name_zh, "en": department.name_en}},
        "assisting": matter.assisting_zh, "level": matter.level.as_str(), "deadline_h": matter.deadline_h,
        "closing": matter.closing_zh, "legal_basis": matter.legal_basis_zh, "crosswalk": codes,
    })
}
