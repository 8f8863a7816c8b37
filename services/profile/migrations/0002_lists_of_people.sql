-- Favourites and blocks are listed newest first, a page at a time.
CREATE INDEX user_favorites_newest
    ON profile.user_favorites (favoriter_id, created_at DESC, favoritee_id DESC);
CREATE INDEX user_blocks_newest
    ON profile.user_blocks (blocker_id, created_at DESC, blocked_id DESC);
