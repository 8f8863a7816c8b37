//! The public keys of our tokens, for whoever wants to check one (RFC 7517).

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};

use crate::keys::Keys;
use crate::problem::Result;

pub(super) async fn jwks(State(keys): State<Keys>) -> Result<Response> {
    let headers = [
        (CONTENT_TYPE, "application/jwk-set+json"),
        (CACHE_CONTROL, "public, max-age=60"),
    ];
    Ok((headers, keys.jwks_json()?).into_response())
}
