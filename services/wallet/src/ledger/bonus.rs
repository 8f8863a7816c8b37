//! Coins that an admin gives. Like bought coins, they first pay the debt of their owner, so that nobody
//! spends a gift while an earlier payment is missing.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;
use talktime_kit::idempotency::{self, KeyClaimOutcome};
use talktime_kit::india;
use talktime_kit::messaging::outbox;

use super::credit::debt_posting;
use super::{RechargeOutcome, WalletLedger};
use crate::domain::WalletError;
use crate::domain::history::TransactionType;
use crate::domain::journal::{
    JournalAccount, JournalCurrency, JournalEntry, TransferKind, bonus_id, debt_payment_id,
};
use crate::domain::payment;
use crate::domain::posting::{NewHistoryLine, Posting, WalletChange};
use crate::events::coins_added_event;
use crate::store::{bonus_days, posting, wallets};

/// Coins that an admin gives.
#[derive(Clone, Debug)]
pub struct CoinBonusGrant {
    pub user_id: i64,
    pub admin_id: i64,
    /// `Bonus` or `ReferralBonus`.
    pub tx_type: TransactionType,
    pub coins: i64,
    /// A unique id that was generated for this request.
    pub fresh_id: String,
    /// The client's Idempotency-Key with a hash of the request.
    pub idempotency: Option<idempotency::KeyedRequest>,
}

impl WalletLedger {
    /// Gives coins, once for each idempotency key.
    pub async fn give_bonus(&self, bonus: &CoinBonusGrant) -> Result<RechargeOutcome, WalletError> {
        if !matches!(
            bonus.tx_type,
            TransactionType::Bonus | TransactionType::ReferralBonus
        ) {
            return Err(WalletError::UnknownTxType);
        }
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        if let Some(request) = &bonus.idempotency
            && let KeyClaimOutcome::Before(answer) = idempotency::begin(&mut tx, request).await?
        {
            return Ok(answer);
        }
        self.check_daily_bonus(&mut tx, bonus, now).await?;
        // The account of the admin exists, even if the event of its registration has not arrived yet. That of another
        // user may not.
        if bonus.user_id == bonus.admin_id {
            wallets::insert_missing(&mut tx, &[bonus.user_id], now).await?;
        }
        let outcome = credit_bonus(&mut tx, now, bonus).await?;
        if let Some(request) = &bonus.idempotency {
            idempotency::finish(&mut tx, request, &outcome).await?;
        }
        tx.commit().await?;
        self.relay.wake();
        Ok(outcome)
    }

    /// Counts the gift against the day of its admin, so that one account that was taken over cannot issue coins without
    /// end.
    async fn check_daily_bonus(
        &self,
        tx: &mut PgConnection,
        bonus: &CoinBonusGrant,
        now: DateTime<Utc>,
    ) -> Result<(), WalletError> {
        let Some(limit) = self.terms.daily_bonus_coins else {
            return Ok(());
        };
        let day = india::date(now);
        if bonus_days::add_within(tx, bonus.admin_id, day, bonus.coins, limit).await? {
            Ok(())
        } else {
            Err(WalletError::AboveBonusLimit { daily_coins: limit })
        }
    }
}

async fn credit_bonus(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    bonus: &CoinBonusGrant,
) -> Result<RechargeOutcome, WalletError> {
    let mut locked = wallets::lock(tx, &[bonus.user_id]).await?;
    let wallet = locked.get(&bonus.user_id).copied();
    let wallet = wallet.filter(|wallet| !wallet.is_closed);
    let wallet = wallet.ok_or(WalletError::NoSuchUser)?;
    payment::check_coins(bonus.coins, 0, wallet.balance_coins)?;
    let owed_coins = wallet.debt_coins.min(bonus.coins);
    let balance_coins = wallet.balance_coins + bonus.coins - owed_coins;
    let mut postings = vec![bonus_posting(bonus, balance_coins)];
    let transfer_id = postings[0].transfer_id.clone();
    if owed_coins > 0 {
        let debt_id = debt_payment_id(&transfer_id);
        postings.push(debt_posting(
            bonus.user_id,
            JournalAccount::UserBonus(bonus.user_id),
            debt_id,
            owed_coins,
            balance_coins,
        ));
    }
    let made = posting::post_all(tx, now, &mut locked, &postings).await?;
    let added = coins_added_event(bonus.user_id, bonus.coins, balance_coins, &transfer_id);
    outbox::append(tx, bonus.user_id, wallet.version + 1, now, added).await?;
    Ok(RechargeOutcome {
        transaction_id: made[&transfer_id],
        amount_paise: 0,
        coins_added: bonus.coins,
        balance_coins,
        created_at: now,
    })
}

fn bonus_posting(bonus: &CoinBonusGrant, balance_coins: i64) -> Posting {
    let CoinBonusGrant { user_id, coins, .. } = *bonus;
    Posting {
        transfer_id: bonus_id(&bonus.fresh_id),
        kind: TransferKind::Bonus,
        content: format!(
            "admin {} gives user {user_id} {coins} coins",
            bonus.admin_id
        ),
        call_id: None,
        coins,
        paise: 0,
        balance_coins,
        entries: vec![JournalEntry {
            currency: JournalCurrency::Coins,
            debit: JournalAccount::CoinIssue,
            credit: JournalAccount::UserBonus(user_id),
            amount: coins,
        }],
        owner_id: user_id,
        change: WalletChange {
            coins,
            bonus_coins: coins,
            events: 1,
            ..WalletChange::default()
        },
        line: Some(NewHistoryLine {
            tx_type: bonus.tx_type,
            coins_change: coins,
            money_change_paise: 0,
            description: format!("{coins} coins as a gift"),
        }),
    }
}
