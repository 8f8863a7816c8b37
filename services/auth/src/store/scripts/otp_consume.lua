-- KEYS 1 the code, 2 its wrong tries
-- ARGV 1 a guess
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
