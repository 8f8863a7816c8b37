-- Until when the totals of an allocation account for its traffic: a relay counts on between two messages, so a total
-- that is repeated says nothing about the time since.
ALTER TABLE calls.relay_allocations ADD COLUMN counted_at timestamptz NOT NULL DEFAULT now();
