-- Tables that grow for ever are partitioned by month, in UTC. A partition has the indexes and unique keys of the one
-- before it; the partitioned table itself has none, because a unique key of it would have to contain the time.

-- The partitions of a table and their ends.
CREATE FUNCTION list_months(parent regclass)
RETURNS TABLE (partition text, month_end timestamptz, is_detaching boolean)
LANGUAGE sql STABLE SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
    SELECT format('%I.%I', nspname, relname),
           substring(pg_get_expr(relpartbound, child.oid) FROM 'TO \(''([^'']+)''\)$')::timestamptz,
           inhdetachpending
    FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
    JOIN pg_namespace AS space ON space.oid = relnamespace
    WHERE inhparent = parent
$$;

-- Adds the partition after the newest one. It is created as a table and then attached, which lets statements on the
-- partitioned table run on, unlike CREATE TABLE ... PARTITION OF. The rows of a partition are reached through the
-- partitioned table only, so its rights are those of that table.
CREATE FUNCTION add_next_month(parent regclass) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    newest text;
    month_start timestamptz;
    name text;
BEGIN
    SELECT partition, month_end INTO STRICT newest, month_start
    FROM list_months(parent) ORDER BY month_end DESC LIMIT 1;
    SELECT format('%I.%I', nspname, relname || to_char(month_start, '_YYYY_MM')) INTO STRICT name
    FROM pg_class JOIN pg_namespace AS space ON space.oid = relnamespace WHERE pg_class.oid = parent;
    EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING ALL EXCLUDING IDENTITY)', name, newest);
    EXECUTE format('ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
                   parent, name, month_start, month_start + interval '1 month');
    EXECUTE format('REVOKE ALL ON %s FROM %I', name, current_schema() || '_app');
END $$;

-- The tables of this schema that are partitioned, and how many months after this one have a partition.
CREATE FUNCTION list_partitioned_tables() RETURNS TABLE (parent regclass, table_name text, months_ahead integer)
LANGUAGE sql STABLE SET search_path FROM CURRENT SET timezone = 'UTC' AS $$
    SELECT pg_class.oid::regclass, relname::text,
           (extract(year FROM distance) * 12 + extract(month FROM distance) - 1)::integer
    FROM pg_partitioned_table JOIN pg_class ON pg_class.oid = partrelid,
         LATERAL (SELECT age(max(month_end), date_trunc('month', now())) AS distance
                  FROM list_months(pg_class.oid)) AS newest
    WHERE relnamespace = current_schema()::regnamespace ORDER BY relname
$$;

-- Adds partitions until each partitioned table of this schema has those of the coming `months`. The role of the service
-- may not create tables, hence the rights of the owner. Attaching a partition with foreign keys waits for the writers of
-- the tables they refer to, and makes others wait meanwhile; it gives up long before a deadline of theirs, and before
-- Postgres looks for deadlocks, and is tried again.
CREATE FUNCTION add_months(months integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC' SET lock_timeout = '200ms' AS $$
DECLARE
    missing record;
BEGIN
    IF months NOT BETWEEN 1 AND 24 THEN
        RAISE EXCEPTION 'cannot add partitions for % months', months;
    END IF;
    -- Replicas take turns, and the second one finds nothing to do.
    PERFORM pg_advisory_xact_lock(hashtext('month partitions'), hashtext(current_schema()));
    FOR missing IN
        SELECT parent, months - months_ahead AS number FROM list_partitioned_tables() WHERE months_ahead < months
    LOOP
        FOR month IN 1..missing.number LOOP
            PERFORM add_next_month(missing.parent);
        END LOOP;
    END LOOP;
END $$;

-- Three steps turn a filled table into the first partition of a partitioned one without downtime. Each is a migration
-- of its own, since locks are held until the end of a migration, and no step reads the table while others wait:
--   1. `bound_first_partition` refuses rows that are later than the month after the next turn of the month;
--   2. `ALTER TABLE ... VALIDATE CONSTRAINT first_partition` reads the table once, beside readers and writers;
--   3. `partition_by_month` puts a partitioned table in its place and attaches it.

-- Locks tables exclusively. A lock that is not there at once is given up and asked for again, so that statements of the
-- service never queue behind this one for long, and this one is always the loser of a deadlock.
CREATE FUNCTION lock_exclusively(tables text) RETURNS void
LANGUAGE plpgsql SET lock_timeout = '200ms' AS $$
BEGIN
    FOR attempt IN 1..10000 LOOP
        BEGIN
            EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE', tables);
            RETURN;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            PERFORM pg_sleep(2);
        END;
    END LOOP;
    RAISE EXCEPTION 'cannot lock %: other sessions use it all the time', tables;
END $$;

CREATE FUNCTION bound_first_partition(name text, time_column text) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
BEGIN
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT first_partition CHECK (%I < %L) NOT VALID',
                   name, time_column, date_trunc('month', now()) + interval '2 months');
END $$;

-- The old table gets a name that ends in `_first`; it keeps its indexes and unique keys. The partitioned table has its
-- columns, checks and foreign keys, and its ids go on. Rights are to be revoked afterwards, as for a new table.
CREATE FUNCTION partition_by_month(name text, time_column text, id_column text) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    first_name text := name || '_first';
    last_id bigint;
    is_used boolean;
    month_end text;
    foreign_key record;
BEGIN
    SELECT substring(pg_get_constraintdef(oid) FROM '''([^'']+)''') INTO STRICT month_end
    FROM pg_constraint WHERE conrelid = name::regclass AND conname = 'first_partition' AND convalidated;
    EXECUTE format('SELECT last_value, is_called FROM %s', pg_get_serial_sequence(name, id_column))
    INTO STRICT last_id, is_used;
    EXECUTE format('ALTER TABLE %I ALTER COLUMN %I DROP IDENTITY', name, id_column);
    EXECUTE format('ALTER TABLE %I RENAME TO %I', name, first_name);
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES) PARTITION BY RANGE (%I)',
                   name, first_name, time_column);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT first_partition', name);
    EXECUTE format('ALTER TABLE %I ALTER COLUMN %I ADD GENERATED ALWAYS AS IDENTITY', name, id_column);
    PERFORM setval(pg_get_serial_sequence(name, id_column), last_id, is_used);
    FOR foreign_key IN
        SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
        WHERE conrelid = first_name::regclass AND contype = 'f'
    LOOP
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I %s', name, foreign_key.conname, foreign_key.definition);
    END LOOP;
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)',
                   name, first_name, month_end);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT first_partition', first_name);
    EXECUTE format('REVOKE ALL ON %I FROM %I', first_name, current_schema() || '_app');
END $$;
