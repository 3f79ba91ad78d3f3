//go:build release

package release

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// next is a version that the files do not have yet.
const next = "v0.99.0"

// script runs ./release in a clone, for this machine's platform only.
func script(repo shell, args ...string) (string, error) {
	return repo.in(repo.dir, "PLATFORMS="+runtime.GOOS+"/"+runtime.GOARCH, "SBOM=0").try("./release", args...)
}

// A dry run produces archives and right checksums, the same each time, and no tag. The
// release itself makes tags that agree with each other, and sets the version in every
// file that has one.
func TestReleaseScript(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("the script needs the tar of GNU")
	}
	repo := clone(t)
	if err := os.Chmod(filepath.Join(repo.dir, "release"), 0o755); err != nil {
		t.Fatal(err)
	}
	repo.run("git", "commit", "-qam", "Make the script executable")
	before := repo.run("git", "rev-parse", "HEAD")
	sums := func(args ...string) string {
		t.Helper()
		out, err := script(repo, args...)
		if err != nil {
			t.Fatal(err)
		}
		dist := filepath.Join(repo.dir, "dist", next)
		text, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
		if err != nil {
			t.Fatalf("%v; the script printed:\n%s", err, out)
		}
		for line := range strings.Lines(string(text)) {
			sum, file, _ := strings.Cut(strings.TrimSpace(line), "  ")
			body, err := os.ReadFile(filepath.Join(dist, file))
			if err != nil {
				t.Fatal(err)
			}
			if got := sha256.Sum256(body); hex.EncodeToString(got[:]) != sum {
				t.Errorf("the checksum of %s is wrong", file)
			}
		}
		return string(text)
	}
	archive := "entrust-worker_" + next + "_" + runtime.GOOS + "_" + runtime.GOARCH
	dry := sums("--dry-run", next)
	if !strings.Contains(dry, archive+".tar.gz") {
		t.Errorf("the checksums lack the archive: %s", dry)
	}
	if tags, head := repo.run("git", "tag"), repo.run("git", "rev-parse", "HEAD"); tags != "" || head != before || repo.run("git", "status", "--porcelain") != "" {
		t.Errorf("a dry run left tags %q and %s, where there was %s", tags, head, before)
	}
	repo.run("tar", "-C", repo.dir, "-xzf", "dist/"+next+"/"+archive+".tar.gz")
	if got := repo.run("./"+archive+"/entrust-worker", "version"); !strings.Contains(got, next) {
		t.Errorf("the binary calls itself %q", got)
	}
	if err := os.RemoveAll(filepath.Join(repo.dir, archive)); err != nil {
		t.Fatal(err)
	}

	// Commits have their own times, which are in the archive but not in the binary.
	sums(next)
	if tags := repo.run("git", "tag"); tags != "entrustbus/"+next+"\n"+next {
		t.Errorf("got the tags %q", tags)
	}
	for _, file := range []string{"go.mod", "go.sum", "go.work", "bench/go.mod", "deploy/helm/entrust-worker/Chart.yaml", "deploy/kubernetes/overlays/production/kustomization.yaml"} {
		if !strings.Contains(repo.run("git", "show", next+":"+file), next) {
			t.Errorf("%s of the tag has another version", file)
		}
	}
	if merged := repo.run("git", "rev-parse", "HEAD"); merged != repo.run("git", "rev-parse", next) {
		t.Errorf("HEAD is not the tag: %s", merged)
	}
	// A user who takes the contract from its tag gets the hash in the worker's go.sum.
	published := proxy{t.TempDir()}
	publish(published, repo, bus, next)
	user := published.environment(t)
	repo.in(repo.dir, user...).run("go", "list", "-m", bus)
	repo.in(repo.dir, user...).run("go", "mod", "verify")

	for _, tt := range []struct{ version, want string }{
		{next, "the tag " + next + " exists"},
		{"0.99.1", "not a version such as v1.2.3: 0.99.1"},
		{"v2.0.0", "the module paths end in the major version"},
		{"v1.2", "not a version"},
	} {
		if _, err := script(repo, tt.version); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.version, err, tt.want)
		}
	}
	write(t, filepath.Join(repo.dir, "README.md"), "changed")
	if _, err := script(repo, "v0.99.1"); err == nil || !strings.Contains(err.Error(), "not committed") {
		t.Errorf("with changes: got %v", err)
	}
}
