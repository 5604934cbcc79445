//! Package managers.
//!
//! Five things are true of all of them:
//!
//! - An index, a mirror or a CDN answers 404, or lists no such version, until a package that has
//!   just been published has reached it. So neither is a proof.
//! - A public registry answers 403 or 401 for a while to a client that looks like one of too many
//!   (<https://github.com/pnpm/action-setup/issues/178>,
//!   <https://github.com/composer/composer/issues/11662>).
//! - A download that was cut short may look like a wrong checksum or a damaged archive.
//! - They run builds, tests and scripts of others. What these print proves nothing, and their
//!   status may be the status of the package manager.
//! - A repository that could not be read may be left out with a warning. Then the error is about a
//!   package that nobody found. So warnings count for a retry, and never against one.

/// A pattern for an HTTP status between two texts. 401, 403 and 404 are not a proof: see above.
macro_rules! answer {
    ($before:expr, $after:expr) => {
        $crate::policy::verdict::profile::http_status(concat!(
            $before,
            "([1235][0-9]{2}|4(?:0[025-9]|[1-9][0-9]))",
            $after
        ))
    };
}

mod compiled;
mod distribution;
mod javascript;
mod jvm;
mod python;
mod scripting;

pub(super) use compiled::{CARGO, GO};
pub(super) use distribution::{APK, APT, DNF};
pub(super) use javascript::{NPM, PNPM, YARN};
pub(super) use jvm::{GRADLE, MVN};
pub(super) use python::{PIP, UV};
pub(super) use scripting::{COMPOSER, GEM};
