//! The review as text for a terminal.

use std::fmt::Write as _;

use super::{Kind, Review};

/// The review, in English with the list's own names; `all` with every matter, else with what a rule raises.
#[must_use]
pub fn text(review: &Review, all: bool) -> String {
    let mut text = String::new();
    let sample = if review.sample { " (A SAMPLE)" } else { "" };
    let _ = writeln!(
        text,
        "responsibility review of {} version {}{sample}, division {}, content {}",
        review.name,
        review.version,
        review.division,
        review.content.get(..12).unwrap_or_default()
    );
    let _ = writeln!(
        text,
        "{}, {}, {}, {}, {}, {}",
        count(review.matters.len(), "matter"),
        count(review.departments.len(), "department"),
        count(review.rules, "rule"),
        count(review.silences, "silence"),
        count(review.sites, "site"),
        count(review.devices, "device")
    );
    for kind in Kind::ALL {
        let mut of_kind = review.findings.iter().filter(|finding| finding.kind == kind).peekable();
        if of_kind.peek().is_none() {
            continue;
        }
        let _ = writeln!(text, "\n{} ({})", kind.title().en, if kind.is_gap() { "gap" } else { "note" });
        for finding in of_kind {
            let _ = writeln!(text, "  - {}", finding.text.en);
        }
    }
    let _ = writeln!(text, "\nDepartments by number of matters (of these, raised by rules or gateways)");
    for line in &review.departments {
        let _ = writeln!(text, "  {:>5} ({:>4})  {} {}", line.matters, line.raised, line.id, line.name_zh);
    }
    let _ =
        writeln!(text, "\nMatters{}", if all { "" } else { " that rules or gateways raise (--all for all)" });
    for matter in review.matters.iter().filter(|matter| all || matter.is_raised()) {
        let silences = matter.silences.iter().map(|silence| format!("silence {silence}"));
        let mut by: Vec<String> = matter.rules.iter().cloned().chain(silences).collect();
        if let Some(last) = by.last_mut() {
            last.push_str(&format!(" at {}", count(matter.sites, "site")));
        }
        if matter.by_gateway {
            by.insert(0, "the gateway itself".to_owned());
        }
        let raised = if by.is_empty() { "reports only".to_owned() } else { by.join(", ") };
        let _ = writeln!(
            text,
            "  {:<10} {}\n             {} {}, at {} level, within {} h; {raised}",
            matter.code,
            matter.name_zh,
            matter.department,
            matter.department_zh,
            matter.level,
            matter.deadline_h
        );
    }
    let _ = writeln!(text, "\n{}", verdict(review));
    text
}

/// `1 rule`, `2 rules`.
pub(super) fn count(number: usize, of: &str) -> String {
    format!("{number} {of}{}", if number == 1 { "" } else { "s" })
}

fn verdict(review: &Review) -> String {
    let (gaps, notes) = (count(review.gaps, "gap"), count(review.notes, "note"));
    match (review.gaps, review.notes) {
        (0, 0) => "every matter has its owner, and nothing is open".to_owned(),
        (0, _) => format!("every matter has its owner; {notes}"),
        _ => format!("every matter has its owner; {gaps} and {notes}"),
    }
}
