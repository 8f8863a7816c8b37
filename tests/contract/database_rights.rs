//! Rights in Postgres: the roles of a service reach its own schema and no other, and a service cannot change what it only
//! ever adds. Tables come from the catalogue, so that none is forgotten; every attempt is a statement of the role itself.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use talktime_client::UserRole;
use talktime_tests::{SERVICES, connect_app, read_variable, run_dev};

/// `insufficient_privilege`, also of a row that a policy refuses.
const REFUSED: &str = "42501";
/// Tables to which rows are only added.
const APPEND_ONLY: [&str; 9] = [
    "auth.audit_log",
    "auth.deleted_users",
    "verification.decisions",
    "verification.photo_decisions",
    "wallet.journal",
    "wallet.payment_reversals",
    "wallet.payout_batches",
    "wallet.transfers",
    "wallet.withdrawal_decisions",
];
/// Tables whose rows change and stay.
const NEVER_DELETED: [&str; 4] = [
    "auth.signing_keys",
    "wallet.closed_wallets",
    "wallet.order_payments",
    "wallet.payment_disputes",
];

/// A table of a service.
#[derive(Clone, Debug)]
struct ServiceTable {
    schema: String,
    /// Name with the schema.
    name: String,
    /// A column that statements may set.
    column: String,
    /// Rows of a partition are reached through its table.
    is_partition: bool,
    /// A view cannot be truncated, whatever the rights.
    is_view: bool,
}

impl ServiceTable {
    /// Statements that change no row, by what they need the right to do.
    fn attempts(&self) -> [(&'static str, String); 5] {
        let (name, column) = (&self.name, &self.column);
        [
            ("select", format!("SELECT FROM {name} LIMIT 0")),
            ("insert", format!("INSERT INTO {name} DEFAULT VALUES")),
            (
                "update",
                format!("UPDATE {name} SET {column} = {column} WHERE false"),
            ),
            ("delete", format!("DELETE FROM {name} WHERE false")),
            ("truncate", format!("TRUNCATE {name}")),
        ]
    }

    /// Returns what the service that owns the table may do.
    fn rights_of_service(&self) -> &'static [&'static str] {
        let bare_name = self.name.split('.').next_back();
        if self.is_partition {
            &[]
        } else if matches!(bare_name, Some("_migrations" | "_kit_migrations")) {
            &["select"]
        } else if APPEND_ONLY.contains(&self.name.as_str()) || bare_name == Some("operator_actions")
        {
            &["select", "insert"]
        } else if NEVER_DELETED.contains(&self.name.as_str()) {
            &["select", "insert", "update"]
        } else {
            &["select", "insert", "update", "delete"]
        }
    }
}

async fn list_tables() -> Vec<ServiceTable> {
    let mut superuser = connect("DATABASE_URL").await;
    let rows = sqlx::query(
        "SELECT nspname::text AS schema, relispartition AS is_partition,
                relkind = 'v' AS is_view, format('%I.%I', nspname, relname) AS name,
                (SELECT format('%I', attname) FROM pg_attribute
                 WHERE attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
                   AND attidentity = '' AND attgenerated = ''
                 ORDER BY attnum LIMIT 1) AS column
         FROM pg_class JOIN pg_namespace AS space ON space.oid = relnamespace
         WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND nspname = ANY($1) ORDER BY name",
    )
    .bind(SERVICES.as_slice())
    .fetch_all(&mut superuser)
    .await
    .expect("readable");
    let tables = rows.iter().map(|row| ServiceTable {
        schema: row.get("schema"),
        name: row.get("name"),
        column: row.get("column"),
        is_partition: row.get("is_partition"),
        is_view: row.get("is_view"),
    });
    tables.collect()
}

async fn connect(variable: &str) -> PgConnection {
    let connected = PgConnection::connect(&read_variable(variable)).await;
    connected.expect("the role logs in")
}

/// Returns whether Postgres refuses the statement for want of a right. Nothing that it does remains.
async fn is_refused(role: &mut PgConnection, statement: &str) -> bool {
    let mut attempt = role.begin().await.expect("begun");
    let done = sqlx::query(AssertSqlSafe(statement.to_owned()))
        .execute(&mut *attempt)
        .await;
    attempt.rollback().await.expect("rolled back");
    let code = done.err().and_then(|error| {
        let error = error.into_database_error().expect("an answer of Postgres");
        error.code().map(Cow::into_owned)
    });
    code.as_deref() == Some(REFUSED)
}

/// Returns what a role may do with each of these tables.
async fn find_rights(
    variable: &str,
    tables: impl Iterator<Item = &ServiceTable>,
) -> BTreeMap<String, Vec<&'static str>> {
    let mut role = connect(variable).await;
    let mut rights = BTreeMap::new();
    for table in tables {
        let mut allowed = Vec::new();
        for (right, statement) in table.attempts() {
            if table.is_view && right == "truncate" {
                continue;
            }
            if !is_refused(&mut role, &statement).await {
                allowed.push(right);
            }
        }
        rights.insert(table.name.clone(), allowed);
    }
    rights
}

#[tokio::test]
async fn no_role_of_a_service_reaches_a_table_of_another() {
    let tables = list_tables().await;
    let schemas: BTreeSet<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    assert_eq!(schemas.len(), SERVICES.len(), "{schemas:?}");
    let roles = SERVICES.iter().flat_map(|service| {
        ["APP", "OWNER"].map(|role| (service, format!("{}_{role}", service.to_uppercase())))
    });
    let attempts = roles.map(async |(service, role)| {
        let foreign = tables.iter().filter(|table| table.schema != *service);
        let rights = find_rights(&format!("{role}_DATABASE_URL"), foreign).await;
        let reached = rights.into_iter().filter(|(_, rights)| !rights.is_empty());
        (role, reached.collect::<Vec<_>>())
    });
    for (role, reached) in join_all(attempts).await {
        assert!(reached.is_empty(), "{role} reaches {reached:?}");
    }
}

#[tokio::test]
async fn a_service_has_exactly_the_rights_that_its_tables_are_meant_for() {
    let tables = list_tables().await;
    for name in APPEND_ONLY.into_iter().chain(NEVER_DELETED) {
        assert!(tables.iter().any(|table| table.name == name), "no {name}");
    }
    let checks = SERVICES.map(async |service| {
        let own = || tables.iter().filter(|table| table.schema == service);
        let variable = format!("{}_APP_DATABASE_URL", service.to_uppercase());
        let rights = find_rights(&variable, own()).await;
        let meant = own().map(|table| (table.name.clone(), table.rights_of_service().to_vec()));
        assert_eq!(rights, meant.collect::<BTreeMap<_, _>>());
    });
    join_all(checks).await;
}

#[tokio::test]
async fn a_service_changes_no_schema() {
    for service in SERVICES {
        let mut role = connect(&format!("{}_APP_DATABASE_URL", service.to_uppercase())).await;
        for statement in [
            format!("CREATE TABLE {service}.extra (id bigint)"),
            format!("CREATE FUNCTION {service}.extra() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
            format!("ALTER TABLE {service}.outbox ADD COLUMN extra bigint"),
            format!("ALTER TABLE {service}.outbox DISABLE TRIGGER ALL"),
            format!("DROP TABLE {service}.outbox"),
            format!("SET ROLE {service}_owner"),
            "CREATE TABLE public.extra (id bigint)".to_owned(),
            "CREATE TEMPORARY TABLE extra (id bigint)".to_owned(),
            "CREATE SCHEMA extra".to_owned(),
            "CREATE ROLE extra".to_owned(),
        ] {
            assert!(
                is_refused(&mut role, &statement).await,
                "{service}: {statement}"
            );
        }
    }
}

#[tokio::test]
async fn the_role_of_profile_makes_and_changes_no_admin() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let admin = app.sign_up_admin().await;
    let mut profile = connect("PROFILE_APP_DATABASE_URL").await;
    let (person_id, admin_id) = (person.user_id, admin.user_id);
    for statement in [
        format!("INSERT INTO profile.user_roles (user_id, role) VALUES ({person_id}, 'admin')"),
        format!(
            "INSERT INTO profile.user_roles (user_id, role) VALUES ({person_id}, 'admin')
             ON CONFLICT (user_id, role) DO UPDATE SET active = true"
        ),
        format!("UPDATE profile.user_roles SET role = 'admin' WHERE user_id = {person_id}"),
        "ALTER TABLE profile.user_roles DISABLE ROW LEVEL SECURITY".to_owned(),
    ] {
        assert!(is_refused(&mut profile, &statement).await, "{statement}");
    }
    let taken = format!(
        "UPDATE profile.user_roles SET active = false, user_id = {person_id}
         WHERE user_id = {admin_id} AND role = 'admin'"
    );
    let taken = sqlx::query(AssertSqlSafe(taken))
        .execute(&mut profile)
        .await;
    assert_eq!(taken.expect("no row is visible to it").rows_affected(), 0);
    // The command of the operator has the right.
    run_dev(&[
        "run",
        "profile",
        "revoke-admin",
        "--operator",
        "tests",
        &admin.phone,
    ])
    .await;
}
