//! The OpenAPI document of the gateway, as far as tests use it.

use serde_json::{Map, Value, json};
use talktime_client::ApiClient;

use crate::ExpectAnswer;

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];
/// Greatest depth of nested schemas.
const DEPTH_MAX: usize = 8;

/// The OpenAPI document.
pub struct ApiDocument(Value);

/// An endpoint of the document.
pub struct ApiOperation {
    /// Method: `GET`, `POST`, …
    pub method: String,
    /// Path with parameters in braces.
    pub path: String,
    /// Description in the document.
    pub content: Value,
}

/// Permission to use an endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccessRule {
    /// Everybody, without a token.
    Open,
    /// Users with a token and any role.
    LoggedIn,
    /// Users with a token and this role.
    Role(String),
}

impl ApiDocument {
    /// Fetches the document from the gateway.
    pub async fn read(app: &ApiClient) -> Self {
        let answer = app.get("/openapi.json").answer().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        Self(answer.body)
    }

    /// Lists all endpoints.
    pub fn list_operations(&self) -> Vec<ApiOperation> {
        let paths = self.0["paths"].as_object().expect("paths");
        let operations_of_path = |(path, item): (&String, &Value)| {
            let operation = |method: &&str| {
                Some(ApiOperation {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    content: item.get(*method)?.clone(),
                })
            };
            METHODS.iter().filter_map(operation).collect::<Vec<_>>()
        };
        paths.iter().flat_map(operations_of_path).collect()
    }

    /// Returns a JSON body that the schema of the endpoint permits, if it takes one.
    pub fn sample_body(&self, operation: &ApiOperation) -> Option<Value> {
        let schema = &operation.content["requestBody"]["content"]["application/json"]["schema"];
        schema.is_object().then(|| self.sample(schema, DEPTH_MAX))
    }

    /// Lists the codes of an endpoint for a status.
    pub fn list_codes(&self, operation: &ApiOperation, status: u16) -> Vec<String> {
        let answer = &operation.content["responses"][status.to_string()];
        let answer = self.resolve(answer);
        let schema = &answer["content"]["application/problem+json"]["schema"];
        let codes = schema["properties"]["code"]["enum"].as_array();
        let codes = codes.into_iter().flatten().filter_map(Value::as_str);
        codes.map(str::to_owned).collect()
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        let reference = value["$ref"].as_str();
        let pointer = reference.and_then(|text| text.strip_prefix('#'));
        pointer.map_or(value, |pointer| {
            let found = self.0.pointer(pointer);
            found.unwrap_or_else(|| panic!("{pointer} leads nowhere"))
        })
    }

    /// Returns a value that a schema permits: the example, the smallest number, the first of a list.
    fn sample(&self, schema: &Value, depth: usize) -> Value {
        let schema = self.resolve(schema);
        let first = |list: &str| schema[list].as_array().and_then(|list| list.first());
        if depth == 0 {
            return Value::Null;
        }
        if let Some(example) = schema.get("example").or_else(|| first("examples")) {
            return example.clone();
        }
        if let Some(value) = schema.get("const").or_else(|| first("enum")) {
            return value.clone();
        }
        for list in ["oneOf", "anyOf", "allOf"] {
            let parts = schema[list].as_array().into_iter().flatten();
            let mut parts = parts.filter(|part| part["type"] != "null");
            if let Some(part) = parts.next() {
                return self.sample(part, depth - 1);
            }
        }
        let kinds = schema["type"].as_array();
        let kind = kinds
            .and_then(|kinds| kinds.first())
            .unwrap_or(&schema["type"]);
        match kind.as_str() {
            Some("object") => self.sample_object(schema, depth),
            Some("array") => json!([self.sample(&schema["items"], depth - 1)]),
            Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(1)),
            Some("boolean") => json!(true),
            _ => json!("x"),
        }
    }

    /// Returns an object with the required fields alone.
    fn sample_object(&self, schema: &Value, depth: usize) -> Value {
        let required = schema["required"].as_array().into_iter().flatten();
        let fields = required.filter_map(Value::as_str).map(|name| {
            let value = self.sample(&schema["properties"][name], depth - 1);
            (name.to_owned(), value)
        });
        Value::Object(fields.collect::<Map<_, _>>())
    }
}

impl ApiOperation {
    /// Returns the name in messages.
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Returns the rule of access; an endpoint without one fails the test.
    pub fn access_rule(&self) -> AccessRule {
        let requirements = self.content["security"].as_array();
        let requirement = requirements.and_then(|all| all.first());
        let requirement = requirement.unwrap_or_else(|| panic!("{} has no rule", self.name()));
        let Some(scopes) = requirement["access_token"].as_array() else {
            return AccessRule::Open;
        };
        match scopes.first().and_then(Value::as_str) {
            None => AccessRule::LoggedIn,
            Some(role) => AccessRule::Role(role.to_owned()),
        }
    }

    /// Returns the parameters in the path.
    pub fn path_parameters(&self) -> Vec<&str> {
        let parts = self.path.split('/');
        parts
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect()
    }

    /// Returns the path with the same value for every parameter.
    pub fn fill_path(&self, value: &str) -> String {
        let mut path = self.path.clone();
        for parameter in self.path_parameters() {
            path = path.replace(&format!("{{{parameter}}}"), value);
        }
        path
    }
}
