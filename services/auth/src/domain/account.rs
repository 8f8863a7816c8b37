//! Accounts, as far as a login needs them.

/// The account of a person who logs in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UserAccount {
    pub user_id: i64,
    pub username: String,
}
