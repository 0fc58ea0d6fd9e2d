//! The store: schema and every SQL statement of the server.
//!
//! [`Store`] exposes results, not SQL: what was stored, what was already known, what is stale. The
//! only engine is SQLite in a folder. Everything that must be atomic with a message (its batches,
//! its counter, the roll-ups, the device's report) is in one commit, and no request is answered
//! before that commit is on the disk. The store reads no clock: instants are arguments.

mod access;
mod audit;
mod batch_summary;
mod command;
mod config_template;
mod configuration;
mod edge_pack;
mod energy;
mod energy_counter;
mod error;
mod fleet;
mod ids;
mod ingest;
mod integer_models;
mod key_streams;
mod latest;
mod lease;
pub mod limits;
mod loaded;
mod original;
mod original_database;
mod pack;
mod point;
mod received_set;
mod retention;
mod revocation;
mod rollup;
mod rollup_pack;
mod row_pack;
mod self_report;
mod sorted_map;
mod sqlite;
mod store;
mod telemetry;
mod unproven_call;
mod upload;
mod varint;

pub use access::{
    CreateTokenError, DeleteTokenError, NewSession, NewToken, RedeemSetup, RedeemSetupError, Role,
    SecretHash, Session, SessionId, Token, TokenId, TokenSession, TokenUse,
};
pub use audit::{AuditLine, Author};
pub use batch_summary::{EnergyPoint, EnergyPoints, Summariser, Summary};
pub use command::{
    CancelCommandError, Command, CommandFailure, CommandFigures, CommandNumber, CommandOrder,
    CommandOutcome, CommandQuery, CommandResult, CommandState, CommandTransition,
    CreateCommandError, CreatedCommand, MovedCommand, NewCommand, ParseCommandNumberError,
    SentCommand, StateCount,
};
pub use config_template::{
    ConfigPreview, ConfigTemplate, EditTemplate, TemplateError, TemplateVersion,
};
pub use configuration::{
    ConfigReport, ConfigState, ConfigVersion, Desired, DeviceConfig, EditConfig, EditConfigError,
    EditedConfig, RefusedSetting, ReportedConfig, SettingKey, SettingRefusal, Settings,
};
pub use energy::{ASLEEP_GAP_MIN_MS, EnergyFigure, GAP_INTERVALS, GAP_MIN_MS};
pub use error::{EngineError, OpenError, StoreError};
pub use fleet::{
    AnnounceError, Claim, ClaimFor, CreateClaimError, Device, DeviceKey, DevicePage, DeviceQuery,
    DeviceState, DeviceSweep, Diagnostic, EditDevice, EditError, EditSite, InverterReport,
    InverterState, Link, NewClaim, OpenClaim, RedeemClaim, RedeemClaimError, Redemption, Site,
    SiteByName, SiteId, Stream, StreamPoints,
};
pub use ids::{DateRange, LayoutId, LocalDate, PointId, StreamId};
pub use latest::{Attempt, Reading};
pub use lease::{
    DesiredLeases, DeviceLeases, Lease, LeaseError, LeaseReport, LeaseTerms, LimitChange,
    PowerLimit, RefusedLease, ReportedLeases,
};
pub use original::{EnrolOriginal, NamedOriginal, OriginalDevice};
pub use original_database::{
    MeasurementRow, OriginalDatabase, OriginalDatabaseError, RegisteredDevice, UnreadTable,
};
pub use pack::Pack;
pub use point::{Point, PointDef};
pub use retention::{Expired, Removed, Resolution};
pub use rollup::{Aggregate, MINUTE_MS, QUARTER_MS};
pub use row_pack::{RowKind, RowPack, UnpackedRows};
pub use sqlite::backup::{
    BackupError, BadLineError, Contents, CopyProgress, Restored, back_up, restore,
};
pub use sqlite::stepper::Stepper;
pub use store::Store;
pub use telemetry::{
    BatchRows, Block, Bucket, DayBucket, DeviceDay, EnergyDay, EnergyGap, Kind, KindBytes,
    LatestReading, MeanPower, Rebuilt, RemovedRows, SourceLatest, StoreReport, StoreSize,
    StoredBatch, Stretch, TimeRange,
};
pub use telemetry::{SourcePower, StateReading};
pub use unproven_call::{CallAbout, CallError, CallReceipt, UnprovenCall};
pub use upload::{
    DeviceReport, Dropped, NewBlock, NewStream, Receipt, ReceivedEpoch, TimeQuality, Upload,
    UploadOutcome,
};

/// Canonical name of the point with an inverter's AC power.
pub const POWER_POINT: &str = "ac.power";
/// Canonical name of the point with an inverter's state.
pub const STATE_POINT: &str = "state";

/// Canonical name of the point with an inverter's lifetime energy counter.
pub const ENERGY_POINT: &str = "ac.energy.total";
