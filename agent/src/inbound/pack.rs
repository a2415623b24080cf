//! A pack that came to a gateway which keeps none.

use super::TooLong;
use crate::intake::Intake;

/// Says that it is not taken.
///
/// # Errors
/// Never: nothing is written.
pub(super) fn take(payload: Result<&[u8], &TooLong>, intake: &Intake) -> rusqlite::Result<()> {
    intake.unhandled("pack", payload.map_or_else(|long| long.bytes, <[u8]>::len));
    Ok(())
}
