-- KEYS 1 the user's sessions, 2 what tells the gateway which access tokens are revoked
-- ARGV 1 the latter's value, 2 its life (s)
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
revoke_all(KEYS[1])
return 1
