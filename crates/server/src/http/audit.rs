//! `/api/v1/audit`: who changed what.

use axum::Json;
use axum::extract::State;
use ecowatt_api::{AUDIT_PAGE_MAX, AuditLine, AuditList};
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::error::ApiError;
use super::error_code::ErrorCode;
use super::extract::Params;
use crate::limits::AUDIT_PAGE_DEFAULT;
use crate::time::rfc3339;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AuditQuery {
    /// Changes on the page: 1 to 500. Default: 100.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Lists who changed what in the last year, newest first.
///
/// Each change of a device, a site, settings, commands or access is recorded in the transaction that
/// makes it. Readings and what devices report are not changes.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "access",
    params(AuditQuery),
    responses((status = OK, body = AuditList)),
)]
pub(super) async fn list_audit(
    State(app): State<App>,
    Params(query): Params<AuditQuery>,
) -> Result<Json<AuditList>, ApiError> {
    let limit = query.limit.unwrap_or(AUDIT_PAGE_DEFAULT);
    if limit == 0 || limit > AUDIT_PAGE_MAX {
        return Err(ApiError::bad_request(
            ErrorCode::InvalidLimit,
            format!("`limit` is 1 to {AUDIT_PAGE_MAX}"),
        ));
    }
    let before = query.cursor.as_deref().map(str::parse).transpose().map_err(|_| {
        ApiError::bad_request(ErrorCode::InvalidCursor, "`cursor` is not one that a page gave")
    })?;
    let page = app.audit.page(before, limit).await?;
    let changes = page.lines.into_iter().map(|line| AuditLine {
        at: rfc3339(line.by.at),
        who: line.by.who,
        change: line.change,
        subject: line.subject,
        request: line.by.request,
    });
    Ok(Json(AuditList {
        changes: changes.collect(),
        next_cursor: page.next.map(|id| id.to_string()),
    }))
}
