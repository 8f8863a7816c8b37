-- Shared by the scripts on sessions. A session has one usable refresh token: the hash maps the
-- session to the token's id, and the key {hash}:{id} is there while the token can be used.

-- Gives a session its token, and the hash a life as long as its longest token's.
local function keep(sessions, session_id, token_id, life_secs)
  redis.call('SET', sessions .. ':' .. token_id, session_id, 'EX', life_secs)
  redis.call('HSET', sessions, session_id, token_id)
  if redis.call('TTL', sessions) < tonumber(life_secs) then
    redis.call('EXPIRE', sessions, life_secs)
  end
end

-- Forgets the sessions whose token ran out unused.
local function prune(sessions)
  local entries = redis.call('HGETALL', sessions)
  for i = 1, #entries, 2 do
    if redis.call('EXISTS', sessions .. ':' .. entries[i + 1]) == 0 then
      redis.call('HDEL', sessions, entries[i])
    end
  end
end

-- Ends all of a user's sessions.
local function revoke_all(sessions)
  for _, token_id in ipairs(redis.call('HVALS', sessions)) do
    redis.call('DEL', sessions .. ':' .. token_id)
  end
  redis.call('DEL', sessions)
end
