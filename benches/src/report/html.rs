//! The report as a self-contained page.

use std::fmt::Write as _;

use super::Report;
use super::numbers::{self, grouped};
use super::plot::{self, escape, page_style};
use super::record::Value;
use super::rows::{self, Group, Row, Verdict};
use super::strip;

const PAGE: &str = "\
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:28px;line-height:1.2;margin:0 0 16px}
h2{font-size:20px;margin:44px 0 12px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:0}
dt{color:var(--soft)}
dd{margin:0;overflow-wrap:anywhere}
code{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;color:var(--soft)}
.broken{margin:24px 0 0;padding:12px 16px;border-left:4px solid var(--bad);background:var(--wash);border-radius:4px}
.broken strong{color:var(--bad)}
.broken ul{margin:4px 0 0;padding-left:20px}
.sum{font-size:17px;margin:24px 0 0}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--grid)}
th{font-weight:500;color:var(--soft);font-size:13px}
th:first-child,td:first-child{text-align:left;padding-left:0;white-space:normal;min-width:230px}
tbody th{font-size:15px;font-weight:600;color:var(--ink);padding-top:24px}
td code{display:block}
.unit{color:var(--soft);font-size:12px;padding-left:3px}
.limit{color:var(--soft)}
.measured{font-weight:600}
.good{color:var(--good)}
.bad{color:var(--bad);font-weight:600}
td svg{display:block}
figure{margin:0 0 20px;padding:4px;border:1px solid var(--grid);border-radius:8px;overflow-x:auto}
figure svg{display:block;width:100%;min-width:640px;height:auto}
.key{color:var(--soft);font-size:13px}
.key b{font-weight:600}
";

/// Renders the whole page.
pub(super) fn page(report: &Report) -> String {
    let groups = rows::groups(report);
    let plots = plot::all(report).map(|plot| format!("<figure>{}</figure>\n", plot.svg.inline(plot.title)));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>melv: report of the benches</title>\n<style>\n{}{PAGE}</style>\n</head>\n<body>\n<main>\n\
         {}{}{}<h2>Figures</h2>\n{}<h2>Plots</h2>\n{}</main>\n</body>\n</html>\n",
        page_style(),
        head(report),
        banner(&report.reasons()),
        summary(&groups),
        table(&groups),
        plots.concat(),
    )
}

fn head(report: &Report) -> String {
    let facts = &report.facts;
    let commit = facts.commit.as_deref().unwrap_or("unknown");
    let commit = format!("{commit}{}", if facts.dirty { ", with changes" } else { "" });
    let runs = format!("{} paired runs per ratio", report.runs);
    let mut facts: Vec<_> =
        [("machine", &facts.machine), ("commit", &commit), ("date", &facts.date), ("runs", &runs)]
            .map(|(name, value)| (name, value.as_str()))
            .into();
    facts.extend(report.entries.iter().filter_map(|entry| match &entry.value {
        Value::Text(text) => Some((entry.name.as_str(), text.as_str())),
        _ => None,
    }));
    let list = facts.iter().fold(String::new(), |mut list, (name, value)| {
        let _ = writeln!(list, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
        list
    });
    format!("<h1>melv: report of the benches</h1>\n<dl>\n{list}</dl>\n")
}

fn banner(reasons: &[String]) -> String {
    if reasons.is_empty() {
        return String::new();
    }
    let list: String = reasons.iter().map(|reason| format!("<li>{}</li>", escape(reason))).collect();
    format!(
        "<div class=\"broken\" role=\"alert\"><strong>Broken</strong>: these figures cannot be trusted.\n\
         <ul>{list}</ul></div>\n"
    )
}

/// Counts the figures within their limits and names the others.
fn summary(groups: &[Group<'_>]) -> String {
    let rows = || groups.iter().flat_map(|group| &group.rows);
    let count = |verdict| rows().filter(|row| row.verdict == verdict).count();
    let limited = rows().filter(|row| row.limits.must.is_some()).count();
    let short: Vec<_> =
        rows().filter(|row| row.verdict == Verdict::Short).map(|row| escape(row.name)).collect();
    let short = match short.as_slice() {
        [] => String::new(),
        names => format!("; <span class=\"bad\">short</span>: {}", names.join(", ")),
    };
    format!(
        "<p class=\"sum\">{} of {limited} limits are met, {} with the aim{short}.</p>\n",
        count(Verdict::Ok) + count(Verdict::Aim),
        count(Verdict::Aim)
    )
}

fn table(groups: &[Group<'_>]) -> String {
    let mut table = String::from(
        "<p class=\"key\">In the strips each dot is a paired run and the bar their median; the grey line is \
         the floor, the red one what must be, the green one the aim.</p>\n<div class=\"scroll\"><table>\n\
         <thead><tr><th></th><th>measured</th><th>floor</th><th>must</th><th>aim</th><th></th>\
         <th>samples</th></tr></thead>\n",
    );
    for group in groups {
        let _ = writeln!(table, "<tbody>\n<tr><th colspan=\"7\">{}</th></tr>", group.title);
        group.rows.iter().for_each(|row| table.push_str(&line(row)));
        table.push_str("</tbody>\n");
    }
    table + "</table></div>\n"
}

fn line(row: &Row<'_>) -> String {
    let number = |value: Option<f64>| {
        let unit =
            if row.unit.is_empty() { "" } else { &format!("<span class=\"unit\">{}</span>", row.unit) };
        value.map_or(String::new(), |value| grouped(&numbers::figure(value, row.unit)) + unit)
    };
    let limit = |value: Option<f64>| {
        value.map_or(String::new(), |value| {
            format!("{} {}", row.better.sign(), grouped(&numbers::limit(value, row.unit)))
        })
    };
    let (class, word) = match row.verdict {
        Verdict::Aim => ("good", "ok, aim met"),
        Verdict::Ok => ("good", "ok"),
        Verdict::Short => ("bad", "short"),
        Verdict::Missing => ("bad", "missing"),
        Verdict::Free => ("", ""),
    };
    let measured = if row.verdict == Verdict::Short { "measured bad" } else { "measured" };
    format!(
        "<tr><td>{}<code>{}</code></td><td class=\"{measured}\">{}</td><td class=\"limit\">{}</td>\
         <td class=\"limit\">{}</td><td class=\"limit\">{}</td><td class=\"{class}\">{word}</td><td>{}</td></tr>\n",
        row.title,
        escape(row.name),
        number(row.measured),
        number(row.floor),
        limit(row.limits.must),
        limit(row.limits.aim),
        strip::svg(row).unwrap_or_default(),
    )
}
