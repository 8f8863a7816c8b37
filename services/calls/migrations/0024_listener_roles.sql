-- The version of the user's event that a row follows, so that a late event changes nothing: a registration that is
-- delivered after the deletion would otherwise make a listener of a user who is gone. A row that is not active is the
-- memory of a role that has ended.
ALTER TABLE calls.listeners
    ADD COLUMN role_version bigint  NOT NULL DEFAULT 0,
    ADD COLUMN active       boolean NOT NULL DEFAULT true;
