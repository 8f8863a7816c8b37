-- KEYS and ARGV as in otp_new.lua, which stands before this one.
local wait = redis.call('TTL', KEYS[4])
if wait >= 0 then
  return { 'recent', tostring(wait) }
end

-- The code of the challenge that the client names, or else the active one with the id of its challenge, if it has one.
local function code_to_send()
  if KEYS[7] == KEYS[6] then
    local code = redis.call('GET', KEYS[1])
    local known = code and redis.call('GET', KEYS[5])
    local is_its_own = known and string.sub(known, 1, #code + 1) == code .. ':'
    return code, is_its_own and string.sub(known, #code + 2) or ''
  end
  local named = redis.call('HMGET', KEYS[7], 'phone', 'code')
  return named[1] == ARGV[8] and named[2], ''
end

local function same_code(code, id)
  local refusal = refusal_by(SHARED)
  if refusal then
    return refusal
  end
  count_all(SHARED)
  return { 'active', code .. ':' .. id }
end

local code, id = code_to_send()
local sent = code and same_code(code, id) or new_code()
if sent[1] == 'active' or sent[1] == 'new' then
  redis.call('SET', KEYS[4], '1', 'EX', ARGV[5])
end
return sent
