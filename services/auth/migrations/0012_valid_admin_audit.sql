-- Reads the table once, beside all readers and writers.
ALTER TABLE auth.audit_log
    VALIDATE CONSTRAINT audit_log_client_address_check,
    VALIDATE CONSTRAINT audit_log_reason_check,
    VALIDATE CONSTRAINT audit_log_action_check;
