//! The forms of a summary: a table for a terminal of 80 columns, Markdown, and JSON.

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::{Row, Summary};
use crate::report::format::{duration, escaped_markdown, without_ci_lines};

/// Columns of the terminal that the table fits.
const WIDTH: usize = 80;

/// The longest label in the table, in columns.
const LONGEST_LABEL: usize = 30;

/// Blanks between two cells.
const GAP: &str = "  ";

/// Blanks before a reason.
const INDENT: &str = "    ";

/// The most reasons that a row shows.
const SHOWN_REASONS: usize = 3;

const HEADS: [&str; 6] = ["LABEL", "RUNS", "FLAKY", "FAILED", "RETRIES", "WAITED"];

/// The table. Below each row are the commonest reasons for its failures.
pub(crate) fn table(summary: Summary) -> String {
    let rows = summary.ranked();
    if rows.is_empty() {
        return "no run found\n".to_owned();
    }
    let mut cells = vec![HEADS.map(ToOwned::to_owned)];
    cells.extend(rows.iter().map(|(label, row)| {
        [
            cut(label, LONGEST_LABEL),
            row.runs.to_string(),
            share(row.flaky, row.runs),
            share(row.failed, row.runs),
            row.retries.to_string(),
            duration(row.waited),
        ]
    }));
    let width = |i: usize| cells.iter().map(|row| row[i].width()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let reasons = std::iter::once(Vec::new()).chain(rows.iter().map(|(_, row)| row.shown_reasons()));
    let mut text = String::new();
    for (cells, reasons) in cells.iter().zip(reasons) {
        text.push_str(&line(cells, &widths));
        for reason in reasons {
            text.push_str(&format!("{INDENT}{}\n", cut(&reason, WIDTH - INDENT.len())));
        }
    }
    // A label may begin with what a CI takes for a command.
    without_ci_lines(&text)
}

/// The label stands at the left, numbers at the right.
fn line(cells: &[String; 6], widths: &[usize; 6]) -> String {
    let padded = cells.iter().zip(widths).enumerate().map(|(at, (cell, width))| {
        let padding = " ".repeat(width.saturating_sub(cell.width()));
        if at == 0 { format!("{cell}{padding}") } else { format!("{padding}{cell}") }
    });
    padded.collect::<Vec<_>>().join(GAP) + "\n"
}

/// Cuts a text to this many columns, dots included. A character may take two columns, or none.
fn cut(text: &str, longest: usize) -> String {
    const DOTS: &str = "...";
    if text.width() <= longest {
        return text.to_owned();
    }
    let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
    let starts = ends.map(|end| &text[..end]).take_while(|start| start.width() + DOTS.len() <= longest);
    starts.last().unwrap_or_default().to_owned() + DOTS
}

/// `22 (54%)`
fn share(part: u64, whole: u64) -> String {
    match part {
        0 => "0".to_owned(),
        part => format!("{part} ({}%)", (part * 100).div_ceil(whole.max(1))),
    }
}

impl Row {
    fn shown_reasons(&self) -> Vec<String> {
        let reasons = self.reasons.iter().take(SHOWN_REASONS);
        let mut shown: Vec<String> = reasons.map(|(reason, count)| format!("{count}x {reason}")).collect();
        for (count, what) in [(self.not_run, "not run"), (self.unended, "without an end")] {
            if count > 0 {
                shown.push(format!("{count}x {what}"));
            }
        }
        shown
    }
}

/// A table in Markdown, for the page of a job.
pub(crate) fn markdown(summary: Summary) -> String {
    let mut text = "| label | runs | flaky | failed | retries | waited | commonest reasons |\n\
                    | --- | ---: | ---: | ---: | ---: | ---: | --- |\n"
        .to_owned();
    for (label, row) in summary.ranked() {
        let reasons = row.shown_reasons().iter().map(|reason| escaped_markdown(reason)).collect::<Vec<_>>();
        text.push_str(&format!(
            "| {} | {} | {} | {} | {} | {} | {} |\n",
            escaped_markdown(&label),
            row.runs,
            share(row.flaky, row.runs),
            share(row.failed, row.runs),
            row.retries,
            duration(row.waited),
            reasons.join("<br>")
        ));
    }
    text
}

#[derive(Serialize)]
struct SummaryJson {
    v: u8,
    labels: Vec<RowJson>,
    skipped_lines: u64,
}

#[derive(Serialize)]
struct RowJson {
    label: String,
    runs: u64,
    flaky: u64,
    failed: u64,
    not_run: u64,
    unended: u64,
    retries: u64,
    waited_s: f64,
    reasons: Vec<ReasonJson>,
}

#[derive(Serialize)]
struct ReasonJson {
    reason: String,
    count: u64,
}

/// JSON for other programs.
pub(crate) fn json(summary: Summary) -> String {
    let skipped_lines = summary.skipped + summary.newer;
    let row = |(label, row): (String, Row)| RowJson {
        label,
        runs: row.runs,
        flaky: row.flaky,
        failed: row.failed,
        not_run: row.not_run,
        unended: row.unended,
        retries: row.retries,
        waited_s: row.waited.as_secs_f64(),
        reasons: row.reasons.into_iter().map(|(reason, count)| ReasonJson { reason, count }).collect(),
    };
    let labels = summary.ranked().into_iter().map(row).collect();
    // Numbers and texts always serialize.
    let json = serde_json::to_string_pretty(&SummaryJson { v: 1, labels, skipped_lines });
    json.unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Summary {
        let mut summary = Summary::default();
        let attempt = |run: &str, label: &str, rest: &str| {
            format!(
                r#"{{"v":1,"event":"attempt","run":"{run}","label":"{label}","verdict":"retryable",{rest}}}"#
            )
        };
        let end = |run: usize, label: &str, rest: &str| {
            format!(r#"{{"v":1,"event":"run","run":"{run}","label":"{label}",{rest}}}"#)
        };
        for run in 0..3 {
            let id = run.to_string();
            summary
                .add(Some(attempt(&id, "npm", r#""outcome":{"exited":1},"reason":"HTTP 503""#).as_bytes()));
            let rest = r#""result":"succeeded","attempts":2,"flaky":true,"waited_s":2"#;
            summary.add(Some(end(run, "npm", rest).as_bytes()));
        }
        summary.add(Some(attempt("9", "npm", r#""outcome":{"timed_out_s":30}"#).as_bytes()));
        let long = r#""outcome":{"exited":1},"reason":"a reason that is so long that it has to be cut""#;
        summary.add(Some(attempt("8", "a label that is | too long", long).as_bytes()));
        let rest = r#""result":"gave-up","attempts":1,"flaky":false,"waited_s":0"#;
        summary.add(Some(end(8, "a label that is | too long", rest).as_bytes()));
        summary.add(Some(end(7, "true", r#""result":"succeeded","attempts":1"#).as_bytes()));
        summary
    }

    #[test]
    fn the_table_fits_a_terminal() {
        let table = table(example());
        assert_eq!(
            table,
            "LABEL                       RUNS    FLAKY    FAILED  RETRIES  WAITED\n\
             npm                            4  3 (75%)         0        3      6s\n    \
             3x exited 1 (HTTP 503)\n    1x timed out after 30s\n    1x without an end\n\
             a label that is | too long     1        0  1 (100%)        0      0s\n    \
             1x exited 1 (a reason that is so long that it has to be cut)\n\
             true                           1        0         0        0      0s\n"
        );
        assert_eq!(super::table(Summary::default()), "no run found\n");
    }

    #[test]
    fn columns_stand_below_each_other_whatever_the_characters_are() {
        let mut summary = Summary::default();
        // Wide characters, an emoji of several characters, and letters with marks of their own.
        let labels = ["\u{5099}\u{4efd}", "\u{1f469}\u{200d}\u{1f4bb} x", "e\u{301}te\u{301}", "plain"];
        for (n, label) in labels.iter().enumerate() {
            let line = format!(r#"{{"v":1,"event":"run","run":"{n}","label":"{label}","attempts":1}}"#);
            summary.add(Some(line.as_bytes()));
        }
        let table = table(summary);
        let ends: Vec<usize> = table.lines().map(UnicodeWidthStr::width).collect();
        assert_eq!((ends.len(), ends.iter().max()), (5, ends.iter().min()), "{table}");
        let wide = "\u{5099}".repeat(20);
        assert_eq!(cut(&wide, 30), "\u{5099}".repeat(13) + "...");
        let marked = "e\u{301}".repeat(40);
        assert_eq!(cut(&marked, 30), "e\u{301}".repeat(27) + "...");
        assert_eq!(cut(&"e\u{301}".repeat(30), 30), "e\u{301}".repeat(30));
    }

    #[test]
    fn markdown_shows_every_character_as_it_is() {
        let text = markdown(example());
        assert!(text.contains("| npm | 4 | 3 (75%) | 0 | 3 | 6s | 3x exited 1 (HTTP 503)<br>"), "{text}");
        assert!(text.contains(r"| a label that is \| too long | 1 | 0 | 1 (100%) |"), "{text}");
    }
}
