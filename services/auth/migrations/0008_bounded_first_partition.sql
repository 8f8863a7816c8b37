-- Reads the table once, beside all readers and writers.
ALTER TABLE auth.audit_log VALIDATE CONSTRAINT first_partition;
