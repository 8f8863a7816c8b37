//! Filled tables become partitioned ones while people are charged. `TALKTIME_PARTITIONED_ROWS=10000000` fills them with
//! as many rows each.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::{Duration, Instant};

use sqlx::PgPool;
use sqlx::migrate::Migrator;
use talktime_kit::db::{self, DatabaseSchema};
use talktime_kit::testing::{TestDatabase, wait_until};
use talktime_wallet::SCHEMA;
use talktime_wallet::domain::charging::MinuteCharge;
use talktime_wallet::ledger::ChargeOutcome;
use talktime_wallet::provider::PaymentProvider;

use crate::books::{TestBooks, terms};

/// The first migration that prepares the partitions.
const FIRST_VERSION: i64 = 8;
/// A later migration, whose columns a charge writes. It concerns none of the tables with partitions.
const COLUMNS_VERSION: i64 = 21;
/// People with coins, and the first of their ids.
const PAYERS: i64 = 1_000;
const FIRST_PAYER: i64 = 1;
/// Charges that a reader of a whole table has to outlast before the migration may go on.
const CHARGES_MEANWHILE: i32 = 20;
/// Longest duration of a charge during the migration, on a busy machine.
const CHARGE_MAX: Duration = Duration::from_secs(3);

static MIGRATIONS_BEFORE: LazyLock<Migrator> = LazyLock::new(|| {
    let before = SCHEMA.migrations.iter();
    Migrator::with_migrations(
        before
            .filter(|migration| {
                migration.version < FIRST_VERSION || migration.version == COLUMNS_VERSION
            })
            .cloned()
            .collect(),
    )
});

fn count_rows() -> i64 {
    std::env::var("TALKTIME_PARTITIONED_ROWS")
        .map_or(20_000, |rows| rows.parse().expect("a number"))
}

/// Gives each payer coins, one by one.
async fn fill(superuser: &PgPool, rows: i64) {
    for statement in [
        "INSERT INTO wallet.user_wallets (user_id, balance_coins, created_at, updated_at)
         SELECT payer, $1 / $2, '2024-01-01', '2024-01-01'
         FROM generate_series($3, $3 + $2 - 1) AS payer",
        "INSERT INTO wallet.transfers
             (transfer_id, kind, content, coins, paise, balance_coins, created_at)
         SELECT 'bonus/fill/' || n, 'bonus', 'a coin', 1, 0, n / $2 + 1,
                '2024-01-01'::timestamptz + n * interval '1 year' / $1 + $3 * interval '0'
         FROM generate_series(0, $1 - 1) AS n",
        "INSERT INTO wallet.journal
             (transfer_id, ledger, debit_account, credit_account, amount, created_at)
         SELECT transfer_id, 'coins', 'platform/bonus',
                'user/' || split_part(transfer_id, '/', 3)::bigint % $2 + $3, 1, created_at
         FROM wallet.transfers WHERE $1 > 0",
        "INSERT INTO wallet.user_transactions
             (wallet_id, tx_type, coins_change, money_change, description, transfer_id, created_at,
              updated_at)
         SELECT wallet_id, 'bonus', 1, 0, 'a coin', transfer_id, t.created_at, t.created_at
         FROM wallet.transfers AS t
         JOIN wallet.user_wallets ON user_id = split_part(transfer_id, '/', 3)::bigint % $2 + $3
         WHERE $1 > 0",
    ] {
        sqlx::query(statement)
            .bind(rows)
            .bind(PAYERS)
            .bind(FIRST_PAYER)
            .execute(superuser)
            .await
            .expect("filled");
    }
}

/// Charges one payer after the other until the migration has ended.
struct ChargeLoop {
    charged: AtomicI32,
    is_over: AtomicBool,
}

impl ChargeLoop {
    /// Returns the duration of the longest charge.
    async fn run(&self, books: &TestBooks) -> Duration {
        let mut longest = Duration::ZERO;
        while !self.is_over.load(Ordering::SeqCst) {
            let begun = Instant::now();
            let minute = self.charged.load(Ordering::SeqCst) + 1;
            let charge = MinuteCharge {
                call_id: 1,
                minute,
                user_id: FIRST_PAYER + i64::from(minute) % PAYERS,
                coins: 1,
            };
            let outcomes = books.charge(&[charge]).await.expect("no charge fails");
            assert!(matches!(outcomes[..], [ChargeOutcome::Charged { .. }]));
            longest = longest.max(begun.elapsed());
            self.charged.store(minute, Ordering::SeqCst);
        }
        longest
    }

    async fn wait_for_more(&self) {
        let from = self.charged.load(Ordering::SeqCst);
        wait_until("people are charged", || async {
            self.charged.load(Ordering::SeqCst) >= from + CHARGES_MEANWHILE
        })
        .await;
    }

    /// Migrates while somebody has read the journal in a transaction that stays open for some time.
    async fn migrate(&self, books: &TestBooks) {
        let mut reader = books.database.superuser.begin().await.expect("connected");
        sqlx::query("SELECT FROM wallet.journal LIMIT 1")
            .execute(&mut *reader)
            .await
            .expect("readable");
        let read = async {
            self.wait_for_more().await;
            reader.rollback().await.expect("read");
        };
        let migrate = db::migrate(SCHEMA, &books.database.owner_url);
        let (migrated, ()) = tokio::join!(migrate, read);
        migrated.expect("migrated");
        self.wait_for_more().await;
        self.is_over.store(true, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filled_tables_are_partitioned_while_people_are_charged() {
    let schema_before = DatabaseSchema {
        migrations: &MIGRATIONS_BEFORE,
        ..SCHEMA
    };
    let rows = count_rows();
    let database = TestDatabase::new(schema_before).await;
    fill(&database.superuser, rows).await;
    let books = TestBooks::in_database(database, terms(), PaymentProvider::Sandbox);
    let charges = ChargeLoop {
        charged: AtomicI32::new(0),
        is_over: AtomicBool::new(false),
    };
    let begun = Instant::now();
    let (longest, ()) = tokio::join!(charges.run(&books), charges.migrate(&books));
    let charged = charges.charged.load(Ordering::SeqCst);
    println!(
        "{rows} rows: {:.1} s, {charged} charges meanwhile, the longest took {:.3} s",
        begun.elapsed().as_secs_f64(),
        longest.as_secs_f64()
    );
    assert!(longest < CHARGE_MAX, "a charge took {longest:?}");

    let found: (i64, i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM wallet.journal),
                (SELECT count(DISTINCT entry_id) FROM wallet.journal),
                (SELECT count(DISTINCT transaction_id) FROM wallet.user_transactions)",
    )
    .fetch_one(&books.database.superuser)
    .await
    .expect("readable");
    let expected = rows + i64::from(charged);
    assert_eq!(found, (expected, expected, expected), "ids go on");
    books.assert_consistent().await;
}
