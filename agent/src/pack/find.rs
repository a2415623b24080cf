//! Matters by code or word. Width and case of letters and digits make no difference.

use std::collections::HashMap;

use gridpost_protocol::pack::{Matter, Pack};

use super::fold::fold;

/// The matters with this code: their own, or in any other system, or in one system (`SYSTEM:CODE`).
#[must_use]
pub fn by_code<'p>(pack: &'p Pack, code: &str) -> Vec<&'p Matter> {
    let code = fold(code);
    let of_system = code.split_once([':', ' ']).map(|(system, code)| (system.trim(), code.trim()));
    pack.matters()
        .iter()
        .filter(|matter| {
            fold(matter.code.as_str()) == code
                || matter.crosswalk.iter().any(|(system, other)| {
                    let other = fold(other);
                    other == code || of_system.is_some_and(|of| of == (&fold(system), &other))
                })
        })
        .collect()
}

/// The matters in which every one of these words is found.
#[must_use]
pub fn by_words<'p>(pack: &'p Pack, words: &str) -> Vec<&'p Matter> {
    let words = fold(words);
    let words: Vec<&str> = words.split_whitespace().collect();
    let groups: HashMap<&str, String> = pack
        .groups()
        .iter()
        .map(|group| (group.code.as_str(), format!("{}\n{}", group.name_zh, group.name_en)))
        .collect();
    pack.matters()
        .iter()
        .filter(|matter| {
            let department = pack.department_of(matter);
            let mut all = vec![
                matter.code.as_str(),
                &matter.name_zh,
                &matter.name_en,
                department.id.as_str(),
                &department.name_zh,
                &department.name_en,
            ];
            all.extend(matter.groups.iter().filter_map(|code| groups.get(code.as_str()).map(String::as_str)));
            let by_system: Vec<_> =
                matter.crosswalk.iter().map(|(system, code)| format!("{system}:{code}")).collect();
            all.extend(by_system.iter().map(String::as_str));
            // Line by line, so that no word is found across two texts.
            let all = fold(&all.join("\n"));
            words.iter().all(|word| all.contains(word))
        })
        .collect()
}
