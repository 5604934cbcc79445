//! What is done instead of running a command: breakers and budgets shown, closed, held open.

use std::time::Duration;

use crate::cli::action::Action;
use crate::clock::local_in;
use crate::error::Error;
use crate::report::format::duration;
use crate::report::status::{Row, Seen, json, table};
use crate::state::place::{Place, listed};
use crate::state::record::Record;
use crate::state::stamp::Stamp;
use crate::state::store::{Store, Trouble};

/// Does it, and returns what to say: for stdout, and for stderr.
///
/// # Errors
/// Where a record cannot be used, or is not there.
pub(crate) fn carry_out(task: &Action) -> Result<(String, Vec<String>), Error> {
    match task {
        Action::Status { place: Some(place), json: as_json, .. } => {
            let (row, aside) = match row(place) {
                Some(row) => (row, Vec::new()),
                None => (unused(place), vec![format!("retry: {}", missing(place))]),
            };
            if let Err(trouble) = &row.seen {
                return Err(unusable(trouble));
            }
            Ok((if *as_json { json(&row) } else { table(&[row]) }, aside))
        }
        Action::Status { place: None, directory, json: as_json } => {
            let places = listed(directory).map_err(|trouble| unusable(&trouble))?;
            // One may have gone meanwhile.
            let rows: Vec<Row> = places.iter().filter_map(row).collect();
            let troubles = rows.iter().filter_map(|row| row.seen.as_ref().err());
            let aside = troubles.map(|trouble| format!("retry: {trouble}")).collect();
            let text = match (*as_json, rows.is_empty()) {
                (true, _) => json(&rows),
                (false, true) => format!("no breaker and no budget in {}\n", directory.display()),
                (false, false) => table(&rows),
            };
            Ok((text, aside))
        }
        Action::Reset(place) => {
            let mut store = Store::new(place.path.clone(), place.directory.clone());
            if matches!(store.read(&Stamp::now()), Ok(None)) {
                return Ok((format!("breaker {} is closed; {}\n", place.name, missing(place)), Vec::new()));
            }
            let before = store.transact(Duration::MAX, |record, access| {
                let open_for = record.breaker.opening().map(|open| access.now.since(open.first));
                record.breaker.reset(access.now);
                Ok(open_for)
            });
            let was = match before.map_err(|trouble| unusable(&trouble))? {
                None => "it was already closed".to_owned(),
                Some(time) => format!("it was open for {}", duration(time)),
            };
            Ok((format!("breaker {} is closed; {was}\n", place.name), aside(&mut store)))
        }
        Action::Trip(place, time) => {
            let mut store = Store::new(place.path.clone(), place.directory.clone());
            let tripped = store.transact(Duration::MAX, |record, access| {
                record.breaker.trip(access.now, *time);
                Ok(())
            });
            tripped.map_err(|trouble| unusable(&trouble))?;
            let (name, until) = (&place.name, local_in(*time));
            let text =
                format!("breaker {name} is open until {until} ({}); then one run probes\n", duration(*time));
            Ok((text, aside(&mut store)))
        }
    }
}

/// What a place holds now; none where there is nothing.
fn row(place: &Place) -> Option<Row> {
    let store = Store::new(place.path.clone(), place.directory.clone());
    let now = Stamp::now();
    let seen = match store.read(&now) {
        Ok(None) => return None,
        Ok(Some(record)) => {
            Ok(Seen { lives: store.lives(record.breaker.generation), record, now: now.moment() })
        }
        Err(trouble) => Err(trouble),
    };
    Some(Row { place: place.clone(), seen })
}

fn aside(store: &mut Store) -> Vec<String> {
    let path = store.take_set_aside();
    path.map(|path| format!("retry: a damaged file was set aside as {}", path.display()))
        .into_iter()
        .collect()
}

/// A name that no run has had anything to write under.
fn unused(place: &Place) -> Row {
    let seen = Seen { record: Record::default(), now: Stamp::now().moment(), lives: false };
    Row { place: place.clone(), seen: Ok(seen) }
}

fn missing(place: &Place) -> String {
    format!("{} does not exist yet", place.path.display())
}

fn unusable(trouble: &Trouble) -> Error {
    let hint = match trouble {
        Trouble::Newer { .. } => Some("use the newer retry, or remove the file".to_owned()),
        Trouble::Foreign { .. } => Some("a name that begins with /, ./ or ../ is a file's path".to_owned()),
        Trouble::System { .. }
        | Trouble::NoFile { .. }
        | Trouble::NoLock { .. }
        | Trouble::Corrupt { .. }
        | Trouble::Locked { .. }
        | Trouble::Interrupted => None,
    };
    Error::State { cause: trouble.to_string(), hint }
}
