//! Processes, signals and the terminal.
//!
//! An attempt: [`lifecycle`] decides, as a table of states and events; [`supervise`] observes the
//! events and carries the actions out, within the [`settings`]; [`job`] knows the processes of the
//! attempt, and [`sweep`] signals all of them. [`supervisor`] runs attempts and waits, and
//! [`drain`] passes on what is left at the end.
//!
//! Waiting: [`poll`] is the one place that blocks, and [`pump`] holds all that retry waits for.
//!
//! Starting: [`child`] starts the command, [`launch`] is the part of a start that runs in the
//! child, and [`reap`] waits for children.
//!
//! Looking around: [`descendants`] finds the processes below retry, [`origin`] tells which of them
//! the attempt has started, [`environ`] reads the environments of other processes, [`stops`] tells
//! whether retry itself was stopped, [`terminal`] knows who owns the terminal, and [`entry`] reads
//! the arguments and the environment of retry.
//!
//! [`signal`] sends and receives signals. [`notice`] is the way to the user.
//!
//! Only this floor and `streams` may have `unsafe`.

pub(crate) mod child;
pub(crate) mod descendants;
mod drain;
pub(crate) mod entry;
mod environ;
mod job;
mod launch;
mod lifecycle;
pub(crate) mod notice;
mod origin;
mod poll;
mod pump;
mod reap;
pub(crate) mod resolver;
pub(crate) mod settings;
pub(crate) mod signal;
mod stops;
mod supervise;
pub(crate) mod supervisor;
mod sweep;
mod terminal;
