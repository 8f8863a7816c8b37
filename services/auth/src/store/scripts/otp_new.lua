-- Shared by otp_request.lua and otp_resend.lua; otp_limits.lua stands before it.
--
-- KEYS 1 the active code, 2 wrong tries at it by address, 3 the codes of this window, 4 the last resend,
--      5 the active code's challenge, 6 the fresh challenge, 7 the challenge to send again (or 6),
--      from 8 on: messages of this window that many phones share
-- ARGV 1 a fresh code, 2 its life, 3 codes a window at most, 4 the window, 5 between two resends,
--      6 the window of shared limits (all times in seconds), 7 the fresh challenge's id, 8 the phone,
--      from 9 on: the name and the most of each of KEYS 8 and on

local SHARED = read_limits(8, 9, ARGV[6])

-- Makes the fresh code the active one, unless the window's codes are used up.
local function new_code()
  local refusal = refusal_by({ { 'limited', KEYS[3], ARGV[3] } }) or refusal_by(SHARED)
  if refusal then
    return refusal
  end
  count(KEYS[3], ARGV[4])
  count_all(SHARED)
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  redis.call('SET', KEYS[5], ARGV[1] .. ':' .. ARGV[7], 'EX', ARGV[2])
  redis.call('HSET', KEYS[6], 'phone', ARGV[8], 'code', ARGV[1], 'use_id', ARGV[7])
  redis.call('EXPIRE', KEYS[6], ARGV[2])
  redis.call('DEL', KEYS[2])
  return { 'new', '' }
end
