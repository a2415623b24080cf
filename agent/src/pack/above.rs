//! Which lists stand over a list: a district names its city's, whose own `pack.toml` may name its province's. A list that is
//! reached by two ways is put over once, and a circle is named and refused.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::overlay::OverlayError;
use crate::config::toml_error;
use crate::files;

/// The most lists over one district's.
const LISTS_MAX: usize = 16;
/// Where a folder names the lists over its own.
const FILE: &str = "pack.toml";

/// Of an upper level's `pack.toml` only this counts: what else stands there is about the upper level's own pack.
#[derive(Debug, Deserialize)]
struct Above {
    #[serde(default)]
    overlays: Vec<String>,
}

/// A folder and all that stand over it, from below, without those that are there already.
///
/// # Errors
/// When they go in a circle, are too many, or a `pack.toml` cannot be read.
pub fn of(district: &Path, folder: &Path, there: &[PathBuf]) -> Result<Vec<PathBuf>, OverlayError> {
    let mut search = Search { there: there.iter().map(|path| real(path)).collect(), found: Vec::new() };
    search.visit(folder, &mut vec![district.to_owned()])?;
    Ok(search.found)
}

struct Search {
    /// Each folder by its one true name.
    there: Vec<PathBuf>,
    /// As they are written, for errors.
    found: Vec<PathBuf>,
}

impl Search {
    /// `below` are the folders that lead here.
    fn visit(&mut self, folder: &Path, below: &mut Vec<PathBuf>) -> Result<(), OverlayError> {
        let named_in = |below: &[PathBuf]| below.last().map(|last| last.join(FILE)).unwrap_or_default();
        let one = real(folder);
        if let Some(begins) = below.iter().position(|path| real(path) == one) {
            let way: Vec<String> = below[begins..].iter().map(|path| path.display().to_string()).collect();
            let what = format!(
                ": overlays: the lists go in a circle: {} → {}; take one of them out",
                way.join(" → "),
                folder.display()
            );
            return Err(OverlayError::Above { path: named_in(below), what });
        }
        if self.there.contains(&one) {
            return Ok(());
        }
        if self.there.len() == LISTS_MAX {
            let what = format!(
                ": overlays: with {} there are more than {LISTS_MAX} lists over the district's; put some of them together in one folder",
                folder.display()
            );
            return Err(OverlayError::Above { path: named_in(below), what });
        }
        self.there.push(one);
        self.found.push(folder.to_owned());
        let above = read(&folder.join(FILE))?;
        below.push(folder.to_owned());
        for next in above.overlays {
            self.visit(&folder.join(next), below)?;
        }
        below.pop();
        Ok(())
    }
}

/// The same for all ways that lead to it; of what is not there, the name, so that whoever reads it says so.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn read(path: &Path) -> Result<Above, OverlayError> {
    let wrong = |what: String| OverlayError::Above { path: path.to_owned(), what };
    if !path.exists() {
        return Ok(Above { overlays: Vec::new() });
    }
    let text = files::text(path, files::TEXT_BYTES_MAX)
        .map_err(|error| wrong(format!(": cannot be read: {error}")))?;
    toml::from_str(&text).map_err(|error| wrong(format!(": {}", toml_error::describe(&text, &error))))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn folder(root: &Path, name: &str, overlays: &str) -> PathBuf {
        let folder = root.join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(FILE), format!("name = \"{name}\"\noverlays = {overlays}\n")).unwrap();
        folder
    }

    #[test]
    fn lists_over_lists_are_followed_from_below_each_once() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let district = folder(root, "district", "[]");
        let city = folder(root, "city", "[\"../province\", \"../plain\"]");
        folder(root, "province", "[\"../plain\"]");
        fs::create_dir(root.join("plain")).unwrap();
        let found = of(&district, &city, &[]).unwrap();
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["city", "province", "plain"]);
        let again = of(&district, &root.join("plain"), &found).unwrap();
        assert!(again.is_empty(), "{again:?}");
    }

    #[test]
    fn a_circle_too_many_and_what_is_no_list_are_named() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let district = folder(root, "district", "[]");
        let said = |start: &Path| of(&district, start, &[]).unwrap_err().to_string();
        let city = folder(root, "city", "[\"../province\"]");
        folder(root, "province", "[\"../city\"]");
        let circle = said(&city);
        assert!(circle.contains("province/pack.toml: overlays") && circle.contains("circle"), "{circle}");
        assert!(!circle.contains("district →"), "{circle}");
        assert!(said(&district).contains("circle"));
        let back = folder(root, "back", "[\"../district\"]");
        assert!(said(&back).contains("circle"));
        for level in 0..=LISTS_MAX {
            folder(root, &format!("l{level}"), &format!("[\"../l{}\"]", level + 1));
        }
        let many = said(&root.join("l0"));
        assert!(many.contains("l15/pack.toml") && many.contains("more than 16"), "{many}");
        let odd = said(&folder(root, "odd", "\"../province\""));
        assert!(odd.contains("odd/pack.toml: line 2, column") && odd.contains("a list"), "{odd}");
    }
}
