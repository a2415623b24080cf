//! A pack that the platform keeps for this gateway: retained, so it comes again with each connection.

use gridpost_protocol::time::UnixMillis;

use crate::intake::Intake;
use crate::spool::Transaction;

/// Takes a pack; the same one twice does no harm.
///
/// # Errors
/// When the transaction fails; then it is tried again.
pub(super) fn take(
    payload: &[u8],
    intake: &mut Intake,
    _now: UnixMillis,
    _transaction: &Transaction<'_>,
) -> rusqlite::Result<()> {
    intake.unhandled("pack", payload.len());
    Ok(())
}
