//! Sections of a user's export.

use talktime_kit::export::UserExportSection;

/// Bank details are sealed and stay so: the app shows them masked, and a file that is passed around must not have
/// more of them.
pub const SECTIONS: &[UserExportSection] = &[
    UserExportSection {
        name: "wallet",
        query: "SELECT user_id, jsonb_build_object('balance_coins', balance_coins,
                    'bonus_coins', LEAST(bonus_coins, balance_coins),
                    'withdrawable_money', withdrawable_money, 'total_earned', total_earned,
                    'total_withdrawn', total_withdrawn,
                    'pending_withdrawals', pending_withdrawals,
                    'has_bank_details', bank_account_number IS NOT NULL,
                    'created_at', created_at, 'updated_at', updated_at)
                FROM wallet.user_wallets WHERE user_id = $1 AND user_id > $2
                ORDER BY user_id LIMIT $3",
    },
    UserExportSection {
        name: "transactions",
        query: "SELECT transaction_id, jsonb_build_object('transaction_id', transaction_id,
                    'tx_type', tx_type, 'coins_change', coins_change,
                    'money_change', money_change, 'description', description,
                    'call_id', call_id, 'created_at', created_at)
                FROM wallet.user_transactions
                WHERE wallet_id = (SELECT wallet_id FROM wallet.user_wallets WHERE user_id = $1)
                  AND transaction_id > $2
                ORDER BY transaction_id LIMIT $3",
    },
    UserExportSection {
        name: "payment_orders",
        query: "SELECT number, record FROM (
                    SELECT row_number() OVER (ORDER BY created_at, order_id) AS number,
                           jsonb_build_object('order_id', order_id, 'amount_paise', amount_paise,
                               'coins', coins, 'payment_method', payment_method,
                               'status', status, 'created_at', created_at, 'paid_at', paid_at)
                               AS record
                    FROM wallet.payment_orders WHERE user_id = $1) AS numbered
                WHERE number > $2 ORDER BY number LIMIT $3",
    },
    UserExportSection {
        name: "withdrawals",
        query: "SELECT withdrawal_id, jsonb_build_object('withdrawal_id', withdrawal_id,
                    'amount', amount, 'status', status, 'created_at', created_at,
                    'processed_at', processed_at)
                FROM wallet.user_withdrawals WHERE user_id = $1 AND withdrawal_id > $2
                ORDER BY withdrawal_id LIMIT $3",
    },
    UserExportSection {
        name: "call_earnings",
        query: "SELECT call_id, jsonb_build_object('call_id', call_id, 'call_type', call_type,
                    'minutes', minutes, 'coins', coins, 'bonus_coins', bonus_coins, 'money', money,
                    'created_at', created_at)
                FROM wallet.call_earnings WHERE listener_id = $1 AND call_id > $2
                ORDER BY call_id LIMIT $3",
    },
    UserExportSection {
        name: "payment_disputes",
        query: "SELECT number, record FROM (
                    SELECT row_number() OVER (ORDER BY opened_at, payment_id, dispute_id) AS number,
                           jsonb_build_object('payment_id', payment_id, 'amount', amount,
                               'status', status, 'frozen_coins', frozen_coins,
                               'opened_at', opened_at, 'decided_at', decided_at) AS record
                    FROM wallet.payment_disputes WHERE owner_id = $1) AS numbered
                WHERE number > $2 ORDER BY number LIMIT $3",
    },
    UserExportSection {
        name: "disputed_earnings",
        query: "SELECT number, record FROM (
                    SELECT row_number() OVER (ORDER BY call_id, payment_id, dispute_id) AS number,
                           jsonb_build_object('call_id', call_id, 'paise', paise,
                               'earned_at', earned_at) AS record
                    FROM wallet.disputed_earnings WHERE listener_id = $1) AS numbered
                WHERE number > $2 ORDER BY number LIMIT $3",
    },
];
