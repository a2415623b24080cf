//! Texts and codes as they are compared: `Ｎ－１７` is `n-17`.

use crate::import::half_width;

/// The text with full-width letters, digits and signs as their plain ones, in lower case, without blanks around it.
#[must_use]
pub fn fold(text: &str) -> String {
    half_width(text).trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn width_and_case_make_no_difference() {
        assert_eq!(fold("　Ｎ－１７ "), "n-17");
        assert_eq!(fold("夜间施工ABC"), "夜间施工abc");
    }
}
