//! The addresses of a stack's Postgres, by the roles that log in. Clients verify the certificate of the server, except where
//! the cost of that is measured.

use std::fmt::Write as _;

use crate::databases::DATABASE;
use crate::identities;
use crate::secrets::{self, POSTGRES_PASSWORD};
use crate::stack::DevStack;
use crate::unit::StackUnit;

pub(crate) fn superuser_url(stack: &DevStack) -> String {
    database_url(stack, "postgres", POSTGRES_PASSWORD)
}

pub(crate) fn owner_url(stack: &DevStack, service: StackUnit) -> String {
    let role = format!("{}_owner", service.name());
    database_url(stack, &role, &secrets::owner_password(service))
}

pub(crate) fn app_url(stack: &DevStack, service: StackUnit) -> String {
    let role = format!("{}_app", service.name());
    database_url(stack, &role, &secrets::app_password(service))
}

fn database_url(stack: &DevStack, role: &str, password: &str) -> String {
    let port = stack.main_port(StackUnit::Postgres);
    let address = format!("postgres://{role}:{password}@127.0.0.1:{port}/{DATABASE}");
    if stack.is_plaintext() {
        return format!("{address}?sslmode=disable");
    }
    let authority = identities::authority_file(stack, StackUnit::Postgres);
    let authority = encode_query_value(&authority.display().to_string());
    format!("{address}?sslmode=verify-full&sslrootcert={authority}")
}

/// Escapes a value of the query of a URL, such as a path with a space.
fn encode_query_value(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_url_is_escaped() {
        assert_eq!(
            encode_query_value("/a b/c+d&e/ca.crt"),
            "/a%20b/c%2Bd%26e/ca.crt"
        );
    }
}
