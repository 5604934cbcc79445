//! What runs on a machine share: the records of breakers and budgets, and how a run uses them; and the
//! idempotency [`key`] that a failed run leaves to the next.
//!
//! [`Store::transact`](store::Store::transact) is the only door to a record, so that another store could
//! hold it; [`record`] is what stands in a file, [`place`] where that is, [`lock`] who may change it; [`shared`] is a run's own part in it.

mod files;
pub(crate) mod key;
mod lock;
pub(crate) mod place;
pub(crate) mod record;
pub(crate) mod shared;
pub(crate) mod stamp;
pub(crate) mod store;
