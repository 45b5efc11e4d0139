# Daemons: start detached, know again, stop. A pid file is a hint; the process's own command line is the proof,
# so neither a stale nor a corrupt pid file ever gets a stranger signalled.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the deadlines are used by the files beside this one

# How long a service may take to start or to stop. Generous: the machine may be compiling.
START_DEADLINE_S=${STACK_START_DEADLINE_S:-90}
STOP_DEADLINE_S=${STACK_STOP_DEADLINE_S:-30}

# True if process $1 runs a program named $2 with the exact argument $3.
process_is() {
  local pid=$1 program=$2 argument=$3 arguments=() word
  [[ $pid =~ ^[1-9][0-9]{0,9}$ ]] || return 1
  mapfile -d '' -t arguments 2>/dev/null <"/proc/$pid/cmdline" || return 1
  [ "${#arguments[@]}" -gt 0 ] || return 1
  [ "${arguments[0]##*/}" = "$program" ] || return 1
  for word in "${arguments[@]}"; do
    if [ "$word" = "$argument" ]; then return 0; fi
  done
  return 1
}

# Prints the pid of the daemon known by program $2 and argument $3: from pid file $1, or, when that is missing or wrong,
# by looking through the processes (and mends the file).
find_daemon() {
  local file=$1 program=$2 argument=$3 pid=''
  [ -d "$(dirname "$file")" ] || return 1
  if [ -r "$file" ]; then read -r pid <"$file" || true; fi
  if process_is "$pid" "$program" "$argument"; then
    echo "$pid"
    return 0
  fi
  for pid in /proc/[0-9]*; do
    pid=${pid#/proc/}
    if process_is "$pid" "$program" "$argument"; then
      { echo "$pid" >"$file"; } 2>/dev/null || true
      echo "$pid"
      return 0
    fi
  done
  return 1
}

# Starts "${@:3}" in a session of its own, so that neither Ctrl-C nor the end of this terminal reaches it;
# its output goes to file $2, its pid to file $1.
start_daemon() {
  local file=$1 log=$2
  shift 2
  (cd / && exec setsid "$@") </dev/null >"$log" 2>&1 8>&- 9>&- &
  echo $! >"$file"
  disown
}

# Polls "${@:2}" until it succeeds; fails after $1 seconds.
wait_until() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

# A zombie is gone too: in a container nobody may ever collect it.
gone() {
  local stat
  kill -0 "$1" 2>/dev/null || return 0
  read -r stat 2>/dev/null <"/proc/$1/stat" || return 0
  [[ ${stat##*) } == Z* ]]
}

# Stops service $1, pid $2 (already proved to be ours), with signal $3; past the deadline with SIGKILL.
stop_daemon() {
  local service=$1 pid=$2 signal=$3
  kill -s "$signal" "$pid" 2>/dev/null || true
  if wait_until "$STOP_DEADLINE_S" gone "$pid"; then
    say "$service stopped (profile $PROFILE_NAME)"
    return 0
  fi
  kill -s KILL "$pid" 2>/dev/null || true
  wait_until 10 gone "$pid" || fail "$service, process $pid, does not even end on SIGKILL"
  say "$service killed: it had not stopped within $STOP_DEADLINE_S s (profile $PROFILE_NAME)"
}

# The last line of log $1 that speaks of an error, cut to fit into one line of ours.
last_error() {
  { grep -E 'FATAL|ERROR|Exception|error:' "$1" 2>/dev/null || true; } | tail -n 1 | cut -c 1-160
}

status_line() { printf '%-9s %-8s %s\n' "$1" "$2" "$3"; }
