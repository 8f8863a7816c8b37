#!/bin/sh
# Makes the roles and schemas of the six services, when Postgres starts with an empty volume.
set -eu
for service in auth profile presence wallet calls verification; do
  psql --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" -v ON_ERROR_STOP=1 \
    -v "service=$service" \
    -v "owner_password=dev-$service-owner" \
    -v "app_password=dev-$service-app" \
    --file /bootstrap.sql
done
