//! The users of NATS and Redis, the addresses at which they log in, and the TLS of both stores: clients verify the
//! certificates that the authority of the stack has issued, except in the stack that measures the cost of that.

use std::ffi::OsString;

use anyhow::Result;

use crate::stack::DevStack;
use crate::unit::StackUnit;
use crate::{identities, secrets};

/// The user of NATS and Redis with all rights.
pub(crate) const STORE_OPERATOR: &str = "operator";
/// The processes that use Redis.
pub(crate) const REDIS_USERS: [&str; 3] = ["auth", "calls", "gateway"];

fn redis_scheme(stack: &DevStack) -> &'static str {
    if stack.is_plaintext() {
        "redis"
    } else {
        "rediss"
    }
}

fn nats_scheme(stack: &DevStack) -> &'static str {
    if stack.is_plaintext() { "nats" } else { "tls" }
}

pub(crate) fn redis_address(stack: &DevStack) -> String {
    let port = stack.main_port(StackUnit::Redis);
    format!("{}://127.0.0.1:{port}", redis_scheme(stack))
}

/// Returns the address at which a user logs in to Redis.
pub(crate) fn redis_url(stack: &DevStack, user: &str) -> Result<String> {
    let password = secrets::redis_password(stack, user)?;
    let port = stack.main_port(StackUnit::Redis);
    let scheme = redis_scheme(stack);
    Ok(format!("{scheme}://{user}:{password}@127.0.0.1:{port}"))
}

pub(crate) fn nats_address(stack: &DevStack) -> String {
    let port = stack.main_port(StackUnit::Nats);
    format!("{}://127.0.0.1:{port}", nats_scheme(stack))
}

/// Returns the address at which tools log in to NATS as its operator.
pub(crate) fn nats_url(stack: &DevStack) -> Result<String> {
    let password = secrets::nats_password(stack, STORE_OPERATOR)?;
    let port = stack.main_port(StackUnit::Nats);
    let scheme = nats_scheme(stack);
    Ok(format!(
        "{scheme}://{STORE_OPERATOR}:{password}@127.0.0.1:{port}"
    ))
}

/// Returns the file with the authority that has issued the certificate of Redis.
pub(crate) fn redis_authority(stack: &DevStack) -> String {
    let file = identities::authority_file(stack, StackUnit::Redis);
    file.display().to_string()
}

/// Returns the file with the authority that has issued the certificate of NATS.
pub(crate) fn nats_authority(stack: &DevStack) -> String {
    let file = identities::authority_file(stack, StackUnit::Nats);
    file.display().to_string()
}

/// Returns the options with which Redis listens. It takes no connection in clear, except where the cost of that is measured,
/// and wants passwords of its clients, not certificates.
pub(crate) fn redis_listen_arguments(stack: &DevStack) -> Vec<OsString> {
    let port = stack.main_port(StackUnit::Redis).to_string();
    if stack.is_plaintext() {
        return vec!["--port".into(), port.into()];
    }
    let identity = identities::identity_dir(stack, StackUnit::Redis);
    let options: [(&str, OsString); 6] = [
        ("--port", "0".into()),
        ("--tls-port", port.into()),
        ("--tls-auth-clients", "no".into()),
        ("--tls-cert-file", identity.join("tls.crt").into()),
        ("--tls-key-file", identity.join("tls.key").into()),
        ("--tls-ca-cert-file", identity.join("ca.crt").into()),
    ];
    options
        .into_iter()
        .flat_map(|(name, value)| [name.into(), value])
        .collect()
}

/// Returns the options with which redis-cli connects.
pub(crate) fn redis_cli_arguments(stack: &DevStack) -> Vec<String> {
    let port = stack.main_port(StackUnit::Redis).to_string();
    let authority = redis_authority(stack);
    let tls: &[&str] = if stack.is_plaintext() {
        &[]
    } else {
        &["--tls", "--cacert", &authority]
    };
    let arguments = [tls, &["-p", &port]].concat();
    arguments.into_iter().map(str::to_owned).collect()
}

/// Returns the settings with which NATS admits no client without TLS, or none where the cost of that is measured.
pub(crate) fn nats_tls_config(stack: &DevStack) -> String {
    if stack.is_plaintext() {
        return String::new();
    }
    let identity = identities::identity_dir(stack, StackUnit::Nats);
    format!(
        "tls {{\n  cert_file: \"{}\"\n  key_file: \"{}\"\n}}\n",
        identity.join("tls.crt").display(),
        identity.join("tls.key").display()
    )
}
