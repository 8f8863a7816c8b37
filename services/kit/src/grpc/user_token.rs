//! The access token of the user for whom a process sends requests. It travels beside them, so that the service that acts
//! need not believe its caller.

use http::HeaderMap;
use talktime_proto::access::find_actor;
use talktime_proto::access::v1::Actor;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Extensions, GrpcMethod};

use crate::tokens::UserToken;

/// The metadata of a request with the access token of its user.
pub const USER_TOKEN: &str = "user-token";

tokio::task_local! {
    /// The token of the user for whom this task works.
    static CURRENT: UserToken;
}

/// Runs `work` for the user of a token: requests to peers made inside carry it, if their methods act for a user. Without
/// a token it runs for nobody.
pub async fn with_user_token<F: Future>(token: Option<UserToken>, work: F) -> F::Output {
    match token {
        Some(token) => CURRENT.scope(token, work).await,
        None => work.await,
    }
}

/// Returns the token of the user for whom this task works.
pub fn current_user_token() -> Option<UserToken> {
    CURRENT.try_with(UserToken::clone).ok()
}

/// Adds the token of the current user to a request whose method acts for a user. Other peers have no use for it, and
/// nobody should hold a token without a use.
pub(super) fn attach_user_token(extensions: &Extensions, metadata: &mut MetadataMap) {
    let acts_for_user = extensions.get::<GrpcMethod<'_>>().is_some_and(is_for_user);
    if !acts_for_user {
        return;
    }
    let token = current_user_token();
    let value = token.and_then(|token| MetadataValue::try_from(token.as_str()).ok());
    if let Some(mut value) = value {
        value.set_sensitive(true);
        metadata.insert(USER_TOKEN, value);
    }
}

fn is_for_user(method: &GrpcMethod<'_>) -> bool {
    let path = format!("/{}/{}", method.service(), method.method());
    find_actor(&path).is_some_and(|method| method.actor != Actor::Workload)
}

/// Returns the token that a request carries.
pub(super) fn read_user_token(headers: &HeaderMap) -> Option<UserToken> {
    let token = headers.get(USER_TOKEN)?.to_str().ok()?;
    Some(UserToken::new(token))
}
