//! Codes of other systems: found by any of them, and laid over a district's list by a city.

use std::fs;

use anyhow::{Result, ensure};

use super::{edit, fails, gateway};

const BROKER: &str = "mqtt://127.0.0.1:1";

/// The catalogue with a column of another system, in which one matter has a code.
fn with_codes(text: &str) -> String {
    text.lines()
        .enumerate()
        .map(|(index, line)| match (index, line.starts_with("matter,0102003,")) {
            (0, _) => format!("{line},code:hotline\n"),
            (_, true) => format!("{line},N-17\n"),
            _ => format!("{line},\n"),
        })
        .collect()
}

#[test]
fn a_matter_is_found_by_any_code_and_by_words() -> Result<()> {
    let gateway = gateway(BROKER)?;
    edit(&gateway, "pack/catalogue.csv", with_codes)?;
    for code in ["0102003", "０１０２００３", "n-17", "Ｎ－１７", "hotline:N-17"] {
        let shown = gateway.run(&["matter", "show", code, "--pack", "pack"])?;
        ensure!(shown.starts_with("0102003 ") && shown.contains("hotline N-17"), "{code}: {shown}");
    }
    for words in [&["施工", "夜间"][..], &["CONSTRUCTION", "night"], &["housing", "night"]] {
        let shown = gateway.run(&[&["matter", "search"][..], words, &["--pack", "pack"]].concat())?;
        ensure!(shown.contains("0102003"), "{words:?}: {shown}");
    }
    let said = fails(&gateway, 1, &["matter", "show", "０１０２", "--pack", "pack"])?;
    ensure!(said.contains("that is a group: gridpost matter search 建筑施工噪声 lists"), "{said}");
    let said = fails(&gateway, 1, &["matter", "show", "77777", "--pack", "pack"])?;
    ensure!(said.contains("matter search"), "{said}");
    let said = fails(&gateway, 1, &["matter", "show", "0102903", "--pack", "pack"])?;
    ensure!(
        said.contains("did you mean `0102003` (建筑施工夜间噪声 · Construction noise at night)?"),
        "{said}"
    );
    Ok(())
}

#[test]
fn a_city_adds_its_codes_and_matters_and_cuts_nothing() -> Result<()> {
    let gateway = gateway(BROKER)?;
    edit(&gateway, "pack/catalogue.csv", with_codes)?;
    fs::create_dir(gateway.path("city"))?;
    fs::write(
        gateway.path("city/catalogue.csv"),
        "kind,code,parent,name_zh,department,level,deadline_h,code:city\n\
         matter,0102003,,,,,,SZ-0042\n\
         matter,9900001,,市级督办事项,city-office,city,72,SZ-9001\n",
    )?;
    fs::write(gateway.path("city/departments.csv"), "id,name_zh\ncity-office,市督查室\n")?;
    gateway.run(&["pack", "build", "pack", "--overlay", "city", "-o", "both.pack"])?;
    let shown = gateway.run(&["matter", "show", "sz-0042", "--pack", "both.pack"])?;
    ensure!(
        shown.starts_with("0102003 ") && shown.contains("hotline N-17"),
        "the district's own code stays: {shown}"
    );
    let own = gateway.run(&["matter", "show", "SZ-9001", "--pack", "both.pack"])?;
    ensure!(own.contains("市督查室"), "{own}");
    let diff = gateway.run(&["pack", "diff", "pack", "both.pack"])?;
    ensure!(diff.contains("its code in city is now SZ-0042") && !diff.contains("no longer"), "{diff}");

    // Named in pack.toml it is the same pack, for whoever reads the folder.
    edit(&gateway, "pack/pack.toml", |text| format!("overlays = [\"../city\"]\n{text}"))?;
    gateway.run(&["pack", "build", "pack", "-o", "named.pack"])?;
    let same = gateway.run(&["pack", "diff", "named.pack", "both.pack"])?;
    ensure!(same.contains("nothing changes"), "{same}");
    let own = gateway.run(&["matter", "show", "SZ-9001", "--pack", "pack"])?;
    ensure!(own.contains("市督查室"), "{own}");

    // The province stands over the city, and the city says so: its list comes as the city has it.
    fs::write(gateway.path("city/pack.toml"), "name = \"the city's own\"\noverlays = [\"../province\"]\n")?;
    fs::create_dir(gateway.path("province"))?;
    fs::write(gateway.path("province/catalogue.csv"), "kind,code,code:gd\nmatter,9900001,GD-7\n")?;
    gateway.run(&["pack", "build", "pack", "-o", "three.pack"])?;
    let own = gateway.run(&["matter", "show", "GD-7", "--pack", "three.pack"])?;
    ensure!(own.contains("市督查室") && own.contains("SZ-9001"), "{own}");
    fs::write(gateway.path("province/pack.toml"), "overlays = [\"../city\"]\n")?;
    let said = fails(&gateway, 3, &["check", "-c", "gridpost.toml"])?;
    ensure!(said.contains("province/pack.toml: overlays") && said.contains("circle"), "{said}");
    fs::remove_file(gateway.path("province/pack.toml"))?;

    // One matter is one row: whose second word counts would be anybody's guess.
    let twice = "kind,code,code:hotline\nmatter,0102003,\nmatter,0102003,N-18\n";
    fs::write(gateway.path("city/catalogue.csv"), twice)?;
    let said = fails(&gateway, 3, &["pack", "build", "pack", "--overlay", "city", "-o", "none.pack"])?;
    ensure!(said.contains("line 3: code: `0102003` is on line 2 already"), "{said}");

    // What the district settled is not settled anew from above.
    fs::write(
        gateway.path("city/catalogue.csv"),
        "kind,code,deadline_h,code:hotline\nmatter,0102003,1,N-18\nmatter,0102001,1,\n",
    )?;
    let said = fails(&gateway, 3, &["pack", "build", "pack", "--overlay", "city", "-o", "none.pack"])?;
    for part in
        ["city/catalogue.csv:2", "city/catalogue.csv:3", "pack/catalogue.csv:", "deadline_h", "\"N-18\""]
    {
        ensure!(said.contains(part), "no {part:?} in {said}");
    }
    let said = fails(&gateway, 3, &["check", "-c", "gridpost.toml"])?;
    ensure!(said.contains("pack/../city/catalogue.csv:2"), "{said}");
    ensure!(!gateway.path("none.pack").exists(), "it was built all the same");
    Ok(())
}
