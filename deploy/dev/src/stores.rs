//! The users of NATS and Redis, and the addresses at which they log in.

use anyhow::Result;

use crate::secrets;
use crate::stack::DevStack;
use crate::unit::StackUnit;

/// The user of NATS and Redis with all rights.
pub(crate) const STORE_OPERATOR: &str = "operator";
/// The processes that use Redis.
pub(crate) const REDIS_USERS: [&str; 3] = ["auth", "calls", "gateway"];

pub(crate) fn redis_address(stack: &DevStack) -> String {
    format!("redis://127.0.0.1:{}", stack.main_port(StackUnit::Redis))
}

/// Returns the address at which a user logs in to Redis.
pub(crate) fn redis_url(stack: &DevStack, user: &str) -> Result<String> {
    let password = secrets::redis_password(stack, user)?;
    let port = stack.main_port(StackUnit::Redis);
    Ok(format!("redis://{user}:{password}@127.0.0.1:{port}"))
}

pub(crate) fn nats_address(stack: &DevStack) -> String {
    format!("nats://127.0.0.1:{}", stack.main_port(StackUnit::Nats))
}

/// Returns the address at which tools log in to NATS as its operator.
pub(crate) fn nats_url(stack: &DevStack) -> Result<String> {
    let password = secrets::nats_password(stack, STORE_OPERATOR)?;
    let port = stack.main_port(StackUnit::Nats);
    Ok(format!(
        "nats://{STORE_OPERATOR}:{password}@127.0.0.1:{port}"
    ))
}
