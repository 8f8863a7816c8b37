-- One call that rings, is accepted and ended: the rows that calls, wallet and presence write, in one transaction.
\set pair random(1, 5000)
\set caller :pair * 2
\set listener :pair * 2 - 1
\set call random(1, 9000000000000000000)
BEGIN;
SELECT user_id FROM bench.user_wallets WHERE user_id IN (:caller, :listener) ORDER BY user_id FOR UPDATE;
INSERT INTO bench.user_calls
    (call_id, user_id, listener_id, call_type, status, phase, start_time, coins_per_minute,
     listener_paise_per_minute, minute_secs, caller_username, listener_username, ring_expires_at, next_step_at,
     created_at, updated_at)
OVERRIDING SYSTEM VALUE
VALUES (:call, :caller, :listener, 'audio', 'ringing', 'ringing', now(), 10, 100, 60, 'caller', 'listener',
        now() + interval '40 seconds', now() + interval '15 seconds', now(), now());
INSERT INTO bench.live_parties (user_id, call_id) VALUES (:caller, :call), (:listener, :call);
INSERT INTO bench.outbox (subject, aggregate_id, payload)
SELECT 'events.calls.call_ringing', :call, '\x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20'
FROM generate_series(1, 3);
UPDATE bench.user_status SET is_busy = true, call_id = :call, version = version + 1, updated_at = now()
WHERE user_id IN (:caller, :listener);
UPDATE bench.user_calls
SET phase = 'reserving', status = 'connecting', accepted_at = now(), accepted_session = 'session', reached_at = now()
WHERE call_id = :call;
INSERT INTO bench.transfers (transfer_id, kind, content, call_id, coins, paise, balance_coins, created_at)
VALUES (concat('call/', :call::bigint, '/minute/1'), 'charge', 'user 1 pays 10 coins', :call, 10, 0, 1000, now());
INSERT INTO bench.journal (transfer_id, ledger, debit_account, credit_account, amount, created_at)
VALUES (concat('call/', :call::bigint, '/minute/1'), 'coins', concat('user/', :caller::bigint), 'platform/coin_revenue', 10, now());
UPDATE bench.user_wallets SET balance_coins = balance_coins - 10, version = version + 1, updated_at = now()
WHERE user_id = :caller;
INSERT INTO bench.user_transactions
    (wallet_id, tx_type, coins_change, money_change, description, call_id, transfer_id, created_at, updated_at)
VALUES (:caller, 'spend', -10, 0, 'Minute 1 of a call', :call, concat('call/', :call::bigint, '/minute/1'), now(), now());
UPDATE bench.user_calls SET phase = 'active', status = 'ongoing', minutes_billed = 1, next_step_at = now() + interval '1 minute', version = 1
WHERE call_id = :call;
UPDATE bench.user_status SET is_busy = true, call_id = :call, version = version + 1, updated_at = now()
WHERE user_id IN (:caller, :listener);
INSERT INTO bench.outbox (subject, aggregate_id, payload)
SELECT 'events.calls.call_started', :call, '\x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20'
FROM generate_series(1, 5);
UPDATE bench.user_calls SET phase = 'settling', status = 'completed', end_time = now(), minutes_settled = 1,
    duration_seconds = 1, duration_minutes = 1, next_step_at = now()
WHERE call_id = :call;
DELETE FROM bench.live_parties WHERE call_id = :call;
INSERT INTO bench.transfers (transfer_id, kind, content, call_id, coins, paise, balance_coins, created_at)
VALUES (concat('call/', :call::bigint, '/settlement'), 'settlement', 'one minute', :call, 10, 100, 1000, now());
INSERT INTO bench.journal (transfer_id, ledger, debit_account, credit_account, amount, created_at)
VALUES (concat('call/', :call::bigint, '/settlement'), 'paise', 'platform/listener_cost', concat('user/', :listener::bigint), 100, now());
UPDATE bench.user_wallets SET withdrawable_money = withdrawable_money + 1, total_earned = total_earned + 1,
    version = version + 1, updated_at = now()
WHERE user_id = :listener;
INSERT INTO bench.user_transactions
    (wallet_id, tx_type, coins_change, money_change, description, call_id, transfer_id, created_at, updated_at)
VALUES (:listener, 'earn', 0, 1, 'A call', :call, concat('call/', :call::bigint, '/settlement'), now(), now());
UPDATE bench.user_calls SET phase = 'settled', coins_spent = 10, user_money_spend = 5, listener_money_earned = 1,
    next_step_at = NULL, version = 2
WHERE call_id = :call;
UPDATE bench.user_status SET is_busy = false, call_id = NULL, version = version + 1, updated_at = now()
WHERE user_id IN (:caller, :listener);
INSERT INTO bench.outbox (subject, aggregate_id, payload)
SELECT 'events.calls.call_ended', :call, '\x0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20'
FROM generate_series(1, 4);
COMMIT;
