//! Converts SQLite's errors into the store's.

use std::sync::Arc;

use rusqlite::ErrorCode;

use crate::access::{CreateTokenError, DeleteTokenError, RedeemSetupError};
use crate::command::{CancelCommandError, CreateCommandError};
use crate::fleet::{AnnounceError, CreateClaimError, EditError, RedeemClaimError};
use crate::{EngineError, StoreError, TemplateError};

/// Hides the library's type.
pub(super) fn cause(error: rusqlite::Error) -> EngineError {
    Box::new(error)
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if matches!(error, rusqlite::Error::FromSqlConversionFailure(..)) {
            return Self::Corrupt("row");
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Damaged(Arc::new(error))
            }
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::NoLargeFileSupport,
            ) => Self::Io(Arc::new(error)),
            Some(
                ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                // The caller no longer waits for the answer.
                | ErrorCode::OperationInterrupted,
            ) => Self::Busy,
            _ => Self::Sql(Arc::new(error)),
        }
    }
}

/// Converts statement errors into errors of operations that can also fail for reasons of their own.
macro_rules! store_failures {
    ($($error:ty),* $(,)?) => {
        $(
            impl From<rusqlite::Error> for $error {
                fn from(error: rusqlite::Error) -> Self {
                    Self::Store(error.into())
                }
            }
        )*
    };
}

store_failures!(
    AnnounceError,
    CancelCommandError,
    CreateClaimError,
    CreateCommandError,
    CreateTokenError,
    DeleteTokenError,
    EditError,
    RedeemClaimError,
    RedeemSetupError,
    TemplateError,
);
