-- Commands that operators have run on this schema. A command whose effect is one transaction here is recorded in it; any other
-- is recorded before it begins, so that none has an effect without a row.
CREATE TABLE operator_actions (
    action_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator_name text        NOT NULL CHECK (length(operator_name) BETWEEN 1 AND 100),
    command       text        NOT NULL CHECK (length(command) BETWEEN 1 AND 200),
    acted_at      timestamptz NOT NULL DEFAULT now()
);
DO $$ BEGIN
    EXECUTE format('REVOKE UPDATE, DELETE ON operator_actions FROM %I', current_schema() || '_app');
END $$;
