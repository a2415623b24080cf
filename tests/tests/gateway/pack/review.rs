//! `gridpost pack check` and `diff`: what a head of department reads before signing.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{edit, fails, gateway, version};

const BROKER: &str = "mqtt://127.0.0.1:1";

#[test]
fn a_review_finds_what_nobody_would_answer_for() -> Result<()> {
    let gateway = gateway(BROKER)?;
    // The heat node says what it measures, and something that no rule anywhere watches.
    edit(&gateway, "pack/devices.csv", |text| {
        text.lines()
            .enumerate()
            .map(|(index, line)| match (index, line.starts_with("677000000000000a")) {
                (0, _) if !line.contains("measures") => format!("{line},measures\n"),
                (0, _) => format!("{line}\n"),
                (_, true) => {
                    let cells: Vec<&str> = line.split(',').take(5).collect();
                    format!("{},temperature;vibration\n", cells.join(","))
                }
                (_, false) if line.matches(',').count() == 4 => format!("{line},\n"),
                _ => format!("{line}\n"),
            })
            .collect()
    })?;
    let names = gateway.run(&["pack", "check", "pack"])?;
    let quantity = names.lines().find(|line| line.contains("no rule decides on it"));
    ensure!(quantity.is_some_and(|line| line.contains("PS-0001")), "{names}");
    // A rule for a kind of site that there is none of.
    edit(&gateway, "pack/rules.toml", |text| {
        format!(
            "{text}\n[[rule]]\nid = \"rail-yard-noise\"\nmatter = \"0103005\"\nquantity = \"LAeq\"\nwindow = \"5min\"\nabove = 70\nsites = [\"rail\"]\narea_classes = [\"0\"]\n"
        )
    })?;
    let review: Value = serde_json::from_str(&gateway.run(&["pack", "check", "pack", "--format", "json"])?)?;
    let kinds: Vec<&str> = review["findings"]
        .as_array()
        .context("findings")?
        .iter()
        .filter_map(|f| f["kind"].as_str())
        .collect();
    for kind in ["coverage", "rule-without-site", "matter-without-rule"] {
        ensure!(kinds.contains(&kind), "no {kind} in {kinds:?}");
    }
    // A category of a hotline covers many matters: worth knowing, nothing to settle.
    let coarse = review["findings"].as_array().into_iter().flatten().find(|f| f["kind"] == "coarse-code");
    ensure!(
        coarse.is_some_and(|f| f["gap"] == false
            && f["en"].as_str().is_some_and(|en| en.contains("SAMPLE-AIR-DUST of 12345"))),
        "{review:#}"
    );
    // Wind and rain say when a measurement counts; no matter is missing for them.
    let rain = review["findings"].as_array().into_iter().flatten().find(|f| {
        f["about"].to_string().contains("rain_rate")
            || f["en"].as_str().is_some_and(|en| en.contains("rain_rate"))
    });
    ensure!(rain.is_none(), "{rain:?}");
    let owned = review["matters"].as_array().context("matters")?;
    ensure!(
        !owned.is_empty() && owned.iter().all(|m| m["department"].is_string() && m["deadline_h"].is_u64()),
        "{review}"
    );
    let counts: Vec<u64> = review["departments"]
        .as_array()
        .context("departments")?
        .iter()
        .filter_map(|d| d["matters"].as_u64())
        .collect();
    ensure!(
        counts.is_sorted_by(|a, b| a >= b) && counts.iter().sum::<u64>() == owned.len() as u64,
        "{counts:?}"
    );

    fails(&gateway, 3, &["pack", "check", "pack", "--strict"])?;
    let html = gateway.run(&["pack", "check", "pack", "--format", "html", "-o", "review.html"])?;
    ensure!(html.contains("review.html"), "{html}");
    let page = fs::read_to_string(gateway.path("review.html"))?;
    for part in [
        "责任清单审查",
        "Responsibility review",
        "0102003",
        "rail-yard-noise",
        "@media print",
        // The total, what is measured in the reader's words, and which pack a printed sheet is of.
        "合计",
        "振动速度（vibration）：没有任何规则",
        "content: \"sample-district v1 · 440310 · ",
    ] {
        ensure!(page.contains(part), "no {part:?} in the page");
    }
    for foreign in ["<script", "http://", "https://", "url("] {
        ensure!(!page.contains(foreign), "the page needs something else: {foreign}");
    }
    Ok(())
}

#[test]
fn a_pack_with_errors_is_no_review_and_says_so_in_every_format() -> Result<()> {
    let gateway = gateway(BROKER)?;
    edit(&gateway, "pack/rules.toml", |text| text.replacen("0102003", "9999999", 1))?;
    for format in ["text", "json", "html"] {
        let output = gateway.command(&["pack", "check", "pack", "--format", format]).output()?;
        let (said, written) = (String::from_utf8(output.stderr)?, String::from_utf8(output.stdout)?);
        ensure!(output.status.code() == Some(3) && said.contains("9999999"), "{format}: {said}");
        ensure!(format == "text" || written.contains("9999999"), "{format}: {written}");
    }
    Ok(())
}

#[test]
fn a_difference_says_what_changes_for_whom() -> Result<()> {
    let gateway = gateway(BROKER)?;
    gateway.run(&["pack", "build", "pack", "-o", "old.pack"])?;
    let same = gateway.run(&["pack", "diff", "old.pack", "pack"])?;
    ensure!(same.contains("nothing changes"), "{same}");
    version(&gateway, 900)?;
    edit(&gateway, "pack/catalogue.csv", |text| {
        text.lines()
            .map(|line| match line.starts_with("matter,0102003,") {
                true => line.replacen(",housing,", ",ecology,", 1) + "\n",
                false => format!("{line}\n"),
            })
            .collect()
    })?;
    let text = gateway.run(&["pack", "diff", "old.pack", "pack"])?;
    let moves = text
        .lines()
        .filter(|line| line.contains("0102003") && line.contains("moves from housing"))
        .collect::<Vec<_>>();
    ensure!(
        moves.len() == 2 && moves.iter().all(|line| line.contains("affected")),
        "both departments are told: {text}"
    );
    ensure!(text.contains("For housing") && text.contains("For ecology"), "{text}");
    let json: Value =
        serde_json::from_str(&gateway.run(&["pack", "diff", "old.pack", "pack", "--format", "json"])?)?;
    ensure!(json["new"]["version"] == 900 && json["changes"][0]["id"] == "0102003", "{json}");
    let back = gateway.run(&["pack", "diff", "pack", "old.pack"])?;
    ensure!(back.contains("gateways refuse it"), "{back}");
    Ok(())
}

#[test]
fn silences_are_reviewed_and_compared_as_rules_are() -> Result<()> {
    let gateway = gateway(BROKER)?;
    gateway.run(&["pack", "build", "pack", "-o", "old.pack"])?;
    let review: Value = serde_json::from_str(&gateway.run(&["pack", "check", "pack", "--format", "json"])?)?;
    let line = |code: &str| -> Result<&Value> {
        let mut lines = review["matters"].as_array().into_iter().flatten();
        lines.find(|line| line["code"] == code).context("the matter")
    };
    let silent = line("0901001")?;
    ensure!(
        silent["silences"][0] == "device-silent" && silent["sites"] == 12 && silent["by_gateway"] == false,
        "{silent}"
    );
    let unraised =
        review["findings"].as_array().into_iter().flatten().find(|f| f["kind"] == "matter-without-rule");
    ensure!(unraised.is_some_and(|f| !f["about"].to_string().contains("0901001")), "{unraised:?}");
    let text = gateway.run(&["pack", "check", "pack"])?;
    ensure!(text.contains("; silence device-silent at 12 sites"), "{text}");
    let page = gateway.run(&["pack", "check", "pack", "--format", "html"])?;
    ensure!(page.contains(">静默</span><span lang=\"en\">silence</span> device-silent"), "{page}");
    let shown = gateway.run(&["matter", "show", "0901001", "--pack", "pack"])?;
    ensure!(shown.contains("silences device-silent") && !shown.contains("reports only"), "{shown}");

    // The silence goes to another matter and waits longer; one is new, and no device measures what it asks for.
    version(&gateway, 900)?;
    edit(&gateway, "pack/rules.toml", |text| {
        let text =
            text.replace("matter = \"0901001\"\nafter = \"30min\"", "matter = \"0901003\"\nafter = \"1h\"");
        format!(
            "{text}\n[[silence]]\nid = \"no-tonality\"\nmatter = \"0901003\"\nquantity = \"tonality\"\nafter = \"5min\"\n"
        )
    })?;
    let text = gateway.run(&["pack", "check", "pack"])?;
    ensure!(
        text.contains("silence no-tonality (matter 0901003): there is no device to which it applies"),
        "{text}"
    );
    let text = gateway.run(&["pack", "diff", "old.pack", "pack"])?;
    for expected in [
        "silence device-silent: its after changes from 30m to 1h; its matter changes from 0901001 to 0901003; 12 sites affected",
        "silence no-tonality is new: it raises matter 0901003 when no tonality is heard of a device for 5m; 0 sites affected",
    ] {
        ensure!(text.contains(expected), "{expected}: {text}");
    }
    let back = gateway.run(&["pack", "diff", "pack", "old.pack"])?;
    ensure!(back.contains("silence no-tonality of matter 0901003 is withdrawn"), "{back}");
    Ok(())
}
