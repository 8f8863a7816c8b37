//! Operators, who run commands that change something. Each command names its operator, only people of a list may, and what
//! they do is recorded.

use clap::Args;

use crate::config::{DeploymentEnvironment, ProcessConfig};
use crate::db::{DatabasePool, PgConnection};
use crate::text::{self, TextError};

const NAME_CHARS_MAX: usize = 100;

/// The argument of commands that only operators may run.
#[derive(Args, Clone, Debug)]
pub struct OperatorArgument {
    /// The person who runs the command, one of `OPERATORS`
    #[arg(long = "operator", value_name = "NAME", value_parser = parse_name)]
    name: String,
}

fn parse_name(name: &str) -> Result<String, TextError> {
    text::normalize_line(name, NAME_CHARS_MAX)
}

impl OperatorArgument {
    /// Returns the name of the operator, if it is one of the list. In development everybody is an operator while the list
    /// is empty.
    ///
    /// # Errors
    /// The list has no such name.
    pub fn identify(&self, process: &ProcessConfig) -> anyhow::Result<&str> {
        let is_listed = process.operators.contains(&self.name);
        let is_development = process.environment == DeploymentEnvironment::Development;
        let is_anybody = process.operators.is_empty() && is_development;
        anyhow::ensure!(
            is_listed || is_anybody,
            "{} is not among the OPERATORS of this platform",
            self.name
        );
        Ok(&self.name)
    }
}

/// Records a command of an operator in the transaction of its effect.
///
/// # Errors
/// The statement failed; the transaction must be rolled back.
pub async fn record_action(
    tx: &mut PgConnection,
    operator: &str,
    command: &str,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO operator_actions (operator_name, command) VALUES ($1, $2)")
        .bind(operator)
        .bind(command)
        .execute(tx)
        .await?;
    Ok(())
}

/// Records a command of an operator before it begins: one whose effect is elsewhere, or takes many transactions.
///
/// # Errors
/// The database does not answer, and the command must not run.
pub async fn record_intention(
    db: &DatabasePool,
    operator: &str,
    command: &str,
) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    record_action(&mut tx, operator, command).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{
        IdentityConfig, OperationsPortConfig, SecretFilesConfig, ShutdownConfig, TelemetryConfig,
    };

    fn identify(environment: DeploymentEnvironment, operators: &[&str], name: &str) -> bool {
        let process = ProcessConfig {
            environment,
            ops: OperationsPortConfig {
                listen: ([127, 0, 0, 1], 1).into(),
            },
            identity: IdentityConfig::default(),
            secrets: SecretFilesConfig::default(),
            telemetry: TelemetryConfig::default(),
            shutdown: ShutdownConfig::default(),
            operators: operators.iter().map(ToString::to_string).collect(),
        };
        let operator = OperatorArgument {
            name: name.to_owned(),
        };
        operator.identify(&process).is_ok()
    }

    #[test]
    fn only_people_of_the_list_are_operators() {
        use DeploymentEnvironment::{Development, Production, Staging};
        for environment in [Development, Staging, Production] {
            assert!(identify(environment, &["asha", "ravi"], "ravi"));
            assert!(!identify(environment, &["asha", "ravi"], "eve"));
        }
        assert!(identify(Development, &[], "eve"));
        assert!(!identify(Staging, &[], "eve") && !identify(Production, &[], "eve"));
    }

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(parse_name(" Asha Rao ").as_deref(), Ok("Asha Rao"));
        assert!(parse_name("").is_err() && parse_name("a\nb").is_err());
    }
}
