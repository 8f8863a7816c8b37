-- KEYS 1 the user's sessions, the others tell gateways which access tokens are revoked
-- ARGV 1 how long the latter are kept (s), the others their values
for i = 2, #KEYS do
  redis.call('SET', KEYS[i], ARGV[i], 'EX', ARGV[1])
end
revoke_all(KEYS[1])
return 1
