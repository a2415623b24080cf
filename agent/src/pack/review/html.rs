//! The review as one HTML file that needs nothing else: no script, no font, no picture. A head of department reads it on
//! the screen in Chinese or English, prints it, and signs it.

use std::fmt::Write as _;

use gridpost_protocol::pack::PackError;

use super::{Kind, MatterLine, Review, words};

const STYLE: &str = include_str!("review.css");

/// The text, harmless between tags and in attributes.
fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            c => shown.push(c),
        }
    }
    shown
}

/// Both languages; the style shows one.
fn both(zh: &str, en: &str) -> String {
    let en = if en.is_empty() { zh } else { en };
    format!("<span lang=\"zh\">{}</span><span lang=\"en\">{}</span>", escaped(zh), escaped(en))
}

fn level(word: &str) -> String {
    both(words::level(word), word)
}

/// What stands at the foot of each printed page, so that a sheet is known as one of this pack's review. As CSS.
fn foot_of_pages(review: &Review) -> String {
    let of = format!(
        "{} v{} · {} · {}",
        review.name,
        review.version,
        review.division,
        review.content.get(..12).unwrap_or_default()
    );
    format!("@page {{ @bottom-left {{ content: \"{}\"; }} }}\n", plain(&of))
}

/// The text as it may stand in CSS within HTML: nothing that ends either, and the name may be anything.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() || " .-_·".contains(c) { c } else { '·' }).collect()
}

/// Both languages' switch, which works without a script, around what a page says.
fn page(title_zh: &str, title_en: &str, style: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"zh\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <style>\n{STYLE}{style}</style>\n</head>\n<body>\n\
         <input type=\"radio\" name=\"language\" id=\"zh\" checked><input type=\"radio\" name=\"language\" id=\"en\">\n\
         <nav><label for=\"zh\">中文</label><label for=\"en\">English</label></nav>\n\
         <main>\n<h1>{heading}</h1>\n{body}</main>\n</body>\n</html>\n",
        title = escaped(&format!("{title_zh} · {title_en}")),
        heading = both(title_zh, title_en),
    )
}

/// The page of a pack that has errors: they are all that can be said of it.
#[must_use]
pub fn errors(errors: &[PackError], count: usize) -> String {
    let mut body = format!(
        "<p class=\"verdict bad\">{}</p>\n<ul class=\"findings\">\n",
        both(
            &format!("规则包有 {count} 处错误，不能使用；请先改正。"),
            &format!("The pack has {count} errors and cannot be used; correct them first.")
        )
    );
    for error in errors {
        let _ = writeln!(body, "<li>{}</li>", escaped(&error.to_string()));
    }
    body.push_str("</ul>\n");
    page("责任清单审查", "Responsibility review", "", &body)
}

/// The whole review.
#[must_use]
pub fn html(review: &Review) -> String {
    let mut body = String::new();
    head(&mut body, review);
    findings(&mut body, review);
    departments(&mut body, review);
    matters(&mut body, review);
    let _ = writeln!(
        body,
        "<footer>{}</footer>",
        both(
            "审查人（签字）：____________________ 日期：______________",
            "Reviewed by (signature): ____________________ Date: ______________"
        )
    );
    page("责任清单审查", "Responsibility review", &foot_of_pages(review), &body)
}

fn head(body: &mut String, review: &Review) {
    let sample = if review.sample {
        both("（样例，不得用于实际辖区）", " (a sample: not for use in a district)")
    } else {
        String::new()
    };
    let _ = writeln!(
        body,
        "<p class=\"pack\"><b>{}</b>{sample} · {} {} · {} {} · {} <code>{}</code></p>",
        escaped(&review.name),
        both("版本", "version"),
        review.version,
        both("行政区划", "division"),
        escaped(&review.division),
        both("内容摘要", "content"),
        escaped(review.content.get(..12).unwrap_or_default()),
    );
    let class = if review.gaps > 0 { "open" } else { "good" };
    let (zh, en) = match (review.gaps, review.notes) {
        (0, 0) => (
            "每个事项都有主管部门，没有待定问题。".to_owned(),
            "Every matter has its owner, and nothing is open.".to_owned(),
        ),
        (0, notes) => (
            format!("每个事项都有主管部门；{notes} 条提示。"),
            format!("Every matter has its owner; {notes} notes."),
        ),
        (gaps, notes) => (
            format!("每个事项都有主管部门；{gaps} 个缺口待定，{notes} 条提示。"),
            format!("Every matter has its owner; {gaps} gaps are open, and there are {notes} notes."),
        ),
    };
    let _ = writeln!(body, "<p class=\"verdict {class}\">{}</p>\n<ul class=\"figures\">", both(&zh, &en));
    let figures = [
        (review.matters.len(), "事项", "matters"),
        (review.departments.len(), "主管部门", "departments"),
        (review.rules, "规则", "rules"),
        (review.silences, "静默规则", "silences"),
        (review.sites, "点位", "sites"),
        (review.devices, "设备", "devices"),
    ];
    for (number, zh, en) in figures {
        let _ = writeln!(body, "<li><b>{number}</b>{}</li>", both(zh, en));
    }
    body.push_str("</ul>\n");
}

fn findings(body: &mut String, review: &Review) {
    for kind in Kind::ALL {
        let of_kind: Vec<_> = review.findings.iter().filter(|finding| finding.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let title = kind.title();
        let (class, word) = match kind.is_gap() {
            true => ("gap", both("缺口", "gap")),
            false => ("note", both("提示", "note")),
        };
        let _ = writeln!(
            body,
            "<section>\n<h2>{} <small class=\"{class}\">{word} · {}</small></h2>\n<ul class=\"findings {class}\">",
            both(&title.zh, &title.en),
            of_kind.len()
        );
        for finding in of_kind {
            let _ = writeln!(body, "<li>{}</li>", both(&finding.text.zh, &finding.text.en));
        }
        body.push_str("</ul>\n</section>\n");
    }
}

fn departments(body: &mut String, review: &Review) {
    let most = review.departments.first().map_or(1, |line| line.matters.max(1));
    let _ = writeln!(
        body,
        "<section>\n<h2>{}</h2>\n<table class=\"departments\">\n<thead><tr><th>{}</th><th class=\"number\">{}</th><th class=\"number\">{}</th><th></th></tr></thead>\n<tbody>",
        both("各部门事项数", "Departments by number of matters"),
        both("主管部门", "Department"),
        both("事项", "Matters"),
        both("可自动立项", "Raised by rules"),
    );
    for line in &review.departments {
        let _ = writeln!(
            body,
            "<tr><td>{} <code>{}</code></td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"bar\"><i style=\"width:{}%\"><b style=\"width:{}%\"></b></i></td></tr>",
            both(&line.name_zh, &line.name_en),
            escaped(&line.id),
            line.matters,
            line.raised,
            line.matters * 100 / most,
            line.raised * 100 / line.matters.max(1),
        );
    }
    let raised: usize = review.departments.iter().map(|line| line.raised).sum();
    let _ = writeln!(
        body,
        "</tbody>\n<tfoot><tr><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{raised}</td><td class=\"bar\"></td></tr></tfoot>\n</table>",
        both("合计", "Total"),
        review.matters.len(),
    );
    levels(body, &review.matters);
    body.push_str("</section>\n");
}

/// How many matters are implemented at which level.
fn levels(body: &mut String, matters: &[MatterLine]) {
    let count = |level: &str| matters.iter().filter(|matter| matter.level == level).count();
    let each: Vec<_> =
        words::LEVELS.iter().map(|(word, _)| format!("{} <b>{}</b>", level(word), count(word))).collect();
    let _ =
        writeln!(body, "<p class=\"levels\">{}{}</p>", both("按实施层级：", "By level: "), each.join(" · "));
}

fn matters(body: &mut String, review: &Review) {
    let _ = writeln!(
        body,
        "<section class=\"matters\">\n<h2>{}</h2>\n<table>\n<thead><tr><th>{}</th><th>{}</th><th>{}</th><th>{}</th><th class=\"number\">{}</th><th>{}</th><th>{}</th></tr></thead>\n<tbody>",
        both("全部事项", "All matters"),
        both("编码", "Code"),
        both("事项", "Matter"),
        both("主管部门", "Department"),
        both("层级", "Level"),
        both("时限（小时）", "Hours"),
        both("如何立项", "Raised by"),
        both("其他编码", "Other codes"),
    );
    for matter in &review.matters {
        let silences =
            matter.silences.iter().map(|id| format!("{} {}", both("静默", "silence"), escaped(id)));
        let by: Vec<_> = matter.rules.iter().map(|rule| escaped(rule)).chain(silences).collect();
        let mut raised = match matter.is_raised() {
            true if matter.by_gateway => both("网关自动", "the gateway itself"),
            true => String::new(),
            false => format!("<em>{}</em>", both("仅上报", "reports only")),
        };
        if !by.is_empty() {
            let line = if raised.is_empty() { "" } else { "<br>" };
            let sites = both(&format!("{} 个点位", matter.sites), &super::text::count(matter.sites, "site"));
            raised.push_str(&format!("{line}{} <small>{sites}</small>", by.join("<br>")));
        }
        let codes: Vec<_> = matter
            .codes
            .iter()
            .map(|(system, code)| format!("{} {}", escaped(system), escaped(code)))
            .collect();
        let _ = writeln!(
            body,
            "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td class=\"level\">{}</td><td class=\"number\">{}<i>{}</i></td><td>{raised}</td><td>{}</td></tr>",
            escaped(&matter.code),
            both(&matter.name_zh, &matter.name_en),
            both(&matter.department_zh, &matter.department_en),
            level(matter.level),
            matter.deadline_h,
            both(" 小时", " h"),
            codes.join("<br>"),
        );
    }
    body.push_str("</tbody>\n</table>\n</section>\n");
}

#[cfg(test)]
mod tests {
    use super::{escaped, plain};

    #[test]
    fn what_a_list_says_cannot_become_markup() {
        assert_eq!(plain("坪山\"; } </style>\\"), "坪山·· · ··style··");
        assert_eq!(escaped("<script>\"&\"</script>"), "&lt;script&gt;&quot;&amp;&quot;&lt;/script&gt;");
    }
}
