-- The audit log is partitioned by month (docs/decisions/0027). What it has becomes its first partition.
SELECT lock_exclusively('auth.audit_log');
SELECT bound_first_partition('audit_log', 'happened_at');
