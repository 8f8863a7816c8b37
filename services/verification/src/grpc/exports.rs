//! The gRPC service of exports: checks requests and converts messages.

use talktime_proto::timestamp;
use talktime_proto::verification::v1 as pb;
use talktime_proto::verification::v1::data_export_service_server::DataExportService;
use tonic::{Request, Response, Status};

use super::refused;
use crate::exports::{ExportWithAddress, UserExportService};

pub(crate) struct DataExportGrpcApi {
    exports: UserExportService,
}

impl DataExportGrpcApi {
    pub(crate) fn new(exports: UserExportService) -> Self {
        Self { exports }
    }
}

#[tonic::async_trait]
impl DataExportService for DataExportGrpcApi {
    async fn request_export(
        &self,
        request: Request<pb::RequestExportRequest>,
    ) -> Result<Response<pb::DataExport>, Status> {
        let user_id = request.into_inner().user_id;
        let export = self.exports.request_export(user_id).await;
        Ok(Response::new(export_message(export.map_err(refused)?)))
    }

    async fn get_export(
        &self,
        request: Request<pb::GetExportRequest>,
    ) -> Result<Response<pb::DataExport>, Status> {
        let user_id = request.into_inner().user_id;
        let export = self.exports.load_export(user_id).await;
        Ok(Response::new(export_message(export.map_err(refused)?)))
    }
}

fn export_message(addressed: ExportWithAddress) -> pb::DataExport {
    let ExportWithAddress {
        export,
        download_url,
    } = addressed;
    pb::DataExport {
        export_id: export.export_id,
        status: export.state.name().to_owned(),
        requested_at: Some(timestamp(export.requested_at)),
        completed_at: export.completed_at.map(timestamp),
        expires_at: export.expires_at.map(timestamp),
        length_bytes: export.length_bytes,
        download_url,
    }
}
