-- Fills the tables that grow with minutes as the platform itself would: by months, each with people of its own and with
-- some who come every month. Transfers, entries, lines, earnings and wallets agree, and every chain is whole, so the
-- wallet's verification accepts them. Foreign keys are not checked while a month is filled.
DROP SCHEMA IF EXISTS bench CASCADE;
CREATE SCHEMA bench;

-- People of the month that is being filled, with the ends of their chains.
CREATE UNLOGGED TABLE bench.caller (
    number integer PRIMARY KEY, owner_id bigint, wallet_id bigint, length bigint, hash bytea, coins bigint);
CREATE UNLOGGED TABLE bench.listener (
    number integer PRIMARY KEY, owner_id bigint, wallet_id bigint, length bigint, hash bytea, paise bigint);

-- The encoding of a chain's links (services/wallet/src/domain/chain.rs): numbers have eight bytes, the lowest first, and
-- texts follow their length, which is below 256 here.
CREATE FUNCTION bench.number_bytes(n bigint) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT substring(int8send(n) FROM 8 FOR 1) || substring(int8send(n) FROM 7 FOR 1)
        || substring(int8send(n) FROM 6 FOR 1) || substring(int8send(n) FROM 5 FOR 1)
        || substring(int8send(n) FROM 4 FOR 1) || substring(int8send(n) FROM 3 FOR 1)
        || substring(int8send(n) FROM 2 FOR 1) || substring(int8send(n) FROM 1 FOR 1)
$$;
CREATE FUNCTION bench.text_bytes(t text) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT set_byte('\x0000000000000000', 0, octet_length(t)) || convert_to(t, 'UTF8')
$$;
CREATE FUNCTION bench.entry_bytes(ledger text, debit text, credit text, amount bigint)
RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT bench.text_bytes(ledger) || bench.text_bytes(debit) || bench.text_bytes(credit)
        || bench.number_bytes(amount)
$$;
-- The hash of a link with one entry. Its time is in microseconds since 1970.
CREATE FUNCTION bench.link_hash(previous bytea, transfer_id text, kind text, content text, call_id bigint,
                                coins bigint, paise bigint, balance bigint, at_us bigint, entry bytea)
RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(previous || bench.text_bytes(transfer_id) || bench.text_bytes(kind) || bench.text_bytes(content)
        || CASE WHEN call_id IS NULL THEN '\x00'::bytea ELSE '\x01'::bytea END
        || bench.number_bytes(COALESCE(call_id, 0)) || bench.number_bytes(coins) || bench.number_bytes(paise)
        || bench.number_bytes(balance) || bench.number_bytes(at_us) || bench.number_bytes(1) || entry)
$$;
CREATE FUNCTION bench.to_time(at_us bigint) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT '1970-01-01 00:00:00+00'::timestamptz + at_us * interval '1 microsecond'
$$;
CREATE FUNCTION bench.to_us(at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT (extract(epoch FROM at) * 1000000)::bigint
$$;

-- The state of a platform that has run for so many months: its first partition has ended, and each month since has one.
CREATE FUNCTION bench.split_months(parent regclass, months integer) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    month_start timestamptz := date_trunc('month', now()) - make_interval(months => months - 1);
    first_start CONSTANT timestamptz := month_start;
    first_end CONSTANT timestamptz := (SELECT min(month_end) FROM wallet.list_months(parent));
    first_name CONSTANT text := parent::text || '_first';
    name text;
BEGIN
    EXECUTE format('ALTER TABLE %s DETACH PARTITION %s', parent, first_name);
    WHILE month_start < first_end LOOP
        name := parent::text || to_char(month_start, '_YYYY_MM');
        EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING IDENTITY)', name, first_name);
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
                       parent, name, month_start, month_start + interval '1 month');
        EXECUTE format('ALTER TABLE %s OWNER TO wallet_owner', name);
        month_start := month_start + interval '1 month';
    END LOOP;
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (MINVALUE) TO (%L)',
                   parent, first_name, first_start);
END $$;

-- Opens the wallets of a month's people. The first callers come every month.
CREATE FUNCTION bench.choose_people(first_id bigint, regulars integer, month integer, callers integer, listeners integer)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first_of_month CONSTANT bigint := first_id + (month + 1) * 1000000;
BEGIN
    TRUNCATE bench.caller, bench.listener;
    INSERT INTO bench.caller (number, owner_id)
    SELECT n, CASE WHEN n < regulars THEN first_id ELSE first_of_month END + n FROM generate_series(0, callers - 1) AS n;
    INSERT INTO bench.listener (number, owner_id)
    SELECT n, first_of_month + 500000 + n FROM generate_series(0, listeners - 1) AS n;
    INSERT INTO wallet.user_wallets (user_id, created_at, updated_at)
    SELECT owner_id, now(), now() FROM bench.caller UNION ALL SELECT owner_id, now(), now() FROM bench.listener
    ON CONFLICT (user_id) DO NOTHING;
    UPDATE bench.caller AS person
    SET wallet_id = w.wallet_id, length = w.chain_length, hash = w.chain_hash, coins = w.balance_coins
    FROM wallet.user_wallets AS w WHERE w.user_id = owner_id;
    UPDATE bench.listener AS person
    SET wallet_id = w.wallet_id, length = w.chain_length, hash = w.chain_hash, paise = 0
    FROM wallet.user_wallets AS w WHERE w.user_id = owner_id;
    ANALYZE bench.caller, bench.listener;
END $$;

-- Gives each caller coins for the month.
CREATE FUNCTION bench.give_coins(month integer, month_us bigint) RETURNS void LANGUAGE sql AS $$
    WITH gift AS (
        SELECT *, 'bonus/growth/' || month || '/' || owner_id AS transfer_id, month_us + number AS at_us,
               'admin 1 gives user ' || owner_id || ' 100000 coins' AS content, 'user/' || owner_id AS account,
               coins + 100000 AS balance
        FROM bench.caller
    ), link AS MATERIALIZED (
        SELECT *, bench.to_time(at_us) AS created_at,
               bench.link_hash(hash, transfer_id, 'bonus', content, NULL, 100000, 0, balance, at_us,
                   bench.entry_bytes('coins', 'platform/coin_issue', account, 100000)) AS next_hash
        FROM gift
    ), transfer AS (
        INSERT INTO wallet.transfers (transfer_id, kind, content, coins, paise, balance_coins, owner_id, chain_position,
                                      chain_hash, created_at)
        SELECT transfer_id, 'bonus', content, 100000, 0, balance, owner_id, length + 1, next_hash, created_at FROM link
    ), entry AS (
        INSERT INTO wallet.journal (transfer_id, ledger, debit_account, credit_account, amount, created_at)
        SELECT transfer_id, 'coins', 'platform/coin_issue', account, 100000, created_at FROM link
    ), line AS (
        INSERT INTO wallet.user_transactions (wallet_id, tx_type, coins_change, money_change, description, transfer_id,
                                              created_at, updated_at)
        SELECT wallet_id, 'bonus', 100000, 0, '100000 coins as a gift', transfer_id, created_at, created_at FROM link
    )
    UPDATE bench.caller AS person SET length = person.length + 1, hash = next_hash, coins = balance
    FROM link WHERE person.number = link.number
$$;

-- One call of each caller. It lasts ten minutes, and each listener takes five of them in turn.
CREATE FUNCTION bench.insert_calls(first_call bigint, turn integer, listeners integer, begin_us bigint, step_us bigint)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO calls.user_calls
        (call_id, user_id, listener_id, call_type, status, phase, start_time, end_time, duration_seconds,
         duration_minutes, coins_spent, user_money_spend, listener_money_earned, coins_per_minute,
         listener_paise_per_minute, minute_secs, minutes_billed, minutes_settled, caller_username, listener_username,
         version, created_at, updated_at)
    OVERRIDING SYSTEM VALUE
    SELECT first_call + caller.number, caller.owner_id, listener.owner_id, 'audio', 'completed', 'settled', begun,
           begun + interval '595 seconds', 595, 10, 100, 50, 10, 10, 100, 60, 10, 10, 'caller', 'listener', 3, begun,
           begun + interval '595 seconds'
    FROM bench.caller JOIN bench.listener ON listener.number = (caller.number + turn) % listeners,
         LATERAL (SELECT bench.to_time(begin_us + caller.number * step_us) AS begun) AS at
    ORDER BY caller.number
$$;

-- The ten minutes of each of these calls.
CREATE FUNCTION bench.charge_calls(first_call bigint, begin_us bigint, step_us bigint) RETURNS void LANGUAGE sql AS $$
    WITH RECURSIVE charge AS (
        SELECT number, owner_id, wallet_id, first_call + number AS call_id, 'user/' || owner_id AS account,
               'user ' || owner_id || ' pays 10 coins' AS content, 0 AS minute, length, hash, coins
        FROM bench.caller
        UNION ALL
        SELECT number, owner_id, wallet_id, call_id, account, content, minute + 1, length + 1,
               bench.link_hash(hash, 'call/' || call_id || '/minute/' || minute + 1, 'charge', content, call_id, 10, 0,
                   coins - 10, begin_us + number * step_us + minute * 60000000,
                   bench.entry_bytes('coins', account, 'platform/coin_revenue', 10)),
               coins - 10
        FROM charge WHERE minute < 10
    ), link AS MATERIALIZED (
        SELECT *, 'call/' || call_id || '/minute/' || minute AS transfer_id,
               bench.to_time(begin_us + number * step_us + (minute - 1) * 60000000) AS created_at
        FROM charge WHERE minute > 0
    ), transfer AS (
        INSERT INTO wallet.transfers (transfer_id, kind, content, call_id, coins, paise, balance_coins, owner_id,
                                      chain_position, chain_hash, created_at)
        SELECT transfer_id, 'charge', content, call_id, 10, 0, coins, owner_id, length, hash, created_at FROM link
    ), entry AS (
        INSERT INTO wallet.journal (transfer_id, ledger, debit_account, credit_account, amount, created_at)
        SELECT transfer_id, 'coins', account, 'platform/coin_revenue', 10, created_at FROM link
    ), line AS (
        INSERT INTO wallet.user_transactions (wallet_id, tx_type, coins_change, money_change, description, call_id,
                                              transfer_id, created_at, updated_at)
        SELECT wallet_id, 'spend', -10, 0, 'Minute ' || minute || ' of call ' || call_id, call_id, transfer_id,
               created_at, created_at
        FROM link
    )
    UPDATE bench.caller AS person SET length = link.length, hash = link.hash, coins = link.coins
    FROM link WHERE person.number = link.number AND link.minute = 10
$$;

-- The settlement of a fifth of these calls, one of each listener.
CREATE FUNCTION bench.settle_fifth(first_call bigint, turn integer, fifth integer, listeners integer, begin_us bigint,
                                   step_us bigint)
RETURNS void LANGUAGE sql AS $$
    WITH settlement AS (
        SELECT listener.*, first_call + caller.number AS call_id, caller.owner_id AS caller_id, caller.coins AS balance,
               'call/' || (first_call + caller.number) || '/settlement' AS transfer_id,
               'user ' || caller.owner_id || ' paid 10 minutes, user ' || listener.owner_id || ' earns 100 paise each'
                   AS content,
               'user/' || listener.owner_id AS account, begin_us + caller.number * step_us + 595000000 AS at_us
        FROM bench.caller JOIN bench.listener ON listener.number = (caller.number + turn) % listeners
        WHERE caller.number >= fifth * listeners AND caller.number < (fifth + 1) * listeners
    ), link AS MATERIALIZED (
        SELECT *, bench.to_time(at_us) AS created_at,
               bench.link_hash(hash, transfer_id, 'settlement', content, call_id, 100, 1000, balance, at_us,
                   bench.entry_bytes('paise', 'platform/listener_cost', account, 1000)) AS next_hash
        FROM settlement
    ), transfer AS (
        INSERT INTO wallet.transfers (transfer_id, kind, content, call_id, coins, paise, balance_coins, owner_id,
                                      chain_position, chain_hash, created_at)
        SELECT transfer_id, 'settlement', content, call_id, 100, 1000, balance, owner_id, length + 1, next_hash,
               created_at
        FROM link
    ), entry AS (
        INSERT INTO wallet.journal (transfer_id, ledger, debit_account, credit_account, amount, created_at)
        SELECT transfer_id, 'paise', 'platform/listener_cost', account, 1000, created_at FROM link
    ), line AS (
        INSERT INTO wallet.user_transactions (wallet_id, tx_type, coins_change, money_change, description, call_id,
                                              transfer_id, created_at, updated_at)
        SELECT wallet_id, 'earn', 0, 10, '10 minutes of call ' || call_id, call_id, transfer_id, created_at, created_at
        FROM link
    ), earning AS (
        INSERT INTO wallet.call_earnings (call_id, listener_id, caller_id, call_type, minutes, coins, money, created_at)
        SELECT call_id, owner_id, caller_id, 'audio', 10, 100, 10, created_at FROM link
    )
    UPDATE bench.listener AS person SET length = person.length + 1, hash = next_hash, paise = person.paise + 1000
    FROM link WHERE person.number = link.number
$$;

-- Writes what the month has done to the wallets.
CREATE FUNCTION bench.update_wallets() RETURNS void LANGUAGE sql AS $$
    UPDATE wallet.user_wallets AS w
    SET balance_coins = coins, chain_length = length, chain_hash = hash, version = length, updated_at = now()
    FROM bench.caller WHERE w.user_id = owner_id;
    UPDATE wallet.user_wallets AS w
    SET withdrawable_money = paise / 100, total_earned = paise / 100, chain_length = length, chain_hash = hash,
        version = length, updated_at = now()
    FROM bench.listener WHERE w.user_id = owner_id;
$$;

-- Opens a month, counted backwards from the present one.
CREATE FUNCTION bench.open_month(first_id bigint, regulars integer, month integer, callers integer)
RETURNS void LANGUAGE plpgsql SET timezone = 'UTC' SET session_replication_role = replica AS $$
BEGIN
    PERFORM bench.choose_people(first_id, regulars, month, callers, callers / 5);
    PERFORM bench.give_coins(month, bench.to_us(date_trunc('month', now()) - make_interval(months => month)));
END $$;

-- Adds one call of each caller. So many turns are distributed evenly over the month. Each is a transaction of its own, so
-- that the rows of people before their last update do not pile up.
CREATE FUNCTION bench.add_calls(first_call bigint, month integer, callers integer, turn integer, turns integer)
RETURNS void LANGUAGE plpgsql SET timezone = 'UTC' SET session_replication_role = replica SET jit = off AS $$
DECLARE
    month_start CONSTANT timestamptz := date_trunc('month', now()) - make_interval(months => month);
    -- The last calls have ended by then.
    month_end CONSTANT timestamptz := LEAST(month_start + interval '1 month', now()) - interval '15 minutes';
    month_us CONSTANT bigint := bench.to_us(month_start);
    turn_us CONSTANT bigint := GREATEST(bench.to_us(month_end) - month_us, 0) / turns;
    step_us CONSTANT bigint := turn_us / callers;
    begin_us CONSTANT bigint := month_us + turn * turn_us;
BEGIN
    PERFORM bench.insert_calls(first_call, turn, callers / 5, begin_us, step_us);
    PERFORM bench.charge_calls(first_call, begin_us, step_us);
    FOR fifth IN 0..4 LOOP
        PERFORM bench.settle_fifth(first_call, turn, fifth, callers / 5, begin_us, step_us);
    END LOOP;
END $$;
