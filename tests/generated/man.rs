//! The man page: `man/retry.1.in` with the options, profiles and exit statuses of the product.

use retry_command::reference::{self, EXIT_STATUSES, OptionEntry, ProfileEntry, ValueForm};

use super::template::fill;

/// The page of retry(1), in roff with the macros of man(7).
pub(super) fn page() -> String {
    let command = reference::definition();
    let usage = command.get_overridden_usage().expect("the definition has a usage").to_string();
    let usage = usage.strip_prefix("retry ").expect("the usage begins with the program's name");
    let about = command.get_about().expect("the definition says what retry does").to_string();
    fill(
        "man/retry.1.in",
        &[
            ("VERSION", env!("CARGO_PKG_VERSION")),
            ("ABOUT", &about),
            ("USAGE", &line(usage)),
            ("OPTIONS", options(&reference::options(&command)).trim_end()),
            ("PROFILES", reference::profiles().iter().map(profile).collect::<String>().trim_end()),
            ("EXIT_STATUSES", EXIT_STATUSES.map(exit_status).concat().trim_end()),
        ],
    )
}

fn options(options: &[OptionEntry]) -> String {
    let mut text = String::new();
    let mut heading = "";
    for entry in options {
        if entry.heading != heading {
            text.push_str(&format!(".SS {}\n", entry.heading));
            heading = &entry.heading;
        }
        text.push_str(&option(entry));
    }
    text
}

fn option(option: &OptionEntry) -> String {
    let names: Vec<String> = option.names().iter().map(|name| format!("`{name}`")).collect();
    let value = match &option.value {
        ValueForm::None => String::new(),
        ValueForm::Required(value) => format!(" {value}"),
        ValueForm::AfterEquals(value) => format!("[={value}]"),
    };
    let default = option.default.as_ref().map(|default| format!("\nDefault: {default}.")).unwrap_or_default();
    let mut text = item(&format!("{}{value}", names.join(", ")), &format!("{}.{default}", option.meaning));
    if option.explains_choices() {
        text.push_str(".RS\n");
        for choice in &option.choices {
            text.push_str(&item(&format!("`{}`", choice.name), &choice.meaning));
        }
        text.push_str(".RE\n");
    }
    text
}

fn profile(profile: &ProfileEntry) -> String {
    let programs = match profile.programs {
        [] => "any program, but only if you name the profile".to_owned(),
        programs => programs.join(", "),
    };
    let mut text = format!("{programs}; from {}.", profile.source);
    for (statuses, fate) in [(&profile.retried, "Retried"), (&profile.not_retried, "Not retried")] {
        let statuses: Vec<String> = statuses
            .iter()
            .map(|range| match (range.start(), range.end()) {
                (from, to) if from == to => from.to_string(),
                (from, to) => format!("{from}-{to}"),
            })
            .collect();
        if !statuses.is_empty() {
            text.push_str(&format!("\n{fate}: {}.", statuses.join(", ")));
        }
    }
    text.push_str(match (profile.reads_lines, profile.reads_http) {
        (false, false) => "",
        (false, true) => "\nHTTP statuses decide.",
        (true, false) => "\nLines of its output decide.",
        (true, true) => "\nHTTP statuses and lines of its output decide.",
    });
    item(&format!("`{}`", profile.name), &text)
}

fn exit_status((status, meaning): (&str, &str)) -> String {
    item(&format!("`{status}`"), meaning)
}

/// A paragraph with a tag before it.
fn item(tag: &str, body: &str) -> String {
    format!(".TP\n{}\n{}\n", line(tag), body.lines().map(line).collect::<Vec<_>>().join("\n"))
}

/// A line of the product's text in roff. Text between backquotes becomes bold.
fn line(text: &str) -> String {
    let mut roff = String::new();
    if text.starts_with(['.', '\'']) {
        roff.push_str("\\&");
    }
    let mut bold = false;
    for c in text.chars() {
        match c {
            '`' => {
                bold = !bold;
                roff.push_str(if bold { "\\fB" } else { "\\fR" });
            }
            '\\' => roff.push_str("\\e"),
            '-' => roff.push_str("\\-"),
            '~' => roff.push_str("\\(ti"),
            '^' => roff.push_str("\\(ha"),
            '\'' => roff.push_str("\\(aq"),
            c => roff.push(c),
        }
    }
    roff
}
