-- Deletes every key. Memory is freed in the background.
redis.call('FLUSHDB', 'ASYNC')
return 1
