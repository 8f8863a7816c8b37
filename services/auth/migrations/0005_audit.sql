-- The audit log tells of refusals and roles as well. Somebody who is refused may be nobody we know; of a
-- phone no more is kept than the two digits that logs may show.
ALTER TABLE auth.audit_log
    ALTER COLUMN user_id DROP NOT NULL,
    ADD COLUMN phone_ends_in text CHECK (phone_ends_in ~ '^[0-9]{2}$'),
    -- Which limit, which role and by whom.
    ADD COLUMN detail        text CHECK (length(detail) <= 200),
    DROP CONSTRAINT audit_log_action_check,
    ADD CONSTRAINT audit_log_action_check CHECK (action IN
        ('logged_in', 'logged_out', 'logged_out_everywhere', 'session_ended',
         'refresh_token_reused', 'user_deleted', 'role_granted', 'role_revoked',
         'otp_refused', 'otp_limited', 'refresh_refused', 'registration_refused'));
