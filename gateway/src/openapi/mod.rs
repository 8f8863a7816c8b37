//! The OpenAPI document, made from the endpoints themselves.
//!
//! An endpoint says what is its own: path, role, answer, the codes it refuses with. What holds for
//! every endpoint of its kind is added by [`complete`]. The document is served at `/openapi.json`,
//! and for reading at `/docs`; `docs/openapi.json` is its committed copy. Beside it is
//! the AsyncAPI document of the sockets, at `/asyncapi.json`, which [`crate::ws`] makes.

mod complete;
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

/// Where the document is.
const PATH: &str = "/openapi.json";
/// Where that of the sockets is.
const SOCKETS_PATH: &str = "/asyncapi.json";

/// The whole document.
#[derive(Clone, Debug)]
pub struct Document(Value);

impl Document {
    /// Completes what the endpoints say of themselves.
    pub fn new(endpoints: utoipa::openapi::OpenApi) -> Self {
        let document = serde_json::to_value(endpoints);
        let mut document = document.expect("a document has string keys and finite numbers");
        complete::complete(&mut document);
        Self(document)
    }

    /// Wraps a document that is complete already.
    pub(crate) fn from_complete(document: Value) -> Self {
        Self(document)
    }

    /// The document.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// The text of the committed copy.
    pub fn pretty(&self) -> String {
        format!("{:#}\n", self.0)
    }
}

/// `/openapi.json` with `/docs`, and `/asyncapi.json`.
pub fn routes<S: Clone + Send + Sync + 'static>(
    endpoints: &Document,
    sockets: &Document,
) -> Router<S> {
    let ui = SwaggerUi::new("/docs").config(utoipa_swagger_ui::Config::from(PATH));
    Router::from(ui)
        .route(PATH, serve(endpoints))
        .route(SOCKETS_PATH, serve(sockets))
        .with_state(())
}

fn serve(document: &Document) -> MethodRouter {
    let text = Bytes::from(document.json().to_string());
    get(move || {
        let text = text.clone();
        async move { ([(CONTENT_TYPE, "application/json")], text).into_response() }
    })
}
