# One Apache Kafka node per profile, broker and controller in one (KRaft), formatted and run from the cached jars;
# a second one, a cluster of its own, that lets nobody in without a name (secured.sh); and a cluster of three (three.sh).
# shellcheck shell=bash

# Which of its cluster's nodes is meant. Only the functions of three.sh change it.
KAFKA_NODE=1

# Which of the clusters is meant: `kafka` or, in the functions of the other files, `kafka-secured` or `kafka-three`.
# Every path below follows these two.
KAFKA_SERVICE=kafka

is_secured() { [ "$KAFKA_SERVICE" = kafka-secured ]; }
is_three() { [ "$KAFKA_SERVICE" = kafka-three ]; }

# The name of the node, for people and for its ports.
kafka_name() { if is_three; then echo "kafka-three-$KAFKA_NODE"; else echo "$KAFKA_SERVICE"; fi; }

kafka_dir() { if [ "$KAFKA_SERVICE" = kafka ]; then echo "$PROFILE_DIR/kafka-1"; else echo "$PROFILE_DIR/$(kafka_name)"; fi; }
kafka_data() { echo "$(kafka_dir)/data"; }
kafka_log() { echo "$(kafka_dir)/server.log"; }
kafka_port() { recorded_port "$(kafka_dir)/port"; }
kafka_mark() { echo "-Dlotline.stack=$(kafka_dir)"; }
kafka_pid() { find_daemon "$(kafka_dir)/pid" java "$(kafka_mark)"; }

# To change the tuning of a profile: here and in kafka_jvm_options. Written at each start.
# Arguments: data folder, broker port, controller port.
kafka_settings() {
  local copies=1 in_sync=1 voters="$KAFKA_NODE@127.0.0.1:$3"
  if is_three; then copies=3 in_sync=2 voters=$(three_voters); fi
  cat <<CONF
process.roles=broker,controller
node.id=$KAFKA_NODE
controller.quorum.voters=$voters
controller.listener.names=CONTROLLER
log.dirs=$1

# A topic is made on purpose, with its partitions and retention, or not at all.
auto.create.topics.enable=false
unclean.leader.election.enable=false

# As many copies as there are nodes, and few partitions of everything internal, so that a first start is quick.
default.replication.factor=$copies
min.insync.replicas=$in_sync
offsets.topic.replication.factor=$copies
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$copies
transaction.state.log.min.isr=$in_sync
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=$copies
share.coordinator.state.topic.min.isr=$in_sync
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
log.cleaner.dedupe.buffer.size=16777216
CONF
  if is_secured; then secured_listeners "$2" "$3"; else plain_listeners "$2" "$3"; fi
  case $PROFILE_NAME in
    # After a kill the node waits for its former self's session to end; with Kafka's 9 s each crash test would cost 12.
    test | test-*) printf '%s\n' broker.session.timeout.ms=4000 broker.heartbeat.interval.ms=1000 ;;
  esac
}

plain_listeners() {
  local own='' told='' entry
  # Clients follow what a broker advertises, so a proxy is only on their way when a listener names it.
  if entry=$(kafka_entry); then
    own=",DETOUR://127.0.0.1:$(recorded_port "$(kafka_dir)/detour-port")"
    told=",DETOUR://127.0.0.1:$entry"
  fi
  cat <<CONF
listeners=PLAINTEXT://127.0.0.1:$1,CONTROLLER://127.0.0.1:$2$own
advertised.listeners=PLAINTEXT://127.0.0.1:$1$told
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,DETOUR:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
CONF
}

# The port of the proxy that clients of the second listener are sent to, where `up --detour` has asked for one.
kafka_entry() { recorded_port "$(kafka_dir)/entry-port"; }

# Remembers the detour for the starts to come.
kafka_detour() {
  local port
  if [ -z "$DETOUR" ] || [ "$KAFKA_SERVICE" != kafka ]; then return 0; fi
  port=$(claim_port kafka-detour "$(kafka_dir)/detour-port") || exit 1
  echo "$DETOUR" >"$(kafka_dir)/entry-port"
}

kafka_jvm_options() {
  if is_three; then
    echo -Xms96m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1
    return
  fi
  case $PROFILE_NAME in
    # A short life: the quick compiler only, and a collector without helper threads.
    test | test-*) echo -Xms256m -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 ;;
    bench) echo -Xms1g -Xmx1g -XX:+UseG1GC -XX:MaxGCPauseMillis=20 ;;
    *) echo -Xms256m -Xmx512m -XX:+UseG1GC ;;
  esac
}

# Formats beside its place and moves it in when complete: an interrupted format is never mistaken for a whole one.
kafka_create() {
  local java=$1 jars=$2 log fresh users=()
  fresh=$(kafka_data).new log=$(kafka_dir)/create.log
  rm -rf -- "$fresh"
  if is_secured; then
    secured_make_access
    mapfile -t users < <(secured_format_options)
  fi
  kafka_settings "$fresh" "$3" "$4" >"$(kafka_dir)/create.properties"
  "$java" -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp "$jars/*" -Dlotline.kafka.log="$log" \
    -Dlog4j2.configurationFile="$STACK_DIR/kafka/log4j2.properties" kafka.tools.StorageTool format \
    --cluster-id "$(kafka_cluster)" --config "$(kafka_dir)/create.properties" "${users[@]}" >"$(kafka_dir)/create.out" 2>&1 </dev/null ||
    fail "formatting Kafka's storage failed: $(tail -n 1 "$(kafka_dir)/create.out" | cut -c 1-160); see $(kafka_dir)/create.out"
  mv "$fresh" "$(kafka_data)"
}

# Prints the id of a new cluster: 16 random bytes in base64url; the first letter is fixed, for one that began with '-' would read as an
# option. The nodes of one cluster have it from the first of them.
kafka_cluster() {
  local id
  id=L$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c 2-22)
  if is_three; then three_cluster "$id"; else echo "$id"; fi
}

# Sends ApiVersions (key 18, version 0, correlation id 7, no client id) and wants that id back: a broker, not just a port.
kafka_answers() {
  local reply
  if is_secured; then secured_answers "$1"; return; fi
  # shellcheck disable=SC2016 # $0 is for the inner shell
  reply=$(timeout 3 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" || exit 1
    printf "\0\0\0\x0a\0\x12\0\0\0\0\0\x07\xff\xff" >&3; head -c 8 <&3 | od -An -tx1' "$1" 2>/dev/null) || return 1
  reply=${reply//[[:space:]]/}
  [ "${reply:8}" = 00000007 ]
}

kafka_started() { grep -qs 'Kafka Server started' "$(kafka_log)" && kafka_answers "$1"; }

kafka_started_or_dead() { kafka_started "$1" || gone "$2"; }

kafka_launch() {
  local java=$1 jars=$2 options
  read -ra options <<<"$(kafka_jvm_options)"
  rm -f -- "$(kafka_log)"
  start_daemon "$(kafka_dir)/pid" "$(kafka_dir)/console.log" "$java" "$(kafka_mark)" "${options[@]}" \
    -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true -Dlotline.kafka.log="$(kafka_log)" \
    -Dlog4j2.configurationFile="$STACK_DIR/kafka/log4j2.properties" \
    -cp "$jars/*" kafka.Kafka "$(kafka_dir)/server.properties"
}

# Why a start failed, in a few words: what Kafka or the JVM itself said last.
kafka_failure() {
  local why log
  for log in "$(kafka_log)" "$(kafka_dir)/console.log"; do
    why=$(last_error "$log")
    if [ -n "$why" ]; then
      echo "$why; see $log"
      return 0
    fi
  done
  echo "not ready within $START_DEADLINE_S s; see $(kafka_log)"
}

kafka_up() {
  if kafka_runs; then return 0; fi
  kafka_choose_ports
  kafka_start
  kafka_wait
}

# True if the node runs already, and answers.
kafka_runs() {
  local pid port
  if ! pid=$(kafka_pid) || ! port=$(kafka_port); then return 1; fi
  wait_until "$START_DEADLINE_S" kafka_answers "$port" ||
    fail "$(kafka_name) (process $pid) does not answer on 127.0.0.1:$port; see $(kafka_log)"
  say "$(printf '%-8s' "$(kafka_name)") ready on 127.0.0.1:$port (already running, profile $PROFILE_NAME)"
}

kafka_choose_ports() {
  local port controller
  mkdir -p "$(kafka_dir)"
  port=$(claim_port "$(kafka_name)" "$(kafka_dir)/port") || exit 1
  controller=$(claim_port "$(kafka_name)-controller" "$(kafka_dir)/controller-port") || exit 1
  kafka_detour
}

# Starts the node on the ports that were chosen, and does not wait for it.
kafka_start() {
  local port controller java jars
  port=$(kafka_port) controller=$(recorded_port "$(kafka_dir)/controller-port")
  java=$(java_command) || fail "no Java $JAVA_OLDEST or newer found; run: stack install kafka"
  jars=$(kafka_jars) || fail "Kafka's jars are not in the cache; run: stack install kafka"
  if is_secured; then secured_prepare "$java" "$jars"; fi
  if [ ! -d "$(kafka_data)" ]; then kafka_create "$java" "$jars" "$port" "$controller"; fi
  kafka_settings "$(kafka_data)" "$port" "$controller" >"$(kafka_dir)/server.properties"
  kafka_launch "$java" "$jars"
}

kafka_wait() {
  local port pid
  port=$(kafka_port)
  read -r pid <"$(kafka_dir)/pid"
  if ! wait_until "$START_DEADLINE_S" kafka_started_or_dead "$port" "$pid" || gone "$pid"; then
    if pid=$(kafka_pid); then kill -s KILL "$pid"; fi
    fail "$(kafka_name) did not start on 127.0.0.1:$port (profile $PROFILE_NAME): $(kafka_failure)"
  fi
  say "$(printf '%-8s' "$(kafka_name)") ready on 127.0.0.1:$port (profile $PROFILE_NAME)"
}

kafka_down() {
  local pid
  if ! pid=$(kafka_pid); then
    rm -f -- "$(kafka_dir)/pid"
    return 0
  fi
  if [ "$1" = yes ]; then stop_daemon "$(kafka_name)" "$pid" KILL; else stop_daemon "$(kafka_name)" "$pid" TERM; fi
  rm -f -- "$(kafka_dir)/pid"
}

kafka_status() {
  local pid port
  if pid=$(kafka_pid) && port=$(kafka_port); then
    if kafka_answers "$port"; then
      status_line "$(kafka_name)" ready "profile $PROFILE_NAME, 127.0.0.1:$port, process $pid, log $(kafka_log)"
      return 0
    fi
    status_line "$(kafka_name)" starting "profile $PROFILE_NAME, 127.0.0.1:$port, process $pid, log $(kafka_log)"
    return 1
  fi
  status_line "$(kafka_name)" stopped "profile $PROFILE_NAME"
  return 1
}
