//! Again or not? An [`outcome`] is judged by [`classify`] with the user's [`condition`]s and what a
//! [`profile`] knows of the command.

pub(crate) mod classify;
pub(crate) mod condition;
pub(crate) mod outcome;
pub(crate) mod profile;
