//! The public keys of access tokens (RFC 7517).

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use talktime_kit::tokens::SigningKeys;
use utoipa::ToSchema;

use crate::problem::Result;

/// A set of public keys.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document is written by auth and passed on")]
#[schema(as = KeySet)]
struct KeySetDocument {
    #[schema(value_type = Vec<Object>)]
    keys: Vec<serde_json::Value>,
}

/// Read the public keys of access tokens (RFC 7517).
///
/// This needs no token. Other services can verify access tokens with these keys.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "auth",
    security(()),
    responses((status = 200, body = KeySetDocument, content_type = "application/jwk-set+json"))
)]
pub(super) async fn read_key_set(State(keys): State<SigningKeys>) -> Result<Response> {
    let headers = [
        (CONTENT_TYPE, "application/jwk-set+json"),
        (CACHE_CONTROL, "public, max-age=60"),
    ];
    Ok((headers, keys.jwks_json()?).into_response())
}
