//! The media relays of a stack: coturn, each with a realm and a small Redis of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::instance::UnitInstance;
use crate::secrets;
use crate::stack::{DevStack, workspace_root};
use crate::unit::StackUnit;
use crate::{install, redis};

/// First port of the first relay for the traffic between relays, below the ports that the system gives to
/// clients.
const RELAY_PORTS_FIRST: u16 = 7_500;
/// Number of these ports of each relay.
const RELAY_PORTS: u16 = 150;

/// Creates what the relays need before they start: two secrets.
pub(crate) fn prepare_relays(stack: &DevStack) -> Result<()> {
    secrets::generate_turn_secrets(stack)
}

/// Returns the settings of calls with the media engine of the stack. Calls whose request names no carrier are left to the
/// apps, so that clients without media of the platform work as before.
pub(crate) fn media_variables(stack: &DevStack) -> Vec<(&'static str, String)> {
    let secret_file = secrets::turn_secret_file(stack);
    vec![
        ("MEDIA__ENGINE", "turn".to_owned()),
        ("MEDIA__DEFAULT_CARRIER", "own".to_owned()),
        (
            "MEDIA__TURN__SECRET_FILE",
            secret_file.display().to_string(),
        ),
    ]
}

/// Returns the TURN realm of a relay or of the agent beside it.
pub(crate) fn realm(instance: UnitInstance) -> String {
    format!("relay-{}", instance.replica())
}

/// Returns the addresses at which apps reach a relay.
pub(crate) fn turn_urls(stack: &DevStack, realm_of: UnitInstance) -> [String; 2] {
    let port = stack.main_port(realm_of.beside(StackUnit::Coturn));
    ["udp", "tcp"].map(|transport| format!("turn:127.0.0.1:{port}?transport={transport}"))
}

/// Returns the address of the Redis beside a relay, which coturn cannot reach over TLS.
pub(crate) fn redis_url(stack: &DevStack, beside: UnitInstance) -> String {
    let port = stack.main_port(beside.beside(StackUnit::RelayRedis));
    format!("redis://127.0.0.1:{port}")
}

/// Returns the address of the console of a relay.
pub(crate) fn console_address(stack: &DevStack, beside: UnitInstance) -> String {
    let port = stack.ops_port(beside.beside(StackUnit::Coturn));
    format!("127.0.0.1:{}", port.unwrap_or_default())
}

/// Returns the command that runs the Redis of a relay.
pub(crate) fn build_redis_command(stack: &DevStack, instance: UnitInstance) -> Result<Command> {
    let mut command = redis::build_volatile_redis_command(&data_dir(stack, instance)?)?;
    command.args(["--port", &stack.main_port(instance).to_string()]);
    Ok(command)
}

/// Returns the command that runs a relay.
pub(crate) fn build_coturn_command(stack: &DevStack, instance: UnitInstance) -> Result<Command> {
    let program = install::find_program("turnserver")?;
    let folder = program.parent().context("turnserver lies in no folder")?;
    let path = std::env::var("PATH").unwrap_or_default();
    let first_port = stack.port(RELAY_PORTS_FIRST) + (instance.replica() - 1) * RELAY_PORTS;
    let run_dir = data_dir(stack, instance)?;
    let mut command = Command::new(workspace_root().join("deploy/turn/start"));
    let mut set = |name: &str, value: String| {
        command.env(format!("TURN_{name}"), value);
    };
    set("REALM", realm(instance));
    set("PORT", stack.main_port(instance).to_string());
    set("RELAY_PORT_MIN", first_port.to_string());
    set("RELAY_PORT_MAX", (first_port + RELAY_PORTS - 1).to_string());
    set("IPS", "127.0.0.1".to_owned());
    set("LOOPBACK", "1".to_owned());
    set("SESSIONS_MAX", RELAY_PORTS.to_string());
    set(
        "SECRET_FILE",
        secrets::turn_secret_file(stack).display().to_string(),
    );
    set(
        "CONSOLE_PORT",
        stack.ops_port(instance).unwrap_or_default().to_string(),
    );
    set(
        "CONSOLE_PASSWORD_FILE",
        secrets::turn_console_password_file(stack)
            .display()
            .to_string(),
    );
    let redis = instance.beside(StackUnit::RelayRedis);
    set("REDIS_PORT", stack.main_port(redis).to_string());
    set("RUN_DIR", run_dir.display().to_string());
    command.env("PATH", format!("{}:{path}", folder.display()));
    Ok(command)
}

/// Creates and returns the folder of a relay or of its Redis.
fn data_dir(stack: &DevStack, instance: UnitInstance) -> Result<PathBuf> {
    let folder = stack.data_dir().join(instance.name());
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}
