-- KEYS and ARGV as in otp_new.lua, which stands before this one.
return new_code()
