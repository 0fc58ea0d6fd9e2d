//! Reports how the bytes of the database are used.

use rusqlite::Connection;

use super::convert::count;
use super::retention;
use crate::StoreError;
use crate::telemetry::{Kind, KindBytes, StoreReport};

fn kind(table: &str) -> Kind {
    match table {
        "block" | "pack" => Kind::Samples,
        "quarter" | "minute_pack" => Kind::Minutes,
        "quarter_pack" => Kind::Quarters,
        "day" => Kind::Days,
        "counter_edge" | "power_edge" | "counter_pack" | "power_pack" | "energy_gap" => {
            Kind::Energy
        }
        "device_state" | "inverter_state" | "received" => Kind::States,
        _ => Kind::Rest,
    }
}

/// Counts whole pages of tables and their indexes with SQLite's `dbstat`
/// (<https://sqlite.org/dbstat.html>). Reads every page.
pub(crate) fn report(db: &Connection) -> Result<StoreReport, StoreError> {
    let mut statement = db.prepare(
        "SELECT coalesce(tbl_name, name), sum(pgsize)
         FROM dbstat LEFT JOIN sqlite_schema USING (name) WHERE aggregate = TRUE GROUP BY 1",
    )?;
    let mut rows = statement.query([])?;
    let mut kinds = Kind::ALL.map(|kind| KindBytes { kind, bytes: 0 });
    while let Some(row) = rows.next()? {
        let table: String = row.get(0)?;
        let (kind, bytes) = (kind(&table), count(row, 1)?);
        kinds.iter_mut().filter(|of| of.kind == kind).for_each(|of| of.bytes += bytes);
    }
    let free = "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size";
    let days = "SELECT (SELECT count(*) FROM day) +
         (SELECT count(*) FROM inverter_state WHERE date IS NOT NULL)";
    let samples = "SELECT coalesce(sum(samples), 0) FROM device_state";
    let number = |sql: &str| db.query_row(sql, [], |row| count(row, 0));
    Ok(StoreReport {
        kinds: kinds.to_vec(),
        free_bytes: number(free)?,
        samples: number(samples)?,
        inverter_days: number(days)?,
        removed: retention::sum(db)?,
    })
}
