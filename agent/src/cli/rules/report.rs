//! `gridpost rules report`: what the platform made of each rule's cases: which thresholds raise what is no case, and which rules name the
//! wrong matter.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use gridpost_protocol::pack::Pack;
use serde_json::json;

use super::super::exit::Failure;
use super::super::print;
use crate::config::Config;
use crate::event::{fault, silence};
use crate::pack::source;
use crate::spool::{self, RuleTally};

/// With fewer answered cases than this, shares say nothing.
const ANSWERED_MIN: i64 = 5;
/// From this share of the answered cases on, in percent, a rule is worth a look.
const SHARE_PERCENT: i64 = 20;

/// Arguments of `gridpost rules report`.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "/etc/gridpost/gridpost.toml")]
    config: PathBuf,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// Reports.
///
/// # Errors
/// When configuration, pack or spool cannot be read.
pub(super) fn report(args: &ReportArgs) -> Result<(), Failure> {
    let config = Config::load(&args.config).map_err(|error| Failure::configuration(&error))?;
    let pack = source::load(&config.gateway.pack).map_err(|error| Failure::configuration(&error))?.pack;
    let tallies = spool::tallies(&config.gateway.spool)
        .map_err(|error| Failure::in_configuration(&args.config, &error))?;
    match args.format {
        Format::Text => print::all(&text(&pack, &tallies)),
        Format::Json => print::all(&(json_of(&pack, &tallies) + "\n")),
    }
}

/// Rejected and reclassified ones among the answered, in percent; nothing when they are too few to tell.
fn share(tally: &RuleTally, count: i64) -> Option<i64> {
    (tally.answered >= ANSWERED_MIN).then(|| count * 100 / tally.answered)
}

/// What a person is to look at.
fn advice(tally: &RuleTally) -> Option<&'static str> {
    let is_much = |count| share(tally, count).is_some_and(|percent| percent >= SHARE_PERCENT);
    match (is_much(tally.rejected), is_much(tally.reclassified)) {
        (true, true) => Some("often rejected and often reclassified: look at its limit, and at its matter"),
        (true, false) => Some("often rejected: look at its limit, hold and exclusions"),
        (false, true) => Some("often reclassified: look at its matter, and at what tells it from others"),
        (false, false) => None,
    }
}

/// The matter of a rule; of what is no rule, what it is.
fn matter(pack: &Pack, rule: &str) -> String {
    if rule.is_empty() {
        return "reports and losses".to_owned();
    }
    if fault::is_key(rule) {
        return pack.sensor_faults_matter().code.to_string();
    }
    if let Some(id) = silence::rule_of(rule) {
        let found = pack.silences().iter().find(|one| one.id.as_str() == id);
        return found.map_or_else(|| "not in this pack".to_owned(), |rule| rule.matter.to_string());
    }
    let found = pack.rules().iter().find(|one| one.id.as_str() == rule);
    found.map_or_else(|| "not in this pack".to_owned(), |rule| rule.matter.to_string())
}

fn text(pack: &Pack, tallies: &[RuleTally]) -> String {
    if tallies.is_empty() {
        return "no rule has raised a case yet\n".to_owned();
    }
    let name = |tally: &RuleTally| if tally.rule.is_empty() { "-".to_owned() } else { tally.rule.clone() };
    let width = tallies.iter().map(|tally| name(tally).len()).max().unwrap_or(0).max(4);
    let mut out = format!(
        "{:<width$}  {:<18} {:>7} {:>9} {:>8} {:>7} {:>8} {:>12}\n",
        "rule", "matter", "cases", "continued", "answered", "closed", "rejected", "reclassified"
    );
    for tally in tallies {
        let RuleTally { raised, continued, answered, closed, rejected, reclassified, .. } = tally;
        let _ = writeln!(
            out,
            "{:<width$}  {:<18} {raised:>7} {continued:>9} {answered:>8} {closed:>7} {rejected:>8} {reclassified:>12}",
            name(tally),
            matter(pack, &tally.rule),
        );
        for (matter, count) in &tally.went_to {
            let _ = writeln!(out, "{:<width$}    went to {matter}: {count}", "");
        }
        if let Some(advice) = advice(tally) {
            let _ = writeln!(out, "{:<width$}    {advice}", "");
        }
    }
    out
}

fn json_of(pack: &Pack, tallies: &[RuleTally]) -> String {
    let rules: Vec<_> = tallies
        .iter()
        .map(|tally| {
            let went_to: serde_json::Map<_, _> =
                tally.went_to.iter().map(|(matter, count)| (matter.clone(), (*count).into())).collect();
            json!({
                "rule": tally.rule, "matter": matter(pack, &tally.rule), "cases": tally.raised, "continued": tally.continued,
                "answered": tally.answered, "closed": tally.closed, "rejected": tally.rejected,
                "reclassified": tally.reclassified, "went_to": went_to, "advice": advice(tally),
            })
        })
        .collect();
    json!({ "rules": rules }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_that_misroutes_is_pointed_out_and_a_few_cases_say_nothing() {
        let tally = |answered, rejected, reclassified| RuleTally {
            rule: "r".to_owned(),
            raised: 100,
            answered,
            rejected,
            reclassified,
            ..RuleTally::default()
        };
        assert_eq!(advice(&tally(4, 4, 0)), None);
        assert_eq!(advice(&tally(100, 19, 19)), None);
        assert!(advice(&tally(10, 2, 0)).is_some_and(|said| said.contains("limit")));
        assert!(advice(&tally(10, 0, 2)).is_some_and(|said| said.contains("matter")));
    }
}
