//! Redeems the claim code for the device's own key.
//!
//! The ephemeral key is durable before its first message is sent, so that after a lost answer the
//! same bytes are sent again; only for these does the server repeat its answer. A device that was
//! never enrolled does not sample: only the grant tells it which boot epochs are free.

use std::sync::Arc;
use std::time::Duration;

use ecowatt_clock::Clock;
use ecowatt_envelope::enrol::{DeviceHalf, ENROL_MESSAGE_MAX};
use ecowatt_envelope::{ClaimCode, ClaimId};
use ecowatt_model::DeviceNumber;
use ecowatt_node::storage::{Identity, Ledger, LedgerError, PendingEnrolment};

use crate::data_folder::Folder;
use crate::link::Link;
use crate::server_contact::{ContactFailure, StatusLog};

/// Why the agent has no identity and cannot get one.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    #[error(
        "the device is not enrolled and the configuration has no claim code: `ecowatt device enrol` \
         makes one, give it as claim_file or claim_code"
    )]
    NoClaim,
    #[error("identity cannot be kept")]
    Ledger(#[from] LedgerError),
    #[error(
        "the claim code is for {granted}, the data folder belongs to {held}: give {granted} a folder of \
         its own, and another code, since this one is used up: `ecowatt device enrol --device {granted}`"
    )]
    OtherDevice { held: DeviceNumber, granted: DeviceNumber },
    #[error("the operating system has no random numbers")]
    Random(#[source] getrandom::Error),
}

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Whether the ledger's identity is the configured one.
pub(crate) fn is_enrolled(ledger: &Ledger<Arc<Folder>>, claim: Option<&ClaimCode>) -> bool {
    let Some(identity) = &ledger.record().identity else { return false };
    claim.is_none_or(|claim| identity.claim_id == claim.id().as_str())
}

/// Sends requests until the server grants an identity, and makes that durable.
pub(crate) async fn enrol(
    ledger: &mut Ledger<Arc<Folder>>,
    claim: Option<&ClaimCode>,
    link: &mut Link,
    status_log: &mut StatusLog,
    clock: Clock,
) -> Result<(), EnrolError> {
    let claim = claim.ok_or(EnrolError::NoClaim)?;
    let half = DeviceHalf::new(secret(ledger, claim.id())?);
    let mut request = [0; ENROL_MESSAGE_MAX];
    let len = half.request(claim, &mut request);
    let mut pause = RETRY_MIN;
    let held = ledger.record().identity.as_ref().map(|held| DeviceNumber(held.device));
    loop {
        let answer = link
            .post("/link/enrol", request[..len].to_vec(), ENROL_MESSAGE_MAX, Duration::ZERO)
            .await;
        let (trouble, failure): (_, Box<dyn std::error::Error + Send + Sync>) = match answer {
            Ok(answer) => match half.finish(claim, &answer) {
                Ok(granted) => {
                    let grant = granted.grant;
                    let mut record = ledger.record().clone();
                    // Streams and spool belong to the device that made them.
                    if let Some(held) = held.filter(|held| *held != grant.device) {
                        return Err(EnrolError::OtherDevice { held, granted: grant.device });
                    }
                    record.identity = Some(Identity {
                        device: grant.device.0,
                        key_generation: grant.generation.0,
                        claim_id: claim.id().to_string(),
                        key: granted.key.expose().to_vec(),
                    });
                    record.enrolment = None;
                    // Counters start again under a new key; epochs and streams never go back.
                    record.reserved = 0;
                    record.epoch = record.epoch.max(grant.first_epoch.0.saturating_sub(1));
                    record.next_stream = record.next_stream.max(grant.first_stream.0);
                    ledger.store(record)?;
                    tracing::info!(device = %grant.device, "enrolled");
                    return Ok(());
                }
                Err(error) => (ContactFailure::BadReply, error.into()),
            },
            Err(error) => (ContactFailure::of_claim(&error), error.into()),
        };
        status_log.not_enrolled(clock.mono(), held, trouble, &*failure);
        // A refused code stays refused, unless the server is being corrected.
        if trouble.remedy(held).is_some() {
            pause = RETRY_MAX;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_MAX);
    }
}

/// Returns the ephemeral key of this claim; it is made durable at its first use.
fn secret(ledger: &mut Ledger<Arc<Folder>>, claim: ClaimId) -> Result<[u8; 32], EnrolError> {
    if let Some(pending) = &ledger.record().enrolment
        && pending.claim_id == claim.as_str()
        && let Ok(secret) = pending.secret.as_slice().try_into()
    {
        return Ok(secret);
    }
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(EnrolError::Random)?;
    ledger
        .set_enrolment(PendingEnrolment { claim_id: claim.to_string(), secret: secret.to_vec() })?;
    Ok(secret)
}
