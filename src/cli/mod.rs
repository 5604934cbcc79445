//! Words in: what was typed ([`scan`], [`parse`], [`args`], [`values`]), what it means ([`resolve`], [`shared`],
//! [`label`]), what is wrong with it ([`wrong`]), how much of it an error repeats ([`echo`]) and what was probably meant ([`hints`]), and the pages made from the one
//! definition ([`docs`]).

pub(crate) mod args;
pub mod docs;
mod echo;
pub(crate) mod hints;
pub(crate) mod label;
pub(crate) mod parse;
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
pub(crate) mod resolve;
mod scan;
pub(crate) mod shared;
pub(crate) mod values;
pub(crate) mod wrong;
