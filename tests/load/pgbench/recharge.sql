-- One recharge: the rows that the wallet writes, one statement each.
\set user random(1, 1000)
\set payment random(1, 9000000000000000000)
BEGIN;
INSERT INTO bench.idempotency_keys (user_id, route, key, body_hash)
VALUES (:user, 'POST /calls/recharge', :payment::text, '\x0102030405060708');
INSERT INTO bench.payment_orders
    (order_id, user_id, provider, amount_paise, coins, payment_method, status, payment_id, created_at)
VALUES (concat('order_', :payment::bigint), :user, 'sandbox', 15000, 300, 'upi', 'created',
        concat('sandbox_', :payment::bigint), now());
SELECT wallet_id, balance_coins, version FROM bench.user_wallets WHERE user_id = :user FOR UPDATE;
SELECT transfer_id FROM bench.transfers WHERE transfer_id = concat('payment/', :payment::bigint);
INSERT INTO bench.transfers (transfer_id, kind, content, coins, paise, balance_coins, owner_id, chain_position, chain_hash, created_at)
VALUES (concat('payment/', :payment::bigint), 'payment', 'user 1 buys 300 coins', 300, 15000, 1000, :user,
        (SELECT chain_length + 1 FROM bench.user_wallets WHERE user_id = :user), decode(repeat('ab', 32), 'hex'), now());
INSERT INTO bench.journal (transfer_id, ledger, debit_account, credit_account, amount, created_at)
VALUES (concat('payment/', :payment::bigint), 'coins', 'platform/coin_issue', concat('user/', :user::bigint), 300, now()),
       (concat('payment/', :payment::bigint), 'paise', 'platform/gateway_clearing', 'platform/coin_sales', 15000, now());
UPDATE bench.user_wallets SET balance_coins = balance_coins + 300, version = version + 1,
    chain_length = chain_length + 1, chain_hash = decode(repeat('ab', 32), 'hex'), updated_at = now()
WHERE user_id = :user;
INSERT INTO bench.user_transactions
    (wallet_id, tx_type, coins_change, money_change, description, transfer_id, created_at, updated_at)
VALUES (:user, 'purchase', 300, 150, 'Coins', concat('payment/', :payment::bigint), now(), now());
INSERT INTO bench.outbox (subject, aggregate_id, payload)
VALUES ('events.wallet.coins_added', :user, '\x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20');
UPDATE bench.payment_orders SET status = 'paid', transaction_id = 1, paid_at = now()
WHERE order_id = concat('order_', :payment::bigint);
UPDATE bench.idempotency_keys SET answer = '{"coins_added": 300, "new_balance": 1000}'
WHERE user_id = :user AND route = 'POST /calls/recharge' AND key = :payment::text;
COMMIT;
