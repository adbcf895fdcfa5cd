//! The table, the file that is kept, and the comparison with the one before.

use crate::{
    machine::Machine,
    measure::{Figure, Row, Unit},
};
use anyhow::{Context, Result};
use chrono::{SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    taken_at: String,
    quick: bool,
    machine: Machine,
    rows: Vec<Row>,
}

/// The last whole run, else the one that came with the source.
pub fn last(directory: &Path) -> Result<Option<Results>> {
    for name in ["latest.json", "baseline.json"] {
        let file = directory.join(name);
        match fs::read_to_string(&file) {
            Ok(text) => {
                let results = serde_json::from_str(&text);
                return results.map(Some).with_context(|| format!("{} is damaged; delete it", file.display()));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| file.display().to_string()),
        }
    }
    Ok(None)
}

/// Keeps the results; those of a whole run become the last ones.
pub fn keep(directory: &Path, machine: Machine, quick: bool, rows: Vec<Row>, is_whole: bool) -> Result<PathBuf> {
    fs::create_dir_all(directory).with_context(|| format!("{} cannot be made", directory.display()))?;
    let now = Utc::now();
    let results = Results { taken_at: now.to_rfc3339_opts(SecondsFormat::Secs, true), quick, machine, rows };
    let text = serde_json::to_string_pretty(&results)? + "\n";
    let file = directory.join(format!("{}.json", now.format("%Y-%m-%dT%H-%M-%SZ")));
    fs::write(&file, &text).with_context(|| format!("{} cannot be written", file.display()))?;
    if is_whole {
        fs::write(directory.join("latest.json"), &text)?;
    }
    Ok(file)
}

/// The rows of several engines, each beside the same one of the others.
pub fn beside(engines: Vec<Vec<Row>>) -> Vec<Row> {
    let longest = engines.iter().map(Vec::len).max().unwrap_or_default();
    let mut engines: Vec<_> = engines.into_iter().map(Vec::into_iter).collect();
    (0..longest).flat_map(|_| engines.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>()).collect()
}

/// Prints rows; those with the same figures share a table.
pub fn print(rows: &[Row], last: Option<&Results>) {
    let heads = |row: &Row| row.figures.iter().map(|figure| figure.what.clone()).collect::<Vec<_>>();
    for table in rows.chunk_by(|a, b| heads(a) == heads(b)) {
        let mut lines = vec![[vec![String::new()], heads(&table[0]), vec!["target".into(), "vs last".into()]].concat()];
        for row in table {
            let values = row.figures.iter().map(shown).collect();
            let before = last.and_then(|last| last.rows.iter().find(|before| before.name == row.name));
            lines.push([vec![row.name.clone()], values, vec![targets(row), changes(row, before)]].concat());
        }
        println!("\n{}", aligned(&lines));
    }
}

fn shown(figure: &Figure) -> String {
    number(figure.value, figure.unit)
}

fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::PerSecond => format!("{}/s", grouped(value)),
        Unit::Milliseconds if value >= 1000.0 => format!("{:.2} s", value / 1000.0),
        Unit::Milliseconds => format!("{value:.2} ms"),
        Unit::Microseconds => format!("{value:.0} µs"),
        Unit::Mebibytes => format!("{value:.1} MiB"),
        Unit::Ratio => format!("{value:.2}"),
        Unit::Count => grouped(value),
        Unit::Percent => format!("{value:.1} %"),
    }
}

pub fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    groups.iter().map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(",")
}

fn targets(row: &Row) -> String {
    let all = row.figures.iter().filter_map(|figure| {
        let sign = if figure.unit.more_is_better() { "≥" } else { "≤" };
        let word = if figure.is_met()? { "met" } else { "MISSED" };
        Some(format!("{} {sign} {} {word}", figure.what, number(figure.target?, figure.unit)))
    });
    all.collect::<Vec<_>>().join(", ")
}

/// Less than that is noise.
const NOTABLE: f64 = 0.05;
/// Figures stand in the order of their importance; the rest is in the file.
const NAMED: usize = 3;

fn changes(row: &Row, before: Option<&Row>) -> String {
    let Some(before) = before else { return "new".into() };
    let all: Vec<String> = row
        .figures
        .iter()
        .filter_map(|figure| {
            let old = before.figures.iter().find(|old| old.what == figure.what && old.value > 0.0)?;
            let change = figure.value / old.value - 1.0;
            let is_better = (change > 0.0) == figure.unit.more_is_better();
            let word = if is_better { "better" } else { "worse" };
            (change.abs() >= NOTABLE).then(|| format!("{} {:+.0} % {word}", figure.what, change * 100.0))
        })
        .take(NAMED)
        .collect();
    if all.is_empty() { "same".into() } else { all.join(", ") }
}

fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines[0].len();
    let widths: Vec<usize> =
        (0..columns).map(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or_default()).collect();
    let one = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).enumerate().map(|(i, (cell, &width))| {
            // Words begin at the same place, numbers end there.
            if i == 0 || i + 2 >= columns { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(one).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rate: f64, p99: f64) -> Row {
        let figures = vec![
            Figure::new("rate", rate, Unit::PerSecond).target(5000.0),
            Figure::new("p99", p99, Unit::Milliseconds).target(50.0),
        ];
        Row::new("webhooks", figures)
    }

    #[test]
    fn a_table_says_what_was_reached() {
        assert_eq!(targets(&row(6_100.4, 71.0)), "rate ≥ 5,000/s met, p99 ≤ 50.00 ms MISSED");
        assert_eq!(shown(&row(1_234_567.0, 0.0).figures[0]), "1,234,567/s");
    }

    #[test]
    fn only_notable_changes_are_named() {
        assert_eq!(changes(&row(100.0, 10.0), None), "new");
        assert_eq!(changes(&row(100.0, 10.0), Some(&row(99.0, 10.2))), "same");
        assert_eq!(changes(&row(80.0, 20.0), Some(&row(100.0, 10.0))), "rate -20 % worse, p99 +100 % worse");
        assert_eq!(changes(&row(120.0, 5.0), Some(&row(100.0, 10.0))), "rate +20 % better, p99 -50 % better");
    }

    #[test]
    fn rows_of_two_engines_stand_beside_each_other() {
        let rows = |names: &[&str]| names.iter().map(|name| Row::new(*name, Vec::new())).collect::<Vec<_>>();
        let all = beside(vec![rows(&["a", "b", "only one"]), rows(&["A", "B"])]);
        assert_eq!(all, rows(&["a", "A", "b", "B", "only one"]));
    }

    #[test]
    fn columns_stand_under_each_other() {
        let line = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        let lines = [line(["", "rate", "target", "vs last"]), line(["one µ", "9/s", "met", "new"])];
        assert_eq!(aligned(&lines), "       rate  target  vs last\none µ   9/s  met     new");
    }
}
