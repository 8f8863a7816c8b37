-- A guess at the code of a challenge, whose wrong tries count for the challenge. KEYS and ARGV as in otp_guess.lua,
-- which stands before this one; at the end of ARGV is the phone.
local refusal = refusal_by(NETWORKS)
if refusal then
  return refusal
end
local challenge = redis.call('HMGET', KEYS[6], 'phone', 'code', 'use_id', 'wrong_tries')
local code = challenge[2]
if challenge[1] ~= ARGV[#ARGV] or not code then
  return wrong()
end
local tries_max = is_used_up(PHONE[2], PHONE[3]) and 1 or tonumber(ARGV[2])
local is_burnt = tonumber(challenge[4] or 0) >= tries_max
if code == ARGV[1] and not is_burnt then
  return { 'right', challenge[3] }
end
if not is_burnt then
  count_all({ PHONE })
  count_all(NETWORKS)
  is_burnt = redis.call('HINCRBY', KEYS[6], 'wrong_tries', 1) >= tries_max
end
if is_burnt then
  local id = string.sub(KEYS[6], #ARGV[8] + 1)
  redis.call('DEL', KEYS[6])
  if redis.call('GET', KEYS[3]) == code .. ':' .. id then
    redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
  end
end
return wrong()
