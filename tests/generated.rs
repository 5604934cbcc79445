//! The committed files that are generated from the definition of the command line: man page,
//! completions and the table of options. `BLESS=1 cargo test generated` writes them again.

mod completion;
mod man;
mod options;
mod template;

use std::fs;
use std::path::{Path, PathBuf};

use clap_complete::Shell;

use crate::support::{Retry, retry};

const TABLE_STARTS: &str = "<!-- options: made by tests/generated.rs -->\n";
const TABLE_ENDS: &str = "<!-- options end -->\n";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Compares the committed file with `made`. If `BLESS` is set, writes the file instead.
#[track_caller]
fn same(name: &str, made: &str) {
    let path = path(name);
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Another test may read the file at the same time.
        let new = path.with_extension("new");
        fs::write(&new, made).unwrap();
        return fs::rename(&new, &path).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(made.lines()).find(|(committed, made)| committed != made);
    assert!(
        committed == made,
        "{name} is not what the definition makes; BLESS=1 cargo test generated writes it\n{differs:?}"
    );
}

#[test]
fn the_man_page_is_current() {
    same("man/retry.1", &man::page());
}

#[test]
fn the_completions_are_current() {
    for (shell, name) in [
        (Shell::Bash, "retry.bash"),
        (Shell::Zsh, "_retry"),
        (Shell::Fish, "retry.fish"),
        (Shell::PowerShell, "_retry.ps1"),
        (Shell::Elvish, "retry.elv"),
    ] {
        same(&format!("completions/{name}"), &completion::script(shell));
    }
}

#[test]
fn the_table_of_options_is_current() {
    let page = fs::read_to_string(path("docs/options.md")).unwrap();
    let (before, rest) = page.split_once(TABLE_STARTS).expect("the page has the mark before the table");
    let (_, after) = rest.split_once(TABLE_ENDS).expect("the page has the mark after the table");
    let table = options::table();
    same("docs/options.md", &format!("{before}{TABLE_STARTS}\n{table}\n{TABLE_ENDS}{after}"));
}

#[test]
fn mandoc_finds_nothing_above_style() {
    need!("mandoc");
    let page = man::page();
    // mandoc exits with 0 if it finds nothing at or above the level.
    Retry::new("mandoc").args(["-Tlint", "-W", "warning"]).stdin(page.as_str()).run().code(0).stdout("");
}

#[test]
fn the_man_page_has_every_option_and_its_sections() {
    need!("mandoc");
    let page = Retry::new("mandoc").args(["-Tascii", "-O", "width=100"]).stdin(man::page().as_str()).run();
    // Bold text is overstruck: each character is followed by a backspace and the same character.
    let bytes = page.stdout.split(|b| *b == 8).map(|part| &part[..part.len().saturating_sub(1)]);
    let mut text = String::from_utf8(bytes.collect::<Vec<_>>().concat()).unwrap();
    text.push('\n');
    // The order of man-pages(7).
    let headings = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "OPTION VALUES",
        "DELAYS",
        "PLAN",
        "CONDITIONS",
        "PROFILES",
        "RETRY-AFTER",
        "WATCHING",
        "SHARED STATE",
        "STANDARD INPUT",
        "HELD OUTPUT",
        "SAFE REPEATS",
        "ONCE",
        "BETWEEN ATTEMPTS",
        "RETRIES INSIDE RETRIES",
        "POLICIES",
        "MESSAGES",
        "REPORT",
        "ANNOTATIONS IN A CI",
        "EXIT STATUS",
        "DIAGNOSTICS",
        "ENVIRONMENT",
        "FILES",
        "SECURITY",
        "COMPATIBILITY",
        "NOTES",
        "EXAMPLES",
        "SEE ALSO",
    ];
    let places = headings.map(|heading| {
        let place = text.find(&format!("\n{heading}\n"));
        place.unwrap_or_else(|| panic!("{heading} in {text}"))
    });
    assert!(places.is_sorted(), "{headings:?} at {places:?}");
    let help = retry().arg("--help").run();
    let options = String::from_utf8(help.stdout).unwrap();
    let options: Vec<&str> = options
        .split([' ', '\n'])
        .filter(|word| word.len() > 2 && word.starts_with("--") && !word.ends_with(':'))
        .map(|word| word.trim_end_matches(|c: char| !c.is_ascii_lowercase()))
        .collect();
    assert!(options.len() > 20, "{options:?}");
    for option in options {
        assert!(text.contains(option), "{option} in {text}");
    }
}

#[test]
fn the_short_help_fits_on_a_screen() {
    let help = retry().arg("-h").run();
    let help = String::from_utf8(help.code(0).silent().stdout.clone()).unwrap();
    // The next prompt takes one of the 24 lines.
    assert!(help.lines().count() < 24, "{} lines:\n{help}", help.lines().count());
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    let options = help.lines().filter(|line| line.contains("  --") || line.contains(", --")).count();
    assert_eq!(options, 11, "ten, and --help:\n{help}");
}

#[test]
fn the_readme_has_every_exit_status_as_the_help_has_it() {
    let readme = fs::read_to_string(path("README.md")).unwrap().replace('`', "");
    let help = retry().arg("--help").run();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, rows) = help.split_once("Exit status:\n").unwrap();
    let rows: Vec<&str> = rows.lines().take_while(|line| !line.is_empty()).collect();
    assert!(rows.len() > 5, "{help}");
    for row in rows {
        let (status, meaning) = row.trim().split_once("  ").unwrap();
        let row = format!("| {status} | {} |", meaning.trim());
        assert!(readme.contains(&row), "{row}");
    }
}
