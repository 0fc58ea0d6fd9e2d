//! `ecowatt audit`: who changed what.

use anyhow::Context as _;
use clap::Args;
use ecowatt_api::AUDIT_PAGE_MAX;

use crate::operator::Connection;
use crate::pages;
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
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let changes = pages::first(limit, |cursor| {
        let page = client
            .list_audit(args.limit.min(AUDIT_PAGE_MAX), cursor.as_deref())
            .context("listing changes")?;
        Ok((page.changes, page.next_cursor))
    })?
    .items;
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
