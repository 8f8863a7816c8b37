-- Shared by the scripts on sessions. A session has one usable refresh token: the hash maps the
-- session to the token's id, and the key {hash}:{id} is there while the token can be used. The hash
-- {hash}:session:{session} says on what device it was opened and when it was used.

local function details(sessions, session_id)
  return sessions .. ':session:' .. session_id
end

-- Gives a session its token, and the hashes a life as long as their longest token's.
local function keep(sessions, session_id, token_id, life_secs)
  redis.call('SET', sessions .. ':' .. token_id, session_id, 'EX', life_secs)
  redis.call('HSET', sessions, session_id, token_id)
  redis.call('EXPIRE', details(sessions, session_id), life_secs)
  if redis.call('TTL', sessions) < tonumber(life_secs) then
    redis.call('EXPIRE', sessions, life_secs)
  end
end

local function forget(sessions, session_id, token_id)
  redis.call('DEL', sessions .. ':' .. token_id, details(sessions, session_id))
  redis.call('HDEL', sessions, session_id)
end

-- Calls `visit` with each session and its token.
local function each(sessions, visit)
  local entries = redis.call('HGETALL', sessions)
  for i = 1, #entries, 2 do
    visit(entries[i], entries[i + 1])
  end
end

local function forget_expired(sessions, session_id, token_id)
  if redis.call('EXISTS', sessions .. ':' .. token_id) == 0 then
    forget(sessions, session_id, token_id)
  end
end

-- Forgets the sessions whose token ran out unused.
local function prune(sessions)
  each(sessions, function(session_id, token_id)
    forget_expired(sessions, session_id, token_id)
  end)
end

-- Does the same for at most `count` sessions, picked at random: all of them, unless there are more. Mostly all their tokens
-- are there, which one command finds out.
local function prune_some(sessions, count)
  local entries = redis.call('HRANDFIELD', sessions, count, 'WITHVALUES')
  local tokens = {}
  for i = 2, #entries, 2 do
    table.insert(tokens, sessions .. ':' .. entries[i])
  end
  if #tokens == 0 or redis.call('EXISTS', unpack(tokens)) == #tokens then
    return
  end
  for i = 1, #entries, 2 do
    forget_expired(sessions, entries[i], entries[i + 1])
  end
end

-- Ends all of a user's sessions.
local function revoke_all(sessions)
  each(sessions, function(session_id, token_id)
    forget(sessions, session_id, token_id)
  end)
end
