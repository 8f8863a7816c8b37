-- OTPs, refresh tokens and the blacklist live in Redis (contract, section 2). What auth keeps in
-- Postgres is what every service has: the outbox of its events and the inbox of those it hears.
COMMENT ON SCHEMA auth IS 'Login: events out and in; OTPs and sessions are in Redis';
