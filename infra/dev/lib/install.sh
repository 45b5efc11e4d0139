# Finds what the stack and the build need, and installs what is missing: system packages by apt-get, as root or by sudo;
# the rest (jars, Python packages, cargo tools) into the cache, for this user only. What is there costs no look at the network.
# shellcheck shell=bash

JAVA_OLDEST=17
PYTHON_OLDEST=3.10
CARGO_DENY_VERSION=0.20.2
SQLX_CLI_VERSION=0.9.0

INSTALL_LOG=$CACHE_DIR/install.log
APT_UPDATED=no

install_all() {
  local what
  [ $# -gt 0 ] || set -- build postgres kafka python
  mkdir -p "$CACHE_DIR" 2>/dev/null || fail "cannot create $CACHE_DIR; set XDG_CACHE_HOME to a folder that you may write"
  exec 9>"$CACHE_DIR/install.lock"
  flock -w 1200 9 || fail "another stack install has been at work for 1200 s (lock: $CACHE_DIR/install.lock)"
  for what in "$@"; do
    case $what in
      build) install_build ;;
      postgres) install_postgres ;;
      kafka) install_kafka ;;
      python) install_python ;;
      cargo-deny) install_cargo_tool cargo-deny "$CARGO_DENY_VERSION" cargo-deny ;;
      # No TLS: it only ever speaks to the loopback database of this stack.
      sqlx-cli) install_cargo_tool sqlx-cli "$SQLX_CLI_VERSION" cargo-sqlx --no-default-features --features postgres,sqlx-toml ;;
      *) fail "install knows build, postgres, kafka, python, cargo-deny and sqlx-cli, not '$what'" ;;
    esac
  done
  exec 9>&-
}

can_sudo() { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }

as_admin() { if is_root; then "$@"; else sudo -n DEBIAN_FRONTEND=noninteractive "$@"; fi; }

# Installs the Debian packages "${@:2}" for the need $1, or says in one line what a human must do.
apt_install() {
  local missing=$1
  shift
  command -v apt-get >/dev/null || fail "$missing is missing and there is no apt-get here; install it with this system's packages (Debian's: $*)"
  is_root || can_sudo || fail "$missing is missing, and I am neither root nor allowed sudo without a password; run as root: apt-get install $*"
  say "installing $missing (log: $INSTALL_LOG)"
  export DEBIAN_FRONTEND=noninteractive
  if [ "$APT_UPDATED" = no ]; then
    # An old package list may still do; whether it did, the next command tells.
    as_admin apt-get update -q >>"$INSTALL_LOG" 2>&1 </dev/null || true
    APT_UPDATED=yes
  fi
  as_admin apt-get install -y -q --no-install-recommends "$@" >>"$INSTALL_LOG" 2>&1 </dev/null ||
    fail "installing $missing failed; see $INSTALL_LOG"
}

# What librdkafka is built against, besides the C library.
has_headers() { printf '#include <%s>\n' zlib.h openssl/ssl.h | cc -E -x c - >/dev/null 2>&1; }

install_build() {
  local tool missing=()
  command -v cargo >/dev/null || fail 'cargo is not on the PATH; install Rust 1.94 or newer with rustup'
  for tool in cc c++ make; do command -v "$tool" >/dev/null || missing=(build-essential); done
  command -v pkg-config >/dev/null || missing+=(pkg-config)
  if [ ${#missing[@]} -gt 0 ] || ! has_headers; then
    apt_install 'the C build tools (cc, c++, make, pkg-config, headers of zlib and OpenSSL)' "${missing[@]}" zlib1g-dev libssl-dev
  fi
  # mold only makes linking quicker, so its absence stops nobody.
  command -v mold >/dev/null || (apt_install 'mold, a quick linker' mold) 2>/dev/null || true
}

install_postgres() {
  postgres_bin >/dev/null || apt_install "PostgreSQL $POSTGRES_OLDEST or newer" postgresql postgresql-contrib
  postgres_bin >/dev/null || fail "the system's packages have no PostgreSQL $POSTGRES_OLDEST or newer; install one"
}

java_major() { "$1" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }

# Prints a java that is new enough.
java_command() {
  local candidate major
  for candidate in "${JAVA_HOME:-/none}/bin/java" "$(command -v java || true)" /usr/lib/jvm/*/bin/java; do
    if [ ! -x "$candidate" ]; then continue; fi
    major=$(java_major "$candidate")
    if [ "${major:-0}" -ge "$JAVA_OLDEST" ]; then
      echo "$candidate"
      return 0
    fi
  done
  return 1
}

folder_of() { sha256sum "$1" | cut -c 1-16; }

# Prints the folder of Kafka's jars; fails if they are not there.
kafka_jars() {
  local jars
  jars=$CACHE_DIR/kafka/$(folder_of "$STACK_DIR/kafka/pom.xml")
  [ -d "$jars" ] && echo "$jars"
}

install_kafka() {
  local jars java
  if ! java_command >/dev/null; then
    (apt_install "Java $JAVA_OLDEST" openjdk-17-jre-headless) 2>/dev/null || apt_install "Java $JAVA_OLDEST or newer" default-jre-headless
  fi
  java=$(java_command) || fail "the system's packages have no Java $JAVA_OLDEST or newer; install one"
  # It makes the certificates of kafka-secured.
  command -v openssl >/dev/null || apt_install openssl openssl
  if kafka_jars >/dev/null; then return 0; fi
  command -v mvn >/dev/null || apt_install Maven maven
  jars=$CACHE_DIR/kafka/$(folder_of "$STACK_DIR/kafka/pom.xml")
  say "fetching Kafka's jars with Maven (log: $INSTALL_LOG)"
  rm -rf -- "$jars.new"
  JAVA_HOME=$(dirname "$(dirname "$(readlink -f "$java")")") mvn -q -B -f "$STACK_DIR/kafka/pom.xml" \
    dependency:copy-dependencies -DoutputDirectory="$jars.new" >>"$INSTALL_LOG" 2>&1 </dev/null ||
    fail "Maven could not fetch Kafka's jars; see $INSTALL_LOG"
  mv "$jars.new" "$jars"
}

venv_dir() { echo "$CACHE_DIR/venv/$(folder_of "$STACK_DIR/requirements.txt")"; }

# Prints the venv's python; fails if it is not there or was left half made.
venv_python() {
  local venv
  venv=$(venv_dir)
  [ -e "$venv/.complete" ] && [ -x "$venv/bin/python" ] && echo "$venv/bin/python"
}

# Prints a python3 that is new enough and can make a venv.
python_command() {
  local candidate
  for candidate in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
    if "$candidate" -c "import ensurepip, sys, venv; sys.exit(sys.version_info < (${PYTHON_OLDEST/./, }))" 2>/dev/null; then
      command -v "$candidate"
      return 0
    fi
  done
  return 1
}

install_python() {
  local venv python
  if venv_python >/dev/null; then return 0; fi
  venv=$(venv_dir)
  python_command >/dev/null || apt_install "Python $PYTHON_OLDEST with venv" python3 python3-venv
  python=$(python_command) || fail "the system's packages have no Python $PYTHON_OLDEST or newer; install one"
  say "making the Python environment (log: $INSTALL_LOG)"
  rm -rf -- "$venv"
  {
    "$python" -m venv "$venv" &&
      "$venv/bin/python" -m pip install --disable-pip-version-check -q -r "$STACK_DIR/requirements.txt" &&
      touch "$venv/.complete"
  } >>"$INSTALL_LOG" 2>&1 </dev/null || fail "making the Python environment failed; see $INSTALL_LOG"
}

# Builds crate $1 at version $2, known by its program $3, with cargo's options after that.
install_cargo_tool() {
  local crate=$1 version=$2 program=$3 root=$CACHE_DIR/tools
  shift 3
  # `cargo-x x --version` is how cargo itself would ask it.
  if [ -x "$root/bin/$program" ] && "$root/bin/$program" "${program#cargo-}" --version 2>/dev/null | grep -qwF "$version"; then return 0; fi
  command -v cargo >/dev/null || fail 'cargo is not on the PATH; install Rust 1.94 or newer with rustup'
  say "building $crate $version, which takes some minutes (log: $INSTALL_LOG)"
  # A target folder of its own, thrown away afterwards, and no flags of ours: its objects are of no use to the workspace.
  env -u CARGO_TARGET_DIR -u RUSTFLAGS cargo install --locked --force --root "$root" "$crate@$version" "$@" \
    >>"$INSTALL_LOG" 2>&1 </dev/null || fail "building $crate failed; see $INSTALL_LOG"
}
