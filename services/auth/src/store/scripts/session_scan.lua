-- KEYS 1 the pattern of all hashes that describe a session
-- ARGV 1 the cursor, 2 how many keys are looked at about
-- Answers the next cursor, and two texts a session: the key of its hash and when it was opened.
local found = redis.call('SCAN', ARGV[1], 'MATCH', KEYS[1], 'COUNT', ARGV[2])
local page = { found[1] }
for _, key in ipairs(found[2]) do
  table.insert(page, key)
  table.insert(page, redis.call('HGET', key, 'created_at') or '')
end
return page
