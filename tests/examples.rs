//! The examples in the README and in docs/: each block that begins with ```` ```console ```` is run.
//!
//! A line that begins with `$ ` is a command, and `> ` continues it. The lines below it are what the
//! command prints, stdout and stderr together. A block runs in an empty home directory, in one
//! shell. Its `http://127.0.0.1:8080` is a server of the test, which [`answer`] describes. Times,
//! dates and keys may differ. A line `...` stands for any lines, and ` ...` for the end of a line. A
//! block below a comment `<!-- not run: REASON -->` is not run.
//!
//! `BLESS=1 cargo test examples` writes what the commands print into blocks that differ.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::support::needs::PROGRAMS;
use crate::support::retry::BINARY;
use crate::support::server::Request;
use crate::support::{Reply, Retry, Scratch, Server};

/// The address of the server in the pages.
const ADDRESS: &str = "127.0.0.1:8080";

/// The home directory in the pages.
const HOME: &str = "/home/you";

/// The character that separates the output of two commands.
const SEPARATOR: char = '\x1e';

/// The server of a block. The n-th request for a path gets the n-th answer, the first has number 0.
fn answer(number: usize, request: &Request) -> Reply {
    match (request.path.as_str(), number) {
        ("/report", 0) => Reply::status(503).header("Retry-After", "1"),
        ("/busy", _) => Reply::status(503).header("Retry-After", "600"),
        ("/orders", 0) => Reply::Close,
        ("/job", 0) => Reply::status(200).body("{\"state\": \"running\"}\n"),
        ("/job", _) => Reply::status(200).body("{\"state\": \"ready\"}\n"),
        ("/no-such-page", _) => Reply::status(404).body("no such page\n"),
        ("/flaky", 0) => Reply::status(500),
        _ => Reply::status(200).body("all is well\n"),
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and the pages in docs/.
fn pages() -> Vec<PathBuf> {
    let files = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|end| end == "md")).collect();
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

/// A block of a page.
#[derive(Debug)]
struct Block {
    /// The first line after the fence, counted from 0.
    start: usize,
    lines: Vec<String>,
    language: String,
    runs: bool,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    let mut before = "";
    for (number, line) in page.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.lines.push(line.to_owned()),
            (None, Some(language)) => {
                let runs = language == "console" && !before.starts_with("<!-- not run: ");
                open =
                    Some(Block { start: number + 1, lines: Vec::new(), language: language.to_owned(), runs });
            }
            (None, None) if line.is_empty() => {}
            (None, None) => before = line,
        }
    }
    assert!(open.is_none(), "a block is not closed: {open:?}");
    blocks
}

/// A command and the lines that it prints.
#[derive(Debug)]
struct Example {
    command: String,
    prints: Vec<String>,
}

fn examples(block: &Block) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for line in &block.lines {
        if let Some(command) = line.strip_prefix("$ ") {
            examples.push(Example { command: command.to_owned(), prints: Vec::new() });
            continue;
        }
        let example =
            examples.last_mut().unwrap_or_else(|| panic!("{line:?} stands before the first command"));
        match line.strip_prefix("> ") {
            Some(more) if example.prints.is_empty() => {
                write!(example.command, "\n{more}").unwrap();
            }
            Some(_) | None => example.prints.push(line.clone()),
        }
    }
    examples
}

/// What the commands of a block print, each for itself. `None` if this machine lacks a program.
fn run(examples: &[Example]) -> Option<Vec<Vec<String>>> {
    let words = |text: &str| {
        text.split(|c: char| !c.is_alphanumeric() && c != '-').map(str::to_owned).collect::<Vec<_>>()
    };
    let used: Vec<String> = examples.iter().flat_map(|example| words(&example.command)).collect();
    let needed = PROGRAMS.iter().map(|(name, _)| *name).filter(|name| used.iter().any(|word| word == name));
    if !crate::support::needs::all(&needed.collect::<Vec<_>>()) {
        return None;
    }
    let counts: Mutex<HashMap<String, usize>> = Mutex::default();
    let server = Server::acting(move |_, request| {
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(request.path.clone()).or_default();
        let reply = answer(*count, request);
        *count += 1;
        reply
    });
    let address = format!("127.0.0.1:{}", server.port());
    let (home, programs) = (Scratch::new(), Scratch::new());
    symlink(BINARY, programs.join("retry")).unwrap();
    let mut script = String::from("exec 2>&1\n");
    for example in examples {
        let command = example.command.replace(ADDRESS, &address);
        write!(script, "{command}\nlast=$?; printf '\\036'; (exit $last)\n").unwrap();
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let run = Retry::new("bash")
        .arg(programs.file("examples.sh", script))
        .env("PATH", format!("{}:{path}", programs.path().display()))
        .env("HOME", home.path())
        .env("LC_ALL", "C")
        .env_remove("XDG_STATE_HOME")
        .env_remove("XDG_CONFIG_HOME")
        .dir(home.path())
        .run();
    let text = String::from_utf8_lossy(&run.stdout).replace(&address, ADDRESS);
    let text = text.replace(&home.path().display().to_string(), HOME);
    let mut printed: Vec<Vec<String>> = Vec::new();
    for part in text.split(SEPARATOR) {
        printed.push(part.lines().map(ToOwned::to_owned).collect());
    }
    printed.pop();
    assert_eq!(printed.len(), examples.len(), "the shell ended early:\n{text}");
    Some(printed)
}

/// A line without what differs from run to run.
fn steady(line: &str) -> String {
    // Each version of curl words the cause in its own way.
    if let Some((status, _)) = line.strip_prefix("curl: (").and_then(|rest| rest.split_once(')')) {
        return format!("curl: ({status})");
    }
    let mut words: Vec<String> = Vec::new();
    for word in line.split_whitespace() {
        let core = word.trim_matches(|c: char| !c.is_alphanumeric());
        let word = if is_time(core) { word.replace(core, "{T}") } else { word.to_owned() };
        // `1m 30s` is one time.
        let joins = words.last().is_some_and(|last| last == "{T}") && word.starts_with("{T}");
        if joins {
            words.pop();
        }
        words.push(word);
    }
    words.join(" ")
}

/// Whether a word is a duration, a time of day, a date or a key.
fn is_time(word: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let units = ["ms", "s", "m", "h", "d"];
    let duration = units.iter().any(|unit| word.strip_suffix(unit).is_some_and(number));
    let parts = |by| word.split(by).filter(|part| number(part)).count();
    duration || parts(':') == 3 || parts('-') == 3 || (word.len() == 36 && word.matches('-').count() == 4)
}

/// Whether the printed lines are those of the page.
fn matches(page: &[String], printed: &[String]) -> bool {
    match (page, printed) {
        ([], []) => true,
        ([dots, page @ ..], _) if dots == "..." => {
            (0..=printed.len()).any(|from| matches(page, &printed[from..]))
        }
        ([line, page @ ..], [other, printed @ ..]) => {
            let same = match line.strip_suffix(" ...") {
                Some(begin) => steady(other).starts_with(&steady(begin)),
                None => steady(line) == steady(other),
            };
            same && matches(page, printed)
        }
        ([], _) | (_, []) => false,
    }
}

/// Runs the blocks of a page, and returns how many it ran.
#[track_caller]
fn check(file: &Path) -> usize {
    let text = fs::read_to_string(file).unwrap();
    let blocks: Vec<Block> = blocks(&text).into_iter().filter(|block| block.runs).collect();
    let mut wrong = String::new();
    let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    // The blocks are edited from the last to the first, so that the numbers of lines stay true.
    for block in blocks.iter().rev() {
        let examples = examples(block);
        let Some(printed) = run(&examples) else { continue };
        let pairs = || examples.iter().zip(&printed);
        if pairs().all(|(example, printed)| matches(&example.prints, printed)) {
            continue;
        }
        let mut made = Vec::new();
        for (example, printed) in pairs() {
            made.push(format!("$ {}", example.command.replace('\n', "\n> ")));
            let same = matches(&example.prints, printed);
            made.extend(if same { example.prints.clone() } else { printed.clone() });
        }
        writeln!(wrong, "line {} should be:\n{}", block.start, made.join("\n")).unwrap();
        lines.splice(block.start..block.start + block.lines.len(), made);
    }
    if !wrong.is_empty() && std::env::var_os("BLESS").is_some() {
        fs::write(file, lines.join("\n") + "\n").unwrap();
    } else {
        assert!(wrong.is_empty(), "{}: {wrong}", file.display());
    }
    blocks.len()
}

/// A test for each page, so that the pages run side by side.
macro_rules! pages {
    ($($test:ident: $file:literal,)+) => {
        $(
            #[test]
            fn $test() {
                assert!(check(&root().join($file)) > 0, "{} has no example that runs", $file);
            }
        )+

        /// The pages that have a test.
        const RUN: &[&str] = &[$($file),+];
    };
}

pages! {
    readme: "README.md",
    breaker_and_budget: "docs/breaker-and-budget.md",
    coming_from: "docs/coming-from.md",
    faq: "docs/faq.md",
    guide: "docs/guide.md",
    options: "docs/options.md",
    profiles: "docs/profiles.md",
    safe_repeats: "docs/safe-repeats.md",
}

#[test]
fn every_page_with_an_example_is_run() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let name = page.strip_prefix(root()).unwrap().to_str().unwrap();
        let has_example = blocks(&text).iter().any(|block| block.runs);
        assert_eq!(has_example, RUN.contains(&name), "{name} is in the list of pages iff it has an example");
    }
}

#[test]
fn a_page_begins_with_an_example() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let begins =
            |line: &str| line.starts_with("```") || line.starts_with("    ") || line.starts_with("![");
        assert!(
            text.lines().take(10).any(begins),
            "{} has no example in its first ten lines",
            page.display()
        );
    }
}

#[test]
fn a_block_of_shell_is_valid() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in blocks(&text).iter().filter(|block| block.language == "sh") {
            let script = block.lines.join("\n");
            let run = Retry::new("bash").args(["-n", "-c", &script]).run();
            assert!(run.stderr.is_empty(), "{}: {script}\n{run:?}", page.display());
        }
    }
}

#[test]
fn a_link_leads_to_a_file() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for part in text.split("](").skip(1) {
            let target = part.split(')').next().unwrap().split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let file = page.parent().unwrap().join(target);
            // The published package has docs/, but neither packaging/ nor benches/.
            let outside = ["packaging/", "benches/"].iter().any(|directory| target.contains(directory));
            assert!(file.exists() || outside, "{} links to {target}", page.display());
        }
    }
}

#[test]
fn a_line_is_compared_without_its_times() {
    for (line, other) in [
        ("next in 0.8s", "next in 1m 3s"),
        ("since 02:58:11 on 2026-11-26 (x)", "since 23:00:00 on 2027-01-01 (x)"),
        ("a   7s ago", "a 12ms ago"),
        ("curl: (7) Failed", "curl: (7) failed"),
    ] {
        assert_eq!(steady(line), steady(other));
    }
    for (line, other) in
        [("attempt 1 of 5", "attempt 2 of 5"), ("exited 7", "exited 22"), ("in 3s", "in three")]
    {
        assert_ne!(steady(line), steady(other));
    }
    let lines = |text: &str| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>();
    assert!(matches(&lines("a\n...\nd"), &lines("a\nb\nc\nd")));
    assert!(matches(&lines("a ..."), &lines("a b")));
    assert!(!matches(&lines("a\n..."), &lines("b")));
    assert!(!matches(&lines("a"), &lines("a\nb")));
}
