# One PostgreSQL server per profile: superuser `postgres`, role and database `lotline`, trust on loopback.
# shellcheck shell=bash

POSTGRES_OLDEST=15

postgres_dir() { echo "$PROFILE_DIR/postgres"; }
postgres_data() { echo "$PROFILE_DIR/postgres/data"; }
postgres_log() { echo "$PROFILE_DIR/postgres/server.log"; }
postgres_port() { recorded_port "$PROFILE_DIR/postgres/port"; }
postgres_pid() { find_daemon "$PROFILE_DIR/postgres/pid" postgres "$(postgres_data)"; }

# The folder of its socket, or nothing: tests go by TCP, where wires can be cut, and so does a folder with too long a name for a socket.
postgres_socket() {
  case $PROFILE_NAME in test | test-*) return 0 ;; esac
  local folder
  folder=$(postgres_dir)
  if [ ${#folder} -le 80 ]; then printf '%s\n' "$folder"; fi
}

# Prints where clients reach it: by its socket, where nothing waits for the acknowledgement of small packets, else by TCP.
postgres_url() {
  local host
  host=$(postgres_socket)
  host=${host//\//%2F}
  printf 'postgres://lotline@%s:%s/lotline\n' "${host:-127.0.0.1}" "$(postgres_port)"
}

postgres_major() { "$1/postgres" --version 2>/dev/null | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p'; }

# Prints the folder with `postgres` and `initdb`: of major version $1 when given, else the newest that will do.
postgres_bin() {
  local wanted=${1:-} best='' best_major=0 candidate major
  for candidate in /usr/lib/postgresql/*/bin "$(pg_config --bindir 2>/dev/null || true)" "$(dirname "$(command -v postgres || echo /none)")"; do
    if [ ! -x "$candidate/postgres" ] || [ ! -x "$candidate/initdb" ]; then continue; fi
    major=$(postgres_major "$candidate")
    if [ -n "$wanted" ]; then
      if [ "$major" = "$wanted" ]; then echo "$candidate"; return 0; fi
    elif [ "${major:-0}" -ge "$POSTGRES_OLDEST" ] && [ "$major" -gt "$best_major" ]; then
      best=$candidate best_major=$major
    fi
  done
  if [ -n "$best" ]; then echo "$best"; else return 1; fi
}

# PostgreSQL refuses to run as root; root's server runs as user `postgres`, in a folder which that user can enter.
as_postgres() {
  if is_root; then
    (cd / && exec runuser -u postgres -- "$@")
  else
    "$@"
  fi
}

postgres_make_dir() {
  mkdir -p "$(postgres_dir)"
  if is_root; then
    id postgres >/dev/null 2>&1 || fail 'PostgreSQL cannot run as root and there is no user postgres; create one or run as another user'
    chown postgres "$(postgres_dir)"
    as_postgres test -w "$(postgres_dir)" || fail "user postgres cannot enter $(postgres_dir); set STACK_HOME to a folder that it can reach"
  fi
}

# Builds the cluster beside its place and moves it in when complete: an interrupted one is never mistaken for a whole one.
postgres_create() {
  local bin=$1 fresh log
  fresh=$(postgres_data).new log=$(postgres_dir)/create.log
  rm -rf -- "$fresh"
  as_postgres "$bin/initdb" --pgdata "$fresh" --username postgres --auth trust --encoding UTF8 --locale C.UTF-8 --no-sync \
    >"$log" 2>&1 </dev/null || fail "initdb failed: $(last_error "$log"); see $log"
  as_postgres "$bin/postgres" --single -D "$fresh" postgres >>"$log" 2>&1 <<'SQL' || fail "creating role and database failed; see $log"
CREATE ROLE lotline LOGIN CREATEDB CREATEROLE
CREATE DATABASE lotline OWNER lotline
SQL
  mv "$fresh" "$(postgres_data)"
}

# To change the tuning of a profile: here. Written at each start, so a change reaches clusters that exist.
postgres_settings() {
  cat <<CONF
listen_addresses = '127.0.0.1'
port = $1
unix_socket_directories = '$(postgres_socket)'
max_connections = 400
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] %q%u@%d '
log_checkpoints = off
jit = off
CONF
  case $PROFILE_NAME in
    test | test-*) printf '%s\n' 'fsync = off' 'full_page_writes = off' 'synchronous_commit = off' \
      'shared_buffers = 256MB' 'max_wal_size = 2GB' ;;
    bench) printf '%s\n' 'fsync = on' 'shared_buffers = 768MB' 'max_wal_size = 4GB' 'checkpoint_timeout = 15min' ;;
    *) printf '%s\n' 'shared_buffers = 256MB' ;;
  esac
}

postgres_configure() {
  local data=$1 port=$2
  postgres_settings "$port" | as_postgres tee "$data/lotline.conf" >/dev/null
  if ! grep -qs "^include 'lotline.conf'" "$data/postgresql.conf"; then
    echo "include 'lotline.conf'" | as_postgres tee -a "$data/postgresql.conf" >/dev/null
  fi
}

# True if no process works in the data folder: neither a server nor children of one that was killed a moment ago.
postgres_deserted() {
  local folder
  for folder in /proc/[0-9]*/cwd; do
    if [ "$folder" -ef "$(postgres_data)" ]; then return 1; fi
  done
}

# After a crash the lock file stays. PostgreSQL would clear it, but gives up when it is garbage or when its pid
# still exists, be it as a zombie or as another program. What the lock guards against is checked here instead.
postgres_mend_lock() {
  local lock
  lock=$(postgres_data)/postmaster.pid
  [ -e "$lock" ] || return 0
  wait_until 15 postgres_deserted || fail "processes of a crashed PostgreSQL still work in $(postgres_data) after 15 s"
  rm -f -- "$lock"
}

postgres_ready() { "$1/pg_isready" -q -h 127.0.0.1 -p "$2" -U lotline -d lotline; }

postgres_ready_or_dead() { postgres_ready "$1" "$2" || gone "$3"; }

postgres_launch() {
  local bin=$1 port=$2 pid as=()
  if is_root; then as=(setpriv --reuid postgres --regid "$(id -g postgres)" --init-groups); fi
  start_daemon "$(postgres_dir)/pid" "$(postgres_log)" "${as[@]}" "$bin/postgres" -D "$(postgres_data)"
  read -r pid <"$(postgres_dir)/pid"
  wait_until "$START_DEADLINE_S" postgres_ready_or_dead "$bin" "$port" "$pid" || return 1
  ! gone "$pid"
}

postgres_up() {
  local bin pid port version='' data
  data=$(postgres_data)
  if [ -r "$data/PG_VERSION" ]; then read -r version <"$data/PG_VERSION"; fi
  bin=$(postgres_bin "$version") ||
    fail "PostgreSQL ${version:-$POSTGRES_OLDEST or newer} is not installed; run: stack install postgres${version:+, or: stack wipe --profile $PROFILE_NAME}"
  if pid=$(postgres_pid) && port=$(postgres_port); then
    wait_until "$START_DEADLINE_S" postgres_ready "$bin" "$port" ||
      fail "postgres (process $pid) does not answer on 127.0.0.1:$port; see $(postgres_log)"
    say "postgres ready on 127.0.0.1:$port (already running, profile $PROFILE_NAME)"
    return 0
  fi
  postgres_make_dir
  [ -r "$data/PG_VERSION" ] || postgres_create "$bin"
  port=$(claim_port postgres "$(postgres_dir)/port") || exit 1
  postgres_configure "$data" "$port"
  postgres_mend_lock
  postgres_launch "$bin" "$port" ||
    fail "postgres did not start on 127.0.0.1:$port (profile $PROFILE_NAME): $(last_error "$(postgres_log)"); see $(postgres_log)"
  say "postgres ready on 127.0.0.1:$port (profile $PROFILE_NAME)"
}

postgres_down() {
  local pid
  if ! pid=$(postgres_pid); then
    rm -f -- "$(postgres_dir)/pid"
    return 0
  fi
  # SIGINT is PostgreSQL's fast shutdown: open transactions are rolled back, the data is left clean.
  if [ "$1" = yes ]; then stop_daemon postgres "$pid" KILL; else stop_daemon postgres "$pid" INT; fi
  rm -f -- "$(postgres_dir)/pid"
}

postgres_status() {
  local pid port bin
  if pid=$(postgres_pid) && port=$(postgres_port) && bin=$(postgres_bin); then
    if postgres_ready "$bin" "$port"; then
      status_line postgres ready "profile $PROFILE_NAME, 127.0.0.1:$port, process $pid, log $(postgres_log)"
      return 0
    fi
    status_line postgres starting "profile $PROFILE_NAME, 127.0.0.1:$port, process $pid, log $(postgres_log)"
    return 1
  fi
  status_line postgres stopped "profile $PROFILE_NAME"
  return 1
}
