//! A service can access only its own schema, whatever runs inside it.

use sqlx::{Connection, PgConnection};
use talktime_tests::{SERVICES, read_database_url};

const PERMISSION_DENIED: &str = "42501";

async fn connect(service: &str) -> PgConnection {
    let url = read_database_url(service);
    PgConnection::connect(&url)
        .await
        .expect("the role connects")
}

async fn assert_denied(connection: &mut PgConnection, statement: String) {
    let refused = sqlx::query(sqlx::AssertSqlSafe(statement.clone()))
        .execute(connection)
        .await;
    let error = refused.expect_err(&statement);
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    assert_eq!(
        code.as_deref(),
        Some(PERMISSION_DENIED),
        "{statement}: {error}"
    );
}

#[tokio::test]
async fn no_role_reads_or_writes_another_services_tables() {
    for service in SERVICES {
        let mut connection = connect(service).await;
        for other in SERVICES.iter().filter(|other| **other != service) {
            for statement in [
                format!("SELECT * FROM {other}.outbox"),
                format!("DELETE FROM {other}.outbox"),
                format!("INSERT INTO {other}.inbox (consumer, message_id) VALUES ('a', 'b')"),
                format!("UPDATE {other}.inbox SET consumer = 'a'"),
            ] {
                assert_denied(&mut connection, statement).await;
            }
        }
    }
}

#[tokio::test]
async fn no_role_changes_the_shape_of_the_database() {
    for service in SERVICES {
        let mut connection = connect(service).await;
        for statement in [
            format!("CREATE TABLE {service}.mine (id int)"),
            "CREATE TABLE public.mine (id int)".to_owned(),
            "CREATE TEMPORARY TABLE mine (id int)".to_owned(),
            "CREATE SCHEMA mine".to_owned(),
            format!("CREATE FUNCTION {service}.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
            "CREATE ROLE mine".to_owned(),
        ] {
            assert_denied(&mut connection, statement).await;
        }
        // For an object of another owner the error has another name and the same meaning.
        for statement in [
            format!("ALTER TABLE {service}.outbox ADD COLUMN mine int"),
            format!("DROP TABLE {service}.outbox"),
            format!("DELETE FROM {service}._migrations"),
        ] {
            assert_denied(&mut connection, statement).await;
        }
    }
}
