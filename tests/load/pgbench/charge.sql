-- One charge: the rows that the wallet writes, one statement each.
\set user random(1, 1000)
\set call random(1, 9000000000000000000)
BEGIN;
SELECT wallet_id, balance_coins, version FROM bench.user_wallets WHERE user_id = :user FOR UPDATE;
SELECT transfer_id FROM bench.transfers WHERE transfer_id = concat('call/', :call::bigint, '/minute/1');
INSERT INTO bench.transfers (transfer_id, kind, content, call_id, coins, paise, balance_coins, owner_id, chain_position, chain_hash, created_at)
VALUES (concat('call/', :call::bigint, '/minute/1'), 'charge', 'user 1 pays 10 coins', :call, 10, 0, 1000, :user,
        (SELECT chain_length + 1 FROM bench.user_wallets WHERE user_id = :user), decode(repeat('ab', 32), 'hex'), now());
INSERT INTO bench.journal (transfer_id, ledger, debit_account, credit_account, amount, created_at)
VALUES (concat('call/', :call::bigint, '/minute/1'), 'coins', concat('user/', :user::bigint), 'platform/coin_revenue', 10, now());
UPDATE bench.user_wallets SET balance_coins = balance_coins - 10, version = version + 1,
    chain_length = chain_length + 1, chain_hash = decode(repeat('ab', 32), 'hex'), updated_at = now()
WHERE user_id = :user;
INSERT INTO bench.user_transactions
    (wallet_id, tx_type, coins_change, money_change, description, call_id, transfer_id, created_at, updated_at)
VALUES (:user, 'spend', -10, 0, 'Minute 1 of a call', :call, concat('call/', :call::bigint, '/minute/1'), now(), now());
INSERT INTO bench.outbox (subject, aggregate_id, payload)
VALUES ('events.wallet.charged', :user, '\x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20');
COMMIT;
