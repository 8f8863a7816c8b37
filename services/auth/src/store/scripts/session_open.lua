-- KEYS 1 the user's sessions
-- ARGV 1 the new session, 2 its refresh token, 3 how long that holds (s)
prune(KEYS[1])
keep(KEYS[1], ARGV[1], ARGV[2], ARGV[3])
return 1
