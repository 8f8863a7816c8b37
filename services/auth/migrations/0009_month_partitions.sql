SELECT lock_exclusively('auth.audit_log');
SELECT partition_by_month('audit_log', 'happened_at', 'audit_id');
REVOKE UPDATE, DELETE ON auth.audit_log FROM auth_app;
SELECT add_months(3);
