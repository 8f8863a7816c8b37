//! The gRPC service of photos: checks requests and converts messages.

use talktime_kit::grpc::server::refuse;
use talktime_kit::paging::ListPageRequest;
use talktime_proto::timestamp;
use talktime_proto::verification::v1 as pb;
use talktime_proto::verification::v1::profile_photo_service_server::ProfilePhotoService;
use tonic::{Request, Response, Status};

use super::convert::ticket_message;
use super::refused;
use crate::domain::ReviewAction;
use crate::photos::review::{PendingPhotoReview, PhotoReviewRequest};
use crate::photos::{PhotoWithAddress, UserPhotoService};

pub(crate) struct PhotoGrpcApi {
    photos: UserPhotoService,
}

impl PhotoGrpcApi {
    pub(crate) fn new(photos: UserPhotoService) -> Self {
        Self { photos }
    }
}

#[tonic::async_trait]
impl ProfilePhotoService for PhotoGrpcApi {
    async fn create_photo_ticket(
        &self,
        request: Request<pb::CreatePhotoTicketRequest>,
    ) -> Result<Response<pb::UploadTicket>, Status> {
        let request = request.into_inner();
        let (user_id, length_bytes) = (request.user_id, request.length_bytes);
        let ticket = self
            .photos
            .issue_ticket(user_id, length_bytes, &request.content_type);
        Ok(Response::new(ticket_message(
            ticket.await.map_err(refused)?,
        )))
    }

    async fn submit_photo(
        &self,
        request: Request<pb::SubmitPhotoRequest>,
    ) -> Result<Response<pb::Photo>, Status> {
        let pb::SubmitPhotoRequest { user_id, upload_id } = request.into_inner();
        let photo = self.photos.submit_photo(user_id, &upload_id).await;
        Ok(Response::new(photo_message(photo.map_err(refused)?)))
    }

    async fn get_photos(
        &self,
        request: Request<pb::GetPhotosRequest>,
    ) -> Result<Response<pb::GetPhotosResponse>, Status> {
        let photos = self.photos.list_photos(request.into_inner().user_id).await;
        let photos = photos.map_err(refused)?.into_iter();
        Ok(Response::new(pb::GetPhotosResponse {
            photos: photos.map(photo_message).collect(),
        }))
    }

    async fn delete_photos(
        &self,
        request: Request<pb::DeletePhotosRequest>,
    ) -> Result<Response<pb::DeletePhotosResponse>, Status> {
        let deleted = self
            .photos
            .delete_photos(request.into_inner().user_id)
            .await;
        let deleted = deleted.map_err(refused)?;
        Ok(Response::new(pb::DeletePhotosResponse {
            deleted_count: i32::try_from(deleted).unwrap_or(i32::MAX),
        }))
    }

    async fn read_photo(
        &self,
        request: Request<pb::ReadPhotoRequest>,
    ) -> Result<Response<pb::PhotoContent>, Status> {
        let photo_key = request.into_inner().photo_key;
        let jpeg = self.photos.read_approved(&photo_key).await;
        let jpeg = jpeg.map_err(refused)?;
        Ok(Response::new(pb::PhotoContent { jpeg }))
    }

    async fn list_pending_photos(
        &self,
        request: Request<pb::ListPendingPhotosRequest>,
    ) -> Result<Response<pb::ListPendingPhotosResponse>, Status> {
        let pb::ListPendingPhotosRequest { page, per_page } = request.into_inner();
        let page = ListPageRequest::new(page, per_page).map_err(refuse)?;
        let (pending, total_pending) = self.photos.list_pending(page).await.map_err(refused)?;
        Ok(Response::new(pb::ListPendingPhotosResponse {
            pending: pending.into_iter().map(pending_message).collect(),
            total_pending,
        }))
    }

    async fn review_photo(
        &self,
        request: Request<pb::ReviewPhotoRequest>,
    ) -> Result<Response<pb::Photo>, Status> {
        let request = request.into_inner();
        let review = PhotoReviewRequest {
            reviewer_id: request.reviewer_id,
            photo_id: request.photo_id,
            action: ReviewAction::parse(&request.action).map_err(refused)?,
            notes: request.reviewer_notes,
        };
        let photo = self.photos.review_photo(review).await.map_err(refused)?;
        Ok(Response::new(photo_message(photo)))
    }
}

fn photo_message(addressed: PhotoWithAddress) -> pb::Photo {
    let PhotoWithAddress { photo, image_url } = addressed;
    pb::Photo {
        photo_id: photo.photo_id,
        user_id: photo.user_id,
        status: photo.state.name().to_owned(),
        image_url,
        submitted_at: Some(timestamp(photo.submitted_at)),
        reviewed_at: photo.reviewed_at.map(timestamp),
        reviewer_id: photo.reviewer_id,
        reviewer_notes: photo.reviewer_notes,
    }
}

fn pending_message(pending: PendingPhotoReview) -> pb::PendingPhoto {
    pb::PendingPhoto {
        photo: Some(photo_message(pending.photo)),
        username: pending.username,
    }
}
