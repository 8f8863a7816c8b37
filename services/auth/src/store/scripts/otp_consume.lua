-- KEYS 1 the active code, 2 wrong tries at it, 3 its challenge, 4 the challenge that was used, if one was named
-- ARGV 1 the code that was used, 2 how the keys of challenges begin
local active = redis.call('GET', KEYS[3])
local used = KEYS[4]
if used then
  if redis.call('DEL', used) == 0 then
    return 0
  end
  if active ~= ARGV[1] .. ':' .. string.sub(used, #ARGV[2] + 1) then
    return 1 -- Another code is the active one by now.
  end
elseif redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
elseif active then
  redis.call('DEL', ARGV[2] .. string.match(active, ':(.*)$'))
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
return 1
