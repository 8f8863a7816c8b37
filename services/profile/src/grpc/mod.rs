//! Profile as other services see it.

mod convert;
mod lists;

use talktime_kit::Error;
use talktime_kit::grpc::client::{PeerChannel, retry_idempotent};
use talktime_kit::grpc::server::refuse;
use talktime_proto::calls::v1::PrepareDeletionRequest;
use talktime_proto::calls::v1::calls_service_client::CallsServiceClient;
use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::{Request, Response, Status};

use crate::blocks::Blocks;
use crate::deletions::Deletions;
use crate::domain::{Action, Page, ProfileError, normalize_reason};
use crate::favorites::Favorites;
use crate::feed::Feed;
use crate::people::People;
use crate::store::user_blocks::Block;

/// What profile does.
pub struct Operations {
    /// On people.
    pub people: People,
    /// On accounts that are deleted.
    pub deletions: Deletions,
    /// On the feed.
    pub feed: Feed,
    /// On whom people like.
    pub favorites: Favorites,
    /// On whom people keep away.
    pub blocks: Blocks,
}

/// Names that one request asks for, at most.
const USERNAMES_MAX: usize = 200;

/// The gRPC service.
pub struct ProfileApi {
    operations: Operations,
    calls: CallsServiceClient<PeerChannel>,
}

impl ProfileApi {
    /// The service over profile's operations; calls is told before a deletion.
    pub fn new(operations: Operations, calls: CallsServiceClient<PeerChannel>) -> Self {
        Self { operations, calls }
    }

    /// Refuses while the user is on a call, and has calls refuse new ones: a start that was checked here
    /// before the deletion must not go live after it. Calls forgets it twenty seconds later unless the user
    /// is deleted, so this is the last that is done before the deletion.
    async fn keep_from_calls(&self, user_id: i64) -> Result<(), ProfileError> {
        let answer = retry_idempotent(|| {
            let mut calls = self.calls.clone();
            async move {
                calls
                    .prepare_deletion(PrepareDeletionRequest { user_id })
                    .await
            }
        });
        if answer.await?.is_on_a_call {
            return Err(ProfileError::OnACall);
        }
        Ok(())
    }
}

#[tonic::async_trait]
impl ProfileService for ProfileApi {
    async fn create_user(
        &self,
        request: Request<pb::CreateUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let registration = convert::registration(request.into_inner()).map_err(refused)?;
        let user = self
            .operations
            .people
            .register(&registration)
            .await
            .map_err(refused)?;
        Ok(Response::new(convert::user(user)))
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let user = self
            .operations
            .people
            .of(request.into_inner().user_id)
            .await;
        Ok(Response::new(convert::user(user.map_err(refused)?)))
    }

    async fn get_user_by_phone(
        &self,
        request: Request<pb::GetUserByPhoneRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let user = self
            .operations
            .people
            .with_phone(&request.into_inner().phone)
            .await;
        Ok(Response::new(convert::user(user.map_err(refused)?)))
    }

    async fn update_user(
        &self,
        request: Request<pb::UpdateUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let (user_id, update) = convert::user_update(request.into_inner()).map_err(refused)?;
        let user = self.operations.people.update(user_id, update).await;
        Ok(Response::new(convert::user(user.map_err(refused)?)))
    }

    async fn delete_user(
        &self,
        request: Request<pb::DeleteUserRequest>,
    ) -> Result<Response<pb::DeleteUserResponse>, Status> {
        let user_id = request.into_inner().user_id;
        self.keep_from_calls(user_id).await.map_err(refused)?;
        self.operations
            .deletions
            .delete(user_id)
            .await
            .map_err(refused)?;
        Ok(Response::new(pb::DeleteUserResponse {}))
    }

    async fn check_calls(
        &self,
        request: Request<pb::CheckCallsRequest>,
    ) -> Result<Response<pb::CheckCallsResponse>, Status> {
        let planned = request.into_inner().calls.into_iter();
        let planned: Vec<(i64, i64)> = planned
            .map(|call| (call.caller_id, call.listener_id))
            .collect();
        let checks = self.operations.people.check_calls(&planned).await;
        let checks = checks.map_err(refused)?.into_iter();
        Ok(Response::new(pb::CheckCallsResponse {
            checks: checks.map(convert::call_check).collect(),
        }))
    }

    async fn get_usernames(
        &self,
        request: Request<pb::GetUsernamesRequest>,
    ) -> Result<Response<pb::GetUsernamesResponse>, Status> {
        let user_ids = request.into_inner().user_ids;
        if user_ids.len() > USERNAMES_MAX {
            return Err(refused(ProfileError::TooManyUsers));
        }
        let names = self
            .operations
            .people
            .usernames(&user_ids)
            .await
            .map_err(refused)?;
        let usernames = names.into_iter().collect();
        Ok(Response::new(pb::GetUsernamesResponse { usernames }))
    }

    async fn list_listeners(
        &self,
        request: Request<pb::ListListenersRequest>,
    ) -> Result<Response<pb::ListListenersResponse>, Status> {
        let query = convert::feed_query(request.into_inner()).map_err(refused)?;
        let page = self.operations.feed.page(&query).await.map_err(refused)?;
        Ok(Response::new(convert::feed_page(query.order, page)))
    }

    async fn get_feed_stats(
        &self,
        _request: Request<pb::GetFeedStatsRequest>,
    ) -> Result<Response<pb::GetFeedStatsResponse>, Status> {
        let stats = self.operations.feed.stats().await.map_err(refused)?;
        Ok(Response::new(convert::feed_stats(&stats)))
    }

    async fn get_viewer(
        &self,
        request: Request<pb::GetViewerRequest>,
    ) -> Result<Response<pb::GetViewerResponse>, Status> {
        let user_id = request.into_inner().user_id;
        let user = self.operations.people.of(user_id).await.map_err(refused)?;
        let hidden = self.operations.blocks.either_way(user_id).await;
        Ok(Response::new(pb::GetViewerResponse {
            roles: user.roles,
            hidden_user_ids: hidden.map_err(refused)?,
        }))
    }

    async fn add_favorite(
        &self,
        request: Request<pb::FavoriteRequest>,
    ) -> Result<Response<pb::FavoriteResponse>, Status> {
        let pb::FavoriteRequest {
            user_id,
            listener_id,
        } = request.into_inner();
        let added = self.operations.favorites.add(user_id, listener_id).await;
        added.map_err(refused)?;
        Ok(lists::favorite(true))
    }

    async fn remove_favorite(
        &self,
        request: Request<pb::FavoriteRequest>,
    ) -> Result<Response<pb::FavoriteResponse>, Status> {
        let pb::FavoriteRequest {
            user_id,
            listener_id,
        } = request.into_inner();
        let removed = self.operations.favorites.remove(user_id, listener_id).await;
        removed.map_err(refused)?;
        Ok(lists::favorite(false))
    }

    async fn check_favorite(
        &self,
        request: Request<pb::FavoriteRequest>,
    ) -> Result<Response<pb::FavoriteResponse>, Status> {
        let pb::FavoriteRequest {
            user_id,
            listener_id,
        } = request.into_inner();
        let check = self.operations.favorites.check(user_id, listener_id).await;
        Ok(lists::favorite(check.map_err(refused)?))
    }

    async fn list_favorites(
        &self,
        request: Request<pb::ListFavoritesRequest>,
    ) -> Result<Response<pb::ListFavoritesResponse>, Status> {
        let request = request.into_inner();
        let page = Page::new(request.page, request.per_page).map_err(refused)?;
        let favorites = &self.operations.favorites;
        let list = favorites.page(request.user_id, lists::favorites_filter(&request), page);
        let list = list.await;
        Ok(Response::new(lists::favorites(list.map_err(refused)?)))
    }

    async fn block_user(
        &self,
        request: Request<pb::BlockUserRequest>,
    ) -> Result<Response<pb::BlockResponse>, Status> {
        let request = request.into_inner();
        let action = Action::parse(&request.action_type).map_err(refused)?;
        let reason =
            convert::normalized(request.reason.as_deref(), normalize_reason).map_err(refused)?;
        let block = Block {
            blocker_id: request.user_id,
            blocked_id: request.blocked_id,
            action,
            reason,
        };
        self.operations.blocks.add(&block).await.map_err(refused)?;
        Ok(lists::block(Some(action.name())))
    }

    async fn unblock_user(
        &self,
        request: Request<pb::BlockRequest>,
    ) -> Result<Response<pb::BlockResponse>, Status> {
        let pb::BlockRequest {
            user_id,
            blocked_id,
        } = request.into_inner();
        let removed = self.operations.blocks.remove(user_id, blocked_id).await;
        removed.map_err(refused)?;
        Ok(lists::block(None))
    }

    async fn check_block(
        &self,
        request: Request<pb::BlockRequest>,
    ) -> Result<Response<pb::BlockResponse>, Status> {
        let pb::BlockRequest {
            user_id,
            blocked_id,
        } = request.into_inner();
        let action = self.operations.blocks.check(user_id, blocked_id).await;
        Ok(lists::block(action.map_err(refused)?.as_deref()))
    }

    async fn list_blocked(
        &self,
        request: Request<pb::ListBlockedRequest>,
    ) -> Result<Response<pb::ListBlockedResponse>, Status> {
        let request = request.into_inner();
        let page = Page::new(request.page, request.per_page).map_err(refused)?;
        let action = request.action_type.as_deref().map(Action::parse);
        let action = action.transpose().map_err(refused)?;
        let blocks = &self.operations.blocks;
        let list = blocks.page(request.user_id, action, page).await;
        Ok(Response::new(lists::blocked(list.map_err(refused)?)))
    }
}

fn refused(error: ProfileError) -> Status {
    refuse(Error::from(error))
}
