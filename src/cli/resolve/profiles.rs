//! `--profile`: the rows of the table for a command, and the streams that they may read.

use std::os::unix::ffi::OsStrExt as _;

use crate::cli::args::Args;
use crate::cli::defaults;
use crate::error::Error;
use crate::policy::stream::Streams;
use crate::policy::verdict::evidence::Reach;
use crate::policy::verdict::profile::{Profile, Relay};
use crate::policy::verdict::program::{self, look_through};

/// The profiles of a command.
pub(super) struct Profiles {
    pub(super) rows: Vec<&'static Profile>,
    /// See [`Rules`](crate::policy::verdict::classify::Rules).
    pub(super) relays: Vec<(&'static str, &'static Relay)>,
    /// Whether the user named at least one of them.
    pub(super) named: bool,
    pub(super) reach: Reach,
}

/// # Errors
/// `none` together with another profile.
pub(super) fn profiles(args: &Args) -> Result<Profiles, Error> {
    let names: Vec<&str> = args.verdict.profile.iter().flatten().map(String::as_str).collect();
    if names.len() > 1 && names.contains(&"none") {
        return Err(Error::usage(
            format!("--profile {}: none and another profile contradict each other", names.join(",")),
            "write none alone, or leave none out",
        ));
    }
    let words: Vec<&[u8]> = args.command.iter().map(|word| word.as_bytes()).collect();
    let mut rows: Vec<&'static Profile> = Vec::new();
    for name in if names.is_empty() { &[defaults::PROFILE] } else { names.as_slice() } {
        let found = if *name == "auto" { auto(&words) } else { Profile::named(name).into_iter().collect() };
        for row in found {
            if !rows.contains(&row) {
                rows.push(row);
            }
        }
    }
    let program = look_through(&words).program;
    let arguments = words.get(program.unwrap_or(0) + 1..).unwrap_or_default();
    let named = names.iter().any(|name| !matches!(*name, "auto" | "none"));
    // A wrapper may run any program, so the wrapper's row does not tell whether the program needs
    // the terminal.
    let known = program.and_then(|at| row_of(&words, at)).is_some();
    let needs_terminal = !known || rows.iter().any(|row| row.terminal.is_needed(arguments));
    let name = program.and_then(|at| words.get(at)).map_or(&b""[..], |word| program::base_name(word));
    let relays = rows.iter().filter_map(|row| Some((row.name, row.relay(name, arguments)?))).collect();
    let stdout = rows.iter().any(|row| row.stdout.applies_to(arguments));
    let printed_on = |streams| rows.first().map(|row| (row.printed)(arguments, streams)).unwrap_or_default();
    let (printed, on_both) = (printed_on(Streams::Stdout), printed_on(Streams::Both));
    Ok(Profiles {
        relays,
        reach: Reach {
            stdout,
            terminal: named || !needs_terminal,
            printed,
            // `curl -D /dev/stderr` adds header blocks to stderr.
            printed_on_both: (stdout || on_both != printed).then_some(on_both),
        },
        named,
        rows,
    })
}

/// The rows of the program that the words run, and of the wrappers around it.
fn auto(words: &[&[u8]]) -> Vec<&'static Profile> {
    let programs = look_through(words);
    programs.program.into_iter().chain(programs.wrappers).filter_map(|at| row_of(words, at)).collect()
}

fn row_of(words: &[&[u8]], at: usize) -> Option<&'static Profile> {
    Profile::for_program(std::str::from_utf8(program::base_name(words.get(at)?)).ok()?)
}
