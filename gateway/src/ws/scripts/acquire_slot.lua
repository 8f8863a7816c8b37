-- Acquires one of a user's connection slots.
--   KEYS[1]  the user's slots, a sorted set: "<replica>/<socket>", scored by the expiry of the token
--   ARGV     replica, socket, expiry of its token (seconds since 1970), slots of a user,
--            lifetime of a replica's lease (ms)
-- Returns 1, or 0 when all slots are in use. Slots of replicas without a lease are released first.
local now = redis.call('TIME')[1]
redis.call('SET', 'ws:replica:' .. ARGV[1], 1, 'PX', ARGV[5])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local used = 0
for _, slot in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local replica = string.match(slot, '^[^/]+')
  if redis.call('EXISTS', 'ws:replica:' .. replica) == 1 then
    used = used + 1
  else
    redis.call('ZREM', KEYS[1], slot)
  end
end
if used >= tonumber(ARGV[4]) then
  return 0
end
redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1] .. '/' .. ARGV[2])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
redis.call('EXPIREAT', KEYS[1], last[2])
return 1
