# The cluster of three: what one broker can't show, the loss of another. Three copies of everything, two of which must be in sync
# for a write to count, so one node may be away; each is broker and controller in one, and small.
# shellcheck shell=bash
# shellcheck disable=SC2034 # KAFKA_SERVICE and KAFKA_NODE are read by kafka.sh, which these functions call

THREE_NODES=(1 2 3)

kafka_three_up() { three_up "${THREE_NODES[@]}"; }
kafka_three_1_up() { three_up 1; }
kafka_three_2_up() { three_up 2; }
kafka_three_3_up() { three_up 3; }

# Always by SIGKILL: the last to stop would wait for a quorum that has gone.
kafka_three_down() { three_down yes "${THREE_NODES[@]}"; }
kafka_three_1_down() { three_down "$1" 1; }
kafka_three_2_down() { three_down "$1" 2; }
kafka_three_3_down() { three_down "$1" 3; }

# All ports are chosen before the first node is started, since each is told the controllers of all; and all nodes are started
# before the first is waited for, since one alone has no quorum.
three_up() {
  local KAFKA_SERVICE=kafka-three KAFKA_NODE starting=()
  for KAFKA_NODE in "${THREE_NODES[@]}"; do
    kafka_pid >/dev/null || kafka_choose_ports
  done
  for KAFKA_NODE in "$@"; do
    if ! kafka_runs; then
      kafka_start
      starting+=("$KAFKA_NODE")
    fi
  done
  for KAFKA_NODE in "${starting[@]}"; do kafka_wait; done
}

three_down() {
  local KAFKA_SERVICE=kafka-three KAFKA_NODE hard=$1
  shift
  for KAFKA_NODE in "$@"; do kafka_down "$hard"; done
}

kafka_three_runs() {
  local KAFKA_SERVICE=kafka-three KAFKA_NODE
  for KAFKA_NODE in "${THREE_NODES[@]}"; do
    if kafka_pid >/dev/null; then return 0; fi
  done
  return 1
}

# It counts only where it has been asked for once.
kafka_three_status() {
  local KAFKA_SERVICE=kafka-three KAFKA_NODE all_ready=0
  for KAFKA_NODE in "${THREE_NODES[@]}"; do
    if [ -d "$(kafka_dir)" ]; then kafka_status || all_ready=1; fi
  done
  return "$all_ready"
}

kafka_three_env() {
  local KAFKA_SERVICE=kafka-three KAFKA_NODE brokers=()
  for KAFKA_NODE in "${THREE_NODES[@]}"; do brokers+=("127.0.0.1:$(kafka_port)"); done
  printf 'export STACK_KAFKA_THREE_BROKERS=%q\n' "$(IFS=,; echo "${brokers[*]}")"
}

# Prints the controllers, as each of them is told.
three_voters() {
  local KAFKA_NODE voters=()
  for KAFKA_NODE in "${THREE_NODES[@]}"; do
    voters+=("$KAFKA_NODE@127.0.0.1:$(recorded_port "$(kafka_dir)/controller-port")")
  done
  (IFS=,; echo "${voters[*]}")
}

# Prints the id of the cluster: $1, unless a node has been formatted with another before.
three_cluster() {
  local file=$PROFILE_DIR/kafka-three-cluster
  [ -s "$file" ] || echo "$1" >"$file"
  cat "$file"
}
