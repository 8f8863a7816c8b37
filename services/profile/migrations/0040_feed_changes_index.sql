-- no-transaction
CREATE INDEX CONCURRENTLY feed_listeners_changed_xid ON profile.feed_listeners (changed_xid);
