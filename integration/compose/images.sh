#!/bin/sh
# Makes the base images of the Dockerfile that the Docker engine does not have, so that
# compose.yaml can be tested on a machine without access to a registry. A made image works
# like the image of that name in this test, and has the label below. The script leaves
# images alone that the engine pulled. After a change of the toolchain or of go.sum it
# makes the images again.
#
# The images contain parts of this machine: its Go toolchain, the modules of go.sum with
# their compiled packages (a build in a container has no proxy and little time), the
# nats-server that go.mod requires, and Debian's package of Prometheus.
set -eu
cd "$(dirname "$0")/../.."
label=entrust-worker.made-of
cache=${XDG_CACHE_HOME:-$HOME/.cache}/entrust-worker-compose
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CGO_ENABLED=0 GOFLAGS=-modcacherw

# lacks IMAGE WHAT succeeds if the engine has neither the real image nor one made of WHAT.
lacks() {
  has=$(docker image inspect --format "{{index .Config.Labels \"$label\"}}" "$1" 2>/dev/null) || return 0
  case $has in
    '') echo "$1 is the engine's own" && return 1 ;;
    "$2") return 1 ;;
  esac
}

fail() { echo "making $1: $2" >&2; exit 1; }

golang() {
  have=$(go env GOVERSION) root=$(go env GOROOT) proxy="file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)"
  case $1 in "golang:$(echo "${have#go}" | cut -d. -f1,2)".*) ;; *) fail "$1" "the toolchain here is $have" ;; esac
  of="$have, go.sum $(sha256sum go.sum | cut -c1-12)"
  lacks "$1" "$of" || return 0
  # The module cache of this machine serves as a proxy.
  GOMODCACHE=$cache/mod GOPROXY=$proxy go mod download
  GOMODCACHE=$cache/mod GOCACHE=$cache/build go build -trimpath -o /dev/null ./cmd/entrust-worker ./cmd/entrust-sandbox ./deploy/healthcheck
  mkdir -p "$work/go/etc/ssl/certs" "$work/go/tmp"
  chmod 1777 "$work/go/tmp"
  cp /etc/ssl/certs/ca-certificates.crt "$work/go/etc/ssl/certs/"
  echo 'root:x:0:0:root:/root:/sbin/nologin' >"$work/go/etc/passwd"
  top=$(basename "$root")
  tar -c --owner=0 --group=0 --numeric-owner \
    --transform "s,^$top,usr/local/go,r" --transform 's,^mod/,go/pkg/mod/,r' --transform 's,^build,root/.cache/go-build,r' \
    --exclude="$top/api" --exclude="$top/doc" --exclude="$top/misc" --exclude="$top/test" --exclude="$top/src/cmd" \
    --exclude="$top/src/*_test.go" --exclude="$top/src/*/testdata" \
    -C "$work/go" etc tmp -C "$(dirname "$root")" "$top" -C "$cache" mod/cache/download build |
    docker import --change "LABEL $label=\"$of\"" --change 'WORKDIR /go' \
      --change 'ENV PATH=/usr/local/go/bin:/usr/bin:/bin GOPATH=/go GOPROXY=off HOME=/root' - "$1" >/dev/null
  echo "$1: made of $of"
}

nats() {
  module=github.com/nats-io/nats-server/v2
  version=$(go list -m -f '{{.Version}}' $module)
  # The tests and the containers must run the same server.
  [ "$1" = "nats:${version#v}-scratch" ] || fail "$1" "go.mod requires nats-server $version"
  of="nats-server $version"
  lacks "$1" "$of" || return 0
  mkdir "$work/nats"
  GOCACHE=$cache/build go build -trimpath '-ldflags=-s -w' -o "$work/nats/nats-server" $module
  printf 'port: 4222\nmonitor_port: 8222\n' >"$work/nats/nats-server.conf"
  tar -c --owner=0 --group=0 --numeric-owner -C "$work/nats" nats-server nats-server.conf |
    docker import --change "LABEL $label=\"$of\"" --change 'EXPOSE 4222 8222 6222' \
      --change 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/' \
      --change 'ENTRYPOINT ["/nats-server"]' --change 'CMD ["--config", "nats-server.conf"]' - "$1" >/dev/null
  echo "$1: made of $of"
}

# Debian's version differs, but the settings of compose.yaml work in both. Without a package,
# the test of the profile cluster leaves Prometheus out.
prometheus() {
  of="Debian's prometheus"
  lacks "$1" "$of" || return 0
  mkdir -p "$work/deb" "$work/prometheus"
  (cd "$work/deb" && { apt-get download -q prometheus || { apt-get update -q && apt-get download -q prometheus; }; }) >"$work/apt.log" 2>&1 &&
    dpkg-deb -x "$work"/deb/prometheus_*.deb "$work/deb/out" || { echo "$1: not made: no Debian package of prometheus"; return 0; }
  mkdir -p "$work/prometheus/bin"
  cp "$work/deb/out/usr/bin/prometheus" "$work/prometheus/bin/"
  for library in $(ldd "$work/prometheus/bin/prometheus" | awk '{ for (i = 1; i <= NF; i++) if ($i ~ /^\//) print $i }'); do
    cp -L --parents "$library" "$work/prometheus/"
  done
  tar -c --owner=0 --group=0 --numeric-owner -C "$work/prometheus" . |
    docker import --change "LABEL $label=\"$of\"" --change 'EXPOSE 9090' --change 'ENTRYPOINT ["/bin/prometheus"]' - "$1" >/dev/null
  echo "$1: made of $of"
}

for image in $(sed -n 's/^ *image: \(prom\/prometheus:[^ ]*\)$/\1/p' compose.yaml); do
  prometheus "$image"
done
for image in $(sed -n 's/^FROM \([^ ]*:[^ ]*\).*/\1/p' Dockerfile); do
  case $image in
    golang:*) golang "$image" ;;
    nats:*) nats "$image" ;;
    *) fail "$image" 'this script cannot make it' ;;
  esac
done
