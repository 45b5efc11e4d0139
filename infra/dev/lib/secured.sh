# The secured Kafka: every listener is TLS, every peer has a name, and StandardAuthorizer lets each do only what an ACL says.
# Clients come by SASL/SCRAM; the node itself, its controller and the administrator by the node's own certificate, which is the
# only super user. There is no anonymous listener, so nothing has to be forbidden to one.
# shellcheck shell=bash
# shellcheck disable=SC2034 # KAFKA_SERVICE is read by kafka.sh, which these functions call

# Names that may sign in. Without an ACL (infra/deploy/kafka-acls.sh) they may do nothing.
SECURED_USERS=(lotline integrator)

kafka_secured_up() { local KAFKA_SERVICE=kafka-secured; kafka_up; }
kafka_secured_down() { local KAFKA_SERVICE=kafka-secured; kafka_down "$1"; }
kafka_secured_pid() { local KAFKA_SERVICE=kafka-secured; kafka_pid; }

# It counts only where it has been asked for once.
kafka_secured_status() {
  local KAFKA_SERVICE=kafka-secured
  if [ -d "$(kafka_dir)" ]; then kafka_status; fi
}

# Keys, certificates and passwords, readable by their owner only.
secured_access() { echo "$(kafka_dir)/access"; }

kafka_secured_env() {
  local KAFKA_SERVICE=kafka-secured
  printf 'export STACK_KAFKA_SECURED_BROKERS=%q\n' "127.0.0.1:$(kafka_port)"
  printf 'export STACK_KAFKA_SECURED_ADMIN=%q\n' "127.0.0.1:$(recorded_port "$(kafka_dir)/admin-port")"
  printf 'export STACK_KAFKA_SECURED_ACCESS=%q\n' "$(secured_access)"
}

# Arguments: port of clients, port of the controller.
secured_listeners() {
  local access admin
  access=$(secured_access) admin=$(recorded_port "$(kafka_dir)/admin-port")
  cat <<CONF
listeners=CLIENTS://127.0.0.1:$1,BROKERS://127.0.0.1:$admin,CONTROLLER://127.0.0.1:$2
advertised.listeners=CLIENTS://127.0.0.1:$1,BROKERS://127.0.0.1:$admin
listener.security.protocol.map=CLIENTS:SASL_SSL,BROKERS:SSL,CONTROLLER:SSL
inter.broker.listener.name=BROKERS
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.clients.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.brokers.ssl.client.auth=required
listener.name.controller.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location=$access/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location=$access/ca.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:CN=broker
CONF
}

# What each start needs, and needs anew when the jars or a port have changed.
secured_prepare() {
  local java=$1 jars=$2 access port
  access=$(secured_access)
  command -v openssl >/dev/null || fail 'openssl is not on the PATH; run: stack install kafka'
  port=$(claim_port kafka-secured-admin "$(kafka_dir)/admin-port") || exit 1
  mkdir -p "$access/bin"
  chmod 700 "$(kafka_dir)" "$access"
  # By the name that it has in Kafka's own distribution.
  printf '#!/bin/sh\nexec %q -Xmx128m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp %q org.apache.kafka.tools.AclCommand "$@"\n' \
    "$java" "$jars/*" >"$access/bin/kafka-acls.sh"
  chmod 700 "$access/bin/kafka-acls.sh"
}

# Makes the certificates and a password for each user, anew with each format of the storage that is to know them.
secured_make_access() (
  umask 077
  cd "$(secured_access)" || exit 1
  secured_certificates >create.log 2>&1 </dev/null || fail "making certificates failed: $(tail -n 1 create.log); see $PWD/create.log"
  secured_properties
)

# The authority's key is gone once it has signed, so nobody can sign a second super user.
secured_certificates() {
  local key=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes)
  openssl req -x509 "${key[@]}" -days 3650 -subj '/CN=Lotline development stack' -keyout ca.key -out ca.pem \
    -addext keyUsage=critical,keyCertSign &&
    openssl req "${key[@]}" -subj /CN=broker -keyout broker.key -out broker.csr &&
    echo 'subjectAltName=IP:127.0.0.1,DNS:localhost' >broker.ext &&
    openssl x509 -req -in broker.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 3650 -extfile broker.ext -out broker.crt &&
    cat broker.key broker.crt >broker.pem &&
    rm -f ca.key ca.srl broker.key broker.csr broker.ext broker.crt
}

# One file of client options for each who connects: librdkafka's names for the users, those of Java for the administrator.
secured_properties() {
  local user
  for user in "${SECURED_USERS[@]}"; do
    printf '%s\n' security.protocol=SASL_SSL sasl.mechanism=SCRAM-SHA-512 "sasl.username=$user" \
      "sasl.password=$(head -c 18 /dev/urandom | base64 | tr '+/' '-_')" "ssl.ca.location=$PWD/ca.pem" >"$user.properties"
  done
  printf '%s\n' security.protocol=SSL ssl.keystore.type=PEM "ssl.keystore.location=$PWD/broker.pem" \
    ssl.truststore.type=PEM "ssl.truststore.location=$PWD/ca.pem" >admin.properties
}

# Prints the options, one a line, by which the format writes the users into the storage: before the first start nobody could sign in.
secured_format_options() {
  local user password
  for user in "${SECURED_USERS[@]}"; do
    password=$(sed -n 's/^sasl.password=//p' "$(secured_access)/$user.properties")
    printf '%s\n' --add-scram "SCRAM-SHA-512=[name=$user,password=$password]"
  done
}

# A handshake with the stack's own certificate: this node, not just a port.
secured_answers() {
  timeout 3 openssl s_client -connect "127.0.0.1:$1" -verify_ip 127.0.0.1 -verify_return_error -CAfile "$(secured_access)/ca.pem" \
    </dev/null >/dev/null 2>&1
}
