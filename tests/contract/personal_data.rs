//! The page `docs/privacy.md` lists all that the platform stores about people, and all that a deletion leaves.

use std::collections::BTreeMap;

use serde_json::json;
use sqlx::{Connection, PgConnection};
use talktime_client::{AppUser, UserRole, random_username};
use talktime_tests::{ExpectAnswer, SERVICES, TestApp, connect_app, read_database_url, wait_for};

const PAGE: &str = include_str!("../../docs/privacy.md");
/// Headings of the tables of the page.
const PERSONAL: &str = "## Columns with personal data";
const OTHER: &str = "## Other columns";
/// Beginning of the last cell of columns that are empty after a deletion.
const DELETED: &str = "deleted";

/// Tables that services have alike, which the page lists once, as those of `*`.
const SHARED_TABLES: [&str; 5] = [
    "outbox",
    "inbox",
    "dead_letters",
    "idempotency_keys",
    "operator_actions",
];

/// Full name of a column, such as `profile.users.phone`.
type ColumnName = String;

fn column_name(service: &str, table: &str, column: &str) -> ColumnName {
    let schema = if SHARED_TABLES.contains(&table) {
        "*"
    } else {
        service
    };
    format!("{schema}.{table}.{column}")
}

/// Reads the rows of the table below a heading, cell by cell.
fn read_rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = PAGE.split_once(heading).expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect());
    cells.collect()
}

/// Lists the columns that a row names: a table, and columns of it.
fn list_columns(row: &[&str]) -> Vec<ColumnName> {
    let table = row[0].trim_matches('`');
    let columns = row[1].split(", ");
    let names = columns.map(|column| format!("{table}.{}", column.trim_matches('`')));
    names.collect()
}

/// The columns with personal data, and what a deletion of the account does to them.
fn personal_columns() -> BTreeMap<ColumnName, &'static str> {
    let rows = read_rows(PERSONAL).into_iter();
    let columns = rows.flat_map(|row| {
        let effect = *row.last().expect("cells");
        list_columns(&row)
            .into_iter()
            .map(move |name| (name, effect))
    });
    columns.collect()
}

async fn connect_to(service: &str) -> PgConnection {
    let url = read_database_url(service);
    PgConnection::connect(&url).await.expect("connected")
}

/// Lists the columns of the tables of a service with their types. Partitions have the columns of their tables.
async fn list_stored_columns(service: &str) -> Vec<(String, String, String)> {
    sqlx::query_as(
        "SELECT class.relname::text, attribute.attname::text, type.typname::text
         FROM pg_class AS class
         JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid
         JOIN pg_type AS type ON type.oid = attribute.atttypid
         WHERE class.relnamespace = $1::regnamespace AND class.relkind IN ('r', 'p')
           AND NOT class.relispartition AND attribute.attnum > 0 AND NOT attribute.attisdropped
           AND class.relname !~ '_migrations$'
         ORDER BY class.relname, attribute.attnum",
    )
    .bind(service)
    .fetch_all(&mut connect_to(service).await)
    .await
    .expect("the catalogue is readable")
}

#[tokio::test]
async fn the_page_on_privacy_lists_every_column_once() {
    let mut listed: Vec<ColumnName> = [PERSONAL, OTHER]
        .into_iter()
        .flat_map(|heading| {
            read_rows(heading)
                .into_iter()
                .flat_map(|row| list_columns(&row))
        })
        .collect();
    let mut stored = Vec::new();
    for service in SERVICES {
        for (table, column, _) in list_stored_columns(service).await {
            stored.push(column_name(service, &table, &column));
        }
    }
    listed.sort_unstable();
    stored.sort_unstable();
    stored.dedup();
    assert_eq!(
        listed, stored,
        "docs/privacy.md and the columns of the services differ"
    );
}

/// A text that nobody else has, of each kind that people give.
struct PersonalTexts {
    person: AppUser,
    bio: String,
    holder: String,
}

impl PersonalTexts {
    /// Signs up a listener who fills every field.
    async fn give(app: &TestApp) -> Self {
        let person = app.sign_up(UserRole::Listener).await;
        let texts = Self {
            person,
            bio: random_username("bio"),
            holder: random_username("holder"),
        };
        let profile = app.put("/users/me").as_user(&texts.person);
        let profile = profile.json(&json!({"bio": texts.bio}));
        assert_eq!(profile.answer().await.status, 200);
        let account = json!({
            "account_holder_name": texts.holder.replace('_', " "),
            "account_number": "123456789012", "ifsc_code": "HDFC0000001",
        });
        let bank = app.put("/wallet/bank-details").as_user(&texts.person);
        assert_eq!(bank.json(&account).answer().await.status, 200);
        texts
    }

    fn list_texts(&self) -> [&str; 4] {
        let phone = self.person.phone.trim_start_matches('+');
        [phone, &self.person.username, &self.bio, &self.holder]
    }
}

/// Lists the columns that contain one of these texts.
async fn find_texts(texts: &[&str]) -> Vec<ColumnName> {
    let mut found = Vec::new();
    for service in SERVICES {
        let mut connection = connect_to(service).await;
        for (table, column, kind) in list_stored_columns(service).await {
            let contains = match kind.as_str() {
                "bytea" => format!("position(convert_to(part, 'UTF8') IN \"{column}\") > 0"),
                "text" | "_text" | "jsonb" | "varchar" => {
                    format!("position(part IN \"{column}\"::text) > 0")
                }
                _ => continue,
            };
            let query = format!(
                "SELECT EXISTS (SELECT FROM {service}.\"{table}\", unnest($1::text[]) AS part WHERE {contains})"
            );
            let exists: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
                .bind(texts)
                .fetch_one(&mut connection)
                .await
                .expect("readable");
            if exists {
                found.push(column_name(service, &table, &column));
            }
        }
    }
    found
}

#[tokio::test]
async fn a_deletion_leaves_what_the_page_on_privacy_says() {
    let app = connect_app().await;
    let given = PersonalTexts::give(&app).await;
    let texts = given.list_texts();
    let personal = personal_columns();
    for column in find_texts(&texts).await {
        assert!(personal.contains_key(&column), "{column} is personal");
    }
    let deleted = app.delete("/users/me").as_user(&given.person);
    assert_eq!(deleted.answer().await.status, 200);
    wait_for("the texts of a deleted user to be gone", || async {
        let found = find_texts(&texts).await;
        let is_kept = |column: &ColumnName| !personal[column].starts_with(DELETED);
        found.iter().all(is_kept).then_some(())
    })
    .await;
}
