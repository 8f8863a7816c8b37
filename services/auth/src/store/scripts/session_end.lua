-- KEYS 1 the user's sessions, 2 what tells the gateway that the session is over
-- ARGV 1 the session, 2 how long an access token holds (s)
local token_id = redis.call('HGET', KEYS[1], ARGV[1])
if not token_id then
  return 0
end
redis.call('SET', KEYS[2], '1', 'EX', ARGV[2])
forget(KEYS[1], ARGV[1], token_id)
return 1
