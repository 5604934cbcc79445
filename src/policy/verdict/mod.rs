//! Again or not? An [outcome](super::outcome) is judged by [`classify`] with the user's [`condition`]s and what a
//! [`profile`] knows of the command; where the exit status does not tell enough, by the [`evidence`] of its
//! output: lines out of a [`window`] that match a [`text`] pattern or are of [`http`].

pub(crate) mod classify;
pub(crate) mod condition;
pub(crate) mod evidence;
pub(crate) mod http;
pub(crate) mod profile;
pub(crate) mod program;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
pub(crate) mod rule;
pub(crate) mod text;
pub(crate) mod window;
