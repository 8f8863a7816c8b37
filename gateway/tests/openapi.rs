//! The OpenAPI and AsyncAPI documents: their committed copies are current, and they are complete.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use talktime_gateway::{routes, ws};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];
const ROLES: [&str; 3] = ["user", "listener", "admin"];

fn document() -> Value {
    routes::document().json().clone()
}

fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        METHODS.iter().filter_map(move |method| {
            let operation = item.get(*method)?;
            Some((
                format!("{} {path}", method.to_uppercase()),
                operation.clone(),
            ))
        })
    });
    operations.collect()
}

fn assert_current(file: &str, document: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(file);
    let copy = fs::read_to_string(path).unwrap_or_else(|error| panic!("docs/{file}: {error}"));
    let copy: Value = serde_json::from_str(&copy).expect("JSON");
    assert!(
        copy == *document,
        "docs/{file} is outdated: run `cargo dev docs`"
    );
}

#[test]
fn the_committed_copies_are_current() {
    assert_current("openapi.json", &document());
    assert_current("asyncapi.json", ws::document().json());
}

#[test]
fn every_endpoint_declares_its_roles() {
    for (name, operation) in operations(&document()) {
        let requirements = operation["security"].as_array();
        let requirement = requirements
            .and_then(|requirements| <&[Value; 1]>::try_from(requirements.as_slice()).ok())
            .unwrap_or_else(|| panic!("{name} does not have exactly one security requirement"));
        let open = requirement[0]
            .as_object()
            .is_some_and(serde_json::Map::is_empty);
        let scopes = requirement[0]["access_token"].as_array();
        let scopes = scopes.into_iter().flatten().filter_map(Value::as_str);
        let scopes: Vec<&str> = scopes.collect();
        assert!(
            open || requirement[0]["access_token"].is_array(),
            "{name}: {requirement:?}"
        );
        assert!(
            scopes.iter().all(|role| ROLES.contains(role)),
            "{name}: {scopes:?}"
        );
    }
}

/// Returns whether an answer of this schema has the field, directly or through a part of it.
fn has_field(document: &Value, schema: &Value, field: &str) -> bool {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return has_field(document, target.expect("a schema"), field);
    }
    let parts = schema["allOf"].as_array().into_iter().flatten();
    let mut parts = parts.chain(schema["properties"].get("pagination"));
    schema["properties"].get(field).is_some() || parts.any(|part| has_field(document, part, field))
}

#[test]
fn every_paged_list_declares_its_parameters() {
    let document = document();
    let mut lists = 0;
    for (name, operation) in operations(&document) {
        let answer = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        if !has_field(&document, answer, "per_page") {
            continue;
        }
        lists += 1;
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let names: BTreeSet<&str> = parameters
            .filter_map(|each| each["name"].as_str())
            .collect();
        let is_paged = names.is_superset(&BTreeSet::from(["page", "per_page"]));
        assert!(
            is_paged,
            "{name} does not list page and per_page: {names:?}"
        );
    }
    assert!(lists > 5, "{lists}");
}

#[test]
fn every_endpoint_has_a_summary_a_tag_and_a_unique_id() {
    let mut ids = BTreeSet::new();
    for (name, operation) in operations(&document()) {
        assert!(operation["summary"].is_string(), "{name} has no summary");
        assert!(operation["tags"][0].is_string(), "{name} has no tag");
        let id = operation["operationId"].as_str().expect("an id");
        assert!(ids.insert(id.to_owned()), "{name}: {id} is not its own");
    }
}

/// Payment providers must be able to send every notification, and many users share the address from which the
/// configuration and photos are read without a token.
const NOT_COUNTED: [&str; 3] = [
    "POST /payments/webhook",
    "GET /app/config",
    "GET /photos/{photo_key}",
];
/// Requests a minute by default, of each class. That of the feed is part of the contract (section 5).
const LIMITS: [(&str, u64); 6] = [
    ("auth", 300),
    ("feed", 100),
    ("money", 60),
    ("upload", 20),
    ("read", 600),
    ("write", 300),
];

#[test]
fn every_endpoint_declares_its_rate_limit() {
    for (name, operation) in operations(&document()) {
        let limit = &operation["x-rate-limit"];
        let is_counted = !NOT_COUNTED.contains(&name.as_str());
        assert_eq!(limit.is_object(), is_counted, "{name}: {limit}");
        assert_eq!(
            operation["responses"]["429"].is_object(),
            is_counted,
            "{name}"
        );
        if !is_counted {
            continue;
        }
        let class = limit["class"].as_str().expect("a class");
        let by_default = LIMITS.iter().find(|(of, _)| *of == class);
        let by_default = by_default.map(|(_, requests)| *requests);
        assert_eq!(
            limit["requests_a_minute_by_default"],
            json!(by_default),
            "{name}"
        );
        assert!(limit["counted_by"].is_string(), "{name}: {limit}");
        let answers = operation["responses"].as_object().expect("responses");
        for (status, answer) in answers.iter().filter(|(status, _)| status.starts_with('2')) {
            let remaining = &answer["headers"]["ratelimit-remaining"];
            assert!(remaining.is_object(), "{name} {status}");
        }
    }
}

#[test]
fn every_refusal_lists_its_codes() {
    let document = document();
    for (name, operation) in operations(&document) {
        for (status, answer) in operation["responses"].as_object().expect("responses") {
            // A 304 refuses nothing.
            if status.starts_with(['2', '3']) {
                continue;
            }
            let shared = answer["$ref"].as_str();
            let shared = shared.map(|reference| reference.trim_start_matches('#'));
            let answer = shared.map_or(Some(answer), |pointer| document.pointer(pointer));
            let answer = answer.expect("every reference leads somewhere");
            let schema = &answer["content"]["application/problem+json"]["schema"];
            let codes = schema["properties"]["code"]["enum"].as_array();
            let codes = codes.into_iter().flatten().filter_map(Value::as_str);
            let codes: Vec<&str> = codes.collect();
            assert!(!codes.is_empty(), "{name} {status}");
            for code in codes {
                let of_code = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                assert!(
                    !code.is_empty() && code.chars().all(of_code),
                    "{name} {status}: {code:?} is no code"
                );
            }
        }
    }
}

/// Types of one name would silently be one schema.
#[test]
fn no_two_types_share_a_schema_name() {
    let mut seen: BTreeMap<String, Value> = BTreeMap::new();
    for group in routes::route_groups() {
        let group = serde_json::to_value(group.into_openapi()).expect("JSON");
        let schemas = group["components"]["schemas"].as_object().cloned();
        for (name, schema) in schemas.unwrap_or_default() {
            let first = seen.entry(name.clone()).or_insert_with(|| schema.clone());
            assert_eq!(
                *first, schema,
                "two types are called {name} in the document"
            );
        }
    }
}

#[test]
fn every_reference_has_a_target() {
    for document in [document(), ws::document().json().clone()] {
        let mut references = Vec::new();
        collect_references(&document, &mut references);
        assert!(!references.is_empty());
        for reference in references {
            let pointer = reference.trim_start_matches('#');
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}

fn collect_references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(
                members
                    .get("$ref")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            for member in members.values() {
                collect_references(member, found);
            }
        }
        Value::Array(elements) => {
            for element in elements {
                collect_references(element, found);
            }
        }
        _ => {}
    }
}
