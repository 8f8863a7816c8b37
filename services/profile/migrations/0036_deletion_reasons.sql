-- Why users have deleted their accounts. A request keeps its reason until the deletion is finished; then the reason
-- stays with the role and the day of India, without anything that leads to the person. The random key does not
-- reveal the order of the rows of a day.
ALTER TABLE profile.pending_deletions ADD COLUMN reason text;

CREATE TABLE profile.deletion_reasons (
    reason_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    role      text NOT NULL CHECK (role IN ('user', 'listener')),
    reason    text NOT NULL,
    day       date NOT NULL
);
CREATE INDEX deletion_reasons_day ON profile.deletion_reasons (day);
