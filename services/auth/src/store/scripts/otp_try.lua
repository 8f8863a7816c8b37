-- A guess at the active code, without a challenge. Wrong tries count for their address, so that they burn the code
-- for nobody else. KEYS and ARGV as in otp_guess.lua, which stands before this one.
local refusal = refusal_by(NETWORKS) or refusal_by({ PHONE, FROM_ADDRESS })
if refusal then
  return refusal
end
local code = redis.call('GET', KEYS[1])
if not code then
  return wrong() -- Nothing was there to be guessed.
end
if tonumber(redis.call('HGET', KEYS[2], ARGV[6]) or 0) >= tonumber(ARGV[2]) then
  return wrong()
end

-- The id of the one use that the code has.
local function use_id()
  local prefix = code .. ':'
  local known = redis.call('GET', KEYS[3])
  if known and string.sub(known, 1, #prefix) == prefix then
    local challenge = string.sub(known, #prefix + 1)
    return redis.call('HGET', ARGV[8] .. challenge, 'use_id') or challenge
  end
  redis.call('SET', KEYS[3], prefix .. ARGV[7], 'PX', redis.call('PTTL', KEYS[1]))
  return ARGV[7]
end

if code == ARGV[1] then
  return { 'right', use_id() }
end
count_all({ PHONE, FROM_ADDRESS })
count_all(NETWORKS)
redis.call('HINCRBY', KEYS[2], ARGV[6], 1)
redis.call('PEXPIRE', KEYS[2], redis.call('PTTL', KEYS[1]))
return wrong()
