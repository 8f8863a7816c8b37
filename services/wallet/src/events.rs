//! Events that the wallet publishes.

use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{
    Charged, CoinsAdded, Earned, LowBalance, PaymentReversed, WithdrawalUpdated,
};

use crate::domain::charging::MinuteCharge;
use crate::domain::provider_payment::PaymentReversalReason;
use crate::domain::settlement::{CallSettlement, SettlementPlan};
use crate::domain::withdrawal::WithdrawalStatus;

/// Coins that were bought or given.
pub(crate) fn coins_added_event(
    user_id: i64,
    coins: i64,
    balance_coins: i64,
    transfer_id: &str,
) -> Kind {
    Kind::CoinsAdded(CoinsAdded {
        user_id,
        coins,
        balance_coins,
        transfer_id: transfer_id.to_owned(),
    })
}

/// A minute that was charged, with the balance after it.
pub(crate) fn charged_event(charge: &MinuteCharge, balance_coins: i64) -> Kind {
    Kind::Charged(Charged {
        user_id: charge.user_id,
        coins: charge.coins,
        balance_coins,
        transfer_id: charge.id(),
    })
}

/// A balance that has become too low for long calls.
pub(crate) fn low_balance_event(user_id: i64, balance_coins: i64) -> Kind {
    Kind::LowBalance(LowBalance {
        user_id,
        balance_coins,
    })
}

/// Money that a listener earned with a call.
pub(crate) fn earned_event(settlement: &CallSettlement, plan: &SettlementPlan) -> Kind {
    Kind::Earned(Earned {
        user_id: settlement.listener_id,
        paise: plan.listener_paise,
        transfer_id: settlement.id(),
    })
}

/// A new status of a withdrawal.
pub(crate) fn withdrawal_updated_event(
    user_id: i64,
    withdrawal_id: i64,
    amount_paise: i64,
    status: WithdrawalStatus,
) -> Kind {
    Kind::WithdrawalUpdated(WithdrawalUpdated {
        user_id,
        withdrawal_id,
        amount_paise,
        status: status.name().to_owned(),
    })
}

/// The coins that a reversed payment takes along, or leaves as a debt.
pub(crate) struct ReversedCoins {
    pub(crate) taken: i64,
    /// Debt after the reversal.
    pub(crate) debt: i64,
    /// Balance after the reversal.
    pub(crate) balance: i64,
}

/// A payment that was refunded or charged back.
pub(crate) fn payment_reversed_event(
    user_id: i64,
    order_id: &str,
    reason: PaymentReversalReason,
    coins: &ReversedCoins,
) -> Kind {
    Kind::PaymentReversed(PaymentReversed {
        user_id,
        order_id: order_id.to_owned(),
        reason: reason.name().to_owned(),
        coins_taken: coins.taken,
        debt_coins: coins.debt,
        balance_coins: coins.balance,
    })
}
