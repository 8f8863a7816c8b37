//! Deciding which charges of a batch are made.

use std::collections::{HashMap, HashSet};

use talktime_proto::wallet::charge_id;

use super::WalletError;
use super::journal::{settlement_id, void_id};

/// Coins a single charge may take: far above any price, far below overflow.
const COINS_MAX: i64 = 1_000_000;

/// One minute of a call, to be paid by its caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MinuteCharge {
    pub call_id: i64,
    /// The minute, from 1.
    pub minute: i32,
    pub user_id: i64,
    pub coins: i64,
}

impl MinuteCharge {
    /// The transfer's id.
    pub fn id(&self) -> String {
        charge_id(self.call_id, self.minute)
    }

    /// The meaning of the id in words; the same id with other content is refused.
    pub fn content(&self) -> String {
        format!("user {} pays {} coins", self.user_id, self.coins)
    }

    /// Whether the balance after it pays for less than two more minutes of this price.
    pub fn leaves_low_balance(&self, balance_coins: i64) -> bool {
        balance_coins < 2 * self.coins
    }

    fn check(&self) -> Result<(), WalletError> {
        if self.call_id < 1 || self.minute < 1 || self.user_id < 1 {
            return Err(WalletError::OutOfRange("call_id, minute or user_id"));
        }
        if !(1..=COINS_MAX).contains(&self.coins) {
            return Err(WalletError::OutOfRange("coins"));
        }
        Ok(())
    }
}

/// A transfer that was posted earlier.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PastTransfer {
    /// The meaning of its id in words.
    pub content: String,
    /// The payer's balance right after it.
    pub balance_coins: i64,
    /// The part of its coins that was given and not bought.
    pub bonus_coins: i64,
    /// The payer's transaction; none for a tombstone.
    pub transaction_id: Option<i64>,
}

/// The decision about a charge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChargeDecision {
    /// The coins are taken now.
    Accepted {
        /// The payer's coins afterwards.
        balance_coins: i64,
    },
    /// The coins were taken by an earlier request.
    AlreadyCharged {
        /// The payer's transaction.
        transaction_id: i64,
        /// The payer's coins right after it.
        balance_coins: i64,
        /// The part of the taken coins that was given and not bought.
        bonus_coins: i64,
    },
    /// The payer has too few coins.
    Insufficient {
        /// The payer's balance.
        available_coins: i64,
    },
    /// The charge was voided, or its call is settled: no coins are taken.
    Voided,
}

/// The ids of all transfers that a decision about these charges depends on: the charge itself, its void and its
/// call's settlement.
pub fn relevant_transfer_ids(charges: &[MinuteCharge]) -> Vec<String> {
    charges
        .iter()
        .flat_map(|charge| {
            let MinuteCharge {
                call_id, minute, ..
            } = *charge;
            [
                charge.id(),
                void_id(call_id, minute),
                settlement_id(call_id),
            ]
        })
        .collect()
}

/// Decides a batch in order, given the payers' balances and what was done under
/// [`relevant_transfer_ids`] before. A payer without a wallet has no coins.
pub fn decide_charges(
    charges: &[MinuteCharge],
    balances: &HashMap<i64, i64>,
    past: &HashMap<String, PastTransfer>,
) -> Result<Vec<ChargeDecision>, WalletError> {
    let mut ids = HashSet::new();
    if !charges
        .iter()
        .all(|charge| ids.insert((charge.call_id, charge.minute)))
    {
        return Err(WalletError::OutOfRange("a minute named twice"));
    }
    let mut left = balances.clone();
    charges
        .iter()
        .map(|charge| {
            charge.check()?;
            if let Some(decision) = find_earlier_decision(charge, past)? {
                return Ok(decision);
            }
            let available_coins = left.get(&charge.user_id).copied().unwrap_or_default();
            if available_coins < charge.coins {
                return Ok(ChargeDecision::Insufficient { available_coins });
            }
            let balance_coins = available_coins - charge.coins;
            left.insert(charge.user_id, balance_coins);
            Ok(ChargeDecision::Accepted { balance_coins })
        })
        .collect()
}

fn find_earlier_decision(
    charge: &MinuteCharge,
    past: &HashMap<String, PastTransfer>,
) -> Result<Option<ChargeDecision>, WalletError> {
    let is_undone = past.contains_key(&void_id(charge.call_id, charge.minute));
    let Some(first) = past.get(&charge.id()) else {
        let is_settled = past.contains_key(&settlement_id(charge.call_id));
        return Ok(is_settled.then_some(ChargeDecision::Voided));
    };
    match first.transaction_id {
        None => Ok(Some(ChargeDecision::Voided)),
        Some(_) if first.content != charge.content() => Err(WalletError::TransferMismatch {
            transfer_id: charge.id(),
        }),
        Some(_) if is_undone => Ok(Some(ChargeDecision::Voided)),
        Some(transaction_id) => Ok(Some(ChargeDecision::AlreadyCharged {
            transaction_id,
            balance_coins: first.balance_coins,
            bonus_coins: first.bonus_coins,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHARGE: MinuteCharge = MinuteCharge {
        call_id: 7,
        minute: 1,
        user_id: 3,
        coins: 10,
    };

    fn past_transfers(
        id: String,
        content: String,
        transaction_id: Option<i64>,
    ) -> HashMap<String, PastTransfer> {
        HashMap::from([(
            id,
            PastTransfer {
                content,
                balance_coins: 5,
                bonus_coins: 4,
                transaction_id,
            },
        )])
    }

    fn decide_one(
        balance: i64,
        past: &HashMap<String, PastTransfer>,
    ) -> Result<ChargeDecision, WalletError> {
        decide_charges(&[CHARGE], &HashMap::from([(3, balance)]), past)
            .map(|decisions| decisions[0])
    }

    #[test]
    fn the_last_coin_can_be_spent_and_no_more() {
        let none = HashMap::new();
        assert_eq!(
            decide_one(10, &none).expect("valid"),
            ChargeDecision::Accepted { balance_coins: 0 }
        );
        assert_eq!(
            decide_one(9, &none).expect("valid"),
            ChargeDecision::Insufficient { available_coins: 9 }
        );
    }

    #[test]
    fn charges_of_one_batch_share_a_balance() {
        let second = MinuteCharge {
            minute: 2,
            ..CHARGE
        };
        let decisions = decide_charges(
            &[CHARGE, second],
            &HashMap::from([(3, 15)]),
            &HashMap::new(),
        );
        assert_eq!(
            decisions.expect("valid"),
            [
                ChargeDecision::Accepted { balance_coins: 5 },
                ChargeDecision::Insufficient { available_coins: 5 }
            ]
        );
    }

    #[test]
    fn the_same_charge_again_answers_as_the_first_time() {
        let past = past_transfers(CHARGE.id(), CHARGE.content(), Some(40));
        let decision = decide_one(0, &past).expect("valid");
        assert_eq!(
            decision,
            ChargeDecision::AlreadyCharged {
                transaction_id: 40,
                balance_coins: 5,
                bonus_coins: 4
            }
        );
    }

    #[test]
    fn the_same_id_with_other_content_is_refused() {
        let past = past_transfers(CHARGE.id(), "user 3 pays 60 coins".into(), Some(40));
        assert!(matches!(
            decide_one(99, &past),
            Err(WalletError::TransferMismatch { .. })
        ));
    }

    #[test]
    fn a_charge_voided_before_it_arrives_is_refused() {
        let tombstone = past_transfers(CHARGE.id(), "void".into(), None);
        assert_eq!(
            decide_one(99, &tombstone).expect("valid"),
            ChargeDecision::Voided
        );
    }

    #[test]
    fn a_charge_after_the_settlement_is_refused() {
        let settled = past_transfers(settlement_id(7), "settled".into(), Some(1));
        assert_eq!(
            decide_one(99, &settled).expect("valid"),
            ChargeDecision::Voided
        );
    }

    #[test]
    fn a_minute_named_twice_in_a_batch_is_refused() {
        let decisions = decide_charges(
            &[CHARGE, CHARGE],
            &HashMap::from([(3, 99)]),
            &HashMap::new(),
        );
        assert!(matches!(decisions, Err(WalletError::OutOfRange(_))));
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for charge in [
            MinuteCharge { coins: 0, ..CHARGE },
            MinuteCharge {
                coins: -1,
                ..CHARGE
            },
            MinuteCharge {
                coins: i64::MAX,
                ..CHARGE
            },
            MinuteCharge {
                minute: 0,
                ..CHARGE
            },
        ] {
            let decisions = decide_charges(&[charge], &HashMap::from([(3, 99)]), &HashMap::new());
            assert!(
                matches!(decisions, Err(WalletError::OutOfRange(_))),
                "{charge:?}"
            );
        }
    }
}
