-- KEYS 1 the code, 2 its wrong tries
-- ARGV 1 a guess, 2 the wrong try that burns the code
local code = redis.call('GET', KEYS[1])
if not code then
  return 0
end
if code == ARGV[1] then
  return 1
end
if redis.call('INCR', KEYS[2]) >= tonumber(ARGV[2]) then
  redis.call('DEL', KEYS[1], KEYS[2])
else
  redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1]))
end
return 0
