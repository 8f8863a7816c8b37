//! Completes the OpenAPI document with what is the same for all endpoints of a kind: the refusals of tokens and of
//! invalid requests, and the headers of answers.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use talktime_proto::profile::ROLE_ADMIN;
use utoipa::PartialSchema;

use super::rate_limits;
use super::references::reference;
use crate::extract::{AUDIT_REASON, AUDIT_REASON_CHARS_MAX};
use crate::problem::{FieldProblem, ProblemDocument};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];
const DESCRIPTION: &str = "The REST API of a pay-per-minute calling app: users, calls and money.\n\n\
    Send the access token in `Authorization: Bearer`. The scopes of an endpoint's security requirement are \
    roles, of which the user needs one. Errors are problem documents (RFC 9457) with a stable `code`; each \
    endpoint lists its codes. Answers always have all their fields; a missing value is null. Coins are \
    whole numbers, rupees have at most two decimals, and times are RFC 3339 in UTC.\n\n\
    Every endpoint answers 400 to a request that does not name exactly one host (`invalid_host`) or that \
    repeats `Authorization` or `Content-Type` (`repeated_header`), and 415 to a body with a \
    `Content-Encoding` (`unsupported_media_type`).\n\n\
    The requests to all endpoints of a class are counted together, in windows of one minute. `x-rate-limit` names \
    the class, whether requests are counted by user or by address, and the default limit, which is null if \
    there is none. The operator may configure other limits; if a class is limited, each answer has the limit in \
    `ratelimit-limit`.";

/// Refusals that most endpoints share: status, name of the component, codes.
const SHARED: [(u16, &str, &[&str]); 6] = [
    (
        401,
        "Unauthenticated",
        &[
            "missing_token",
            "invalid_token",
            "token_expired",
            "token_revoked",
        ],
    ),
    (413, "TooLarge", &["body_too_large"]),
    (415, "UnsupportedMediaType", &["unsupported_media_type"]),
    (422, "InvalidBody", &["invalid_body"]),
    (429, "RateLimited", &[rate_limits::CODE]),
    (
        503,
        "Unavailable",
        &[
            "service_unavailable",
            "deadline_exceeded",
            "database_unavailable",
            "redis_unavailable",
            "keys_unavailable",
            "revocations_unavailable",
            "overloaded",
        ],
    ),
];

/// Error codes by status.
type RefusalsByStatus = BTreeMap<u16, BTreeSet<String>>;

/// Completes the document that was generated from the endpoints.
pub(super) fn complete_document(document: &mut Value) {
    document["openapi"] = json!("3.1.0");
    document["info"] = json!({
        "title": "Talktime",
        "version": "1",
        "description": DESCRIPTION,
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    });
    document["components"]["securitySchemes"] = json!({"access_token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token from `/auth/verify`, `/auth/register` or `/auth/refresh`.",
    }});
    let paths = document["paths"].as_object_mut();
    for (path, item) in paths.expect("paths are an object") {
        for method in METHODS {
            if let Some(operation) = item.get_mut(method) {
                complete_operation(path, method, operation);
            }
        }
    }
    require_fields_of_answers(document);
    add_schema(document, "Problem", &ProblemDocument::schema());
    add_schema(document, "FieldProblem", &FieldProblem::schema());
    document["components"]["headers"] = headers();
    for shared in shared_refusals() {
        document["components"]["responses"][shared.name] = refusal(shared.status, &shared.codes);
    }
}

fn add_schema(document: &mut Value, name: &str, schema: &impl serde::Serialize) {
    let schema = serde_json::to_value(schema).expect("a schema is JSON");
    document["components"]["schemas"][name] = schema;
}

fn headers() -> Value {
    let mut headers = json!({
        "RequestId": {
            "description": "The id of the request. Clients may choose it; otherwise the server does.",
            "schema": {"type": "string"},
        },
        "RetryAfter": {
            "description": "The seconds to wait before the next attempt.",
            "schema": {"type": "integer", "minimum": 0},
        },
        "Bearer": {
            "description": "The authentication scheme: `Bearer`.",
            "schema": {"type": "string"},
        },
    });
    for (name, header) in rate_limits::headers() {
        headers[name] = header;
    }
    headers
}

fn complete_operation(path: &str, method: &str, operation: &mut Value) {
    operation["operationId"] = json!(operation_id(path, method));
    complete_parameters(path, operation);
    let class = rate_limits::class_of(path, method);
    if let Some(class) = class {
        operation["x-rate-limit"] = rate_limits::extension(class);
    }
    let mut refusals = declared_refusals(operation);
    add_common_refusals(path, operation, &mut refusals);
    let answers = operation["responses"].as_object_mut();
    let answers = answers.expect("responses are an object");
    for answer in answers.values_mut() {
        if answer["description"].as_str().is_none_or(str::is_empty) {
            answer["description"] = json!("The request succeeded.");
        }
        answer["headers"]["x-request-id"] = reference("headers", "RequestId");
        if class.is_some() {
            rate_limits::add_headers(answer);
        }
    }
    for (status, codes) in refusals {
        let shared =
            shared_refusals().find(|shared| shared.status == status && shared.codes == codes);
        let answer = match shared {
            Some(shared) => reference("responses", shared.name),
            None => refusal(status, &codes),
        };
        answers.insert(status.to_string(), answer);
    }
}

/// A refusal that endpoints refer to, since it has the same codes at most of them.
struct SharedRefusal {
    status: u16,
    /// Name of the component.
    name: &'static str,
    codes: BTreeSet<String>,
}

fn shared_refusals() -> impl Iterator<Item = SharedRefusal> {
    SHARED.iter().map(|(status, name, codes)| SharedRefusal {
        status: *status,
        name,
        codes: codes.iter().map(ToString::to_string).collect(),
    })
}

/// Returns an id such as `post_calls_start`, which is unique because method and path are.
fn operation_id(path: &str, method: &str) -> String {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    std::iter::once(method)
        .chain(words)
        .collect::<Vec<_>>()
        .join("_")
}

/// Adds the ids in the path, which are numbers unless the endpoint declares another type. Parameters may be missing, but
/// they are never null.
fn complete_parameters(path: &str, operation: &mut Value) {
    let mut parameters = operation["parameters"].as_array().cloned();
    let parameters = parameters.get_or_insert_default();
    for parameter in &mut *parameters {
        if let Some(types) = parameter["schema"]["type"].as_array() {
            let types = types.iter().filter(|name| *name != "null");
            let types: Vec<Value> = types.cloned().collect();
            parameter["schema"]["type"] = match <[Value; 1]>::try_from(types) {
                Ok([one]) => one,
                Err(several) => several.into(),
            };
        }
    }
    for name in parameters_of(path) {
        if !parameters.iter().any(|parameter| parameter["name"] == name) {
            parameters.push(json!({
                "name": name,
                "in": "path",
                "required": true,
                "schema": {"type": "integer", "format": "int64"},
            }));
        }
    }
    if is_for_admins(operation) {
        parameters.push(audit_reason());
    }
    if !parameters.is_empty() {
        operation["parameters"] = json!(parameters);
    }
}

fn is_for_admins(operation: &Value) -> bool {
    let roles = roles(operation).into_iter().flatten();
    roles.into_iter().any(|role| role == ROLE_ADMIN)
}

/// Returns the header with which admins say why.
fn audit_reason() -> Value {
    json!({
        "name": AUDIT_REASON.as_str(),
        "in": "header",
        "required": false,
        "description": "The reason of the request, which the audit log keeps with the admin, the session and the address. \
            One line of UTF-8. The operator may require it.",
        "schema": {"type": "string", "minLength": 1, "maxLength": AUDIT_REASON_CHARS_MAX},
    })
}

fn parameters_of(path: &str) -> impl Iterator<Item = &str> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

/// Returns the codes that the endpoint declares in the descriptions of its refusals.
fn declared_refusals(operation: &Value) -> RefusalsByStatus {
    let answers = operation["responses"].as_object().into_iter().flatten();
    let refusals = answers.filter_map(|(status, answer)| {
        let status: u16 = status.parse().ok().filter(|status| *status >= 400)?;
        let codes = answer["description"].as_str()?.split(',').map(str::trim);
        Some((status, codes.map(str::to_owned).collect()))
    });
    refusals.collect()
}

fn add_common_refusals(path: &str, operation: &Value, refusals: &mut RefusalsByStatus) {
    let mut add_refusal = |status: u16, codes: &[&str]| {
        let codes = codes.iter().map(ToString::to_string);
        refusals.entry(status).or_default().extend(codes);
    };
    let roles = roles(operation);
    for role in roles.iter().flatten() {
        add_refusal(403, &[&format!("{role}_only")]);
    }
    if is_for_admins(operation) {
        add_refusal(400, &["invalid_audit_reason", "audit_reason_required"]);
    }
    if parameters_of(path).next().is_some() {
        add_refusal(404, &["not_found"]);
    }
    let has_body = operation.get("requestBody").is_some();
    if has_body {
        add_refusal(400, &["unreadable_body", "invalid_text"]);
    }
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let queries: Vec<&Value> = parameters.filter(|one| one["in"] == "query").collect();
    if !queries.is_empty() {
        add_refusal(400, &["invalid_query", "invalid_text"]);
    }
    if queries.iter().any(|parameter| parameter["name"] == "page") {
        add_refusal(400, &["invalid_page", "invalid_per_page"]);
    }
    for (status, _, codes) in SHARED {
        let applies = match status {
            401 => roles.is_some(),
            413 | 415 | 422 => has_body,
            429 => operation.get("x-rate-limit").is_some(),
            _ => true,
        };
        if applies {
            add_refusal(status, codes);
        }
    }
}

/// Returns the roles of which the user needs one, or `None` if the endpoint needs no token.
fn roles(operation: &Value) -> Option<Vec<String>> {
    let requirements = operation["security"].as_array()?;
    let scopes = requirements.first()?.get("access_token")?.as_array()?;
    let scopes = scopes.iter().filter_map(Value::as_str);
    Some(scopes.map(str::to_owned).collect())
}

fn refusal(status: u16, codes: &BTreeSet<String>) -> Value {
    let listed: Vec<String> = codes.iter().map(|code| describe_code(code)).collect();
    let mut refusal = json!({
        "description": listed.join(", "),
        "headers": {"x-request-id": reference("headers", "RequestId")},
        "content": {"application/problem+json": {"schema": {
            "allOf": [reference("schemas", "Problem")],
            "type": "object",
            "properties": {"status": {"const": status}, "code": {"enum": codes}},
        }}},
    });
    match status {
        401 => refusal["headers"]["www-authenticate"] = reference("headers", "Bearer"),
        429 => {
            refusal["headers"]["retry-after"] = reference("headers", "RetryAfter");
            rate_limits::add_headers(&mut refusal);
        }
        503 => refusal["headers"]["retry-after"] = reference("headers", "RetryAfter"),
        _ => {}
    }
    refusal
}

fn describe_code(code: &str) -> String {
    match code {
        rate_limits::CODE => format!("`{code}` ({})", rate_limits::DESCRIPTION),
        _ => format!("`{code}`"),
    }
}

/// Marks all fields of answers as required. Only fields that clients send may be missing.
fn require_fields_of_answers(document: &mut Value) {
    let mut sent = BTreeSet::new();
    let mut answered = BTreeSet::new();
    let operations = document["paths"].as_object().into_iter().flatten();
    for (_, item) in operations {
        for operation in METHODS.iter().filter_map(|method| item.get(*method)) {
            collect_schemas(document, &operation["requestBody"], &mut sent);
            collect_schemas(document, &operation["parameters"], &mut sent);
            collect_schemas(document, &operation["responses"], &mut answered);
        }
    }
    let schemas = document["components"]["schemas"].as_object_mut();
    for (name, schema) in schemas.into_iter().flatten() {
        if answered.contains(name) && !sent.contains(name) {
            require_all(schema);
        }
    }
}

/// Collects the names of all schemas that `value` refers to, directly or through other schemas.
fn collect_schemas(document: &Value, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let reference = members.get("$ref").and_then(Value::as_str);
            let name = reference.and_then(|text| text.strip_prefix("#/components/schemas/"));
            if let Some(name) = name
                && found.insert(name.to_owned())
            {
                collect_schemas(document, &document["components"]["schemas"][name], found);
            }
            for member in members.values() {
                collect_schemas(document, member, found);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                collect_schemas(document, element, found);
            }
        }
        _ => {}
    }
}

/// Declares all fields of a schema and of its parts to be required.
fn require_all(schema: &mut Value) {
    let Value::Object(members) = schema else {
        return;
    };
    let fields = members.get("properties").and_then(Value::as_object);
    let fields = fields.map(|fields| fields.keys().cloned().collect::<Vec<_>>());
    if let Some(fields) = fields {
        members.insert("required".to_owned(), json!(fields));
    }
    for part in parts(members) {
        require_all(part);
    }
}

fn parts(members: &mut Map<String, Value>) -> impl Iterator<Item = &mut Value> {
    members
        .iter_mut()
        .flat_map(|(name, part)| match (name.as_str(), part) {
            ("items", part) => vec![part],
            ("properties", Value::Object(fields)) => fields.values_mut().collect(),
            ("allOf" | "oneOf" | "anyOf", Value::Array(parts)) => parts.iter_mut().collect(),
            _ => Vec::new(),
        })
}
