-- Takes one of a user's places.
--   KEYS[1]  the user's places, a sorted set: "<replica>/<socket>" by when its token expires
--   ARGV     replica, socket, when its token expires (seconds since 1970), places a user has,
--            how long a replica counts as alive after its last word (ms)
-- Answers 1, or 0 when all are taken. Places of replicas that have died are given back first.
local now = redis.call('TIME')[1]
redis.call('SET', 'ws:replica:' .. ARGV[1], 1, 'PX', ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local taken = 0
for _, place in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local replica = string.match(place, '^[^/]+')
  if redis.call('EXISTS', 'ws:replica:' .. replica) == 1 then
    taken = taken + 1
  else
    redis.call('ZREM', KEYS[1], place)
  end
end
if taken >= tonumber(ARGV[4]) then
  return 0
end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1] .. '/' .. ARGV[2])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('EXPIREAT', KEYS[1], last[2])
return 1
