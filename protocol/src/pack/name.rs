//! The names that people give: codes and ids that can stand in an MQTT topic, and the fixed vocabularies.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// The longest code or id, in characters. Nine of them and the fixed words stay far below what brokers allow for a
/// topic.
pub const CODE_CHARS_MAX: usize = 32;

/// A text cannot be a code or id: these stand in topics, and a broker's rules hang on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotACode;

impl fmt::Display for NotACode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "use 1 to {CODE_CHARS_MAX} letters A-Z a-z, digits, `_` and `-`")
    }
}

impl std::error::Error for NotACode {}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(Box<str>);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotACode;

            fn from_str(text: &str) -> Result<Self, NotACode> {
                let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
                if (1..=CODE_CHARS_MAX).contains(&text.len()) && text.bytes().all(fits) {
                    Ok(Self(text.into()))
                } else {
                    Err(NotACode)
                }
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}

codes! {
    /// The code of a matter, or of a group of matters.
    MatterCode;
    /// The id of a department.
    DepartmentId;
    /// The id of a site.
    SiteId;
    /// The id of a rule.
    RuleId;
    /// The code of an administrative division, after GB/T 2260: of the district, six digits.
    DivisionCode;
}

impl DivisionCode {
    /// For a site whose own is wrong; its pack does not load.
    pub(super) fn stand_in() -> Self {
        Self("0".into())
    }
}

macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum $name {
            $($(#[$item_doc])* $variant,)*
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The word, as in files, topics and JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            pub(super) fn words() -> impl Iterator<Item = &'static str> {
                Self::ALL.iter().map(|item| item.as_str())
            }

            pub(super) fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|item| item.as_str() == word)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

vocabulary! {
    /// At which level of administration a matter is implemented.
    Level {
        /// 市.
        City = "city",
        /// 区.
        District = "district",
        /// 街道.
        SubDistrict = "sub-district",
        /// 社区.
        Community = "community",
    }
}

vocabulary! {
    /// What kind of place a site is.
    SiteKind {
        /// 建筑工地.
        Construction = "construction",
        /// 工业企业.
        Industrial = "industrial",
        /// 商业.
        Commercial = "commercial",
        /// 居住.
        Residential = "residential",
        /// 道路.
        Road = "road",
        /// 轨道.
        Rail = "rail",
        /// 学校.
        School = "school",
        /// 医院.
        Hospital = "hospital",
        /// 公园.
        Park = "park",
        /// 水务设施、河道.
        Water = "water",
        /// None of the others.
        Other = "other",
    }
}

vocabulary! {
    /// The functional area class (声环境功能区类别) of GB 3096-2008, clause 4.
    AreaClass {
        /// Where quiet matters most.
        Class0 = "0",
        /// Homes, hospitals, schools, offices.
        Class1 = "1",
        /// Commerce, or homes mixed with commerce and industry.
        Class2 = "2",
        /// Industry and storage.
        Class3 = "3",
        /// Along roads and waterways.
        Class4a = "4a",
        /// Along railways.
        Class4b = "4b",
    }
}

vocabulary! {
    /// Who runs the rules that apply to a device.
    DecidesAt {
        /// The gateway, which gets every reading.
        Gateway = "gateway",
        /// The device itself, which tells episodes and minutes.
        Device = "device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_break_a_topic_is_not_a_code() {
        for good in ["0102003", "urban-management", "A_1", &"x".repeat(32)] {
            assert!(good.parse::<MatterCode>().is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a+b", "#", "a.b", "a b", "工地", &"x".repeat(33)] {
            assert_eq!(bad.parse::<MatterCode>(), Err(NotACode), "{bad}");
        }
    }
}
