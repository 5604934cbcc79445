//! Lines that stand in several reports, such as a copy of a report beside the report itself.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

/// The least number of lines that are remembered. A hash takes 8 bytes, so that both halves of the
/// memory take less than 5 MiB.
pub(crate) const REMEMBERED: usize = 200_000;

type Hasher = BuildHasherDefault<DefaultHasher>;

/// The last lines, by their hashes. When one half is full, the other half is forgotten.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    newer: HashSet<u64, Hasher>,
    older: HashSet<u64, Hasher>,
}

impl Remembered {
    /// Remembers a line. Returns whether it is new.
    pub(super) fn is_new(&mut self, line: &[u8]) -> bool {
        let hash = hash(line);
        if self.newer.contains(&hash) || self.older.contains(&hash) {
            return false;
        }
        if self.newer.len() >= REMEMBERED {
            std::mem::swap(&mut self.newer, &mut self.older);
            self.newer.clear();
        }
        self.newer.insert(hash)
    }
}

/// Two of a billion different texts have the same hash with a probability of 1 to 37.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    Hasher::default().hash_one(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_remembered() {
        let mut lines = Remembered::default();
        let mut add = |n: usize| lines.is_new(&n.to_le_bytes());
        assert!((0..REMEMBERED).all(&mut add));
        assert!((0..REMEMBERED).all(|n| !add(n)));
        // The newest half is never forgotten, and all in all there are never more than two.
        assert!((REMEMBERED..3 * REMEMBERED).all(&mut add));
        assert!((2 * REMEMBERED..3 * REMEMBERED).all(|n| !add(n)));
        assert!(add(0));
        assert!(lines.newer.len() + lines.older.len() <= 2 * REMEMBERED);
    }
}
