#!/usr/bin/env bash
# Makes a container engine answer, if that is possible here. Prints one line: the engine, or why there is none.
#
#   scripts/ensure_docker.sh [SECONDS]        how long a started engine may take to answer (60)
#
# Exit status: 0 an engine answers; 1 none does. Nothing is changed where one answers already. As root on Debian and its
# like, docker.io is installed and dockerd is started, and left running. Safe to run twice, and twice at once.
# The clients' own variable DOCKER_HOST is respected: an engine that is named but silent is not replaced.
set -u

patience=${1:-60}
state=${TMPDIR:-/var/tmp}
log=$state/dockerd.log
pid_file=/var/run/docker.pid

say() { printf 'docker: %s\n' "$*"; }
give_up() {
  say "no engine: $*"
  exit 1
}

# The client alone proves nothing: only an answer of the engine does.
answer=
answers() { command -v docker >/dev/null && answer=$(docker version --format '{{.Server.Version}}' 2>&1); }
one_line() { printf '%s' "$answer" | tr '\n' ' ' | cut -c1-200; }

answers && { say "engine $answer answers"; exit 0; }
[ -z "${DOCKER_HOST:-}" ] || give_up "DOCKER_HOST is set and nothing answers there: $(one_line)"
[ "$(uname -s)" = Linux ] || give_up "start Docker Desktop, Colima or another engine, and try again"
[ "$(id -u)" = 0 ] || give_up "not root, so none can be started: start one, or join its group. $(one_line)"

exec 9>"$state/ensure_docker.lock"
flock -w $((patience + 300)) 9 || give_up "another ensure_docker.sh has been at it for too long"
answers && { say "engine $answer answers"; exit 0; }

if ! command -v dockerd >/dev/null; then
  command -v apt-get >/dev/null || give_up "dockerd is not installed, and there is no apt-get to install it with"
  if ! { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends \
    docker.io ca-certificates iptables; } >"$state/docker-install.log" 2>&1 </dev/null 9>&-; then
    give_up "apt-get install docker.io failed, see $state/docker-install.log: $(tail -n 1 "$state/docker-install.log")"
  fi
fi

# Whether the pid file names a dockerd that runs. One that was killed may stay as a zombie where nobody reaps it.
runs() {
  local pid
  pid=$(cat "$pid_file" 2>/dev/null) && [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ] &&
    ! grep -q '^State:[[:space:]]*Z' "/proc/$pid/status"
}

if runs; then
  daemon=$(cat "$pid_file") # it is only slow: waited for
else
  rm -f "$pid_file" # left by a dockerd that was killed, it would keep the next one from starting
  # In a session of its own, with none of our files: a daemon that holds its caller's output keeps the caller waiting for
  # the end of it. Ports are published on loopback unless a container says otherwise.
  setsid dockerd --ip=127.0.0.1 >"$log" 2>&1 </dev/null 9>&- &
  daemon=$!
fi

deadline=$((SECONDS + patience))
until answers; do
  if ! kill -0 "$daemon" 2>/dev/null; then
    give_up "dockerd ended, see $log: $(grep -E 'level=(error|fatal)|failed' "$log" | tail -n 1 | cut -c1-300)"
  fi
  [ "$SECONDS" -lt "$deadline" ] || give_up "dockerd runs but has not answered in $patience s: $(one_line)"
  sleep 0.2
done
say "engine $answer started (its log: $log)"
