//! The OpenAPI document, generated from the endpoints.
//!
//! An endpoint declares its path, its roles, its answers and its error codes. [`complete`] adds what is the same for
//! all endpoints of a kind. The document is served at `/openapi.json` and as a page at `/docs`;
//! `docs/openapi.json` is its committed copy. The AsyncAPI document of the sockets, which [`crate::ws`] generates, is
//! served at `/asyncapi.json`.

mod complete;
pub mod media_values;
mod rate_limits;
mod references;
pub mod values;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use utoipa_swagger_ui::SwaggerUi;

const OPENAPI_PATH: &str = "/openapi.json";
const ASYNCAPI_PATH: &str = "/asyncapi.json";

/// An OpenAPI or AsyncAPI document.
#[derive(Clone, Debug)]
pub struct ApiDocument(Value);

impl ApiDocument {
    /// Completes the document that was generated from the endpoints.
    pub fn new(endpoints: utoipa::openapi::OpenApi) -> Self {
        let document = serde_json::to_value(endpoints);
        let mut document = document.expect("a document has string keys and finite numbers");
        complete::complete_document(&mut document);
        Self(document)
    }

    /// Wraps a document that is complete already.
    pub(crate) fn from_complete(document: Value) -> Self {
        Self(document)
    }

    /// Returns the document as JSON.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// Returns the text of the committed copy.
    pub fn pretty(&self) -> String {
        format!("{:#}\n", self.0)
    }
}

/// Returns the routes `/openapi.json`, `/docs` and `/asyncapi.json`.
pub fn routes<S: Clone + Send + Sync + 'static>(
    endpoints: &ApiDocument,
    sockets: &ApiDocument,
) -> Router<S> {
    let ui = SwaggerUi::new("/docs").config(utoipa_swagger_ui::Config::from(OPENAPI_PATH));
    Router::from(ui)
        .route(OPENAPI_PATH, serve(endpoints))
        .route(ASYNCAPI_PATH, serve(sockets))
        .with_state(())
}

fn serve(document: &ApiDocument) -> MethodRouter {
    let text = Bytes::from(document.json().to_string());
    get(move || {
        let text = text.clone();
        async move { ([(CONTENT_TYPE, "application/json")], text).into_response() }
    })
}
