//! Words in: what was typed ([`args`], [`values`]), what it means ([`resolve`], [`shared`]), what is wrong with it
//! ([`wrong`]), and the pages made from the one definition ([`docs`]).

pub(crate) mod args;
pub mod docs;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
pub(crate) mod resolve;
pub(crate) mod shared;
pub(crate) mod values;
pub(crate) mod wrong;
