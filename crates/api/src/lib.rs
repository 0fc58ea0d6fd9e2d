//! Requests and responses of the operator API (`/api/v1`), as JSON.
//!
//! Server, client, command line and dashboard share these types; the OpenAPI document is made from
//! them. Instants are RFC 3339 text in UTC with milliseconds; durations and sizes carry their unit
//! in the name. Numbers of points are in the point's unit, with as many decimals as its sensor has.

mod access;
mod audit;
mod command;
mod configuration;
mod device;
mod error;
mod event;
mod lease;
mod original;
mod system;
mod telemetry;
mod template;

pub use access::{
    CreateSession, CreateToken, CreatedToken, OpenClaim, RedeemSetup, Role, RunningSession,
    Session, Token,
};
pub use audit::{AuditLine, AuditList};
pub use command::{
    Command, CommandArgument, CommandArgumentKind, CommandDetail, CommandFailure, CommandKind,
    CommandKindList, CommandList, CommandScope, CommandState, CommandStatistics, CommandTransition,
    CreateCommand,
};
pub use configuration::{
    ConfigChange, ConfigHistory, ConfigReport, ConfigState, DeviceConfig, Setting, SettingChange,
    SettingKind, SettingList, SettingOrigin, SettingRefusal, SettingScope, SettingState,
    SettingStatus, SettingValue, UpdateConfig,
};
pub use device::{
    CreateClaim, CreateDevice, Device, DeviceDetail, DeviceList, DeviceState, Enrolment,
    InverterState, InverterSummary, LinkState, NewSite, PointValue, Profile, Site, Spark, Trouble,
    TroubleCause, UpdateDevice, UpdateSite, Updated,
};
pub use error::{Error, ErrorBody};
pub use event::{CommandChanged, ConfigChanged, DeviceChanged, EventKind, LiveSample};
pub use lease::{CreateLease, Lease, LeaseList, LeaseRefusal, LeaseState, LimitCause, LimitChange};
pub use original::{EnrolOriginal, EnrolledOriginal, OriginalAnswer, OriginalRefusal};
pub use system::System;
pub use telemetry::{
    Energy, EnergyDay, EnergyGap, EnergySource, Resolution, Series, Telemetry, UnsureTime,
};
pub use template::{
    AssignTemplate, AssignTemplateToGroup, AssignedTemplate, ConfigTemplate, ConfigTemplateList,
    CreateTemplate, TemplateChange, TemplateHistory, TemplatePreview, TemplatePreviewDevice,
    TemplateSetting, UpdateTemplate,
};

/// Most devices that one page of the device list holds.
pub const DEVICES_PAGE_MAX: usize = 500;

/// Most changes that one page of a configuration's history holds.
pub const CONFIG_CHANGES_PAGE_MAX: u32 = 100;

/// Most changes that one page of the audit log holds.
pub const AUDIT_PAGE_MAX: u32 = 500;

/// Most commands that one page of a device's commands holds.
pub const COMMANDS_PAGE_MAX: u32 = 100;

/// Most instants that one telemetry answer holds; a longer range wants a coarser resolution.
pub const TELEMETRY_ROWS_MAX: usize = 20_000;

/// Most days that one energy answer holds.
pub const ENERGY_DAYS_MAX: usize = 3_700;
