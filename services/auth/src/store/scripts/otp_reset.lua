-- Gives a code another id for its use.
-- KEYS 1 the active code's challenge, 2 the challenge that was used, if one was named
-- ARGV 1 the new id, 2 how the keys of challenges begin
local active = redis.call('GET', KEYS[1])
local challenge = KEYS[2] or (active and ARGV[2] .. string.match(active, ':(.*)$'))
if challenge and redis.call('EXISTS', challenge) == 1 then
  redis.call('HSET', challenge, 'use_id', ARGV[1])
elseif not KEYS[2] then
  redis.call('DEL', KEYS[1])
end
return 1
