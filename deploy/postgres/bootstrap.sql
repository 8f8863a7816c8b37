-- Creates what one service needs in a database before its migrations can run: two roles and a schema.
--
--     psql -v ON_ERROR_STOP=1 -d talktime \
--          -v service=wallet -v owner_password=... -v app_password=... \
--          -f deploy/postgres/bootstrap.sql
--
-- Run by a superuser, or by the owner of the database if that role may create roles and set the parameters below
-- (k8s/components/postgres); once for each service and database, in development (`cargo dev`) and in production alike.
-- Idempotent: running it again repairs grants and sets the passwords it is given, which is also how a password is changed. In production prefer `\getenv owner_password NAME` in a
-- file of its own before this one (`psql -f secrets.psql -f bootstrap.sql`): command lines are public
-- on a host.
--
-- The shape, for service `wallet`:
--   wallet_owner   owns schema `wallet` and everything in it; used by `talktime-wallet migrate` only
--   wallet_app     reads and writes the rows of that schema; used by `talktime-wallet serve`
-- Neither reaches another service's schema, and the app cannot run any DDL, but for functions that add the partitions of
-- coming months and drop old ones of the audit log: a bug or an injection in one service stays in that service.

\set ON_ERROR_STOP on
\set owner :service '_owner'
\set app :service '_app'

BEGIN;

-- Statements below carry passwords: keep them out of the server's log, whatever it is set to log.
SET LOCAL log_statement = 'none';
SET LOCAL log_min_duration_statement = -1;
SET LOCAL log_min_error_statement = 'panic';
-- "already exists, skipping" is what a second run is expected to find.
SET LOCAL client_min_messages = 'warning';

-- Six services may be bootstrapped at once, and two transactions that change the same grants at the
-- same moment fail with "tuple concurrently updated": take turns.
SELECT pg_advisory_xact_lock(hashtext('talktime bootstrap')) \g /dev/null

-- CREATE ROLE knows no IF NOT EXISTS; \gexec runs the rows of the query as statements.
SELECT format('CREATE ROLE %I', name)
  FROM (VALUES (:'owner'), (:'app')) AS wanted (name)
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

-- Whoever is no superuser acts for a role only as its member.
SELECT format('GRANT %I TO CURRENT_USER', :'owner')
 WHERE NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
\gexec

ALTER ROLE :"owner" LOGIN PASSWORD :'owner_password';
ALTER ROLE :"app" LOGIN PASSWORD :'app_password';

-- Names without a schema mean the service's own, never `public`. Set on the role and not on the
-- database, so that it holds in every copy of the database too.
ALTER ROLE :"owner" SET search_path = :"service";
ALTER ROLE :"app" SET search_path = :"service";

-- By default everybody may connect to a database and make temporary tables in it, and (before
-- PostgreSQL 15) tables in `public`. Here only the services' roles connect, and nobody does the rest.
-- A copy made with CREATE DATABASE ... TEMPLATE does not inherit the two lines about the database.
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO :"owner", :"app";

CREATE SCHEMA IF NOT EXISTS :"service" AUTHORIZATION :"owner";
GRANT USAGE ON SCHEMA :"service" TO :"app";

-- Rights on tables that the owner will create. A migration that allows the app less (an append-only journal, for
-- example) revokes them there. Nothing is granted here on tables that exist already, since running this file again
-- would restore the revoked rights.
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"service"
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA :"service"
    GRANT USAGE, SELECT ON SEQUENCES TO :"app";

COMMIT;
