#!/usr/bin/env bash
# Puts a backup of infra/deploy/backup.sh into a new database. All or nothing; a database that holds anything is left as it is.
#
#   createdb ...; lotline migrate; infra/deploy/restore.sh URL FILE; lotline serve
set -euo pipefail

if [ $# -ne 2 ]; then
  cat >&2 <<'HELP'
usage: infra/deploy/restore.sh URL FILE

  URL    of a new database, in which `lotline migrate` has made the tables and no server has run yet
  FILE   written by infra/deploy/backup.sh

Afterwards `lotline serve` builds the read models from the log.
HELP
  exit 2
fi
url=$1 file=$2

ask() { psql "$url" --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --command "$1"; }

used=$(ask 'SELECT (SELECT count(*) FROM vault.personal_key) + (SELECT count(*) FROM vault.cluster_secret) + (SELECT count(*) FROM vault.node_secret)
  + (SELECT count(*) FROM access.login_secret) + (SELECT count(*) FROM access.api_key)
  + (SELECT count(*) FROM log.origin) + (SELECT count(*) FROM (SELECT FROM log.record LIMIT 1) AS record)') || {
  echo 'restore: this database has no tables of Lotline; run `lotline migrate` on it first' >&2
  exit 1
}
if [ "$used" != 0 ]; then
  echo 'restore: a server has used this database, so its keys may be needed; restore into a new one' >&2
  exit 1
fi

pg_restore --dbname "$url" --data-only --single-transaction --exit-on-error "$file"
echo "restored: $(ask 'SELECT count(*) FROM vault.personal_key') personal keys, $(ask 'SELECT count(*) FROM log.record') records of the embedded log"
