//! What became of an event: filed, dispatched, handled, closed, rejected.

use gridpost_protocol::time::UnixMillis;

use crate::intake::Intake;
use crate::spool::Transaction;

/// Takes a disposition; the same one twice does no harm.
///
/// # Errors
/// When the transaction fails; then it is tried again.
pub(super) fn take(
    payload: &[u8],
    intake: &mut Intake,
    _now: UnixMillis,
    _transaction: &Transaction<'_>,
) -> rusqlite::Result<()> {
    intake.unhandled("disposition", payload.len());
    Ok(())
}
