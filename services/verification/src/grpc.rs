//! Verification as other services see it.

use talktime_kit::Error;
use talktime_kit::grpc::server::refuse;
use talktime_proto::timestamp;
use talktime_proto::verification::v1::verification_service_server::VerificationService;
use talktime_proto::verification::v1::{
    GetVerificationStatusRequest, GetVerificationStatusResponse, Verification,
};
use tonic::{Request, Response, Status};

use crate::domain::{Sample, VerificationError};
use crate::verifications::Verifications;

pub(crate) struct VerificationApi {
    verifications: Verifications,
}

impl VerificationApi {
    pub(crate) fn new(verifications: Verifications) -> Self {
        Self { verifications }
    }

    async fn message(&self, sample: Sample) -> Result<Verification, VerificationError> {
        Ok(Verification {
            verification_id: sample.verification_id,
            status: sample.state.name().to_owned(),
            audio_url: self.verifications.address_of(&sample.audio).await?,
            submitted_at: Some(timestamp(sample.submitted_at)),
            reviewed_at: sample.reviewed_at.map(timestamp),
            reviewer_notes: sample.reviewer_notes,
        })
    }
}

#[tonic::async_trait]
impl VerificationService for VerificationApi {
    async fn get_verification_status(
        &self,
        request: Request<GetVerificationStatusRequest>,
    ) -> Result<Response<GetVerificationStatusResponse>, Status> {
        let user_id = request.into_inner().user_id;
        let standing = self.verifications.standing(user_id).await;
        let standing = standing.map_err(refused)?;
        let mut response = GetVerificationStatusResponse {
            user_id,
            verification_status: standing.name().to_owned(),
            is_verified: standing.is_verified(),
            verification_count: standing.count,
            current: None,
        };
        if let Some(sample) = standing.newest {
            response.current = Some(self.message(sample).await.map_err(refused)?);
        }
        Ok(Response::new(response))
    }
}

fn refused(error: VerificationError) -> Status {
    refuse(Error::from(error))
}
