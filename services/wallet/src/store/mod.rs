//! The wallet's tables. All code takes locks in one order: wallets by user id, then everything else.

pub mod accounts;
pub mod anchored_heads;
pub mod audits;
pub mod bank;
pub mod bonus_days;
pub mod chains;
pub mod closed_wallets;
pub mod disputes;
pub mod earnings;
pub mod export;
pub mod history_sums;
mod journal_totals;
pub mod order_payments;
pub mod paid_orders;
pub mod payments;
pub mod payout_batches;
pub mod posting;
pub mod transactions;
pub mod transfers;
pub mod wallets;
pub mod withdrawals;
