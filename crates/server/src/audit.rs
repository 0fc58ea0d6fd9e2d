//! Who changed what: pages of the audit log, which the store writes with each change.

use ecowatt_store::{AuditLine, Store, StoreError};

/// Reads the audit log.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    store: Store,
}

/// Changes, newest first.
#[derive(Debug)]
pub(crate) struct AuditPage {
    pub(crate) lines: Vec<AuditLine>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<i64>,
}

impl Audit {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Returns up to `limit` changes before the given one.
    pub(crate) async fn page(
        &self,
        before: Option<i64>,
        limit: u32,
    ) -> Result<AuditPage, StoreError> {
        // One more than the page shows whether there is another.
        let mut lines = self.store.list_audit(before, limit.saturating_add(1)).await?;
        let has_more = u32::try_from(lines.len()).is_ok_and(|found| found > limit);
        if has_more {
            lines.pop();
        }
        let next = lines.last().filter(|_| has_more).map(|line| line.id);
        Ok(AuditPage { lines, next })
    }
}
