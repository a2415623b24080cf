//! The files of a pack that an import makes.

use super::{Departments, Imported};

/// `catalogue.csv`: groups, parents first, then matters, then what is retired.
///
/// # Errors
/// When memory cannot be written to: never, in practice.
pub fn catalogue(imported: &Imported) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let systems: Vec<String> =
        imported.header.crosswalk().into_iter().map(|(_, system)| format!("code:{system}")).collect();
    let fixed = [
        "kind",
        "code",
        "parent",
        "name_zh",
        "name_en",
        "department",
        "assisting_zh",
        "level",
        "deadline_h",
        "closing_zh",
        "legal_basis_zh",
    ];
    writer.write_record(fixed.into_iter().chain(systems.iter().map(String::as_str)))?;
    for group in &imported.groups {
        let cells =
            ["group", &group.code, &group.parent, &group.name_zh, &group.name_en, "", "", "", "", "", ""];
        writer.write_record(cells.into_iter().chain(systems.iter().map(|_| "")))?;
    }
    for matter in &imported.matters {
        let deadline = matter.deadline_h.to_string();
        let cells = [
            "matter",
            &matter.code,
            &matter.parent,
            &matter.name_zh,
            &matter.name_en,
            &matter.department,
            &matter.assisting_zh,
            matter.level.as_str(),
            &deadline,
            &matter.closing_zh,
            &matter.legal_basis_zh,
        ];
        writer.write_record(cells.into_iter().chain(matter.crosswalk.iter().map(String::as_str)))?;
    }
    for old in &imported.retired {
        let cells = ["retired", &old.code, &old.parent, &old.name_zh, &old.name_en, "", "", "", "", "", ""];
        writer.write_record(cells.into_iter().chain(systems.iter().map(|_| "")))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

/// `departments.csv`.
///
/// # Errors
/// When memory cannot be written to: never, in practice.
pub fn departments(departments: &Departments) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(["id", "name_zh", "name_en"])?;
    for department in departments.list() {
        writer.write_record([&department.id, &department.name_zh, &department.name_en])?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}
