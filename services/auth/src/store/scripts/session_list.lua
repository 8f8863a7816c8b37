-- KEYS 1 the user's sessions
-- Answers four texts a session: its id, its device, when it was opened and when it was last used.
prune(KEYS[1])
local list = {}
each(KEYS[1], function(session_id)
  local known = redis.call('HMGET', details(KEYS[1], session_id), 'device', 'created_at', 'last_used_at')
  table.insert(list, session_id)
  for i = 1, 3 do
    table.insert(list, known[i] or '')
  end
end)
return list
