-- Counts a request under KEYS[1], whose window of ARGV[1] milliseconds begins with its first request.
-- Returns the count and the remaining milliseconds of the window.
local count = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
  left = tonumber(ARGV[1])
end
return {count, left}
