//! `ecowatt audit`: who changed what.

use anyhow::Context as _;
use clap::Args;
use ecowatt_api::AUDIT_PAGE_MAX;

use crate::operator::Connection;
use crate::table::{Table, or_dash, print_json};

/// Show who changed devices, sites, settings, commands and access, newest first.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    connection: Connection,
    /// Most changes to show.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints the newest changes.
///
/// # Errors
/// If the server cannot be reached or refuses.
pub(crate) fn run(args: &AuditArgs) -> anyhow::Result<()> {
    let client = args.connection.client()?;
    let mut changes = Vec::new();
    let mut left = args.limit;
    let mut cursor: Option<String> = None;
    while left > 0 {
        let page = client
            .list_audit(left.min(AUDIT_PAGE_MAX), cursor.as_deref())
            .context("listing changes")?;
        left = left.saturating_sub(u32::try_from(page.changes.len()).unwrap_or(u32::MAX));
        changes.extend(page.changes);
        cursor = page.next_cursor;
        if cursor.is_none() {
            break;
        }
    }
    if args.json {
        return print_json(&changes);
    }
    let mut table = Table::new(["at", "by", "change", "subject", "request"]);
    for change in changes {
        table.row([change.at, change.who, change.change, change.subject, or_dash(change.request)]);
    }
    table.print_or("nothing has been changed yet")?;
    Ok(())
}
