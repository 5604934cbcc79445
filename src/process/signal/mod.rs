//! Signals: how retry receives, sends and ignores them, and how the command gets them back as they
//! were.
//!
//! retry blocks each signal that it answers and installs no handler, so nothing runs at a bad
//! moment. [`stream`] receives the signals, [`send`] sends them, and [`disposition`] knows masks
//! and dispositions. [`pending`] reads which signals have arrived and were not read yet, as a
//! [`set`].

pub(crate) mod disposition;
pub(crate) mod pending;
pub(super) mod send;
pub(super) mod set;
pub(crate) mod stream;
