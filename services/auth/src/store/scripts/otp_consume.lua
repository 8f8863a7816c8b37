-- KEYS 1 the code, 2 its wrong tries, 3 its id
-- ARGV 1 a guess
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
return 1
