//! Verification as other services see it.

use talktime_kit::Error;
use talktime_kit::grpc::server::refuse;
use talktime_proto::timestamp;
use talktime_proto::verification::v1 as pb;
use talktime_proto::verification::v1::upload_audio_request::Part;
use talktime_proto::verification::v1::verification_service_server::VerificationService;
use tonic::{Request, Response, Status, Streaming};

use crate::domain::{Action, Sample, VerificationError};
use crate::verifications::Verifications;
use crate::verifications::review::{Review, Waiting};

pub(crate) struct VerificationApi {
    verifications: Verifications,
}

impl VerificationApi {
    pub(crate) fn new(verifications: Verifications) -> Self {
        Self { verifications }
    }

    async fn message(&self, sample: Sample) -> Result<pb::Verification, VerificationError> {
        Ok(pb::Verification {
            verification_id: sample.verification_id,
            status: sample.state.name().to_owned(),
            audio_url: self.verifications.address_of(&sample.audio).await?,
            submitted_at: Some(timestamp(sample.submitted_at)),
            reviewed_at: sample.reviewed_at.map(timestamp),
            reviewer_notes: sample.reviewer_notes,
            reviewer_id: sample.reviewer_id,
            description: sample.description,
        })
    }

    /// The answer that is a sample, or the refusal.
    async fn answer(
        &self,
        sample: Result<Sample, VerificationError>,
    ) -> Result<Response<pb::Verification>, Status> {
        let message = self.message(sample.map_err(refused)?).await;
        Ok(Response::new(message.map_err(refused)?))
    }

    async fn waiting(
        &self,
        (sample, username): Waiting,
    ) -> Result<pb::PendingVerification, VerificationError> {
        Ok(pb::PendingVerification {
            user_id: sample.user_id,
            username,
            verification: Some(self.message(sample).await?),
        })
    }

    /// Reads an upload to its end.
    async fn receive(
        &self,
        mut parts: Streaming<pb::UploadAudioRequest>,
    ) -> Result<Sample, VerificationError> {
        let Part::Start(start) = next(&mut parts).await? else {
            return Err(VerificationError::IncompleteUpload);
        };
        let user_id = start.user_id;
        let mut incoming = self.verifications.begin_upload(user_id).await?;
        loop {
            match next(&mut parts).await? {
                Part::Chunk(chunk) => incoming.push(&chunk).await?,
                Part::Finish(finish) => {
                    let verifications = &self.verifications;
                    return verifications
                        .finish_upload(user_id, incoming, finish.description)
                        .await;
                }
                Part::Start(_) => return Err(VerificationError::IncompleteUpload),
            }
        }
    }
}

/// The next part of an upload. One that breaks off, or that ends without having been finished, is
/// incomplete.
async fn next(parts: &mut Streaming<pb::UploadAudioRequest>) -> Result<Part, VerificationError> {
    let message = parts.message().await;
    let message = message.map_err(|_| VerificationError::IncompleteUpload)?;
    message
        .and_then(|message| message.part)
        .ok_or(VerificationError::IncompleteUpload)
}

#[tonic::async_trait]
impl VerificationService for VerificationApi {
    async fn upload_audio(
        &self,
        request: Request<Streaming<pb::UploadAudioRequest>>,
    ) -> Result<Response<pb::Verification>, Status> {
        let sample = self.receive(request.into_inner()).await;
        self.answer(sample).await
    }

    async fn submit_audio_url(
        &self,
        request: Request<pb::SubmitAudioUrlRequest>,
    ) -> Result<Response<pb::Verification>, Status> {
        let request = request.into_inner();
        let sample = self.verifications.submit_address(
            request.user_id,
            &request.audio_url,
            request.description,
        );
        self.answer(sample.await).await
    }

    async fn create_upload_ticket(
        &self,
        request: Request<pb::CreateUploadTicketRequest>,
    ) -> Result<Response<pb::UploadTicket>, Status> {
        let request = request.into_inner();
        let (user_id, length_bytes) = (request.user_id, request.length_bytes);
        let ticket = self
            .verifications
            .issue_ticket(user_id, length_bytes, &request.content_type)
            .await
            .map_err(refused)?;
        Ok(Response::new(pb::UploadTicket {
            upload_id: ticket.upload_id,
            upload_url: ticket.upload_url,
            expires_at: Some(timestamp(ticket.expires_at)),
        }))
    }

    async fn confirm_upload(
        &self,
        request: Request<pb::ConfirmUploadRequest>,
    ) -> Result<Response<pb::Verification>, Status> {
        let request = request.into_inner();
        let sample =
            self.verifications
                .confirm(request.user_id, &request.upload_id, request.description);
        self.answer(sample.await).await
    }

    async fn get_verification_status(
        &self,
        request: Request<pb::GetVerificationStatusRequest>,
    ) -> Result<Response<pb::GetVerificationStatusResponse>, Status> {
        let user_id = request.into_inner().user_id;
        let standing = self.verifications.standing(user_id).await;
        let standing = standing.map_err(refused)?;
        let mut response = pb::GetVerificationStatusResponse {
            user_id,
            verification_status: standing.name().to_owned(),
            is_verified: standing.is_verified,
            verification_count: standing.count,
            current: None,
        };
        if let Some(sample) = standing.newest {
            response.current = Some(self.message(sample).await.map_err(refused)?);
        }
        Ok(Response::new(response))
    }

    async fn get_verification_history(
        &self,
        request: Request<pb::GetVerificationHistoryRequest>,
    ) -> Result<Response<pb::GetVerificationHistoryResponse>, Status> {
        let history = self.verifications.history(request.into_inner().user_id);
        let (samples, counts) = history.await.map_err(refused)?;
        let mut verifications = Vec::with_capacity(samples.len());
        for sample in samples {
            verifications.push(self.message(sample).await.map_err(refused)?);
        }
        Ok(Response::new(pb::GetVerificationHistoryResponse {
            verifications,
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
        let found = self.verifications.pending(page, per_page).await;
        let (found, total_pending) = found.map_err(refused)?;
        let mut pending = Vec::with_capacity(found.len());
        for waiting in found {
            pending.push(self.waiting(waiting).await.map_err(refused)?);
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
        let request = request.into_inner();
        let review = Review {
            reviewer_id: request.reviewer_id,
            verification_id: request.verification_id,
            action: Action::parse(&request.action).map_err(refused)?,
            notes: request.reviewer_notes,
        };
        let sample = self.verifications.review(review).await;
        self.answer(sample).await
    }

    async fn revoke(
        &self,
        request: Request<pb::RevokeRequest>,
    ) -> Result<Response<pb::RevokeResponse>, Status> {
        let request = request.into_inner();
        let (admin_id, user_id) = (request.admin_id, request.user_id);
        let revoked = self.verifications.revoke(admin_id, user_id, request.reason);
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
        let known = self.verifications.standings(&user_ids).await;
        let standings = known.map_err(refused)?.into_iter();
        Ok(Response::new(pb::GetStandingsResponse {
            standings: standings
                .map(|known| pb::Standing {
                    user_id: known.user_id,
                    is_verified: known.is_verified,
                    version: known.version,
                })
                .collect(),
        }))
    }
}

fn refused(error: VerificationError) -> Status {
    refuse(Error::from(error))
}
