-- KEYS and ARGV as in otp_new.lua, which stands before this one.
local wait = redis.call('TTL', KEYS[4])
if wait >= 0 then
  return { 'recent', tostring(wait) }
end

local function same_code(code)
  local refusal = shared_refusal()
  if refusal then
    return refusal
  end
  count_shared()
  return { 'active', code }
end

local code = redis.call('GET', KEYS[1])
local sent = code and same_code(code) or new_code()
if sent[1] == 'active' or sent[1] == 'new' then
  redis.call('SET', KEYS[4], '1', 'EX', ARGV[5])
end
return sent
