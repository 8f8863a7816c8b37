//! Databases of their own for tests, made from the bootstrapped template in a tenth of a second.

use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::db::{self, Schema};

/// A fresh database with one migrated schema. It goes with the test stack.
pub struct TestDatabase {
    /// Pool of the app role.
    pub app: PgPool,
    /// Pool of the superuser, to look and to break things.
    pub superuser: PgPool,
}

impl TestDatabase {
    /// Makes a database for one test. Needs the variables of `cargo dev env`, which
    /// `cargo dev test` sets.
    pub async fn new(schema: Schema) -> Self {
        let admin: PgConnectOptions = variable("DATABASE_URL").parse().expect("DATABASE_URL");
        let name = format!("test_{}", uuid::Uuid::now_v7().simple());
        let template = variable("TEMPLATE_DATABASE");
        create(&admin, &name, &template).await;

        let service = schema.name.to_uppercase();
        let owner: PgConnectOptions = variable(&format!("{service}_OWNER_DATABASE_URL"))
            .parse()
            .expect("owner url");
        let app: PgConnectOptions = variable(&format!("{service}_APP_DATABASE_URL"))
            .parse()
            .expect("app url");
        let owner_url = SecretString::from(owner.database(&name).to_url_lossy().to_string());
        db::migrate(schema, &owner_url)
            .await
            .expect("migrations apply");
        Self {
            app: PgPoolOptions::new().connect_lazy_with(app.database(&name)),
            superuser: PgPoolOptions::new().connect_lazy_with(admin.database(&name)),
        }
    }
}

async fn create(admin: &PgConnectOptions, name: &str, template: &str) {
    let mut connection = PgConnection::connect_with(admin)
        .await
        .expect("the test stack is up");
    // One copy of a template at a time: Postgres refuses a second session in it.
    sqlx::query("SELECT pg_advisory_lock(hashtext($1))")
        .bind(template)
        .execute(&mut connection)
        .await
        .expect("lock");
    let statement = format!("CREATE DATABASE {name} TEMPLATE {template}");
    sqlx::query(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .expect("create database");
    connection.close().await.expect("close");
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `cargo dev test`"))
}
