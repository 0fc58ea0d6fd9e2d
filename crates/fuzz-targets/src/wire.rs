//! Messages inside an opened envelope.

use ecowatt_wire::{Reply, Uplink};

/// An uplink is read or refused, and all its lists can be walked.
pub fn wire_uplink(data: &[u8]) {
    if let Ok(uplink) = Uplink::parse(data) {
        let items = uplink.batches().count() + uplink.streams().count() + uplink.dropped().count();
        assert!(items <= 3 * ecowatt_wire::ITEMS_MAX);
        if let Some(leases) = uplink.leases() {
            let items = leases.refused.iter().count() + leases.changes.iter().count();
            assert!(items <= 2 * ecowatt_wire::ITEMS_MAX);
        }
        let _ = (uplink.clock(), uplink.status());
    }
}

/// A reply is read or refused, and all its lists can be walked.
pub fn wire_reply(data: &[u8]) {
    if let Ok(reply) = Reply::parse(data) {
        let items = reply.acks().count() + reply.wanted().count() + reply.refused().count();
        assert!(items <= 3 * ecowatt_wire::ITEMS_MAX);
        let leases = reply.leases().map_or(0, |leases| leases.leases.iter().count());
        assert!(leases <= ecowatt_wire::ITEMS_MAX);
        let _ = (reply.time(), reply.check_in(), reply.held());
    }
}
