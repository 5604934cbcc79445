//! Actions instead of a command: show profiles and plans, sum reports up; show, close and trip
//! breakers.

mod plan;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cli::action::{Action, Form};
use crate::clock::local_in;
use crate::error::Error;
use crate::error::{errno, one_line};
use crate::exit::FAILED;
use crate::policy::admission::breaker::Claim;
use crate::policy::admission::record::Record;
use crate::policy::verdict::profile::TABLE;
use crate::report::format::{count, duration};
use crate::report::profiles;
use crate::report::status::{Row, Seen, json, table};
use crate::report::summary::{self, LONGEST_LINE, Summary};
use crate::state::file::place::{Home, Place, listed};
use crate::state::file::store::FileStore;
use crate::state::keeper::Links;
use crate::state::record::Snapshot;
use crate::state::redis::store::RedisStore;
use crate::state::stamp::Stamp;
use crate::state::store::{Store, StoreError};
use crate::state::surroundings::Surroundings;
use crate::streams::lines::each_line;

/// How many bytes of a report are read at once.
const READ_AT_ONCE: usize = 64 * 1024;

/// The result of an action.
#[derive(Debug)]
pub(crate) struct Done {
    /// For stdout.
    pub(crate) text: String,
    /// Lines for stderr.
    pub(crate) aside: Vec<String>,
    /// The exit status.
    pub(crate) status: u8,
}

impl Done {
    fn new(text: String, aside: Vec<String>) -> Self {
        Self { text, aside, status: 0 }
    }
}

/// The exit status if some of the files of `--summary` cannot be read, as that of cat(1).
const SOME_UNREADABLE: u8 = 1;

/// Carries out an action.
///
/// # Errors
/// If a record does not exist or cannot be used.
pub(crate) fn carry_out(task: &Action, surroundings: Surroundings) -> Result<Done, Error> {
    match task {
        Action::Profiles(row) => {
            Ok(Done::new(row.map_or_else(|| profiles::table(TABLE), profiles::page), Vec::new()))
        }
        Action::Summary { files, form } => Ok(summed_up(files, *form)),
        Action::Plan(planned) => Ok(Done::new(plan::plan(planned), plan::aside(planned))),
        Action::Status { place: Some(place), json: as_json, .. } => {
            let (row, aside) = match row(place, &mut Links::default(), surroundings) {
                Some(row) => (row, Vec::new()),
                None => (unused(place), vec![format!("retry: {}", missing(place))]),
            };
            if let Err(error) = &row.seen {
                return Err(unusable(error.clone()));
            }
            Ok(Done::new(if *as_json { json(&row) } else { table(&[row]) }, aside))
        }
        Action::Status { place: None, home, json: as_json } => {
            let mut links = Links::default();
            let places = places(home, &mut links, surroundings)?;
            // A record may have been removed meanwhile.
            let rows: Vec<Row> =
                places.iter().filter_map(|place| row(place, &mut links, surroundings)).collect();
            let troubles = rows.iter().filter_map(|row| row.seen.as_ref().err());
            let mut aside: Vec<String> =
                troubles.map(|trouble| format!("retry: {}", one_line(trouble))).collect();
            // The failure of a server is that of all its records.
            aside.dedup();
            let text = match (*as_json, rows.is_empty()) {
                (true, _) => json(&rows),
                (false, true) => format!("no breaker and no budget in {}\n", shown(home)),
                (false, false) => table(&rows),
            };
            Ok(Done::new(text, aside))
        }
        Action::Reset(place) => {
            if let Some(mut store) = in_server(place, surroundings) {
                let seen = store.read();
                return reset(place, &seen, &mut store);
            }
            let mut store = FileStore::new(place, surroundings);
            let seen = store.read();
            reset(place, &seen, &mut store)
        }
        Action::Trip(place, time) => match in_server(place, surroundings) {
            Some(mut store) => trip(place, *time, &mut store),
            None => trip(place, *time, &mut FileStore::new(place, surroundings)),
        },
    }
}

/// Closes the breaker at a place, where `seen` was read.
fn reset(
    place: &Place,
    seen: &Result<Option<Snapshot>, StoreError>,
    store: &mut impl Store,
) -> Result<Done, Error> {
    if matches!(seen, Ok(None)) {
        let text = format!("breaker {} is closed; {}\n", place.name, missing(place));
        return Ok(Done::new(text, Vec::new()));
    }
    let before = store.transact(Duration::MAX, |record, access| {
        let open_for = record.breaker.opening().map(|open| access.now.since(open.first));
        record.breaker.reset(access.now);
        Ok(open_for)
    });
    let was = match before.map_err(unusable)? {
        None => "it was already closed".to_owned(),
        Some(time) => format!("it was open for {}", duration(time)),
    };
    let text = format!("breaker {} is closed; {was}\n", place.name);
    Ok(Done::new(text, aside(place, store)))
}

/// Holds the breaker at a place open for this time.
fn trip(place: &Place, time: Duration, store: &mut impl Store) -> Result<Done, Error> {
    let tripped = store.transact(Duration::MAX, |record, access| {
        record.breaker.trip(access.now, time);
        Ok(())
    });
    tripped.map_err(unusable)?;
    let (name, until) = (&place.name, local_in(time));
    let text = format!("breaker {name} is open until {until} ({}); then one run probes\n", duration(time));
    Ok(Done::new(text, aside(place, store)))
}

/// The store of a place in a server. None if a file keeps the record. No file is in reserve here:
/// the user asks about this server.
fn in_server(place: &Place, surroundings: Surroundings) -> Option<RedisStore> {
    let link = Links::default().to(place, surroundings)?;
    Some(RedisStore::new(&place.name, link, None))
}

/// The places of all records.
///
/// # Errors
/// If they cannot be listed.
fn places(home: &Home, links: &mut Links, surroundings: Surroundings) -> Result<Vec<Place>, Error> {
    let Some(server) = &home.server else { return listed(&home.directory).map_err(unusable) };
    let names = links.of(server, surroundings).borrow_mut().names().map_err(|error| {
        let hint = Some("name a breaker: --breaker-status=NAME");
        Error::State { cause: error.into(), hint }
    })?;
    Ok(names.iter().map(|name| Place::new(name, home)).collect())
}

/// The home of shared state in words.
fn shown(home: &Home) -> String {
    home.server
        .as_ref()
        .map_or_else(|| home.directory.display().to_string(), |server| server.address.to_string())
}

/// The summary of reports, and lines for stderr about files and lines that are not in it.
fn summed_up(files: &[PathBuf], form: Form) -> Done {
    let mut summary = Summary::default();
    let (mut aside, mut known) = (Vec::new(), HashSet::new());
    for path in files {
        let read = open(path, &mut known).and_then(|file| match file {
            Some(file) => each_line(BufReader::with_capacity(READ_AT_ONCE, file), LONGEST_LINE, |line| {
                summary.add(line);
            }),
            None => Ok(()),
        });
        if let Err(error) = read {
            let name = if path.as_os_str() == "-" { Cow::Borrowed("stdin") } else { path.to_string_lossy() };
            aside.push(format!("retry: cannot read {name}: {}", errno(&error).desc()));
        }
    }
    let status = match aside.len() {
        0 => 0,
        unreadable if unreadable == files.len() && summary.is_empty() => {
            return Done { status: FAILED, ..Done::new(String::new(), aside) };
        }
        _ => SOME_UNREADABLE,
    };
    if summary.skipped > 0 {
        let lines = count(summary.skipped, "line");
        aside.push(format!("retry: skipped {lines}: not in the form of a report, or incomplete"));
    }
    if summary.newer > 0 {
        aside.push(format!("retry: skipped {} of a newer retry", count(summary.newer, "line")));
    }
    let text = match form {
        Form::Table => summary::table(summary),
        Form::Markdown => summary::markdown(summary),
        Form::Json => summary::json(summary),
    };
    Done { status, ..Done::new(text, aside) }
}

/// Opens a report. None if it is among the `known` files, which have been read.
fn open(path: &Path, known: &mut HashSet<(u64, u64)>) -> io::Result<Option<File>> {
    let file = if path.as_os_str() == "-" {
        File::from(io::stdin().as_fd().try_clone_to_owned()?)
    } else {
        File::open(path)?
    };
    let metadata = file.metadata()?;
    let is_new = !metadata.is_file() || known.insert((metadata.dev(), metadata.ino()));
    Ok(is_new.then_some(file))
}

/// The record in a place, if there is one.
fn row(place: &Place, links: &mut Links, surroundings: Surroundings) -> Option<Row> {
    let file = FileStore::new(place, surroundings);
    let server = links.to(place, surroundings).map(|link| RedisStore::new(&place.name, link, None));
    let seen = match server.as_ref().map_or_else(|| file.read(), RedisStore::read) {
        Ok(None) => return None,
        Ok(Some(Snapshot { record, now, .. })) => {
            let claim = Claim::Probe(record.breaker.generation);
            let lives = server.is_some() || file.is_held(claim);
            Ok(Seen { record, now, lives })
        }
        Err(error) => Err(error),
    };
    Some(Row { place: place.clone(), seen })
}

fn aside(place: &Place, store: &mut impl Store) -> Vec<String> {
    let line = |path: PathBuf| {
        let (name, path) = (&place.name, path.display());
        format!(
            "retry: breaker {name}: the file was damaged; retry renamed it to {path} and no longer uses it"
        )
    };
    store.take_set_aside().map(line).into_iter().collect()
}

/// The error for a name without a record.
fn unused(place: &Place) -> Row {
    let seen = Seen { record: Record::default(), now: Stamp::now().moment(), lives: false };
    Row { place: place.clone(), seen: Ok(seen) }
}

fn missing(place: &Place) -> String {
    format!("{} does not exist yet", place.shown())
}

fn unusable(error: StoreError) -> Error {
    let hint = error.hint();
    Error::State { cause: error.into(), hint }
}
