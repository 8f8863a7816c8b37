//! The export of one's own data.

use axum::extract::State;
use chrono::{DateTime, Utc};
use http::StatusCode;
use serde::Serialize;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::verification::v1::{DataExport, GetExportRequest, RequestExportRequest};
use utoipa::ToSchema;

use super::time;
use crate::clients::DataExportClient;
use crate::extract::Json;
use crate::openapi::values::DataExportStatus;
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(Serialize, ToSchema)]
pub(super) struct DataExportAnswer {
    export_id: i64,
    #[schema(value_type = DataExportStatus)]
    status: String,
    requested_at: Option<DateTime<Utc>>,
    completed_at: Option<DateTime<Utc>>,
    /// When the archive is deleted.
    expires_at: Option<DateTime<Utc>>,
    length_bytes: Option<i64>,
    /// While the export is ready, the address of a ZIP of JSON files. It expires after some minutes; ask again for
    /// another one.
    download_url: Option<String>,
}

impl From<DataExport> for DataExportAnswer {
    fn from(export: DataExport) -> Self {
        Self {
            export_id: export.export_id,
            status: export.status,
            requested_at: time(export.requested_at),
            completed_at: time(export.completed_at),
            expires_at: time(export.expires_at),
            length_bytes: export.length_bytes,
            download_url: export.download_url,
        }
    }
}

/// Request a copy of all of the current user's data, at most once a day.
///
/// `/ws/notifications` sends `data_export_ready` when it is ready. It is kept for seven days, unless the account is
/// deleted before.
#[utoipa::path(
    post,
    path = "/users/me/export",
    tag = "people",
    security(("access_token" = [])),
    responses(
        (status = 202, body = DataExportAnswer),
        (status = 404, description = "user_not_found"),
        (status = 409, description = "export_too_soon"),
    )
)]
pub(super) async fn request_export(
    State(mut exports): State<DataExportClient>,
    current_user: CurrentUser,
) -> Result<(StatusCode, Json<DataExportAnswer>)> {
    let user_id = current_user.user_id;
    let export = exports
        .request_export(RequestExportRequest { user_id })
        .await?;
    Ok((StatusCode::ACCEPTED, Json(export.into_inner().into())))
}

/// Read the state of the current user's latest export, and the address of a ready one.
#[utoipa::path(
    get,
    path = "/users/me/export",
    tag = "people",
    security(("access_token" = [])),
    responses(
        (status = 200, body = DataExportAnswer),
        (status = 404, description = "export_not_found"),
    )
)]
pub(super) async fn read_export(
    State(exports): State<DataExportClient>,
    current_user: CurrentUser,
) -> Result<Json<DataExportAnswer>> {
    let user_id = current_user.user_id;
    let export = retry_idempotent(
        &exports,
        DataExportClient::get_export,
        GetExportRequest { user_id },
    )
    .await?;
    Ok(Json(export.into()))
}
