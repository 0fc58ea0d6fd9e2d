//! Why a change of a device or site was refused, as an error of the API.

use axum::http::StatusCode;
use ecowatt_store::EditError;

use super::error::ApiError;
use super::error_code::ErrorCode;
use crate::corrections::ChangeError;

/// Converts why a device or site was not changed; `unknown` makes the error for a missing one.
pub(super) fn change_refused(error: ChangeError, unknown: fn() -> ApiError) -> ApiError {
    let text = error.to_string();
    let conflict = |code, text| ApiError::new(StatusCode::CONFLICT, code, text);
    match error {
        ChangeError::Name => ApiError::bad_request(ErrorCode::InvalidName, text),
        ChangeError::TimeZone(_) => ApiError::bad_request(ErrorCode::InvalidTimeZone, text),
        ChangeError::Edit(error) => match error {
            EditError::Store(error) => error.into(),
            EditError::Unknown => unknown(),
            EditError::UnknownSite => ApiError::bad_request(
                ErrorCode::SiteUnknown,
                "there is no site of that name yet; give its time zone to make it",
            ),
            EditError::NameTaken => conflict(ErrorCode::SiteNameTaken, text),
            EditError::OtherTimeZone(_) => conflict(ErrorCode::SiteInOtherTimeZone, text),
            EditError::InUse => conflict(
                ErrorCode::SiteInUse,
                "the site has devices; move or delete them first".into(),
            ),
            EditError::HasDays => conflict(
                ErrorCode::PastDays,
                "energy and statistics of past days are cut by the present time zone and stay so, and \
                 today's are a mixture; `keep_past_days` says that this may be so"
                    .into(),
            ),
        },
    }
}
