//! Arrivals as bars.

use super::screen::{Characters, Screen};
use crate::policy::plan::Chart;
use crate::report::format::moment;

/// Blanks between two columns.
const GAP: &str = " ";

/// A full block, and blocks of one to seven eighths (Unicode, Block Elements).
const FULL: char = '\u{2588}';
const PARTS: [char; 7] = ['\u{258f}', '\u{258e}', '\u{258d}', '\u{258c}', '\u{258b}', '\u{258a}', '\u{2589}'];

/// A line for each period: when it begins, a bar, and the number of arrivals.
pub(super) fn bars(chart: &Chart, screen: Screen) -> String {
    let begins = |n: usize| moment(chart.period.saturating_mul(u32::try_from(n).unwrap_or(u32::MAX)));
    let rows: Vec<(String, u64)> =
        chart.arrivals.iter().enumerate().map(|(n, count)| (begins(n), *count)).collect();
    let label = rows.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let most = chart.arrivals.iter().copied().max().unwrap_or(0);
    let room = screen.width.saturating_sub(label + 2 * GAP.len() + most.to_string().len());
    let line = |(begin, count): &(String, u64)| {
        let bar = bar(*count, most, room, screen.characters);
        format!("{begin:>label$}{GAP}{bar}{}{count}\n", if bar.is_empty() { "" } else { GAP })
    };
    rows.iter().map(line).collect()
}

/// A bar that is `room` columns long for `most`. It is never empty, unless the count is 0.
fn bar(count: u64, most: u64, room: usize, characters: Characters) -> String {
    let length = |parts: u128| {
        let length = u128::from(count) * room as u128 * parts / u128::from(most.max(1));
        usize::try_from(length).unwrap_or(usize::MAX).max(usize::from(count > 0))
    };
    match characters {
        Characters::Ascii => "#".repeat(length(1)),
        Characters::Unicode => {
            let eighths = length(8);
            let part = (eighths % 8).checked_sub(1).and_then(|part| PARTS.get(part));
            std::iter::repeat_n(FULL, eighths / 8).chain(part.copied()).collect()
        }
    }
}
