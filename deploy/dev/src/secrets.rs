//! Keys that are generated once for a stack, and the fixed passwords of development.
//!
//! The passwords are not secret: all processes listen on the loopback interface only, and fixed passwords are
//! easy to type. The keys are generated for each stack, so that no private key is part of the repository.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::stack::{self, DevStack};
use crate::unit::{GRPC_SERVICES, StackUnit};
use crate::{identities, install};

/// Shorter lines of a key file, such as `-----END`, do not reveal the key.
const KEY_LINE_CHARS_MIN: usize = 24;

const ATTESTATION_KEY: &str = "attestation.key";
const ATTESTATION_PUBLIC_KEY: &str = "attestation.pub";
const LEDGER_ANCHOR_KEY: &str = "ledger-anchor.key";
const TOKEN_SEALING_KEY: &str = "token-sealing.key";
const TURN_SECRET: &str = "turn.key";
const TURN_CONSOLE_PASSWORD: &str = "turn-console.key";

pub(crate) const POSTGRES_PASSWORD: &str = "dev-postgres";
pub(crate) const S3_ACCESS_KEY: &str = "dev-access-key";
pub(crate) const S3_SECRET_KEY: &str = "dev-secret-key";

/// Returns the password of `<service>_owner`.
pub(crate) fn owner_password(service: StackUnit) -> String {
    format!("dev-{}-owner", service.name())
}

/// Returns the password of `<service>_app`.
pub(crate) fn app_password(service: StackUnit) -> String {
    format!("dev-{}-app", service.name())
}

/// Returns the key under which auth seals the private keys of tokens.
pub(crate) fn token_sealing_key(stack: &DevStack) -> Result<String> {
    load_random_key(stack, TOKEN_SEALING_KEY)
}

/// Returns the file with that key, for tests that sign tokens.
pub(crate) fn token_sealing_key_file(stack: &DevStack) -> PathBuf {
    stack.secrets_dir().join(TOKEN_SEALING_KEY)
}

/// Returns the file with the key that attests requests as the platform of a phone would, for tests and developers.
pub(crate) fn attestation_key_file(stack: &DevStack) -> String {
    let path = stack.secrets_dir().join(ATTESTATION_KEY);
    path.display().to_string()
}

/// Returns the file with its public half, which auth verifies attestations with.
pub(crate) fn attestation_public_key_file(stack: &DevStack) -> Result<String> {
    let curve = "ec_paramgen_curve:P-256";
    let generate = ["genpkey", "-algorithm", "EC", "-pkeyopt", curve];
    load_or_generate(stack, ATTESTATION_KEY, &generate)?;
    let key_file = attestation_key_file(stack);
    let publish = ["pkey", "-in", &key_file, "-pubout"];
    load_or_generate(stack, ATTESTATION_PUBLIC_KEY, &publish)?;
    let path = stack.secrets_dir().join(ATTESTATION_PUBLIC_KEY);
    Ok(path.display().to_string())
}

/// Returns the key that seals bank details.
pub(crate) fn bank_details_key(stack: &DevStack) -> Result<String> {
    load_random_key(stack, "bank-details.key")
}

/// Returns the file with the key that signs anchors of the ledger.
pub(crate) fn ledger_anchor_key_file(stack: &DevStack) -> Result<PathBuf> {
    load_random_key(stack, LEDGER_ANCHOR_KEY)?;
    Ok(stack.secrets_dir().join(LEDGER_ANCHOR_KEY))
}

/// Returns the key that phones are hashed with.
pub(crate) fn phone_hash_key(stack: &DevStack) -> Result<String> {
    load_random_key(stack, "phone-hash.key")
}

/// Returns the password of a user of NATS.
pub(crate) fn nats_password(stack: &DevStack, user: &str) -> Result<String> {
    store_password(stack, "nats", user)
}

/// Returns the password of a user of Redis.
pub(crate) fn redis_password(stack: &DevStack, user: &str) -> Result<String> {
    store_password(stack, "redis", user)
}

/// Begins with a letter, because NATS would read some other values of its environment as numbers.
fn store_password(stack: &DevStack, store: &str, user: &str) -> Result<String> {
    let key = load_random_key(stack, &format!("{store}-{user}.key"))?;
    Ok(format!("p{key}"))
}

/// Returns the file with the secret that signs the credentials of the media relays.
pub(crate) fn turn_secret_file(stack: &DevStack) -> PathBuf {
    stack.secrets_dir().join(TURN_SECRET)
}

/// Returns the file with the password of the consoles of the media relays.
pub(crate) fn turn_console_password_file(stack: &DevStack) -> PathBuf {
    stack.secrets_dir().join(TURN_CONSOLE_PASSWORD)
}

/// Generates the secrets of the media relays.
pub(crate) fn generate_turn_secrets(stack: &DevStack) -> Result<()> {
    load_random_key(stack, TURN_SECRET)?;
    load_random_key(stack, TURN_CONSOLE_PASSWORD)?;
    Ok(())
}

/// Returns 32 random bytes in hexadecimal, which are generated once.
fn load_random_key(stack: &DevStack, file: &str) -> Result<String> {
    let key = load_or_generate(stack, file, &["rand", "-hex", "32"])?;
    Ok(key.trim().to_owned())
}

/// Lists the secrets of this stack, which no log may contain.
pub(crate) fn list_known_secrets(stack: &DevStack) -> Result<Vec<String>> {
    let mut known = vec![POSTGRES_PASSWORD.to_owned(), S3_SECRET_KEY.to_owned()];
    for service in GRPC_SERVICES {
        known.extend([owner_password(service), app_password(service)]);
    }
    for path in list_secret_files(stack)? {
        let text = fs::read_to_string(path).context("cannot read a secret")?;
        known.extend(secret_lines(&text).map(str::to_owned));
    }
    Ok(known)
}

fn list_secret_files(stack: &DevStack) -> Result<Vec<PathBuf>> {
    let mut files = identities::list_key_files(stack)?;
    for entry in fs::read_dir(stack.secrets_dir()).context("cannot list the secrets")? {
        let path = entry?.path();
        files.extend(path.is_file().then_some(path));
    }
    Ok(files)
}

/// Returns the text of a file in the folder of secrets; openssl generates it the first time.
fn load_or_generate(stack: &DevStack, file: &str, openssl: &[&str]) -> Result<String> {
    let path = stack.secrets_dir().join(file);
    if let Ok(text) = fs::read_to_string(&path) {
        return Ok(text);
    }
    let output = Command::new(install::find_program("openssl")?)
        .args(openssl)
        .stdin(Stdio::null())
        .output()
        .context("cannot run openssl")?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("openssl {} failed: {}", openssl.join(" "), complaint.trim());
    }
    let text = String::from_utf8(output.stdout).context("openssl printed no UTF-8")?;
    // The file is renamed into place, so that an interrupted run never leaves a partial key.
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, &text).context("cannot write a secret")?;
    stack::set_mode(&unfinished, 0o600)?;
    fs::rename(&unfinished, &path).context("cannot write a secret")?;
    Ok(text)
}

/// Returns the lines of a key file that reveal the key.
fn secret_lines(file: &str) -> impl Iterator<Item = &str> {
    file.lines()
        .map(str::trim)
        .filter(|line| line.len() >= KEY_LINE_CHARS_MIN && !line.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_that_reveal_a_key_are_secret() {
        let pem =
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIHAL\n-----END PRIVATE KEY-----\n";
        assert_eq!(
            secret_lines(pem).collect::<Vec<_>>(),
            ["MC4CAQAwBQYDK2VwBCIEIHAL"]
        );
    }
}
