//! The gRPC service of verification: checks requests and converts messages.

mod convert;
mod exports;
mod photos;
mod upload_stream;

pub(crate) use exports::DataExportGrpcApi;
pub(crate) use photos::PhotoGrpcApi;

use talktime_kit::Error;
use talktime_kit::grpc::server::refuse;
use talktime_kit::paging::ListPageRequest;
use talktime_proto::timestamp;
use talktime_proto::verification::v1 as pb;
use talktime_proto::verification::v1::verification_service_server::VerificationService;
use tonic::{Request, Response, Status, Streaming};

use self::convert::{parse_review, standing_message, ticket_message, verification_message};
use self::upload_stream::receive_upload;
use crate::domain::{AudioSample, VerificationError};
use crate::samples::review::PendingSampleReview;
use crate::service::AudioSampleService;

pub(crate) struct VerificationGrpcApi {
    samples: AudioSampleService,
}

impl VerificationGrpcApi {
    pub(crate) fn new(samples: AudioSampleService) -> Self {
        Self { samples }
    }

    async fn build_message(
        &self,
        sample: AudioSample,
    ) -> Result<pb::Verification, VerificationError> {
        let audio_url = self.samples.resolve_address(&sample.location).await?;
        Ok(verification_message(sample, audio_url))
    }

    async fn build_messages(
        &self,
        samples: Vec<AudioSample>,
    ) -> Result<Vec<pb::Verification>, VerificationError> {
        let mut messages = Vec::with_capacity(samples.len());
        for sample in samples {
            messages.push(self.build_message(sample).await?);
        }
        Ok(messages)
    }

    async fn build_response(
        &self,
        result: Result<AudioSample, VerificationError>,
    ) -> Result<Response<pb::Verification>, Status> {
        let message = self.build_message(result.map_err(refused)?).await;
        Ok(Response::new(message.map_err(refused)?))
    }

    async fn build_pending_message(
        &self,
        pending: PendingSampleReview,
    ) -> Result<pb::PendingVerification, VerificationError> {
        Ok(pb::PendingVerification {
            user_id: pending.sample.user_id,
            username: pending.username,
            verification: Some(self.build_message(pending.sample).await?),
        })
    }
}

#[tonic::async_trait]
impl VerificationService for VerificationGrpcApi {
    async fn upload_audio(
        &self,
        request: Request<Streaming<pb::UploadAudioRequest>>,
    ) -> Result<Response<pb::Verification>, Status> {
        let sample = receive_upload(&self.samples, request.into_inner()).await;
        self.build_response(sample).await
    }

    async fn submit_audio_url(
        &self,
        request: Request<pb::SubmitAudioUrlRequest>,
    ) -> Result<Response<pb::Verification>, Status> {
        let request = request.into_inner();
        let (user_id, audio_url) = (request.user_id, &request.audio_url);
        let sample = self
            .samples
            .submit_address(user_id, audio_url, request.description);
        self.build_response(sample.await).await
    }

    async fn create_upload_ticket(
        &self,
        request: Request<pb::CreateUploadTicketRequest>,
    ) -> Result<Response<pb::UploadTicket>, Status> {
        let request = request.into_inner();
        let (user_id, length_bytes) = (request.user_id, request.length_bytes);
        let ticket = self
            .samples
            .issue_ticket(user_id, length_bytes, &request.content_type);
        let ticket = ticket.await.map_err(refused)?;
        Ok(Response::new(ticket_message(ticket)))
    }

    async fn confirm_upload(
        &self,
        request: Request<pb::ConfirmUploadRequest>,
    ) -> Result<Response<pb::Verification>, Status> {
        let request = request.into_inner();
        let (user_id, upload_id) = (request.user_id, &request.upload_id);
        let sample = self
            .samples
            .confirm_upload(user_id, upload_id, request.description);
        self.build_response(sample.await).await
    }

    async fn get_verification_status(
        &self,
        request: Request<pb::GetVerificationStatusRequest>,
    ) -> Result<Response<pb::GetVerificationStatusResponse>, Status> {
        let user_id = request.into_inner().user_id;
        let verification = self.samples.load_verification(user_id).await;
        let verification = verification.map_err(refused)?;
        let mut response = pb::GetVerificationStatusResponse {
            user_id,
            verification_status: verification.status_name().to_owned(),
            is_verified: verification.is_verified,
            verification_count: verification.sample_count,
            current: None,
        };
        if let Some(sample) = verification.newest_sample {
            response.current = Some(self.build_message(sample).await.map_err(refused)?);
        }
        Ok(Response::new(response))
    }

    async fn get_verification_history(
        &self,
        request: Request<pb::GetVerificationHistoryRequest>,
    ) -> Result<Response<pb::GetVerificationHistoryResponse>, Status> {
        let history = self.samples.list_history(request.into_inner().user_id);
        let (samples, counts) = history.await.map_err(refused)?;
        Ok(Response::new(pb::GetVerificationHistoryResponse {
            verifications: self.build_messages(samples).await.map_err(refused)?,
            total_count: counts.total,
            approved_count: counts.approved,
            rejected_count: counts.rejected,
        }))
    }

    async fn list_pending(
        &self,
        request: Request<pb::ListPendingRequest>,
    ) -> Result<Response<pb::ListPendingResponse>, Status> {
        let pb::ListPendingRequest { page, per_page } = request.into_inner();
        let page = ListPageRequest::new(page, per_page).map_err(refuse)?;
        let found = self.samples.list_pending(page).await;
        let (found, total_pending) = found.map_err(refused)?;
        let mut pending = Vec::with_capacity(found.len());
        for sample in found {
            pending.push(self.build_pending_message(sample).await.map_err(refused)?);
        }
        Ok(Response::new(pb::ListPendingResponse {
            pending,
            total_pending,
        }))
    }

    async fn review(
        &self,
        request: Request<pb::ReviewRequest>,
    ) -> Result<Response<pb::Verification>, Status> {
        let review = parse_review(request.into_inner()).map_err(refused)?;
        let sample = self.samples.review_sample(review).await;
        self.build_response(sample).await
    }

    async fn revoke(
        &self,
        request: Request<pb::RevokeRequest>,
    ) -> Result<Response<pb::RevokeResponse>, Status> {
        let request = request.into_inner();
        let (admin_id, user_id) = (request.admin_id, request.user_id);
        let revoked = self
            .samples
            .revoke_verification(admin_id, user_id, request.reason);
        let revoked_at = revoked.await.map_err(refused)?;
        Ok(Response::new(pb::RevokeResponse {
            revoked_at: Some(timestamp(revoked_at)),
        }))
    }

    async fn get_standings(
        &self,
        request: Request<pb::GetStandingsRequest>,
    ) -> Result<Response<pb::GetStandingsResponse>, Status> {
        let user_ids = request.into_inner().user_ids;
        let standings = self.samples.list_standings(&user_ids).await;
        let standings = standings.map_err(refused)?;
        Ok(Response::new(pb::GetStandingsResponse {
            standings: standings.iter().map(standing_message).collect(),
        }))
    }
}

fn refused(error: VerificationError) -> Status {
    refuse(Error::from(error))
}
