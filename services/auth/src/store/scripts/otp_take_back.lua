-- A message did not go out, so it does not count.
-- KEYS as in otp_new.lua
-- ARGV 1 the code, 2 whether it was made for this message, 3 whether it was sent again (`1` or `0`)
local function uncount(key)
  if tonumber(redis.call('GET', key) or 0) > 0 then
    redis.call('DECR', key)
  end
end

if ARGV[2] == '1' then
  uncount(KEYS[3])
  redis.call('DEL', KEYS[6])
  if redis.call('GET', KEYS[1]) == ARGV[1] then
    redis.call('DEL', KEYS[1], KEYS[2], KEYS[5])
  end
end
if ARGV[3] == '1' then
  redis.call('DEL', KEYS[4])
end
for i = 8, #KEYS do
  uncount(KEYS[i])
end
return 1
