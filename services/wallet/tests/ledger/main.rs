//! The ledger on a real Postgres.

mod bank;
mod books;
mod model;
mod operations;
mod payments;
mod property;
mod razorpay;
mod tampering;
mod withdrawals;
