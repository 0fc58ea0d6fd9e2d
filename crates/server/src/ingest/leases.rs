//! Leases in messages, from the wire's types to the store's and back.

use ecowatt_model::UnixMs;
use ecowatt_store::{
    DesiredLeases, LeaseTerms, LimitChange, PowerLimit, RefusedLease, ReportedLeases,
};
use ecowatt_wire as wire;

/// Returns what a device reports of its leases. A change that it could not date gets the time of its
/// message.
pub(super) fn reported(reported: &wire::ReportedLeases<'_>, received_at: UnixMs) -> ReportedLeases {
    let refused = reported.refused.iter();
    let refused = refused.map(|lease| RefusedLease { id: lease.id, reason: lease.reason as u8 });
    let changes = reported.changes.iter().map(|change| LimitChange {
        source: change.source,
        epoch: change.epoch,
        mono: change.mono,
        // A clock that is ahead does not hide the changes that follow.
        at: change.at.filter(|at| *at <= received_at).unwrap_or(received_at),
        lease: change.lease,
        cause: change.cause as u8,
        failure: change.failure as u8,
        detail: change.detail,
        limit_ppm: change.limit_ppm,
        confirmed_ms: change.confirmed_ms,
        power_w: change.power_w,
        power_ms: change.power_ms,
    });
    ReportedLeases {
        generation: reported.generation,
        refused: refused.collect(),
        changes: changes.collect(),
    }
}

/// Returns the leases for a reply.
pub(super) fn leases(desired: &DesiredLeases) -> Vec<wire::Lease> {
    let limit = |limit: PowerLimit| match limit {
        PowerLimit::Permille(permille) => wire::Limit::Permille(permille),
        PowerLimit::Watts(watts) => wire::Limit::Watts(watts),
    };
    let lease = |(id, terms): &(ecowatt_model::LeaseId, LeaseTerms)| wire::Lease {
        id: *id,
        source: terms.source,
        limit: limit(terms.limit),
        from_s: terms.from_s,
        to_s: terms.to_s,
        ramp_s: terms.ramp_s,
        link_loss_s: terms.link_loss_s,
        then: terms.then.map(limit),
        priority: terms.priority,
    };
    desired.leases.iter().map(lease).collect()
}
