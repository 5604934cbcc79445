//! Asks sentinels which server is the master.

use redis::{Value, pipe};

use super::address::Peer;
use super::session::{all_fine, text};
use super::trouble::Trouble;
use super::wire::{Fault, Limit};

/// The master of this name. `ask` sends commands to a sentinel. The sentinels share the time that
/// is left.
///
/// # Errors
/// If no sentinel answers, or none knows the name.
pub(super) fn master(
    sentinels: &[Peer],
    name: &str,
    limit: Limit,
    mut ask: impl FnMut(&Peer, &redis::Pipeline, Limit) -> Result<Vec<Value>, Fault>,
) -> Result<Peer, Fault> {
    let mut question = pipe();
    question.cmd("SENTINEL").arg("get-master-addr-by-name").arg(name);
    let mut fault = None;
    for (n, sentinel) in sentinels.iter().enumerate() {
        let answer = ask(sentinel, &question, limit.share(sentinels.len() - n));
        match answer.and_then(all_fine).and_then(|[value]| peer(&value)) {
            Ok(Some(master)) => return Ok(master),
            // This one does not watch it. That is the answer unless another one knows more.
            Ok(None) => fault = Some(Trouble::NoMaster { master: name.to_owned() }.into()),
            Err(Fault::Interrupted) => return Err(Fault::Interrupted),
            Err(other) => {
                fault.get_or_insert(other);
            }
        }
    }
    Err(fault.unwrap_or_else(|| Trouble::NoMaster { master: name.to_owned() }.into()))
}

/// The answer is a host and a port, or nothing.
pub(super) fn peer(value: &Value) -> Result<Option<Peer>, Fault> {
    match value {
        Value::Nil => Ok(None),
        Value::Array(parts) => match parts.as_slice() {
            [host, port] => {
                let port = text(port)?.parse().map_err(|_| Trouble::Garbage)?;
                Ok(Some(Peer { host: text(host)?.to_owned(), port }))
            }
            _ => Err(Trouble::Garbage.into()),
        },
        _ => Err(Trouble::Garbage.into()),
    }
}
