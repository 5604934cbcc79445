//! Records in real files.

use tempfile::TempDir;

use super::*;
use crate::policy::admission::breaker::State;
use crate::state::file::place::Home;

/// A name in a directory that the store creates. The directory above is removed at the end of the
/// test.
fn place() -> (TempDir, Place) {
    let above = tempfile::tempdir().unwrap();
    let place = Place::new("payments", &Home::directory(&above.path().join("state")));
    (above, place)
}

fn store(place: &Place) -> FileStore {
    FileStore::new(place, Surroundings::none())
}

fn trip(store: &mut FileStore) -> Result<bool, StoreError> {
    store.transact(Duration::ZERO, |record, transaction| {
        record.breaker.trip(transaction.now, Duration::from_mins(5));
        Ok(transaction.is_lost)
    })
}

fn is_open(store: &FileStore) -> bool {
    matches!(store.look().unwrap().record.breaker.state, State::Open(_))
}

#[test]
fn a_change_is_seen_by_every_store_of_the_name() {
    let (_above, place) = place();
    let (mut first, second) = (store(&place), store(&place));
    assert_eq!(second.read(), Ok(None));
    assert_eq!(second.look().unwrap().record, Record::default());
    assert_eq!(trip(&mut first), Ok(false));
    assert!(is_open(&second));
    let leftover = second.beside(NEW);
    assert!(!leftover.exists());
}

#[test]
fn a_failed_change_writes_nothing() {
    let (_above, place) = place();
    let mut store = store(&place);
    let failed: Result<(), _> = store.transact(Duration::ZERO, |record, transaction| {
        record.breaker.trip(transaction.now, Duration::from_mins(5));
        Err(StoreError::Interrupted)
    });
    assert_eq!(failed, Err(StoreError::Interrupted));
    assert_eq!(store.read(), Ok(None));
    // The lock is free again.
    assert_eq!(trip(&mut store), Ok(false));
}

#[test]
fn a_look_makes_no_file() {
    let (above, place) = place();
    let store = store(&place);
    assert!(store.look().is_ok() && store.is_held(Claim::Probe(1)));
    assert_eq!(store.holder_lives(Claim::Probe(1), 1), None, "nobody can tell without a lock file");
    assert_eq!(fs::read_dir(above.path()).unwrap().count(), 0);
}

#[test]
fn damaged_files_are_set_aside_and_the_oldest_are_kept() {
    let (_above, place) = place();
    let mut store = store(&place);
    assert_eq!(trip(&mut store), Ok(false));
    for n in 1..=CORRUPT_KEPT + 2 {
        fs::write(&place.path, format!("damaged {n}")).unwrap();
        assert!(matches!(store.look(), Err(StoreError::Damaged { .. })));
        assert_eq!(trip(&mut store), Ok(true));
        let aside = store.take_set_aside().unwrap();
        assert_eq!(fs::read_to_string(aside).unwrap(), format!("damaged {n}"));
        assert!(is_open(&store) && store.take_set_aside().is_none());
    }
    let kept = |ending: &str| fs::read_to_string(store.beside(ending)).unwrap();
    assert_eq!(kept(".corrupt"), "damaged 1");
    assert_eq!(kept(".corrupt-9"), "damaged 11");
    assert!(!store.beside(".corrupt-10").exists());
}

#[test]
fn a_probe_survives_the_loss_of_its_record() {
    let (_above, place) = place();
    let (mut prober, mut other) = (store(&place), store(&place));
    prober.transact(Duration::ZERO, |_, transaction| transaction.claims.hold(Claim::Probe(42))).unwrap();
    fs::write(&place.path, "").unwrap();
    let refusal = other.transact(Duration::ZERO, |record, transaction| {
        let lives = |claim, owner| transaction.claims.holder_lives(claim, owner);
        Ok(record.breaker.opening_refusal(false, transaction.now, lives))
    });
    assert_eq!(refusal.unwrap().unwrap().prober(), Some(0));
    assert_eq!(other.look().unwrap().record.breaker.generation, 42, "it was written");
    prober.close();
    assert_eq!(other.holder_lives(Claim::Probe(42), 0), Some(false));
}

#[test]
fn files_of_others_are_left_alone() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("script");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    let place = Place::new(path.to_str().unwrap(), &Home::directory(Path::new("/nowhere")));
    assert_eq!(trip(&mut store(&place)), Err(StoreError::NotARecord { path: path.clone() }));
    fs::write(&path, "{\"version\": 3, \"clock\": {}}").unwrap();
    assert_eq!(trip(&mut store(&place)), Err(StoreError::Newer { path: path.clone(), version: 3 }));
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert_eq!(trip(&mut store(&place)), Err(StoreError::NotAFile { path }));
    assert_eq!(fs::read_dir(above.path()).unwrap().count(), 1, "no lock beside it");
}

#[test]
fn a_directory_that_is_not_retry_s_own_is_not_made() {
    let above = tempfile::tempdir().unwrap();
    let path = above.path().join("missing/x.json");
    let place = Place::new(path.to_str().unwrap(), &Home::directory(Path::new("/nowhere")));
    let error = store(&place).check_writable().unwrap_err();
    assert!(matches!(error, StoreError::System { doing: "use the directory", errno: Errno::ENOENT, .. }));
    let (_above, own) = self::place();
    assert_eq!(store(&own).check_writable(), Ok(()));
    assert!(own.directory.unwrap().is_dir());
}
