//! Profile as other services see it.

mod convert;

use talktime_kit::Error;
use talktime_kit::grpc::client::{PeerChannel, retry_idempotent};
use talktime_kit::grpc::server::refuse;
use talktime_proto::calls::v1::GetOngoingRequest;
use talktime_proto::calls::v1::calls_service_client::CallsServiceClient;
use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::{Request, Response, Status};

use crate::domain::ProfileError;
use crate::feed::Feed;
use crate::people::People;

/// Names that one request asks for, at most.
const USERNAMES_MAX: usize = 200;

/// The gRPC service.
pub struct ProfileApi {
    people: People,
    feed: Feed,
    calls: CallsServiceClient<PeerChannel>,
}

impl ProfileApi {
    /// The service over profile's operations; calls is asked before a deletion.
    pub fn new(people: People, feed: Feed, calls: CallsServiceClient<PeerChannel>) -> Self {
        Self {
            people,
            feed,
            calls,
        }
    }

    /// Refuses while the user is on a call. One that starts right after the answer goes on without
    /// them: calls settles by ids and needs no profile.
    async fn check_not_on_a_call(&self, user_id: i64) -> Result<(), ProfileError> {
        let answer = retry_idempotent(|| {
            let mut calls = self.calls.clone();
            async move { calls.get_ongoing(GetOngoingRequest { user_id }).await }
        });
        match answer.await?.call {
            Some(_) => Err(ProfileError::OnACall),
            None => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl ProfileService for ProfileApi {
    async fn create_user(
        &self,
        request: Request<pb::CreateUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let registration = convert::registration(request.into_inner()).map_err(refused)?;
        let user = self.people.register(&registration).await.map_err(refused)?;
        Ok(Response::new(convert::user(user)))
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let user = self.people.of(request.into_inner().user_id).await;
        Ok(Response::new(convert::user(user.map_err(refused)?)))
    }

    async fn get_user_by_phone(
        &self,
        request: Request<pb::GetUserByPhoneRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let user = self.people.with_phone(&request.into_inner().phone).await;
        Ok(Response::new(convert::user(user.map_err(refused)?)))
    }

    async fn update_user(
        &self,
        request: Request<pb::UpdateUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let (user_id, update) = convert::user_update(request.into_inner());
        let user = self.people.update(user_id, update).await;
        Ok(Response::new(convert::user(user.map_err(refused)?)))
    }

    async fn delete_user(
        &self,
        request: Request<pb::DeleteUserRequest>,
    ) -> Result<Response<pb::DeleteUserResponse>, Status> {
        let user_id = request.into_inner().user_id;
        self.check_not_on_a_call(user_id).await.map_err(refused)?;
        self.people.delete(user_id).await.map_err(refused)?;
        Ok(Response::new(pb::DeleteUserResponse {}))
    }

    async fn check_call(
        &self,
        request: Request<pb::CheckCallRequest>,
    ) -> Result<Response<pb::CheckCallResponse>, Status> {
        let pb::CheckCallRequest {
            caller_id,
            listener_id,
        } = request.into_inner();
        let check = self.people.check_call(caller_id, listener_id).await;
        Ok(Response::new(convert::call_check(check.map_err(refused)?)))
    }

    async fn get_usernames(
        &self,
        request: Request<pb::GetUsernamesRequest>,
    ) -> Result<Response<pb::GetUsernamesResponse>, Status> {
        let user_ids = request.into_inner().user_ids;
        if user_ids.len() > USERNAMES_MAX {
            return Err(refused(ProfileError::TooManyUsers));
        }
        let names = self.people.usernames(&user_ids).await.map_err(refused)?;
        let usernames = names.into_iter().collect();
        Ok(Response::new(pb::GetUsernamesResponse { usernames }))
    }

    async fn list_listeners(
        &self,
        request: Request<pb::ListListenersRequest>,
    ) -> Result<Response<pb::ListListenersResponse>, Status> {
        let query = convert::feed_query(request.into_inner()).map_err(refused)?;
        let page = self.feed.page(&query).await.map_err(refused)?;
        Ok(Response::new(convert::feed_page(query.order, page)))
    }
}

fn refused(error: ProfileError) -> Status {
    refuse(Error::from(error))
}
