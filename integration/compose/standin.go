package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"
)

// standInLabel marks an image that is not the one its name says. Its value is what it
// was made of.
const standInLabel = "entrust-worker.stand-in"

// standIn is how to make an image that works in place of another one.
type standIn struct {
	of   string   // what it is made of; a change of it makes the image anew
	meta []string // instructions for the image's configuration
	fill func(context.Context, *rootfs) error
}

// fromLine is a base image in a Dockerfile.
var fromLine = regexp.MustCompile(`(?m)^FROM (\S+:\S+)`)

// standIns makes the base images of the Dockerfile that the engine does not have.
func (e *engine) standIns(ctx context.Context, began time.Time) error {
	dockerfile, err := os.ReadFile(filepath.Join(e.root, "Dockerfile"))
	if err != nil {
		return fmt.Errorf("looking for base images: %w", err)
	}
	bases := fromLine.FindAllStringSubmatch(string(dockerfile), -1)
	if len(bases) == 0 {
		return errors.New("looking for base images: the Dockerfile has none")
	}
	for _, base := range bases {
		if err := e.standInFor(ctx, base[1], began); err != nil {
			return fmt.Errorf("making a stand-in for %s: %w", base[1], err)
		}
	}
	return nil
}

func (e *engine) standInFor(ctx context.Context, image string, began time.Time) error {
	name, tag, _ := strings.Cut(image, ":")
	var s *standIn
	var err error
	switch name {
	case "golang":
		s, err = e.builder(ctx, tag)
	case "nats":
		s, err = e.natsServer(ctx, tag)
	default:
		err = errors.New("nobody knows how")
	}
	if err != nil {
		return err
	}
	has, err := e.docker(ctx, "image", "inspect", "--format", `{{index .Config.Labels "`+standInLabel+`"}}`, image)
	switch {
	case err == nil && has == "":
		say(began, "%s is the engine's own", image)
		return nil
	case err == nil && has == s.of:
		return nil
	}
	if err := e.load(ctx, image, s); err != nil {
		return err
	}
	say(began, "%s: stand-in made of %s", image, s.of)
	return nil
}

// load streams the stand-in's files to the engine.
func (e *engine) load(ctx context.Context, image string, s *standIn) error {
	args := []string{"docker", "import", "--change", fmt.Sprintf("LABEL %s=%q", standInLabel, s.of)}
	for _, instruction := range s.meta {
		args = append(args, "--change", instruction)
	}
	r, w := io.Pipe()
	filled := make(chan error, 1)
	go func() {
		fs := newRootfs(w)
		err := s.fill(ctx, fs)
		if err == nil {
			err = fs.close()
		}
		w.CloseWithError(err)
		filled <- err
	}()
	_, err := outputOf(ctx, e.root, nil, r, append(args, "-", image)...)
	r.Close() // lets go of a writer whose engine has stopped reading
	return errors.Join(<-filled, err)
}

// builder is a Go toolchain with the modules and the compiled packages that the build
// needs: it can reach no proxy, and has little time.
func (e *engine) builder(ctx context.Context, tag string) (*standIn, error) {
	have := strings.TrimPrefix(runtime.Version(), "go")
	if pinned, _, _ := strings.Cut(tag, "-"); majorMinor(pinned) != majorMinor(have) {
		return nil, fmt.Errorf("the toolchain here is %s", have)
	}
	sums, err := os.ReadFile(filepath.Join(e.root, "go.sum"))
	if err != nil {
		return nil, err
	}
	return &standIn{
		of: fmt.Sprintf("go%s, modules %.6x", have, sha256.Sum256(sums)),
		meta: []string{
			"ENV PATH=/usr/local/go/bin:/usr/bin:/bin GOPATH=/go GOPROXY=off HOME=/root",
			"WORKDIR /go",
		},
		fill: e.fillBuilder,
	}, nil
}

func (e *engine) fillBuilder(ctx context.Context, fs *rootfs) error {
	cache, err := cacheFolder()
	if err != nil {
		return err
	}
	modules, built := filepath.Join(cache, "mod"), filepath.Join(cache, "build")
	where, err := output(ctx, e.root, nil, "go", "env", "GOROOT", "GOMODCACHE", "GOPROXY")
	if err != nil {
		return err
	}
	lines := strings.Split(where, "\n")
	if len(lines) != 3 {
		return fmt.Errorf("asking go for its folders: got %d lines", len(lines))
	}
	goroot := lines[0]
	// What this machine has downloaded before serves as a proxy.
	env := []string{"GOMODCACHE=" + modules, "GOPROXY=file://" + filepath.ToSlash(lines[1]) + "/cache/download," + lines[2], "GOFLAGS=-modcacherw"}
	if _, err := output(ctx, e.root, env, "go", "mod", "download"); err != nil {
		return err
	}
	compile := append(env, "GOCACHE="+built, "CGO_ENABLED=0")
	if _, err := output(ctx, e.root, compile, "go", "build", "-trimpath", "-o", os.DevNull, "./cmd/entrust-worker", "./cmd/entrust-sandbox", "./deploy/healthcheck"); err != nil {
		return err
	}

	certificates, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		return err
	}
	return firstError(
		func() error { return fs.dir("tmp", 0o1777) },
		func() error { return fs.file("etc/ssl/certs/ca-certificates.crt", 0o644, certificates) },
		func() error { return fs.file("etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/sbin/nologin\n")) },
		func() error { return fs.tree("usr/local/go", goroot, toolchainOnly) },
		func() error {
			return fs.tree("go/pkg/mod/cache/download", filepath.Join(modules, "cache", "download"), nil)
		},
		func() error { return fs.tree("root/.cache/go-build", built, nil) },
	)
}

// toolchainOnly leaves out what a build does not need.
func toolchainOnly(path string) bool {
	top, rest, _ := strings.Cut(path, "/")
	switch top {
	case "api", "doc", "misc", "test":
		return false
	case "src":
		return rest != "cmd" && !strings.HasPrefix(rest, "cmd/") && !strings.HasSuffix(path, "_test.go") && !strings.Contains(path, "/testdata")
	}
	return true
}

// natsServer is the nats-server of this module's go.mod, laid out as the official image.
func (e *engine) natsServer(ctx context.Context, tag string) (*standIn, error) {
	const module = "github.com/nats-io/nats-server/v2"
	version, err := output(ctx, e.root, nil, "go", "list", "-m", "-f", "{{.Version}}", module)
	if err != nil {
		return nil, err
	}
	// Otherwise the tests would run another server than the containers.
	if "v"+strings.TrimSuffix(tag, "-scratch") != version {
		return nil, fmt.Errorf("go.mod has %s", version)
	}
	return &standIn{
		of: "nats-server " + version,
		meta: []string{
			"ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/",
			"EXPOSE 4222 8222 6222",
			`ENTRYPOINT ["/nats-server"]`,
			`CMD ["--config", "nats-server.conf"]`,
		},
		fill: func(ctx context.Context, fs *rootfs) error {
			dir, err := os.MkdirTemp("", "nats-server-")
			if err != nil {
				return err
			}
			defer os.RemoveAll(dir)
			binary := filepath.Join(dir, "nats-server")
			cache, err := cacheFolder()
			if err != nil {
				return err
			}
			// The builder's cache has its packages: the sandbox runs one too.
			env := []string{"GOCACHE=" + filepath.Join(cache, "build"), "CGO_ENABLED=0"}
			if _, err := output(ctx, e.root, env, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, module); err != nil {
				return err
			}
			return firstError(
				func() error { return fs.file("nats-server.conf", 0o644, []byte("port: 4222\nmonitor_port: 8222\n")) },
				func() error { return fs.copy("nats-server", 0o755, binary) },
			)
		},
	}, nil
}

// cacheFolder holds what stand-ins are made of, so that the next run has it.
func cacheFolder() (string, error) {
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "entrust-worker-compose"), err
}

func majorMinor(version string) string {
	parts := strings.SplitN(version, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func firstError(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
