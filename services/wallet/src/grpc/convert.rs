//! Between the wire and the domain.

use talktime_kit::trace;
use talktime_proto::timestamp;
use talktime_proto::wallet::v1 as pb;
use talktime_proto::wallet::v1::charge_response::Outcome;

use crate::domain::WalletError;
use crate::domain::charging::MinuteCharge;
use crate::domain::earning_days::{EarningSummary, EarningSums};
use crate::domain::settlement::{CallSettlement, CallType};
use crate::ledger::{
    self, CallEarningRow, CoinPurchase, SettlementOutcome, TracedRequest, TransactionHistoryLine,
    WalletBalance, WalletStatement,
};

pub(super) fn balance_message(user_id: i64, balance: WalletBalance) -> pb::Balance {
    pb::Balance {
        user_id,
        balance_coins: balance.balance_coins,
        withdrawable_paise: balance.withdrawable_paise,
        total_earned_paise: balance.total_earned_paise,
        total_withdrawn_paise: balance.total_withdrawn_paise,
        pending_withdrawals_paise: balance.pending_withdrawals_paise,
        held_paise: balance.held_paise,
        bonus_coins: balance.bonus_coins,
    }
}

fn parse_charge(request: &pb::ChargeRequest) -> MinuteCharge {
    MinuteCharge {
        call_id: request.call_id,
        minute: request.minute,
        user_id: request.user_id,
        coins: request.coins,
    }
}

pub(super) fn charge_response(
    charge: &MinuteCharge,
    outcome: ledger::ChargeOutcome,
) -> pb::ChargeResponse {
    let outcome = match outcome {
        ledger::ChargeOutcome::Charged {
            transaction_id,
            balance_coins,
            bonus_coins,
        } => Outcome::Charged(pb::Charged {
            transaction_id,
            balance_coins,
            bonus_coins,
        }),
        ledger::ChargeOutcome::Insufficient { available_coins } => {
            Outcome::Insufficient(pb::InsufficientCoins {
                required_coins: charge.coins,
                available_coins,
            })
        }
        ledger::ChargeOutcome::Voided => Outcome::Voided(pb::Voided {}),
    };
    pb::ChargeResponse {
        outcome: Some(outcome),
    }
}

pub(super) fn parse_traced_charge(request: &pb::ChargeRequest) -> TracedRequest<MinuteCharge> {
    TracedRequest {
        request: parse_charge(request),
        traceparent: trace::named_or_current(request.traceparent.clone()),
    }
}

pub(super) fn parse_traced_settlement(
    request: &pb::SettleCallRequest,
) -> Result<TracedRequest<CallSettlement>, WalletError> {
    Ok(TracedRequest {
        request: parse_settlement(request)?,
        traceparent: trace::named_or_current(request.traceparent.clone()),
    })
}

pub(super) fn settle_response(settled: SettlementOutcome) -> pb::SettleCallResponse {
    pb::SettleCallResponse {
        coins_spent: settled.coins_spent,
        listener_paise_earned: settled.listener_paise,
        caller_balance_coins: settled.caller_balance_coins,
    }
}

fn parse_settlement(request: &pb::SettleCallRequest) -> Result<CallSettlement, WalletError> {
    Ok(CallSettlement {
        call_id: request.call_id,
        caller_id: request.caller_id,
        listener_id: request.listener_id,
        minutes: request.minutes,
        listener_paise_per_minute: request.listener_paise_per_minute,
        call_type: CallType::parse(&request.call_type)?,
        returned_minutes: request.returned_minutes.clone(),
        unearned_minutes: request.unearned_minutes.clone(),
    })
}

pub(super) fn earning_summary_message(summary: &EarningSummary) -> pb::EarningSummary {
    let days = summary.days.iter().map(|day| pb::EarningDay {
        date: day.date.to_string(),
        totals: Some(earning_sums_message(day.totals)),
    });
    pb::EarningSummary {
        days: days.collect(),
        today: Some(earning_sums_message(summary.today)),
        week: Some(earning_sums_message(summary.week)),
        month: Some(earning_sums_message(summary.month)),
    }
}

fn earning_sums_message(sums: EarningSums) -> pb::EarningSums {
    pb::EarningSums {
        calls: sums.calls,
        minutes: sums.minutes,
        coins: sums.coins,
        paise: sums.paise,
    }
}

pub(super) fn earning_message(earning: CallEarningRow) -> pb::Earning {
    pb::Earning {
        call_id: earning.call_id,
        caller_id: earning.caller_id,
        coins: earning.coins,
        paise: earning.paise,
        minutes: earning.minutes,
        call_type: earning.call_type,
        created_at: Some(timestamp(earning.created_at)),
    }
}

pub(super) fn transactions_response(
    user_id: i64,
    statement: WalletStatement,
) -> pb::ListTransactionsResponse {
    let WalletStatement {
        found,
        totals,
        balance,
    } = statement;
    pb::ListTransactionsResponse {
        transactions: found.entries.into_iter().map(transaction_message).collect(),
        total: found.total,
        total_coins_spent: totals.coins_spent,
        total_paise_spent: totals.paise_spent,
        total_coins_earned: totals.coins_earned,
        total_paise_earned: totals.paise_earned,
        balance: Some(balance_message(user_id, balance)),
    }
}

fn transaction_message(line: TransactionHistoryLine) -> pb::Transaction {
    pb::Transaction {
        transaction_id: line.transaction_id,
        tx_type: line.tx_type,
        coins_change: line.coins_change,
        paise_change: line.money_change_paise,
        description: line.description,
        call_id: line.call_id,
        created_at: Some(timestamp(line.created_at)),
    }
}

pub(super) fn purchase_message(purchase: CoinPurchase) -> pb::Purchase {
    pb::Purchase {
        recharge_id: purchase.recharge_id,
        transaction_id: purchase.transaction_id,
        amount_paise: purchase.amount_paise,
        coins: purchase.coins,
        payment_method: purchase
            .payment_method
            .unwrap_or_else(|| "other".to_owned()),
        status: purchase.status,
        created_at: Some(timestamp(purchase.created_at)),
    }
}
