-- KEYS 1 the user's sessions
-- ARGV 1 the session, 2 the refresh token that is used, 3 the next one, 4 how long that holds (s),
--      5 now, 6 the next access token, 7 how long the same answer can be had once more (s)
local answer = KEYS[1] .. ':answer:' .. ARGV[2]
if redis.call('EXISTS', KEYS[1] .. ':' .. ARGV[3]) == 1 then
  return { 'rotated' } -- The client sent this command again because it lost the first answer.
end
if redis.call('DEL', KEYS[1] .. ':' .. ARGV[2]) == 1 then
  redis.call('HSET', details(KEYS[1], ARGV[1]), 'last_used_at', ARGV[5])
  keep(KEYS[1], ARGV[1], ARGV[3], ARGV[4])
  if tonumber(ARGV[7]) > 0 then
    redis.call('RPUSH', answer, ARGV[3], ARGV[6], ARGV[5])
    redis.call('EXPIRE', answer, ARGV[7])
  end
  return { 'rotated' }
end
-- Whoever lost the answer has not used what was in it.
local lost = redis.call('LRANGE', answer, 0, 2)
if #lost == 3 and redis.call('EXISTS', KEYS[1] .. ':' .. lost[1]) == 1 then
  redis.call('DEL', answer)
  return { 'again', lost[1], lost[2], lost[3] }
end
-- A used token of a session that lives on under another one: one of the two was stolen.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 1 then
  local ended = { 'reused' }
  each(KEYS[1], function(session_id)
    table.insert(ended, session_id)
  end)
  revoke_all(KEYS[1])
  return ended
end
return { 'unknown' }
