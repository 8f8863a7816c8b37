-- KEYS 1 the code, 2 its wrong tries, 3 the phone's wrong tries of a day, 4 the code's id
-- ARGV 1 a guess, 2 the wrong try that burns the code, 3 wrong tries a day at most, 4 a day (s),
--      5 an id for a code that has none
if tonumber(redis.call('GET', KEYS[3]) or 0) >= tonumber(ARGV[3]) then
  return { 'limited', tostring(redis.call('TTL', KEYS[3])) }
end
local code = redis.call('GET', KEYS[1])
if not code then
  return { 'wrong', '' } -- Nothing was there to be guessed.
end
if code == ARGV[1] then
  local prefix = code .. ':'
  local known = redis.call('GET', KEYS[4])
  if known and string.sub(known, 1, #prefix) == prefix then
    return { 'right', string.sub(known, #prefix + 1) }
  end
  redis.call('SET', KEYS[4], prefix .. ARGV[5], 'PX', redis.call('PTTL', KEYS[1]))
  return { 'right', ARGV[5] }
end
if redis.call('INCR', KEYS[3]) == 1 then
  redis.call('EXPIRE', KEYS[3], ARGV[4])
end
if redis.call('INCR', KEYS[2]) >= tonumber(ARGV[2]) then
  redis.call('DEL', KEYS[1], KEYS[2])
else
  redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1]))
end
return { 'wrong', '' }
