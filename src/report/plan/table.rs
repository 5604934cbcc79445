//! The moments of the attempts as a table.

use std::time::Duration;

use super::Subject;
use super::screen::Screen;
use crate::policy::plan::{Extent, Plan};
use crate::report::format::moment;

/// The cell of an attempt that is not made.
const NONE: &str = "-";

/// A column: its head and its cells. All stand at the right.
struct Column {
    head: &'static str,
    cells: Vec<String>,
}

impl Column {
    fn width(&self) -> usize {
        self.cells.iter().map(String::len).max().unwrap_or(0).max(self.head.len())
    }
}

/// A line for each attempt that is shown. If runs differ in their number of attempts, the last line is
/// about their last attempts.
pub(super) fn table(subject: &Subject<'_>, screen: Screen) -> String {
    let mut columns = columns(subject.plan);
    let width = |columns: &[Column], gap: usize| {
        columns.iter().map(Column::width).sum::<usize>() + gap * (columns.len() - 1)
    };
    let mut gap = 2;
    if width(&columns, gap) > screen.width {
        gap = 1;
        columns[0].head = "NO.";
    }
    // The sentence above says what timeouts do.
    if width(&columns, gap) > screen.width {
        columns.retain(|column| column.head != SLOWEST);
    }
    let lines = columns[0].cells.len();
    let mut text = row(&columns, gap, |column| column.head);
    for n in 0..lines {
        text.push_str(&row(&columns, gap, |column| column.cells.get(n).map_or(NONE, String::as_str)));
    }
    text
}

/// The head of the column for attempts that end at their timeout.
const SLOWEST: &str = "SLOWEST";

fn columns(Plan { quick, slow, seeded, .. }: &Plan) -> Vec<Column> {
    // The attempts of the lines; the line about the last attempts has none.
    let last = quick.varies().then_some(None);
    let lines: Vec<Option<u32>> =
        quick.moments.iter().map(|moment| Some(moment.attempt)).chain(last).collect();
    let column = |head, cell: &dyn Fn(Option<u32>) -> String| Column {
        head,
        cells: lines.iter().map(|line| cell(*line)).collect(),
    };
    let quick_at = |line: Option<u32>, of: fn(Extent<Duration>) -> Duration| {
        let at = line.map_or(Some(quick.last), |attempt| quick.at(attempt));
        at.map_or_else(|| NONE.to_owned(), |at| moment(of(at)))
    };
    let mut columns = vec![
        column("ATTEMPT", &|line| line.map_or("last".to_owned(), |attempt| attempt.to_string())),
        column("EARLIEST", &|line| quick_at(line, |at| at.least)),
        column("MEDIAN", &|line| quick_at(line, |at| at.median)),
        column("LATEST", &|line| quick_at(line, |at| at.most)),
    ];
    if let Some(slow) = slow {
        columns.push(column(SLOWEST, &|line| {
            let at = line.map_or(Some(slow.last), |attempt| slow.at(attempt));
            at.map_or_else(|| NONE.to_owned(), |at| moment(at.most))
        }));
    }
    if let Some(walk) = seeded {
        columns.push(column("SEEDED", &|line| {
            let at = match line {
                Some(attempt) => walk.starts.get(attempt as usize - 1),
                None => walk.starts.last(),
            };
            at.map_or_else(|| NONE.to_owned(), |at| moment(*at))
        }));
    }
    columns
}

fn row<'a>(columns: &'a [Column], gap: usize, cell: impl Fn(&'a Column) -> &'a str) -> String {
    let cells = columns.iter().map(|column| format!("{:>width$}", cell(column), width = column.width()));
    cells.collect::<Vec<_>>().join(&" ".repeat(gap)) + "\n"
}
