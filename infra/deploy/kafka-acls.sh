#!/usr/bin/env bash
# Gives a user of Kafka its rights on one tenant, and no others: this is the whole list of what Lotline and its integrators need.
# It needs a broker with an authorizer, and kafka-acls.sh of Kafka's own distribution on the PATH (or named by $KAFKA_ACLS).
set -euo pipefail

if [ $# -lt 3 ]; then
  cat >&2 <<'HELP'
usage: infra/deploy/kafka-acls.sh ROLE TENANT USER [OPTION]...

  ROLE     server       Lotline itself: makes, reads and writes the tenant's topics, with its transactional ids; shares them by a group
           integrator   reads the tenant's topics, in consumer groups whose names begin with 'USER.'
  TENANT   tenant.id of Lotline's configuration
  USER     as Kafka knows it: the SCRAM user, or CN=... for a certificate
  OPTION   goes to kafka-acls.sh: --bootstrap-server HOST:PORT --command-config FILE

  infra/deploy/kafka-acls.sh server dairy lotline --bootstrap-server kafka:9093 --command-config admin.properties
HELP
  exit 2
fi
role=$1 tenant=$2 user=$3
shift 3
connection=("$@")

# The dot after the tenant matters: without it the rights on `dairy` would hold for `dairy-two` as well.
if ! [[ $tenant =~ ^[a-z0-9][a-z0-9-]{0,62}$ ]]; then
  echo "kafka-acls: '$tenant' is no tenant: use 1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit" >&2
  exit 2
fi
topics=lotline.$tenant.

grant() {
  "${KAFKA_ACLS:-kafka-acls.sh}" "${connection[@]}" --add --allow-principal "User:$user" --resource-pattern-type prefixed "$@" >/dev/null
}

case $role in
  server)
    # DescribeConfigs: a ledger that somebody else has made is checked before it is trusted.
    grant --topic "$topics" --operation Create --operation Describe --operation DescribeConfigs --operation Read --operation Write
    grant --transactional-id "$topics" --operation Describe --operation Write
    # The nodes share partitions by a group. No offset is committed.
    grant --group "$topics" --operation Describe --operation Read ;;
  integrator)
    grant --topic "$topics" --operation Describe --operation Read
    grant --group "$user." --operation Read ;;
  *)
    echo "kafka-acls: ROLE is server or integrator, not '$role'" >&2
    exit 2 ;;
esac
echo "User:$user may work as $role on $topics*"
