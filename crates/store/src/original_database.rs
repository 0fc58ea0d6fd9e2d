//! The database of the earlier EcoWatt's server, read only.
//!
//! Its columns have whatever type was stored, so everything is read as text, and a row that lacks
//! something is returned with what it has: the caller reports it by its number.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// What is not read of it, by table.
const OTHER_TABLES: [&str; 6] = [
    "commands",
    "configurations",
    "ota_updates",
    "power_reports",
    "fault_injections",
    "fault_recovery_events",
];

/// Why the database cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum OriginalDatabaseError {
    #[error("not a database of the earlier EcoWatt: it has no table `{0}`")]
    Table(&'static str),
    #[error("the database cannot be read")]
    Sqlite(#[from] rusqlite::Error),
}

/// An open database.
#[derive(Debug)]
pub struct OriginalDatabase(Connection);

/// A device that it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredDevice {
    pub id: String,
    pub name: Option<String>,
}

/// A row of measurements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasurementRow {
    /// Its number in the table.
    pub number: i64,
    /// Local time of the server, as text.
    pub timestamp: Option<String>,
    /// JSON: scaled values by the names of registers.
    pub registers: Option<String>,
}

/// Rows of a table that are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnreadTable {
    pub name: &'static str,
    pub rows: i64,
}

impl OriginalDatabase {
    /// Opens a file.
    ///
    /// # Errors
    /// Fails if it is no database of the original.
    pub fn open(path: &Path) -> Result<Self, OriginalDatabaseError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let database = Self(Connection::open_with_flags(path, flags)?);
        for table in ["sensor_data", "devices"] {
            if !database.has_table(table)? {
                return Err(OriginalDatabaseError::Table(table));
            }
        }
        Ok(database)
    }

    /// Returns every device that is registered or has measurements, by id.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn devices(&self) -> Result<Vec<RegisteredDevice>, OriginalDatabaseError> {
        let mut statement = self.0.prepare(
            "SELECT CAST(known.id AS TEXT) AS id, CAST(devices.device_name AS TEXT) AS name
             FROM (SELECT device_id AS id FROM devices UNION SELECT device_id FROM sensor_data)
                 AS known
                 LEFT JOIN devices ON devices.device_id = known.id
             WHERE known.id IS NOT NULL
             ORDER BY known.id",
        )?;
        let devices = statement.query_map([], |row| {
            Ok(RegisteredDevice { id: row.get("id")?, name: row.get("name")? })
        })?;
        Ok(devices.collect::<Result<_, _>>()?)
    }

    /// Returns up to `limit` rows of a device after a row, by number.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn measurements(
        &self,
        device: &str,
        after: i64,
        limit: u32,
    ) -> Result<Vec<MeasurementRow>, OriginalDatabaseError> {
        let mut statement = self.0.prepare_cached(
            "SELECT id, CAST(timestamp AS TEXT) AS timestamp,
                 CAST(register_data AS TEXT) AS registers
             FROM sensor_data WHERE device_id = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
        )?;
        let rows = statement.query_map(rusqlite::params![device, after, limit], |row| {
            Ok(MeasurementRow {
                number: row.get("id")?,
                timestamp: row.get("timestamp")?,
                registers: row.get("registers")?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Counts the rows of tables that are not read.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub fn unread_tables(&self) -> Result<Vec<UnreadTable>, OriginalDatabaseError> {
        let mut unread = Vec::new();
        for name in OTHER_TABLES {
            if self.has_table(name)? {
                let count = format!("SELECT count(*) FROM {name}");
                let rows = self.0.query_row(&count, [], |row| row.get(0))?;
                unread.push(UnreadTable { name, rows });
            }
        }
        Ok(unread)
    }

    fn has_table(&self, name: &str) -> Result<bool, OriginalDatabaseError> {
        let found =
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
        Ok(self.0.query_row(found, [name], |row| row.get(0))?)
    }
}
