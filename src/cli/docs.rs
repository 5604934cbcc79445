//! What is made from the definition of the command line: the end of `--help`, man page, completions, and
//! the README's table.

/// The end of `--help`.
pub(crate) fn after_long_help() -> String {
    let mut text = String::from("Exit status:\n");
    for (status, meaning) in crate::exit::TABLE {
        text.push_str(&format!("  {status:<9} {}\n", meaning.replace('`', "")));
    }
    text.push_str(
        "\nExamples:\n  retry -- curl -fsS http://127.0.0.1:8080/data\n  \
         retry --deadline 2m -- pg_isready -h 127.0.0.1\n  \
         retry -n 3 --timeout 30s -x 2 -- ./deploy\n\nMore: retry(1)",
    );
    text
}
