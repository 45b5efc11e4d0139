#!/usr/bin/env bash
# Saves what PostgreSQL holds and the log can't give back: the schema `vault` (keys of personal data, the secret of the nodes), by what people and
# programs sign in (names, passwords, API keys, who they are to a provider), and on the embedded log the ledger and the signals too. Read models, snapshots and offsets are
# built again from the log. Sessions, links and signing keys are left out because they would be good again: everybody signs in anew.
#
# The file holds keys: whoever has it and the log can read what people wrote. It is readable by its owner only; encrypt it where it goes.
set -euo pipefail

if [ $# -ne 2 ]; then
  cat >&2 <<'HELP'
usage: infra/deploy/backup.sh URL FILE

  URL    postgres://user@host:port/database, as in postgres.url; the password better in PGPASSWORD or ~/.pgpass
  FILE   where to write; replaced only by a whole backup

It needs psql, pg_dump and pg_restore of the server's major version or newer on the PATH. The server may go on: the backup is of one moment.
HELP
  exit 2
fi
url=$1 file=$2

# Which log this database follows; an empty or foreign database is no backup.
kinds=$(psql "$url" --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --command 'SELECT DISTINCT kind FROM log.origin') || {
  echo "backup: no database of Lotline at this URL: nothing is saved" >&2
  exit 1
}
if [ -z "$kinds" ]; then
  echo "backup: no server has used this database yet: nothing is saved" >&2
  exit 1
fi

tables=(--table 'vault.*' --table log.origin)
for table in login_secret login password api_key sign_on_subject; do tables+=(--table "access.$table"); done
saved='the vault, the credentials'
if grep -qx postgres <<<"$kinds"; then
  tables+=(--table log.topic --table log.partition --table log.record)
  saved='the vault, the credentials and the embedded log'
fi

umask 077
part=$file.part
trap 'rm -f -- "$part"' EXIT
# Data alone: `lotline migrate` makes the tables, so that a backup fits a newer version too.
pg_dump "$url" --format custom --data-only "${tables[@]}" --file "$part"
# What can't be listed can't be restored.
pg_restore --list "$part" | grep 'TABLE DATA vault personal_key' >/dev/null
mv -- "$part" "$file"
echo "saved $saved to $file"
