//! Keys made once for a stack, and the fixed passwords of development.
//!
//! The passwords are no secrets: everything listens on the loopback interface only, and fixed ones are
//! easy to type. The keys are made anew for each stack all the same, so that no private key is ever
//! part of the repository.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::audit;
use crate::install;
use crate::stack::{self, Stack};
use crate::unit::{GRPC_SERVICES, Unit};

pub(crate) const POSTGRES_PASSWORD: &str = "dev-postgres";
pub(crate) const S3_ACCESS_KEY: &str = "dev-access-key";
pub(crate) const S3_SECRET_KEY: &str = "dev-secret-key";

/// The password of `<service>_owner`.
pub(crate) fn owner_password(service: Unit) -> String {
    format!("dev-{}-owner", service.name())
}

/// The password of `<service>_app`.
pub(crate) fn app_password(service: Unit) -> String {
    format!("dev-{}-app", service.name())
}

/// What auth seals the private keys of tokens under.
pub(crate) fn token_sealing_key(stack: &Stack) -> Result<String> {
    random_key(stack, "token-sealing.key")
}

/// The key that encrypts bank details.
pub(crate) fn bank_details_key(stack: &Stack) -> Result<String> {
    random_key(stack, "bank-details.key")
}

/// 32 bytes in hexadecimal.
fn random_key(stack: &Stack, file: &str) -> Result<String> {
    let key = made_once(stack, file, &["rand", "-hex", "32"])?;
    Ok(key.trim().to_owned())
}

/// Everything of this stack that no log may hold.
pub(crate) fn known(stack: &Stack) -> Result<Vec<String>> {
    let mut known = vec![POSTGRES_PASSWORD.to_owned(), S3_SECRET_KEY.to_owned()];
    for service in GRPC_SERVICES {
        known.extend([owner_password(service), app_password(service)]);
    }
    for file in fs::read_dir(stack.secrets_dir()).context("cannot list the secrets")? {
        let text = fs::read_to_string(file?.path()).context("cannot read a secret")?;
        known.extend(audit::telling_lines(&text).map(str::to_owned));
    }
    Ok(known)
}

/// The text of a file in the stack's folder of secrets; openssl makes it the first time.
fn made_once(stack: &Stack, file: &str, openssl: &[&str]) -> Result<String> {
    let path = stack.secrets_dir().join(file);
    if let Ok(text) = fs::read_to_string(&path) {
        return Ok(text);
    }
    let output = Command::new(install::program("openssl")?)
        .args(openssl)
        .stdin(Stdio::null())
        .output()
        .context("cannot run openssl")?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("openssl {} failed: {}", openssl.join(" "), complaint.trim());
    }
    let text = String::from_utf8(output.stdout).context("openssl printed something odd")?;
    // Renamed into place, so that a run cut short never leaves half a key for the next.
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, &text).context("cannot write a secret")?;
    stack::set_mode(&unfinished, 0o600)?;
    fs::rename(&unfinished, &path).context("cannot write a secret")?;
    Ok(text)
}
