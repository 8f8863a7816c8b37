//! The ledger on a real Postgres.

mod anchoring;
mod bank;
mod bonus_coins;
mod bonus_limit;
mod books;
mod closed_accounts;
mod earning_days;
mod holds;
mod invariants;
mod model;
mod months;
mod operations;
mod partitioning;
mod payment_amounts;
mod payments;
mod property;
mod razorpay;
mod reconciling;
mod recovering;
mod sandbox_purchases;
mod standby;
mod tampering;
mod withdrawals;
