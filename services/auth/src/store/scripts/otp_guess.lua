-- Shared by otp_try.lua and otp_challenge_try.lua; otp_limits.lua stands before it.
--
-- KEYS 1 the active code, 2 wrong tries at it by address, 3 the active code's challenge,
--      4 wrong tries of a day at the phone, with a challenge or without one, 5 those from this address,
--      6 the challenge that the client names (or any key), from 7 on: wrong tries of clients in a network
-- ARGV 1 a guess, 2 the wrong try that burns a code, 3 and 4 the most of KEYS 4 and 5, 5 a day (s), 6 the address,
--      7 an id for a code without a challenge, 8 how the keys of challenges begin, 9 the window of networks (s),
--      from 10 on: the name and the most of each of KEYS 7 and on

local NETWORKS = read_limits(7, 10, ARGV[9])
local PHONE = { 'phone', KEYS[4], ARGV[3], ARGV[5] }
local FROM_ADDRESS = { 'phone_from_address', KEYS[5], ARGV[4], ARGV[5] }

local function wrong()
  return { 'wrong', '' }
end
