//! Anchors show what was rewritten consistently, which the books themselves cannot show.

use std::env;
use std::fs;
use std::path::Path;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::Clock;
use talktime_kit::object_store::S3Config;
use talktime_wallet::anchors::{
    AnchorBucket, AnchorLog, AnchorReport, AnchorStorage, HEADS_MAX, list_heads_since,
};
use talktime_wallet::domain::anchor::{AnchorSigner, AnchoredHead};
use talktime_wallet::domain::chain::{ChainHead, ChainLink, JournalRow};
use tempfile::TempDir;

use crate::books::{CALLER, TestBooks, minute, settlement};

/// Books whose chains are anchored in a folder.
struct AnchoredBooks {
    books: TestBooks,
    folder: TempDir,
    log: AnchorLog,
}

fn open_log(folder: &Path, digit: char) -> AnchorLog {
    let signer = AnchorSigner::from_hex(&digit.to_string().repeat(64)).expect("a key");
    let verifier = signer.verifier().expect("a key");
    let storage = AnchorStorage::Folder(folder.to_owned());
    AnchorLog::new(storage, Some(signer), verifier)
}

impl AnchoredBooks {
    /// Books with a purchase and two minutes, anchored once.
    async fn new() -> Self {
        let books = TestBooks::new().await;
        books.recharge("a").await;
        books.charge(&[minute(1), minute(2)]).await.expect("paid");
        let folder = tempfile::tempdir().expect("a folder");
        let log = open_log(folder.path(), 'a');
        let anchored = Self { books, folder, log };
        anchored.anchor().await;
        anchored
    }

    /// Anchors what has grown since the last anchor, as the service does every hour.
    async fn anchor(&self) {
        let mut connection = self.books.database.app.open_session().await.expect("open");
        let last = self.log.find_last().await.expect("readable");
        let since = last
            .as_ref()
            .map_or(DateTime::UNIX_EPOCH, |last| last.anchor.anchored_at);
        let heads = list_heads_since(&mut connection, since)
            .await
            .expect("readable");
        let now = self.books.clock.now();
        let appended = self.log.append(last, &heads, false, now);
        appended.await.expect("written");
    }

    async fn verify(&self) -> AnchorReport {
        let mut connection = self.books.database.app.open_session().await.expect("open");
        self.log.verify(&mut connection).await.expect("readable")
    }

    async fn find_failure(&self) -> String {
        let mut connection = self.books.database.app.open_session().await.expect("open");
        let verified = self.log.verify(&mut connection).await;
        verified.expect_err("an anchor is wrong").to_string()
    }

    fn anchor_file(&self, number: u64) -> std::path::PathBuf {
        self.folder.path().join(format!("{number:010}"))
    }
}

/// A transfer as the database has it.
#[derive(FromRow)]
struct TransferRow {
    transfer_id: String,
    kind: String,
    content: String,
    call_id: Option<i64>,
    coins: i64,
    paise: i64,
    balance_coins: i64,
    created_at: DateTime<Utc>,
}

#[derive(FromRow)]
struct MovementRow {
    ledger: String,
    debit_account: String,
    credit_account: String,
    amount: i64,
}

/// Changes what a minute was for, and computes the chain of the caller anew: what somebody with the password of the
/// superuser could do.
async fn rewrite_chain(books: &TestBooks) {
    let db = &books.database.superuser;
    let forged = "UPDATE wallet.transfers SET content = content || ' twice'
                  WHERE transfer_id = 'call/7/minute/1'";
    let forged = sqlx::query(forged).execute(db).await.expect("forged");
    assert_eq!(forged.rows_affected(), 1);
    let transfers: Vec<TransferRow> = sqlx::query_as(
        "SELECT transfer_id, kind, content, call_id, coins, paise, balance_coins, created_at
         FROM wallet.transfers WHERE owner_id = $1 ORDER BY chain_position",
    )
    .bind(CALLER)
    .fetch_all(db)
    .await
    .expect("readable");
    let mut head = ChainHead::default();
    for transfer in &transfers {
        head = append_forged(books, head, transfer).await;
    }
    let ended = "UPDATE wallet.user_wallets SET chain_hash = $2 WHERE user_id = $1";
    let ended = sqlx::query(ended)
        .bind(CALLER)
        .bind(head.hash)
        .execute(db)
        .await;
    assert_eq!(ended.expect("forged").rows_affected(), 1);
}

async fn append_forged(books: &TestBooks, head: ChainHead, transfer: &TransferRow) -> ChainHead {
    let db = &books.database.superuser;
    let movements: Vec<MovementRow> = sqlx::query_as(
        "SELECT ledger, debit_account, credit_account, amount
         FROM wallet.journal WHERE transfer_id = $1",
    )
    .bind(&transfer.transfer_id)
    .fetch_all(db)
    .await
    .expect("readable");
    let movements = movements.iter().map(|row| JournalRow {
        ledger: &row.ledger,
        debit: &row.debit_account,
        credit: &row.credit_account,
        amount: row.amount,
    });
    let next = head.append_link(&ChainLink {
        transfer_id: &transfer.transfer_id,
        kind: &transfer.kind,
        content: &transfer.content,
        call_id: transfer.call_id,
        coins: transfer.coins,
        paise: transfer.paise,
        balance_coins: transfer.balance_coins,
        created_at: transfer.created_at,
        movements: movements.collect(),
    });
    let forged = "UPDATE wallet.transfers SET chain_hash = $2 WHERE transfer_id = $1";
    let forged = sqlx::query(forged)
        .bind(&transfer.transfer_id)
        .bind(next.hash);
    forged.execute(db).await.expect("forged");
    next
}

#[tokio::test]
async fn a_chain_that_was_computed_anew_is_not_the_one_that_was_anchored() {
    let anchored = AnchoredBooks::new().await;
    assert_eq!(anchored.verify().await.differences, Vec::<String>::new());
    rewrite_chain(&anchored.books).await;
    // Everything within the database agrees.
    anchored.books.assert_consistent().await;
    let found = anchored.verify().await.differences;
    let [difference] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(
        difference.starts_with("the chain of user 1 was rewritten after anchor 1 of "),
        "{difference}"
    );
    // Anchors of later links do not cover it up.
    anchored
        .books
        .settle(&settlement(2))
        .await
        .expect("settled");
    anchored.anchor().await;
    assert_eq!(anchored.verify().await.differences, found);
}

#[tokio::test]
async fn chains_that_grow_remain_as_anchored() {
    let anchored = AnchoredBooks::new().await;
    for number in 2..=4 {
        anchored.books.recharge(&format!("r{number}")).await;
        anchored.anchor().await;
    }
    // An hour in which nothing happened.
    anchored.anchor().await;
    let report = anchored.verify().await;
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!((report.anchors, report.anchors_before_restoration), (5, 0));
    assert_eq!(report.newest_at, Some(anchored.books.clock.now()));
}

#[tokio::test]
async fn links_that_are_cut_off_are_missed() {
    let anchored = AnchoredBooks::new().await;
    let cut = "DELETE FROM wallet.user_transactions WHERE transfer_id = 'call/7/minute/2'";
    let db = &anchored.books.database.superuser;
    sqlx::query(cut).execute(db).await.expect("cut");
    let moved = "DELETE FROM wallet.journal WHERE transfer_id = 'call/7/minute/2'";
    sqlx::query(moved).execute(db).await.expect("cut");
    let link = "DELETE FROM wallet.transfers WHERE transfer_id = 'call/7/minute/2'";
    sqlx::query(link).execute(db).await.expect("cut");
    let found = anchored.verify().await.differences;
    assert_eq!(found.len(), 1, "{found:?}");
}

#[tokio::test]
async fn an_anchor_that_is_missing_forged_or_replaced_is_reported() {
    let anchored = AnchoredBooks::new().await;
    anchored.anchor().await;
    anchored.anchor().await;
    let second = fs::read(anchored.anchor_file(2)).expect("stored");

    fs::remove_file(anchored.anchor_file(2)).expect("removed");
    assert_eq!(anchored.find_failure().await, "anchor 2 is missing");

    let stranger = tempfile::tempdir().expect("a folder");
    let forger = open_log(stranger.path(), 'b');
    for _ in 0..2 {
        let last = forger.find_last().await.expect("readable");
        let now = anchored.books.clock.now();
        forger.append(last, &[], false, now).await.expect("written");
    }
    let forged = stranger.path().join(format!("{:010}", 2));
    fs::copy(forged, anchored.anchor_file(2)).expect("replaced");
    assert_eq!(
        anchored.find_failure().await,
        "anchor 2 is not signed with the key of the ledger"
    );

    fs::copy(anchored.anchor_file(3), anchored.anchor_file(2)).expect("replaced");
    assert_eq!(anchored.find_failure().await, "anchor 2 says that it is 3");

    fs::write(anchored.anchor_file(2), second).expect("put back");
    assert_eq!(anchored.verify().await.differences, Vec::<String>::new());
}

#[tokio::test]
async fn nothing_replaces_an_anchor() {
    let anchored = AnchoredBooks::new().await;
    let before = fs::read(anchored.anchor_file(1)).expect("stored");
    let now = anchored.books.clock.now();
    let again = anchored.log.append(None, &[], false, now).await;
    assert!(again.is_err());
    assert_eq!(fs::read(anchored.anchor_file(1)).expect("stored"), before);
}

#[tokio::test]
async fn what_a_process_that_ended_has_left_replaces_no_anchor() {
    let anchored = AnchoredBooks::new().await;
    let before = fs::read(anchored.anchor_file(1)).expect("stored");
    let left = anchored.folder.path().join("unfinished");
    fs::hard_link(anchored.anchor_file(1), left).expect("linked");
    anchored.anchor().await;
    assert_eq!(fs::read(anchored.anchor_file(1)).expect("stored"), before);
    assert_eq!(anchored.verify().await.anchors, 2);
}

#[tokio::test]
async fn a_turn_that_failed_between_its_anchors_is_not_complete() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = open_log(folder.path(), 'a');
    let head = |owner_id| AnchoredHead::new(owner_id, ChainHead::default());
    let full: Vec<AnchoredHead> = (1..).take(HEADS_MAX).map(head).collect();
    let at = |secs| DateTime::from_timestamp(secs, 0).expect("valid");
    // The heads of each turn, and until when all are anchored after it.
    let turns = [
        (&full[..], DateTime::UNIX_EPOCH),
        (&full[..], DateTime::UNIX_EPOCH),
        (&full[..1], at(1_900_000_002)),
        (&full[..], at(1_900_000_002)),
        (&full[..0], at(1_900_000_004)),
    ];
    for (now, (heads, complete_until)) in (1_900_000_000..).zip(turns) {
        let last = log.find_last().await.expect("readable");
        let appended = log.append(last, heads, false, at(now)).await;
        appended.expect("written");
        let last = log.find_last().await.expect("readable").expect("stored");
        let found = log.find_complete_until(&last.anchor).await;
        assert_eq!(found.expect("readable"), complete_until);
    }
}

#[tokio::test]
async fn a_restored_database_is_compared_with_the_anchors_since() {
    let anchored = AnchoredBooks::new().await;
    // Transfers that the restored database does not have may have been anchored.
    rewrite_chain(&anchored.books).await;
    let mut connection = anchored
        .books
        .database
        .app
        .open_session()
        .await
        .expect("open");
    let now = anchored.books.clock.now();
    let begun = anchored.log.begin_anew(&mut connection, now).await;
    begun.expect("written");
    let report = anchored.verify().await;
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!((report.anchors, report.anchors_before_restoration), (2, 1));
}

#[tokio::test]
async fn a_bucket_keeps_anchors_by_their_numbers() {
    let variable = |name: &str| env::var(name).expect("run `cargo dev test`");
    let config = S3Config {
        endpoint: variable("S3_ENDPOINT"),
        ca_file: Some(variable("S3_CA_FILE").into()),
        bucket: variable("S3_BUCKET"),
        region: variable("S3_REGION"),
        access_key: variable("S3_ACCESS_KEY"),
        secret_key: variable("S3_SECRET_KEY").into(),
        presigned_secs: 900,
    };
    let bucket = AnchorBucket::new(&config, 1).expect("readable");
    let storage = AnchorStorage::Bucket(bucket);
    // The bucket may have what an earlier run of this test has stored.
    let now = Clock::System.now();
    let begun = u64::try_from(now.timestamp()).expect("positive");
    assert_eq!(
        storage.list_after(begun).await.expect("listed"),
        Vec::<u64>::new()
    );
    let numbers = [1, 2, 10].map(|number| begun + number);
    for number in numbers {
        let stored = format!("anchor {number}").into_bytes();
        let created = storage.create(number, stored, now).await;
        created.expect("stored");
    }
    assert_eq!(storage.list_after(begun).await.expect("listed"), numbers);
    let last = numbers[2];
    let listed = storage.list_after(numbers[1]).await;
    assert_eq!(listed.expect("listed"), [last]);
    let stored = storage.read(last).await.expect("read");
    assert_eq!(stored, format!("anchor {last}").into_bytes());
}
