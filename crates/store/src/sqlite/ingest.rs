//! One upload within a group: decided in memory ([`crate::ingest`]), loading rows as it needs them.
//! Its changes are written at the end of the group.

use rusqlite::Connection;

use super::load;
use super::state_cache::StateCache;
use crate::StoreError;
use crate::ingest::{self, Decision, decide};
use crate::unproven_call::{CallError, CallReceipt, UnprovenCall};
use crate::upload::{Upload, UploadOutcome};

/// How often an upload can request rows: for its key, its epochs, its inverters, and twice for each
/// batch that arrives between others.
const ROUNDS_MAX: u32 = 4096;

pub(super) fn ingest(
    db: &Connection,
    states: &mut StateCache,
    upload: Upload,
) -> Result<UploadOutcome, StoreError> {
    let device = upload.device;
    let state = states.state(device);
    for _ in 0..ROUNDS_MAX {
        match decide(state, &upload) {
            Err(wants) => load::load(db, device, &wants, state)?,
            Ok(Decision::Answer(outcome)) => return Ok(outcome),
            Ok(Decision::Take(plan)) => {
                let (receipt, changes) = plan.carry_out(state, upload);
                states.changed(device, changes);
                return Ok(UploadOutcome::Stored(receipt));
            }
        }
    }
    Err(StoreError::Corrupt("rows of a device"))
}

/// Takes a call without a proof, in the same way.
pub(super) fn call(
    db: &Connection,
    states: &mut StateCache,
    call: &UnprovenCall,
) -> Result<CallReceipt, CallError> {
    let state = states.state(call.device);
    for _ in 0..ROUNDS_MAX {
        match ingest::call(state, call) {
            Err(wants) => load::load(db, call.device, &wants, state)?,
            Ok(Err(refused)) => return Err(refused),
            Ok(Ok((receipt, changes))) => {
                states.changed(call.device, changes);
                return Ok(receipt);
            }
        }
    }
    Err(StoreError::Corrupt("rows of a device").into())
}
