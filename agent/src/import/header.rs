//! Which column is what: one row is the header, and its cells are known by many names.

use super::sheet::{Row, Sheet};
use super::{Options, Unreadable, half_width, one_line};

/// How many groups a matter may be in, one in the other: levels 1 to 4.
pub const LEVELS: usize = 4;
/// The header stands within this many rows from the top; above it there are titles.
const HEADER_ROWS_MAX: usize = 20;

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The matter's code.
    Code,
    /// The matter's Chinese name.
    Name,
    /// Its English name.
    NameEn,
    /// The Chinese name of the group at this level, from 0.
    Group(usize),
    /// The English name of the group at this level.
    GroupEn(usize),
    /// The competent department.
    Department,
    /// Departments that assist.
    Assisting,
    /// At which level it is implemented.
    Level,
    /// The deadline; with how many hours its unit counts, where the header says so.
    Deadline(Option<u32>),
    /// When a case may be closed.
    Closing,
    /// The legal basis.
    LegalBasis,
    /// The matter's code in another system.
    Crosswalk(String),
    /// Nothing that a pack holds, such as the row's number.
    Ignored,
}

impl Field {
    /// A field by the word that `--column` uses.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let group = |text: &str| {
            text.parse::<usize>().ok().filter(|level| (1..=LEVELS).contains(level)).map(|level| level - 1)
        };
        if let Some(system) = word.strip_prefix("code:") {
            return (!system.is_empty()).then(|| Self::Crosswalk(system.to_owned()));
        }
        Some(match word {
            "code" => Self::Code,
            "name_zh" => Self::Name,
            "name_en" => Self::NameEn,
            "department" => Self::Department,
            "assisting_zh" => Self::Assisting,
            "level" => Self::Level,
            "deadline" => Self::Deadline(None),
            "deadline_h" => Self::Deadline(Some(1)),
            "closing_zh" => Self::Closing,
            "legal_basis_zh" => Self::LegalBasis,
            "ignore" => Self::Ignored,
            _ => match word.strip_prefix("group_en_") {
                Some(level) => Self::GroupEn(group(level)?),
                None => Self::Group(group(word.strip_prefix("group_")?)?),
            },
        })
    }

    /// The word that `--column` uses.
    #[must_use]
    pub fn word(&self) -> String {
        match self {
            Self::Code => "code".to_owned(),
            Self::Name => "name_zh".to_owned(),
            Self::NameEn => "name_en".to_owned(),
            Self::Group(level) => format!("group_{}", level + 1),
            Self::GroupEn(level) => format!("group_en_{}", level + 1),
            Self::Department => "department".to_owned(),
            Self::Assisting => "assisting_zh".to_owned(),
            Self::Level => "level".to_owned(),
            Self::Deadline(Some(1)) => "deadline_h".to_owned(),
            Self::Deadline(_) => "deadline".to_owned(),
            Self::Closing => "closing_zh".to_owned(),
            Self::LegalBasis => "legal_basis_zh".to_owned(),
            Self::Crosswalk(system) => format!("code:{system}"),
            Self::Ignored => "ignore".to_owned(),
        }
    }

    /// What a header means; `None` when it is not known.
    fn of_header(header: &str) -> Option<Self> {
        let name = plain(header);
        if let Some(system) = name.strip_prefix("code:") {
            return (!system.is_empty()).then(|| Self::Crosswalk(one_line(system)));
        }
        let (base, unit) = match name.split_once('(') {
            Some((base, rest)) => (base.trim_end_matches('_'), rest.trim_end_matches(')')),
            None => (name.as_str(), ""),
        };
        let hours = match unit {
            "小时" | "时" | "h" | "hours" | "hour" => Some(1),
            "天" | "日" | "工作日" | "自然日" | "d" | "days" | "day" | "workingdays" => Some(24),
            _ => None,
        };
        Some(match base {
            "事项编码" | "编码" | "事项代码" | "代码" | "编号" | "事项编号" | "清单编码" | "code"
            | "mattercode" => Self::Code,
            "事项名称" | "事项" | "名称" | "末级事项" | "末级事项名称" | "末级" | "具体事项" | "责任事项"
            | "清单事项" | "namezh" | "name" | "matter" | "mattername" => Self::Name,
            "英文名称" | "事项英文名称" | "nameen" | "englishname" => Self::NameEn,
            "主管部门"
            | "责任部门"
            | "牵头部门"
            | "责任单位"
            | "主管单位"
            | "牵头单位"
            | "主责部门"
            | "主责单位"
            | "department"
            | "competentdepartment"
            | "responsibledepartment"
            | "owner" => Self::Department,
            "配合部门"
            | "协助部门"
            | "协同部门"
            | "配合单位"
            | "协助单位"
            | "协办部门"
            | "协办单位"
            | "assistingzh"
            | "assisting"
            | "assistingdepartments" => Self::Assisting,
            "实施层级" | "层级" | "实施级别" | "处置层级" | "责任层级" | "level" | "implementationlevel" => {
                Self::Level
            }
            "办理时限" | "处置时限" | "处理时限" | "办结时限" | "时限" | "完成时限" | "deadline"
            | "timelimit" => Self::Deadline(hours),
            "deadlineh" | "deadlinehours" => Self::Deadline(Some(1)),
            "deadlinedays" => Self::Deadline(Some(24)),
            "结案标准" | "办结标准" | "结案条件" | "处置标准" | "closingzh" | "closing"
            | "closingcriterion" | "closingcriteria" | "closingstandard" => Self::Closing,
            "法律依据" | "法律法规依据" | "依据" | "法规依据" | "设定依据" | "legalbasiszh"
            | "legalbasis" => Self::LegalBasis,
            "序号" | "no" | "no." | "#" | "kind" => Self::Ignored,
            _ => return group(base),
        })
    }
}

/// 一级事项, 二级类别, 大类, 小类, level 1, `level1_zh`, group 2, ...
fn group(base: &str) -> Option<Field> {
    for (level, sign) in ['一', '二', '三', '四'].into_iter().enumerate() {
        let digit = level + 1;
        if let Some(rest) = base.strip_prefix(sign)
            && ["级", "级事项", "级事项名称", "级分类", "级类别", "级目录", "级名称", "级清单"]
                .contains(&rest)
        {
            return Some(Field::Group(level));
        }
        for word in ["level", "group", "category"] {
            let Some(rest) = base.strip_prefix(word).and_then(|rest| rest.strip_prefix(&digit.to_string()))
            else {
                continue;
            };
            return match rest {
                "" | "zh" | "name" | "matter" => Some(Field::Group(level)),
                "en" => Some(Field::GroupEn(level)),
                _ => None,
            };
        }
    }
    match base {
        "大类" | "category" => Some(Field::Group(0)),
        "小类" | "subcategory" => Some(Field::Group(1)),
        _ => None,
    }
}

/// A header as it is compared: half-width, lower case, without blanks and what only decorates it.
fn plain(header: &str) -> String {
    half_width(header)
        .chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-' | '*'))
        .flat_map(char::to_lowercase)
        .collect::<String>()
        .trim_end_matches(':')
        .to_owned()
}

/// A column, and what it is taken for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its header, as a person reads it.
    pub header: String,
    /// What it holds; `None`: not known, and not imported.
    pub field: Option<Field>,
}

/// What all columns are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The header's row number.
    pub row: usize,
    /// The columns, from the first.
    pub columns: Vec<Column>,
}

impl Header {
    /// Finds the row that most columns are known in, and what they are.
    pub(super) fn find(sheet: &Sheet, options: &Options) -> Result<Self, Unreadable> {
        let known = |row: &Row| row.cells.iter().filter(|cell| field(&cell.text, options).is_some()).count();
        // Of two that know as much the lower one: over it stands what heads several columns.
        let row = sheet.rows.iter().take(HEADER_ROWS_MAX).max_by_key(|row| known(row));
        let Some(row) = row.filter(|row| known(row) > 1) else {
            let mut what = format!(
                "{}: no header was found in the first 20 rows; begin the list with a row such as \
                 事项编码, 一级事项, 二级事项, 事项名称, 主管部门, 实施层级, 办理时限",
                sheet.source
            );
            if !sheet.others.is_empty() {
                what.push_str(&format!(
                    ", or, where another sheet has the list, name it with --sheet: {}",
                    sheet.others.join(", ")
                ));
            }
            return Err(Unreadable(what));
        };
        let columns = row
            .cells
            .iter()
            .map(|cell| Column { header: one_line(&cell.text), field: field(&cell.text, options) });
        let header = Self { row: row.number, columns: columns.collect() };
        header.check(options)?;
        Ok(header)
    }

    fn check(&self, options: &Options) -> Result<(), Unreadable> {
        for (index, column) in self.columns.iter().enumerate() {
            let Some(field) = column.field.as_ref().filter(|field| **field != Field::Ignored) else {
                continue;
            };
            let word = field.word();
            let same = |other: &&Column| other.field.as_ref().is_some_and(|other| other.word() == word);
            if let Some(first) = self.columns[..index].iter().find(same) {
                return Err(Unreadable(format!(
                    "row {}: both `{}` and `{}` look like {word}; say which is not, with --column 'HEADER=ignore'",
                    self.row, first.header, column.header
                )));
            }
        }
        for (header, _) in &options.columns {
            if !self.columns.iter().any(|column| plain(&column.header) == plain(header)) {
                let have: Vec<_> = self.columns.iter().map(|column| column.header.as_str()).collect();
                let what = format!(
                    "row {}: no column is called `{header}`; there are {}",
                    self.row,
                    have.join(", ")
                );
                return Err(Unreadable(what));
            }
        }
        let missing = [
            ("name_zh (事项名称)", self.of(&Field::Name).is_some() || !self.groups().is_empty()),
            ("department (主管部门)", self.of(&Field::Department).is_some()),
            ("level (实施层级)", self.of(&Field::Level).is_some()),
            ("deadline (办理时限)", self.deadline().is_some()),
        ];
        if let Some((word, _)) = missing.iter().find(|(_, found)| !found) {
            return Err(Unreadable(format!(
                "row {}: no column was understood as {word}; say which it is, with --column 'HEADER=FIELD'",
                self.row
            )));
        }
        Ok(())
    }

    /// The column of a field.
    #[must_use]
    pub fn of(&self, field: &Field) -> Option<usize> {
        self.columns.iter().position(|column| column.field.as_ref() == Some(field))
    }

    /// The deadline's column, and how many hours its unit counts where the header says so.
    #[must_use]
    pub fn deadline(&self) -> Option<(usize, Option<u32>)> {
        self.columns.iter().enumerate().find_map(|(index, column)| match column.field {
            Some(Field::Deadline(hours)) => Some((index, hours)),
            _ => None,
        })
    }

    /// The columns of the groups, from the topmost level.
    #[must_use]
    pub fn groups(&self) -> Vec<usize> {
        (0..LEVELS).filter_map(|level| self.of(&Field::Group(level))).collect()
    }

    /// The columns with codes of other systems.
    #[must_use]
    pub fn crosswalk(&self) -> Vec<(usize, &str)> {
        let columns = self.columns.iter().enumerate();
        columns
            .filter_map(|(index, column)| match &column.field {
                Some(Field::Crosswalk(system)) => Some((index, system.as_str())),
                _ => None,
            })
            .collect()
    }
}

fn field(header: &str, options: &Options) -> Option<Field> {
    let told = options.columns.iter().find(|(name, _)| !name.is_empty() && plain(name) == plain(header));
    told.map(|(_, field)| field.clone()).or_else(|| Field::of_header(header))
}
