-- KEYS 1 the user's sessions, 2 what tells the gateway that the asking session is over
-- ARGV 1 the asking session, 2 how long an access token holds (s)
local prefix = string.sub(KEYS[2], 1, -#ARGV[1] - 1)
redis.call('SET', KEYS[2], '1', 'EX', ARGV[2])
each(KEYS[1], function(session_id)
  redis.call('SET', prefix .. session_id, '1', 'EX', ARGV[2])
end)
revoke_all(KEYS[1])
return 1
