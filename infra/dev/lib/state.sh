# Where the stack keeps things, how it says things, and which ports a profile gets.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the names are used by the files beside this one

say() { printf '%s\n' "$*"; }

# The one line a failure is allowed.
fail() {
  printf 'stack: %s\n' "$*" >&2
  exit 1
}

is_root() { [ "$(id -u)" -eq 0 ]; }

CACHE_DIR=${XDG_CACHE_HOME:-$HOME/.cache}/lotline
if [ -n "${STACK_HOME:-}" ]; then
  STATE_DIR=$STACK_HOME
elif is_root; then
  STATE_DIR=/var/lib/lotline
else
  STATE_DIR=${XDG_STATE_HOME:-$HOME/.local/state}/lotline
fi

# Invariant: every profile's folder holds this file, and nothing without it is ever deleted.
PROFILE_MARK=.lotline-stack-profile

use_profile() {
  [[ $1 =~ ^[a-z][a-z0-9-]{0,30}$ ]] || fail "a profile name is a-z, 0-9 and dashes, not '$1'"
  PROFILE_NAME=$1
  PROFILE_DIR=$STATE_DIR/$1
}

make_profile() {
  mkdir -p "$PROFILE_DIR" 2>/dev/null || fail "cannot create $PROFILE_DIR; set STACK_HOME to a folder that you may write"
  : >"$PROFILE_DIR/$PROFILE_MARK"
}

# Removes what the services left, but not the lock files: somebody may be waiting on them.
remove_profile() {
  [ -e "$PROFILE_DIR/$PROFILE_MARK" ] || fail "$PROFILE_DIR was not made by the stack, so it is not deleted"
  rm -rf -- "${PROFILE_DIR:?}"/{postgres,buffer} "${PROFILE_DIR:?}"/kafka-*
}

# A profile `P--name` is what somebody who works on profile P has started besides, mostly a test that kills it.
own_profile_names() {
  local name
  while IFS= read -r name; do
    if [[ $name == "$1"--* ]]; then echo "$name"; fi
  done < <(profile_names)
}

profile_names() {
  local mark
  for mark in "$STATE_DIR"/*/"$PROFILE_MARK"; do
    if [ -e "$mark" ]; then basename "$(dirname "$mark")"; fi
  done
}

# Two `up` of one profile at once take turns. The daemons must not inherit descriptor 9 (see start_daemon).
lock_profile() {
  make_profile
  exec 9>"$PROFILE_DIR/lock"
  flock -w 180 9 || fail "another stack command has held profile $PROFILE_NAME for 180 s (lock: $PROFILE_DIR/lock)"
}
unlock_profile() { exec 9>&-; }

# One `with --fresh` or `with --down` at a time: it would wipe or stop what the other is working on.
lock_session() {
  make_profile
  exec 8>"$PROFILE_DIR/session.lock"
  flock -n 8 || fail "profile $PROFILE_NAME is in use by another 'stack with' (lock: $PROFILE_DIR/session.lock)"
}

# To add a profile with ports of its own: a line here. Others share a range and find a free place in it.
default_port() {
  local base
  case $PROFILE_NAME in
    run) base=0 ;;
    run-kafka) base=1 ;;
    test) base=2 ;;
    bench) base=3 ;;
    *) base=10 ;;
  esac
  case $1 in
    postgres) echo $((15430 + base)) ;;
    kafka) echo $((19090 + base)) ;;
    kafka-controller) echo $((19490 + base)) ;;
    kafka-secured) echo $((19890 + base)) ;;
    kafka-secured-controller) echo $((20290 + base)) ;;
    kafka-secured-admin) echo $((20690 + base)) ;;
    kafka-three-[123]) echo $((20690 + 400 * ${1##*-} + base)) ;;
    kafka-three-[123]-controller)
      local node=${1%-controller}
      echo $((21890 + 400 * ${node##*-} + base)) ;;
    kafka-detour) echo $((23490 + base)) ;;
  esac
}

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Prints the port to start on and records it in file $2: the one recorded there or the default of $1, else the next that nobody answers
# on and no other service keeps, running or not: its port must be free when it comes back. One at a time, or two would find the same.
claim_port() {
  local port last
  exec 7>"$STATE_DIR/ports.lock"
  flock -w 60 7 || fail "another stack command has been choosing a port for 60 s (lock: $STATE_DIR/ports.lock)"
  port=$(recorded_port "$2") || port=$(default_port "$1")
  last=$((port + 200))
  while [ "$port" -le "$last" ]; do
    if ! port_answers "$port" && ! port_is_kept "$port" "$2"; then
      echo "$port" | tee -- "$2"
      return 0
    fi
    port=$((port + 1))
  done
  fail "no free port for $1 up to $last"
}

# True if a file other than $2 records port $1.
port_is_kept() {
  local file
  for file in "$STATE_DIR"/*/*/*port; do
    if [ "$file" != "$2" ] && [ "$(recorded_port "$file")" = "$1" ]; then return 0; fi
  done
  return 1
}

recorded_port() {
  local port
  [ -r "$1" ] && read -r port <"$1" && [[ $port =~ ^[0-9]{2,5}$ ]] && echo "$port"
}
