-- Shared by the scripts on one-time passwords. A limit has a name, a key that counts, the most that it may count
-- and a window (s), which begins with the first thing counted.

local function is_used_up(key, most)
  return tonumber(redis.call('GET', key) or 0) >= tonumber(most)
end

local function count(key, window_secs)
  if redis.call('INCR', key) == 1 then
    redis.call('EXPIRE', key, window_secs)
  end
end

-- The limits of one window: their keys begin at `first_key`, and a name and a maximum for each at `first_argument`.
local function read_limits(first_key, first_argument, window_secs)
  local limits = {}
  for i = 0, #KEYS - first_key do
    local at = first_argument + 2 * i
    table.insert(limits, { ARGV[at], KEYS[first_key + i], ARGV[at + 1], window_secs })
  end
  return limits
end

-- The refusal by the first limit that is used up, if there is one.
local function refusal_by(limits)
  for _, limit in ipairs(limits) do
    if is_used_up(limit[2], limit[3]) then
      return { limit[1], tostring(redis.call('TTL', limit[2])) }
    end
  end
end

local function count_all(limits)
  for _, limit in ipairs(limits) do
    count(limit[2], limit[4])
  end
end
