//! The table of options in docs/options.md.

use retry_command::reference::{self, OptionEntry, ValueForm};

/// The options as a table in Markdown.
pub(super) fn table() -> String {
    let mut table = String::from("| group | option | meaning | default |\n| --- | --- | --- | --- |\n");
    let mut last = String::new();
    for option in reference::options(&reference::definition()) {
        let names = option.names().join(", ");
        let cell = format!("{names}{}", value(&option)).replace('|', "\\|");
        let heading = if option.heading == last { "" } else { &option.heading };
        let default = option.default.unwrap_or_default();
        table.push_str(&format!("| {heading} | `{cell}` | {} | {default} |\n", option.meaning));
        last = option.heading;
    }
    table
}

fn value(option: &OptionEntry) -> String {
    match &option.value {
        ValueForm::None => String::new(),
        ValueForm::AfterEquals(name) => format!("[={name}]"),
        // The choices replace the name of the value if no other text is accepted.
        ValueForm::Required(_) if option.explains_choices() => {
            let choices: Vec<&str> = option.choices.iter().map(|choice| choice.name.as_str()).collect();
            format!(" <{}>", choices.join("|"))
        }
        ValueForm::Required(name) => format!(" <{name}>"),
    }
}
