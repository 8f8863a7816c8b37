//! The access token of the user for whom a process sends requests. It travels beside them, so that the service that acts
//! need not believe its caller.

use futures::future::Either;
use http::HeaderMap;
use talktime_proto::access::v1::Actor;
use talktime_proto::access::{MethodAccess, find_access};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Extensions, GrpcMethod};

use super::request_origin::attach_request_origin;
use crate::tokens::UserToken;

/// The metadata of a request with the access token of its user.
pub const USER_TOKEN: &str = "user-token";

tokio::task_local! {
    /// The token of the user for whom this task works.
    static CURRENT: UserToken;
}

/// Runs `work` for the user of a token: requests to peers made inside carry it, if their methods act for a user. Without
/// a token it runs for nobody.
pub fn with_user_token<F: Future>(
    token: Option<UserToken>,
    work: F,
) -> impl Future<Output = F::Output> {
    match token {
        Some(token) => Either::Left(CURRENT.scope(token, work)),
        None => Either::Right(work),
    }
}

/// Returns the token of the user for whom this task works.
pub fn current_user_token() -> Option<UserToken> {
    CURRENT.try_with(UserToken::clone).ok()
}

/// Adds the token of the current user to a request whose method acts for a user, and the origin of the current request if
/// that has to be an admin. Other peers have no use for them, and nobody should hold a token without a use.
pub(super) fn attach_user(extensions: &Extensions, metadata: &mut MetadataMap) {
    let method = extensions.get::<GrpcMethod<'_>>().and_then(find_method);
    match method.map(|method| method.actor) {
        Some(Actor::User) => {}
        Some(Actor::Admin) => attach_request_origin(metadata),
        _ => return,
    }
    let token = current_user_token();
    let value = token.and_then(|token| MetadataValue::try_from(token.as_str()).ok());
    if let Some(mut value) = value {
        value.set_sensitive(true);
        metadata.insert(USER_TOKEN, value);
    }
}

fn find_method(method: &GrpcMethod<'_>) -> Option<&'static MethodAccess> {
    find_access(&format!("/{}/{}", method.service(), method.method()))
}

/// Returns the token that a request carries.
pub(super) fn read_user_token(headers: &HeaderMap) -> Option<UserToken> {
    let token = headers.get(USER_TOKEN)?.to_str().ok()?;
    Some(UserToken::new(token))
}
