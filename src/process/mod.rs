//! Processes, signals and the terminal: what an attempt is made of.
//!
//! [`attempt`] supervises attempts and waits; [`running`] is one attempt as states and events; [`wait`] is the one place that blocks;
//! [`signal`] takes signals in and gives them back; [`stops`] tells whether retry itself was stopped;
//! [`child`] starts the command and reaps, [`launch`] is the child's side of that, and [`pending`] sorts the signals that come meanwhile;
//! [`descendants`] finds what lives below retry and signals it, and [`origin`] tells what of it the attempt started;
//! [`terminal`] knows who owns the terminal;
//! [`entry`] reads what the C library handed to `main`.
//!
//! This is the floor, and the only one, where `unsafe` may stand.

pub(crate) mod attempt;
pub(crate) mod child;
pub(crate) mod descendants;
pub(crate) mod entry;
mod launch;
pub(crate) mod origin;
mod pending;
pub(crate) mod running;
pub(crate) mod signal;
pub(crate) mod stops;
pub(crate) mod terminal;
pub(crate) mod wait;
