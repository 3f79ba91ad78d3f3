# The shell of a reader, in an empty folder. The test sets root (of the repository), work (the
# test's folder), GOPATH (its bin has the programs) and test (the test binary), and then calls
# block and stay.
set -Eeuo pipefail
trap 'echo "failed: $BASH_COMMAND" >&2' ERR
trap 'trap "" TERM; kill -TERM 0' EXIT # ends what stays up

# block runs the commands of one block. The line of the block names the files.
block() {
  echo "$1" >"$work/begun"
  . "$work/$1.sh" >"$work/$1.out" 2>&1 </dev/null
}

# stay runs a command that stays up, and waits until it prints a text. A subshell starts it, so
# that a "wait" of a page does not wait for it. Through file 3 the test knows when it has ended.
stay() {
  touch "$work/$1.out"
  ({ . "$work/$1.stay" || :; echo 'ended by itself'; } 3>&1 >>"$work/$1.out" 2>&1 </dev/null &)
  until grep -qF "$2" "$work/$1.out"; do
    if grep -qx 'ended by itself' "$work/$1.out"; then return 1; fi
    sleep 0.1
  done
}

# control prints the address that the sandbox printed.
control() { sed -n 's|^Control *\(http[^ ]*\)/ .*|\1|p' "$work"/*.out; }

# parked waits until an order waits for approval, as a reader does not type as fast, and until the
# pause between two polls is longer than the commands that follow.
parked() {
  local shown
  until shown=$(go run ./cmd/entrust-worker orders show "$1") &&
    grep -q '^waits *awaiting' <<<"$shown" && grep -q '^polls *[3-9]' <<<"$shown"; do
    sleep 0.2
  done
}

# go does what the pages do with the go command. The programs are built already.
go() {
  local program
  case "$1 ${2-}" in
    'run ./cmd/'*) program=$GOPATH/bin/${2##*/} ;;
    'run '*.go)
      program=$PWD/${2%.go}
      (cd "$root" && command go build -o "$program" "$program.go")
      ;;
    'build ./cmd/'*) cp "$GOPATH/bin/${2##*/}" . && return ;;
    'install github.com/nats-io/nats-server/v2@'*) grep -qwF "${2/@/ }" "$root/go.mod" && return ;;
    'env GOPATH') echo "$GOPATH" && return ;;
  esac
  if [ -z "${program-}" ]; then
    echo "the test has no go $*, or go.mod has another version" >&2
    return 2
  fi
  shift 2
  "$program" "$@"
}

command -v nats >/dev/null || nats() { ENTRUST_SANDBOX_RUN_NATS=1 "$test" "$@"; }

curl() { command curl -fsS "$@"; } # without progress, as on a terminal

python3() { /usr/bin/python3 "$@"; } # Debian's own, as its modules are
