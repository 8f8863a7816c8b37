-- Shared by otp_request.lua and otp_resend.lua.
--
-- KEYS 1 the code, 2 its wrong tries, 3 the codes of this window, 4 the last resend
-- ARGV 1 a fresh code, 2 its life, 3 codes a window at most, 4 the window, 5 between two resends
--      (all times in seconds)

-- Makes the fresh code the active one, unless the window's codes are used up.
local function new_code()
  local sends = tonumber(redis.call('GET', KEYS[3]) or 0)
  if sends >= tonumber(ARGV[3]) then
    return { 'limited', tostring(redis.call('TTL', KEYS[3])) }
  end
  redis.call('INCR', KEYS[3])
  if sends == 0 then
    redis.call('EXPIRE', KEYS[3], ARGV[4])
  end
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  redis.call('DEL', KEYS[2])
  return { 'new', '' }
end
