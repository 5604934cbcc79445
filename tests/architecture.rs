//! Rules for the source: an import points to a lower floor, decisions stay pure, and `unsafe` stays
//! confined.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::needs::PROGRAMS;

/// A source file: its path below `src/`, its text, and its lines without the content of comments
/// and strings.
struct Source {
    name: String,
    text: String,
    code: Vec<String>,
    /// Whether the file is part of the tests only.
    is_test: bool,
}

impl Source {
    fn new(name: String, text: String) -> Self {
        let code = strip(&text).lines().map(str::to_owned).collect();
        let is_test = name.split('/').any(|part| part == "tests" || part == "tests.rs");
        Self { name, text, code, is_test }
    }

    /// The wing of the file: its first directory, or its own name.
    fn wing(&self) -> &str {
        self.name.split(['/', '.']).next().unwrap_or_default()
    }

    /// The path of the module, for example `policy::delay::jitter`.
    fn module(&self) -> Vec<&str> {
        let name = self.name.trim_end_matches(".rs").trim_end_matches("/mod");
        if matches!(name, "lib" | "main") { Vec::new() } else { name.split('/').collect() }
    }

    /// The lines with their numbers from 1, without tests: neither the test module at the end of a
    /// file, nor a file of tests.
    fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self
            .code
            .windows(2)
            .position(|two| two[0].trim() == "#[cfg(test)]" && two[1].trim_start().contains("mod tests {"));
        let end = if self.is_test { 0 } else { tests.unwrap_or(self.code.len()) };
        self.code[..end].iter().enumerate().map(|(n, line)| (n + 1, line.as_str()))
    }

    /// The files of the modules that only tests have: `#[cfg(test)] mod corpus;`.
    fn test_modules(&self) -> Vec<String> {
        let base = self.module().join("/");
        let declared = self.code.windows(2).filter(|two| two[0].trim() == "#[cfg(test)]");
        let names = declared.filter_map(|two| two[1].trim().strip_prefix("mod ")?.strip_suffix(';'));
        names.map(|name| format!("{base}/{name}.rs").trim_start_matches('/').to_owned()).collect()
    }

    /// The wings that paths in the file name, each with its line.
    fn uses(&self) -> Vec<(usize, String)> {
        let module = self.module();
        let mut uses = Vec::new();
        let code: Vec<&str> = self.product().map(|(_, line)| line).collect();
        let code = code.join("\n");
        for (start, root) in ["crate::", "super::"].iter().flat_map(|root| code.match_indices(root)) {
            let before = &code[..start];
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let line = before.matches('\n').count() + 1;
            let mut rest = &code[start..];
            let mut up = 0;
            while let Some(after) = rest.strip_prefix("super::") {
                (rest, up) = (after, up + 1);
            }
            // `super::` from a test module inside the file does not occur, because `product` leaves
            // such modules out.
            if root == "super::" && module.len() > up {
                continue;
            }
            let rest = rest.strip_prefix("crate::").unwrap_or(rest);
            uses.extend(names(rest).into_iter().map(|name| (line, name)));
        }
        uses
    }
}

/// The first names of a path, or of a group of paths in braces.
fn names(path: &str) -> Vec<String> {
    let ident =
        |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![ident(path)] };
    let (mut depth, mut first, mut names) = (0, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => first = true,
            c if first && !c.is_whitespace() => {
                names.push(ident(&group[at..]));
                first = false;
            }
            _ => {}
        }
    }
    names
}

/// The text with comments, strings and characters blanked. The line breaks stay.
fn strip(text: &str) -> String {
    let bytes: Vec<char> = text.chars().collect();
    let at = |i: usize| bytes.get(i).copied().unwrap_or('\0');
    let mut out = String::new();
    let mut i = 0;
    let keep_lines = |out: &mut String, from: usize, to: usize| {
        out.extend((from..to).filter(|i| at(*i) == '\n').map(|_| '\n'));
    };
    while i < bytes.len() {
        let start = i;
        let raw = at(i) == 'r' && !at(i.wrapping_sub(1)).is_alphanumeric() && matches!(at(i + 1), '"' | '#');
        if at(i) == '/' && at(i + 1) == '/' {
            while i < bytes.len() && at(i) != '\n' {
                i += 1;
            }
        } else if raw && (at(i + 1) == '"' || matches!(at(i + 2), '"' | '#')) {
            let hashes = (i + 1..bytes.len()).take_while(|i| at(*i) == '#').count();
            i += hashes + 2;
            while i < bytes.len() && !(at(i) == '"' && (1..=hashes).all(|n| at(i + n) == '#')) {
                i += 1;
            }
            i += hashes + 1;
            keep_lines(&mut out, start, i);
            out.push_str("\"\"");
        } else if at(i) == '"' {
            i += 1;
            while i < bytes.len() && at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i += 1;
            keep_lines(&mut out, start, i);
            out.push_str("\"\"");
        } else if at(i) == '\'' && (at(i + 1) == '\\' || at(i + 2) == '\'') {
            // This is a character and not a lifetime.
            i += if at(i + 1) == '\\' { 3 } else { 2 };
            while i < bytes.len() && at(i) != '\'' {
                i += 1;
            }
            i += 1;
        } else {
            out.push(at(i));
            i += 1;
        }
    }
    out
}

fn sources(of: &str) -> Vec<Source> {
    fn walk(dir: &Path, root: &Path, into: &mut Vec<Source>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, into);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                into.push(Source::new(name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(of);
    let mut sources = Vec::new();
    walk(&root, &root, &mut sources);
    sources.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(sources.len() > 20, "the source is there");
    let test_modules: Vec<String> = sources.iter().flat_map(Source::test_modules).collect();
    for source in &mut sources {
        source.is_test |= test_modules.contains(&source.name);
    }
    sources
}

/// The floor of each wing.
const FLOORS: [(&str, u8); 15] = [
    ("error", 0),
    ("clock", 0),
    ("policy", 1),
    ("process", 2),
    ("streams", 2),
    ("state", 2),
    ("cli", 3),
    ("report", 3),
    ("exit", 3),
    ("run", 4),
    ("host", 4),
    ("manage", 4),
    ("fuzz", 4),
    ("lib", 4),
    ("main", 4),
];

/// Imports within one floor that the plan allows, as importer and imported. All other imports point
/// down.
const ASIDE: [(&str, &str); 5] =
    [("process", "streams"), ("cli", "exit"), ("cli", "report"), ("report", "exit"), ("host", "run")];

/// The reason why `from` may not name `to`, or `None` if it may.
fn forbidden(from: &str, to: &str) -> Option<String> {
    let floor = |wing: &str| FLOORS.iter().find(|(name, _)| *name == wing).map(|(_, floor)| *floor);
    let Some(above) = floor(from) else { return Some(format!("{from} has no floor")) };
    // The crate's front page uses every wing.
    if from == to || from == "lib" || ASIDE.contains(&(from, to)) {
        return None;
    }
    match floor(to) {
        None => Some(format!("{from} names {to}, which has no floor")),
        Some(below) if below < above => None,
        Some(below) => Some(format!("{from} (floor {above}) names {to} (floor {below})")),
    }
}

#[test]
fn no_import_points_up() {
    let wrong: Vec<String> = sources("src")
        .iter()
        .flat_map(|source| {
            let wrong = source.uses().into_iter().filter_map(|(line, to)| {
                Some(format!("src/{}:{line}: {}", source.name, forbidden(source.wing(), &to)?))
            });
            wrong.collect::<Vec<_>>()
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Names of effects, which decisions must not use.
const BANNED_BELOW: [&str; 21] = [
    "crate::clock",
    "std::fs",
    "std::process",
    "std::env",
    "std::net",
    "std::thread",
    "std::os",
    "std::io",
    "Instant",
    "SystemTime::now",
    ".elapsed()",
    "libc::",
    "nix::",
    "rand::rng",
    "SysRng",
    // These types wait or share mutable state. `Arc` and `OnceLock` are allowed, because shared
    // ownership and one-time creation are not effects.
    "Mutex",
    "RwLock",
    "Condvar",
    "Barrier",
    "mpsc",
    "atomic",
];

const PRINTS: [&str; 5] = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];

#[test]
fn decisions_touch_nothing() {
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| source.wing() == "policy") {
        for (line, code) in source.product() {
            // The names of signals and errors are only tables, and a generator with a seed is a value.
            let code = code.replace("nix::sys::signal::Signal::", "").replace("nix::errno::Errno", "");
            let code = code.replace("rand::rngs::Xoshiro256PlusPlus", "");
            for banned in BANNED_BELOW.iter().chain(&PRINTS).filter(|banned| code.contains(**banned)) {
                wrong.push(format!("src/{}:{line}: {banned}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Ways to read a clock.
const CLOCKS: [&str; 3] = ["SystemTime::now", "Instant::now", "clock_gettime"];

#[test]
fn one_file_reads_the_clocks() {
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| source.wing() != "clock") {
        for (line, code) in source.product() {
            for read in CLOCKS.iter().filter(|read| code.contains(**read)) {
                wrong.push(format!("src/{}:{line}: {read}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_prints_but_the_front_page() {
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| source.wing() != "lib") {
        for (line, code) in source.product() {
            for banned in PRINTS.iter().filter(|banned| code.contains(**banned)) {
                wrong.push(format!("src/{}:{line}: {banned}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Tells whether a line contains the word.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

#[test]
fn unsafe_stays_on_the_floor_of_effects() {
    let mut outside: BTreeMap<String, usize> = BTreeMap::new();
    for source in sources("src").iter().filter(|source| !matches!(source.wing(), "process" | "streams")) {
        let count = source.code.iter().filter(|line| has_word(line, "unsafe")).count();
        if count > 0 {
            outside.insert(source.name.clone(), count);
        }
    }
    // These are the attribute of `main` and its call of `start`, `start` itself and its call of
    // `arguments`, and localtime_r(3).
    let allowed = BTreeMap::from([("clock.rs", 2), ("lib.rs", 2), ("main.rs", 2)]);
    let allowed = allowed.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    assert_eq!(outside, allowed);
}

#[test]
fn every_unsafe_block_says_why_it_is_safe() {
    let mut wrong = Vec::new();
    for source in &sources("src") {
        let lines: Vec<&str> = source.text.lines().collect();
        for (n, code) in source.code.iter().enumerate() {
            let Some(at) = code.find("unsafe {") else { continue };
            // The comment stands above the statement.
            let statement = (0..=n).rev().find(|n| {
                let above = n.checked_sub(1).map_or("", |n| source.code[n].trim());
                above.is_empty() || above.ends_with([';', '{', '}', ','])
            });
            let start = statement.unwrap_or(n);
            let comment = (0..start).rev().map(|n| lines[n].trim());
            let mut comment = comment.take_while(|line| line.starts_with("//"));
            if !comment.any(|line| line.starts_with("// SAFETY:")) {
                wrong.push(format!("src/{}:{}: {}", source.name, n + 1, &code[at..]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Tests of the rules themselves: each rule must be able to fail.
mod tests {
    use super::*;

    fn source(name: &str, text: &str) -> Source {
        Source::new(name.to_owned(), text.to_owned())
    }

    #[test]
    fn what_points_up_or_aside_is_found() {
        for (from, to) in [
            ("policy", "process"),
            ("policy", "cli"),
            ("process", "report"),
            ("streams", "process"),
            ("report", "cli"),
            ("exit", "cli"),
            ("cli", "run"),
            ("run", "host"),
            ("streams", "state"),
            ("helpers", "policy"),
            ("cli", "helpers"),
        ] {
            assert!(forbidden(from, to).is_some(), "{from} {to}");
        }
        for (from, to) in [("host", "process"), ("cli", "policy"), ("process", "streams"), ("run", "error")] {
            assert_eq!(forbidden(from, to), None);
        }
    }

    #[test]
    fn paths_are_read_in_every_form() {
        let text = "use crate::{\n    cli::args::{Args, Other},\n    report,\n};\n// use crate::host;\n\
                    fn f() { crate::run::run(\"crate::exit\"); super::super::exit::X; super::delay::Y; }\n\
                    #[cfg(test)]\nmod tests {\n    use crate::host::Host;\n}\n";
        let uses: Vec<String> =
            source("policy/delay.rs", text).uses().into_iter().map(|(_, name)| name).collect();
        assert_eq!(uses, ["cli", "report", "run", "exit"]);
        let uses = source("exit.rs", "use super::cli;\n").uses();
        assert_eq!(uses, [(1, "cli".to_owned())]);
    }

    #[test]
    fn a_module_of_tests_is_no_product() {
        let text = "#[cfg(test)]\nmod corpus;\nmod web;\n#[cfg(test)]\nmod tests;\n";
        let names = ["policy/verdict/corpus.rs", "policy/verdict/tests.rs"];
        assert_eq!(source("policy/verdict.rs", text).test_modules(), names);
        assert_eq!(source("policy/verdict/mod.rs", text).test_modules(), names);
        assert_eq!(source("lib.rs", text).test_modules(), ["corpus.rs", "tests.rs"]);
    }

    #[test]
    fn strings_comments_and_characters_are_no_code() {
        let code = strip("a(\"std::fs \\\" x\", r#\"std::\"env\"#, '\"', '\\'', b) // std::fs\n'a: 'x'");
        assert_eq!(code, "a(\"\", \"\", , , b) \n'a: ");
    }
}

/// The optional programs that a test runs without asking for them: see `support/needs.rs`.
fn not_asked_for(test: &str) -> Vec<&'static str> {
    let runs = |program: &str| {
        let ways = ["new(\"P\")", "\"--\", \"P\"", "\"P -", "\"P\", \"-c\""];
        ways.iter().any(|way| test.contains(&way.replace('P', program)))
    };
    let asks = |program: &str| {
        let quoted = format!("\"{program}\"");
        let doors = ["need!(", "needs::", "Program::of("];
        test.lines().any(|line| line.contains(&quoted) && doors.iter().any(|door| line.contains(door)))
    };
    let programs = PROGRAMS.iter().map(|(program, _)| *program).filter(|program| *program != "bash");
    programs.filter(|program| runs(program) && !asks(program)).collect()
}

#[test]
fn a_test_asks_for_the_optional_programs_that_it_runs() {
    let mut faults = Vec::new();
    for source in sources("tests") {
        for test in source.text.split("\n#[test]\n").skip(1) {
            // Helpers may follow the last test of a file.
            let name = test.lines().next().unwrap_or_default();
            let body = test.split("\n}\n").next().unwrap_or_default();
            faults.extend(
                not_asked_for(body).iter().map(|program| format!("{}: {name} runs {program}", source.name)),
            );
        }
    }
    assert!(faults.is_empty(), "they do not begin with need!(..):\n{}", faults.join("\n"));
    let test = "Retry::new(\"strace\").args([\"--\", \"curl\", \"x\"])";
    assert_eq!(not_asked_for(test), ["curl", "strace"]);
    assert_eq!(not_asked_for(&format!("need!(\"curl\", \"strace\");\n{test}")), [""; 0]);
}

/// The parts of the program in the order of the picture, the upper floors first.
const PICTURED: [&str; 13] = [
    "lib", "manage", "host", "run", "cli", "report", "exit", "state", "process", "streams", "policy",
    "error", "clock",
];

/// Which part imports which: a row for each part, with a mark below each part that it imports.
fn picture() -> String {
    let sources = sources("src");
    let width = PICTURED.iter().map(|name| name.len()).max().unwrap_or_default();
    let mut picture = format!("{:width$}", "");
    for name in PICTURED {
        picture.push_str(&format!(" {name}"));
    }
    for importer in PICTURED {
        picture.push_str(&format!("\n{importer:width$}"));
        let files = sources.iter().filter(|source| source.wing() == importer);
        let imported: Vec<String> = files.flat_map(Source::uses).map(|(_, wing)| wing).collect();
        for column in PICTURED {
            let uses = imported.iter().any(|wing| wing == column);
            let mark = if column == importer {
                "."
            } else if uses {
                "x"
            } else {
                ""
            };
            picture.push_str(&format!(" {mark:^size$}", size = column.len()));
        }
        picture.truncate(picture.trim_end().len());
    }
    picture
}

/// `BLESS=1` writes the picture into the page.
#[test]
fn the_picture_of_the_floors_is_generated_from_the_imports() {
    const STARTS: &str = "<!-- floors: made by tests/architecture.rs -->\n";
    const ENDS: &str = "<!-- floors end -->\n";
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/design.md");
    let text = fs::read_to_string(&page).unwrap();
    let (before, rest) = text.split_once(STARTS).expect("the page has the mark before the picture");
    let (_, after) = rest.split_once(ENDS).expect("the page has the mark after the picture");
    let picture = picture();
    // Each mark below the diagonal would be an import that points up.
    for (row, line) in picture.lines().skip(1).enumerate() {
        let marks = line.trim_start_matches(PICTURED[row]);
        let (above, _) = marks.split_once('.').expect("the row has a dot on the diagonal");
        assert!(!above.contains('x'), "{} imports a part above it:\n{picture}", PICTURED[row]);
    }
    let made = format!("{before}{STARTS}\n```text\n{picture}\n```\n\n{ENDS}{after}");
    if std::env::var_os("BLESS").is_some() {
        return fs::write(&page, made).unwrap();
    }
    assert_eq!(text, made, "BLESS=1 cargo test generated writes the picture");
}
