//! The OpenAPI document, made from the endpoints themselves.
//!
//! An endpoint says what is its own: path, role, answer, the codes it refuses with. What holds for
//! every endpoint of its kind is added by [`complete`]. The document is served at `/openapi.json`,
//! and for reading at `/docs`; `docs/openapi.json` is its committed copy.

mod complete;
pub mod values;

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use serde_json::Value;
use utoipa_swagger_ui::SwaggerUi;

/// Where the document is.
const PATH: &str = "/openapi.json";

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

    /// The document.
    pub fn json(&self) -> &Value {
        &self.0
    }

    /// The text of the committed copy.
    pub fn pretty(&self) -> String {
        format!("{:#}\n", self.0)
    }
}

/// `/openapi.json` and `/docs`.
pub fn routes<S: Clone + Send + Sync + 'static>(document: &Document) -> Router<S> {
    let text = Bytes::from(document.json().to_string());
    let serve = move || {
        let text = text.clone();
        async move { ([(CONTENT_TYPE, "application/json")], text).into_response() }
    };
    let ui = SwaggerUi::new("/docs").config(utoipa_swagger_ui::Config::from(PATH));
    Router::from(ui).route(PATH, get(serve)).with_state(())
}
