#!/usr/bin/env bash
# Installs the brokers that the benchmarks run beside Millrace. Says what it does; does nothing when
# everything is there.
#
#   scripts/install-peers.sh [kafka] [redis] [nats]      default: kafka
#
# Apache Kafka: the released jars named in bench/peers/kafka/pom.xml (Maven), into .cache/peers/kafka;
# needs Java 17 or newer and Maven. Redis and NATS: Debian packages; only missing packages need root.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly pom=bench/peers/kafka/pom.xml
readonly kafka=.cache/peers/kafka

say() { printf 'install-peers: %s\n' "$*" >&2; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
  say "installing Debian packages: $*"
  as_root apt-get -qq update
  # A packaged server must not start by itself: the benchmarks start their own.
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

install_kafka() {
  local missing=()
  command -v java >/dev/null || missing+=(openjdk-17-jre-headless)
  command -v mvn >/dev/null || missing+=(maven)
  [ "${#missing[@]}" -eq 0 ] || install_packages "${missing[@]}"
  local fingerprint
  fingerprint=$(sha256sum "$pom" | cut -d ' ' -f 1)
  if [ "$(cat "$kafka/fingerprint" 2>/dev/null)" = "$fingerprint" ]; then
    say "Apache Kafka is there: $kafka"
    return
  fi
  say "copying the jars of $pom to $kafka"
  # Built aside and moved as a whole: an interrupted run leaves nothing that looks complete.
  local building="$kafka.building"
  rm -rf "$building"
  mkdir -p "$building"
  mvn -q -B -Dstyle.color=never -f "$pom" dependency:copy-dependencies -DincludeScope=runtime \
    "-DoutputDirectory=$PWD/$building/lib" >&2
  printf '%s\n' "$fingerprint" >"$building/fingerprint"
  rm -rf "$kafka"
  mv "$building" "$kafka"
  say "Apache Kafka is ready: $kafka"
}

install_server() { # command, package
  if command -v "$1" >/dev/null; then say "$1 is there"; else install_packages "$2"; fi
}

[ "$#" -gt 0 ] || set -- kafka
for peer in "$@"; do
  case "$peer" in
    kafka) install_kafka ;;
    redis) install_server redis-server redis-server ;;
    nats) install_server nats-server nats-server ;;
    *)
      say "there is no peer $peer: kafka, redis or nats"
      exit 2
      ;;
  esac
done
