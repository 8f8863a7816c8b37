-- Each request of an admin is an entry: from where it came, and the reason that the admin gave. The checks are validated by
-- the next migration, beside all readers and writers.
SELECT lock_exclusively('auth.audit_log');
ALTER TABLE auth.audit_log
    ADD COLUMN client_address text,
    ADD COLUMN reason text,
    DROP CONSTRAINT audit_log_action_check;
ALTER TABLE auth.audit_log
    ADD CONSTRAINT audit_log_client_address_check CHECK (length(client_address) <= 45) NOT VALID,
    ADD CONSTRAINT audit_log_reason_check CHECK (length(reason) <= 200) NOT VALID,
    ADD CONSTRAINT audit_log_action_check CHECK (action IN
        ('logged_in', 'logged_out', 'logged_out_everywhere', 'session_ended',
         'refresh_token_reused', 'user_deleted', 'role_granted', 'role_revoked',
         'otp_refused', 'otp_limited', 'refresh_refused', 'registration_refused',
         'admin_acted', 'admin_refused', 'operator_acted')) NOT VALID;

-- Drops the months that ended more than `kept` months before the present one began. The role of the service may not drop
-- tables, hence the rights of the owner, and the bound, without which that role could remove its own traces.
CREATE FUNCTION drop_audit_months(kept integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET timezone = 'UTC' SET lock_timeout = '200ms' AS $$
DECLARE
    old record;
    dropped integer := 0;
BEGIN
    IF kept NOT BETWEEN 3 AND 1200 THEN
        RAISE EXCEPTION 'the audit log cannot be kept for % months', kept;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('month partitions'), hashtext(current_schema()));
    FOR old IN
        SELECT partition FROM list_months('audit_log')
        WHERE month_end <= date_trunc('month', now()) - make_interval(months => kept) AND NOT is_detaching
        ORDER BY month_end
    LOOP
        EXECUTE format('DROP TABLE %s', old.partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
