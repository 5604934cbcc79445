//! The terminal for which a page is made.

use std::ffi::CString;

use crate::policy::environment::value;

/// The width of a page if there is no terminal, and the widest page.
const WIDTH: usize = 80;

/// The narrowest page.
const NARROWEST: usize = 40;

/// The columns and the characters of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Screen {
    pub(crate) width: usize,
    pub(crate) characters: Characters,
}

/// The characters that a terminal shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Characters {
    Ascii,
    Unicode,
}

impl Screen {
    /// `terminal` is the width of the terminal, if there is one. The variable COLUMNS replaces it
    /// (POSIX, XBD 8.3).
    pub(crate) fn new(environment: &[CString], terminal: Option<u16>) -> Self {
        let text = |name: &str| std::str::from_utf8(value(environment, name)?).ok();
        let columns = text("COLUMNS").and_then(|columns| columns.parse().ok()).filter(|width| *width > 0);
        let width = columns.or(terminal.filter(|width| *width > 0)).map_or(WIDTH, usize::from);
        // The first variable that is neither absent nor empty decides (POSIX, XBD 8.2).
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(|name| {
            value(environment, name).filter(|value| !value.is_empty()).map(String::from_utf8_lossy)
        });
        let is_unicode = locale.is_some_and(|locale| {
            let codeset = locale.split_once('.').map_or("", |(_, codeset)| codeset);
            let codeset = codeset.split('@').next().unwrap_or_default().replace('-', "");
            codeset.eq_ignore_ascii_case("utf8")
        });
        let characters = if is_unicode { Characters::Unicode } else { Characters::Ascii };
        Self { width: width.clamp(NARROWEST, WIDTH), characters }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(entries: &[&str], terminal: Option<u16>) -> (usize, Characters) {
        let environment: Vec<CString> = entries.iter().map(|entry| CString::new(*entry).unwrap()).collect();
        let screen = Screen::new(&environment, terminal);
        (screen.width, screen.characters)
    }

    #[test]
    fn the_locale_decides_on_the_characters() {
        use Characters::{Ascii, Unicode};
        for (entries, characters) in [
            (&[][..], Ascii),
            (&["LANG=C"], Ascii),
            (&["LANG=C.UTF-8"], Unicode),
            (&["LANG=de_DE.utf8@euro"], Unicode),
            (&["LANG=de_DE.ISO-8859-15"], Ascii),
            (&["LANG=de_DE"], Ascii),
            (&["LANG=C.UTF-8", "LC_ALL=C"], Ascii),
            (&["LANG=C.UTF-8", "LC_ALL="], Unicode),
            (&["LANG=C.UTF-8", "LC_CTYPE=POSIX"], Ascii),
            (&["LANG=C", "LC_CTYPE=en_US.UTF-8"], Unicode),
            (&["LC_CTYPE=C", "LC_ALL=en_US.UTF-8"], Unicode),
        ] {
            assert_eq!(screen(entries, None).1, characters, "{entries:?}");
        }
    }

    #[test]
    fn the_width_is_that_of_the_terminal() {
        for (entries, terminal, width) in [
            (&[][..], None, 80),
            (&[], Some(0), 80),
            (&[], Some(60), 60),
            (&[], Some(20), 40),
            (&[], Some(200), 80),
            (&["COLUMNS=50"], Some(60), 50),
            (&["COLUMNS=50"], None, 50),
            (&["COLUMNS=0"], Some(60), 60),
            (&["COLUMNS=x"], Some(60), 60),
            (&["COLUMNS="], None, 80),
        ] {
            assert_eq!(screen(entries, terminal).0, width, "{entries:?} {terminal:?}");
        }
    }
}
