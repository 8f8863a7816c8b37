-- KEYS 1 the user's sessions
-- ARGV 1 the new session, 2 its refresh token, 3 how long that holds (s), 4 the device, 5 now
-- It takes no longer for somebody with many sessions. Whoever has fewer than these keeps none that has expired.
prune_some(KEYS[1], 16)
redis.call('HSET', details(KEYS[1], ARGV[1]), 'device', ARGV[4], 'created_at', ARGV[5], 'last_used_at', ARGV[5])
keep(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
return 1
