//! The gRPC service: it validates, calls an operation and converts.

mod convert;
mod lists;

use talktime_kit::Error;
use talktime_kit::grpc::server::refuse;
use talktime_kit::paging::ListPageRequest;
use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::{Request, Response, Status};

use crate::domain::{BlockAction, PlannedParties, ProfileError, UserBlock, normalize_reason};
use crate::service::ProfileOperations;

/// The gRPC service.
pub struct ProfileGrpcApi {
    operations: ProfileOperations,
}

impl ProfileGrpcApi {
    pub fn new(operations: ProfileOperations) -> Self {
        Self { operations }
    }
}

#[tonic::async_trait]
impl ProfileService for ProfileGrpcApi {
    async fn create_user(
        &self,
        request: Request<pb::CreateUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let registration = convert::parse_registration(request.into_inner()).map_err(status_of)?;
        let user = self
            .operations
            .users
            .register_user(&registration)
            .await
            .map_err(status_of)?;
        Ok(Response::new(convert::user_message(user)))
    }

    async fn get_user(
        &self,
        request: Request<pb::GetUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let user = self
            .operations
            .users
            .load_user(request.into_inner().user_id)
            .await;
        Ok(Response::new(convert::user_message(
            user.map_err(status_of)?,
        )))
    }

    async fn get_roles(
        &self,
        request: Request<pb::GetRolesRequest>,
    ) -> Result<Response<pb::GetRolesResponse>, Status> {
        let user_id = request.into_inner().user_id;
        let roles = self.operations.users.list_roles(user_id).await;
        Ok(Response::new(pb::GetRolesResponse {
            roles: roles.map_err(status_of)?,
        }))
    }

    async fn get_user_by_phone(
        &self,
        request: Request<pb::GetUserByPhoneRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let user = self
            .operations
            .users
            .load_user_by_phone(&request.into_inner().phone)
            .await;
        Ok(Response::new(convert::user_message(
            user.map_err(status_of)?,
        )))
    }

    async fn find_accounts(
        &self,
        request: Request<pb::FindAccountsRequest>,
    ) -> Result<Response<pb::FindAccountsResponse>, Status> {
        let phones = request.into_inner().phones;
        let found = self.operations.users.find_accounts(&phones).await;
        let accounts = found.map_err(status_of)?.into_iter();
        let accounts = accounts.map(|account| pb::PhoneAccount {
            phone: account.phone,
            user_id: account.user_id,
            username: account.username,
        });
        Ok(Response::new(pb::FindAccountsResponse {
            accounts: accounts.collect(),
        }))
    }

    async fn check_username(
        &self,
        request: Request<pb::CheckUsernameRequest>,
    ) -> Result<Response<pb::CheckUsernameResponse>, Status> {
        let username = request.into_inner().username;
        let checked = self.operations.users.check_username(&username).await;
        let checked = checked.map_err(status_of)?;
        Ok(Response::new(pb::CheckUsernameResponse {
            is_available: checked.is_available,
            suggestions: checked.suggestions,
        }))
    }

    async fn update_user(
        &self,
        request: Request<pb::UpdateUserRequest>,
    ) -> Result<Response<pb::User>, Status> {
        let (user_id, update) =
            convert::parse_user_update(request.into_inner()).map_err(status_of)?;
        let user = self.operations.users.update_user(user_id, update).await;
        Ok(Response::new(convert::user_message(
            user.map_err(status_of)?,
        )))
    }

    async fn delete_user(
        &self,
        request: Request<pb::DeleteUserRequest>,
    ) -> Result<Response<pb::DeleteUserResponse>, Status> {
        let request = request.into_inner();
        let reason = convert::normalize_optional(request.reason.as_deref(), normalize_reason)
            .map_err(status_of)?;
        self.operations
            .deletions
            .delete_user(request.user_id, convert::non_empty(reason).as_deref())
            .await
            .map_err(status_of)?;
        Ok(Response::new(pb::DeleteUserResponse {}))
    }

    async fn check_calls(
        &self,
        request: Request<pb::CheckCallsRequest>,
    ) -> Result<Response<pb::CheckCallsResponse>, Status> {
        let planned = request.into_inner().calls.into_iter();
        let planned = planned.map(|call| PlannedParties {
            caller_id: call.caller_id,
            listener_id: call.listener_id,
        });
        let planned: Vec<PlannedParties> = planned.collect();
        let checks = self.operations.users.check_calls(&planned).await;
        let checks = checks.map_err(status_of)?.into_iter();
        Ok(Response::new(pb::CheckCallsResponse {
            checks: checks.map(convert::call_check_message).collect(),
        }))
    }

    async fn get_listener_preferences(
        &self,
        request: Request<pb::GetListenerPreferencesRequest>,
    ) -> Result<Response<pb::ListenerPreferences>, Status> {
        let user_id = request.into_inner().user_id;
        let found = self.operations.users.load_preferences(user_id).await;
        let message = convert::preferences_message(found.map_err(status_of)?);
        Ok(Response::new(message))
    }

    async fn update_listener_preferences(
        &self,
        request: Request<pb::UpdateListenerPreferencesRequest>,
    ) -> Result<Response<pb::ListenerPreferences>, Status> {
        let request = request.into_inner();
        let user_id = request.user_id;
        let update = convert::parse_preferences_update(request);
        let users = &self.operations.users;
        let updated = users.update_preferences(user_id, update).await;
        let message = convert::preferences_message(updated.map_err(status_of)?);
        Ok(Response::new(message))
    }

    async fn get_public_profiles(
        &self,
        request: Request<pb::GetPublicProfilesRequest>,
    ) -> Result<Response<pb::GetPublicProfilesResponse>, Status> {
        let user_ids = request.into_inner().user_ids;
        let found = self.operations.users.list_public_profiles(&user_ids).await;
        let profiles = found.map_err(status_of)?.into_iter();
        Ok(Response::new(pb::GetPublicProfilesResponse {
            profiles: profiles.map(convert::public_profile_message).collect(),
        }))
    }

    async fn filter_visible(
        &self,
        request: Request<pb::FilterVisibleRequest>,
    ) -> Result<Response<pb::FilterVisibleResponse>, Status> {
        let pb::FilterVisibleRequest {
            viewer_id,
            user_ids,
        } = request.into_inner();
        let users = &self.operations.users;
        let filtered = users.filter_visible(viewer_id, &user_ids).await;
        Ok(Response::new(convert::visibility_message(
            filtered.map_err(status_of)?,
        )))
    }

    async fn get_usernames(
        &self,
        request: Request<pb::GetUsernamesRequest>,
    ) -> Result<Response<pb::GetUsernamesResponse>, Status> {
        let user_ids = request.into_inner().user_ids;
        let names = self
            .operations
            .users
            .list_usernames(&user_ids)
            .await
            .map_err(status_of)?;
        let usernames = names.into_iter().collect();
        Ok(Response::new(pb::GetUsernamesResponse { usernames }))
    }

    async fn list_listeners(
        &self,
        request: Request<pb::ListListenersRequest>,
    ) -> Result<Response<pb::ListListenersResponse>, Status> {
        let query = convert::parse_feed_query(request.into_inner()).map_err(status_of)?;
        let page = self
            .operations
            .feed
            .load_page(&query)
            .await
            .map_err(status_of)?;
        Ok(Response::new(convert::feed_page_message(query.order, page)))
    }

    async fn get_listener(
        &self,
        request: Request<pb::GetListenerRequest>,
    ) -> Result<Response<pb::ListenerPage>, Status> {
        let pb::GetListenerRequest {
            viewer_id,
            listener_id,
        } = request.into_inner();
        let page = self
            .operations
            .feed
            .load_listener(viewer_id, listener_id)
            .await;
        Ok(Response::new(convert::listener_page_message(
            page.map_err(status_of)?,
        )))
    }

    async fn get_feed_stats(
        &self,
        _request: Request<pb::GetFeedStatsRequest>,
    ) -> Result<Response<pb::GetFeedStatsResponse>, Status> {
        let stats = self.operations.feed.load_stats().await.map_err(status_of)?;
        Ok(Response::new(convert::feed_stats_message(&stats)))
    }

    async fn get_viewer(
        &self,
        request: Request<pb::GetViewerRequest>,
    ) -> Result<Response<pb::GetViewerResponse>, Status> {
        let user_id = request.into_inner().user_id;
        let user = self
            .operations
            .users
            .load_user(user_id)
            .await
            .map_err(status_of)?;
        let hidden = self.operations.blocks.list_hidden_users(user_id).await;
        Ok(Response::new(pb::GetViewerResponse {
            roles: user.roles,
            hidden_user_ids: hidden.map_err(status_of)?,
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
        let added = self
            .operations
            .favorites
            .add_favorite(user_id, listener_id)
            .await;
        added.map_err(status_of)?;
        let is_favorited = true;
        Ok(lists::favorite_response(is_favorited))
    }

    async fn remove_favorite(
        &self,
        request: Request<pb::FavoriteRequest>,
    ) -> Result<Response<pb::FavoriteResponse>, Status> {
        let pb::FavoriteRequest {
            user_id,
            listener_id,
        } = request.into_inner();
        let removed = self
            .operations
            .favorites
            .remove_favorite(user_id, listener_id)
            .await;
        removed.map_err(status_of)?;
        let is_favorited = false;
        Ok(lists::favorite_response(is_favorited))
    }

    async fn check_favorite(
        &self,
        request: Request<pb::FavoriteRequest>,
    ) -> Result<Response<pb::FavoriteResponse>, Status> {
        let pb::FavoriteRequest {
            user_id,
            listener_id,
        } = request.into_inner();
        let check = self
            .operations
            .favorites
            .is_favorite(user_id, listener_id)
            .await;
        Ok(lists::favorite_response(check.map_err(status_of)?))
    }

    async fn list_favorites(
        &self,
        request: Request<pb::ListFavoritesRequest>,
    ) -> Result<Response<pb::ListFavoritesResponse>, Status> {
        let request = request.into_inner();
        let page = ListPageRequest::new(request.page, request.per_page).map_err(refuse)?;
        let favorites = &self.operations.favorites;
        let list = favorites.list_favorites(
            request.user_id,
            lists::parse_favorites_filter(&request),
            page,
        );
        let list = list.await;
        Ok(Response::new(lists::favorites_message(
            list.map_err(status_of)?,
        )))
    }

    async fn block_user(
        &self,
        request: Request<pb::BlockUserRequest>,
    ) -> Result<Response<pb::BlockResponse>, Status> {
        let request = request.into_inner();
        let action = BlockAction::parse(&request.action_type).map_err(status_of)?;
        let reason = convert::normalize_optional(request.reason.as_deref(), normalize_reason)
            .map_err(status_of)?;
        let block = UserBlock {
            blocker_id: request.user_id,
            blocked_id: request.blocked_id,
            action,
            reason,
        };
        self.operations
            .blocks
            .add_block(&block)
            .await
            .map_err(status_of)?;
        Ok(lists::block_response(Some(action.name())))
    }

    async fn unblock_user(
        &self,
        request: Request<pb::BlockRequest>,
    ) -> Result<Response<pb::BlockResponse>, Status> {
        let pb::BlockRequest {
            user_id,
            blocked_id,
        } = request.into_inner();
        let removed = self
            .operations
            .blocks
            .remove_block(user_id, blocked_id)
            .await;
        removed.map_err(status_of)?;
        Ok(lists::block_response(None))
    }

    async fn check_block(
        &self,
        request: Request<pb::BlockRequest>,
    ) -> Result<Response<pb::BlockResponse>, Status> {
        let pb::BlockRequest {
            user_id,
            blocked_id,
        } = request.into_inner();
        let action = self
            .operations
            .blocks
            .find_action(user_id, blocked_id)
            .await;
        Ok(lists::block_response(action.map_err(status_of)?.as_deref()))
    }

    async fn list_blocked(
        &self,
        request: Request<pb::ListBlockedRequest>,
    ) -> Result<Response<pb::ListBlockedResponse>, Status> {
        let request = request.into_inner();
        let page = ListPageRequest::new(request.page, request.per_page).map_err(refuse)?;
        let action = request.action_type.as_deref().map(BlockAction::parse);
        let action = action.transpose().map_err(status_of)?;
        let blocks = &self.operations.blocks;
        let list = blocks.list_blocked(request.user_id, action, page).await;
        Ok(Response::new(lists::blocked_message(
            list.map_err(status_of)?,
        )))
    }
}

fn status_of(error: ProfileError) -> Status {
    refuse(Error::from(error))
}
