-- Shared by otp_request.lua and otp_resend.lua.
--
-- KEYS 1 the code, 2 its wrong tries, 3 the codes of this window, 4 the last resend,
--      messages of this window 5 by the client's address, 6 to the number's prefix, 7 to everybody
-- ARGV 1 a fresh code, 2 its life, 3 codes a window at most, 4 the window, 5 between two resends,
--      6 to 8 the most of KEYS 5 to 7, 9 their window (all times in seconds)

local SHARED = {
  { 'address', KEYS[5], ARGV[6] },
  { 'prefix', KEYS[6], ARGV[7] },
  { 'platform', KEYS[7], ARGV[8] },
}

local function is_used_up(key, most)
  return tonumber(redis.call('GET', key) or 0) >= tonumber(most)
end

local function count(key, window_secs)
  if redis.call('INCR', key) == 1 then
    redis.call('EXPIRE', key, window_secs)
  end
end

-- The refusal by a limit that many phones share, if one is used up.
local function shared_refusal()
  for _, limit in ipairs(SHARED) do
    if is_used_up(limit[2], limit[3]) then
      return { limit[1], tostring(redis.call('TTL', limit[2])) }
    end
  end
end

-- A message goes out.
local function count_shared()
  for _, limit in ipairs(SHARED) do
    count(limit[2], ARGV[9])
  end
end

-- Makes the fresh code the active one, unless the window's codes are used up.
local function new_code()
  if is_used_up(KEYS[3], ARGV[3]) then
    return { 'limited', tostring(redis.call('TTL', KEYS[3])) }
  end
  local refusal = shared_refusal()
  if refusal then
    return refusal
  end
  count(KEYS[3], ARGV[4])
  count_shared()
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  redis.call('DEL', KEYS[2])
  return { 'new', '' }
end
