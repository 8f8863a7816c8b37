-- no-transaction
CREATE INDEX CONCURRENTLY IF NOT EXISTS feed_listeners_changed_xid ON profile.feed_listeners (changed_xid);
