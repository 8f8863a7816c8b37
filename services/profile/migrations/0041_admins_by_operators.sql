-- Only the owner of the schema, by whose role operators grant and revoke admins, makes and unmakes them. The service adds
-- the other roles, and deletes all of them with an account.
SELECT lock_exclusively('profile.user_roles');
ALTER TABLE profile.user_roles ENABLE ROW LEVEL SECURITY;
CREATE POLICY read_roles ON profile.user_roles FOR SELECT TO profile_app USING (true);
CREATE POLICY add_roles ON profile.user_roles FOR INSERT TO profile_app
    WITH CHECK (role IS DISTINCT FROM 'admin');
CREATE POLICY change_roles ON profile.user_roles FOR UPDATE TO profile_app
    USING (role <> 'admin') WITH CHECK (role IS DISTINCT FROM 'admin');
CREATE POLICY delete_roles ON profile.user_roles FOR DELETE TO profile_app USING (true);
