//go:build unix

package main

import (
	"bufio"
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
	"github.com/entrust-worker/entrust-worker/internal/testbed/oracle"
)

// guides are the pages that take a running sandbox for granted. Every other page of which a
// command starts one is run, too.
var guides = []string{"docs/producers.md"}

// granted are the files that a reader has before a page begins.
var granted = []string{"shop.csr", "order.json", "orders/order.json", "renewals/shop/renewal.json", "policy.yaml", "client.crt", "client.key"}

// elsewhere are the commands of the pages that another test runs.
var elsewhere = []struct {
	command *regexp.Regexp
	by      string
}{
	{regexp.MustCompile(`^go test `), ".ci/run, which runs this test, too"},
	{regexp.MustCompile(`^docker compose `), "integration/compose/run, which needs a Docker engine"},
	{regexp.MustCompile(`^docker (build|run) `), "integration/compose/run, which builds the image and runs it"},
	{regexp.MustCompile(`^kubectl `), "the tests in deploy/kubernetes, which render what kubectl applies"},
	{regexp.MustCompile(`^helm `), "the tests in deploy/kubernetes, which render the chart"},
}

// lasting are the commands that stay up, save a nats sub that counts. They run until the page
// ends.
var lasting = regexp.MustCompile(`^(\S*entrust-worker|go run \./cmd/entrust-worker) run\b|^nats (--\S+ \S+ )*sub(scribe)? `)

// server is a command that listens: with these flags on a free port, and without on listen.
// It says where.
type server struct {
	command       *regexp.Regexp
	flags, listen string
	says          *regexp.Regexp
}

// servers stay up, too, and listen on a fixed port. Here that is a free one, and the commands
// after them get its address.
var servers = []server{
	{regexp.MustCompile(`^go run \./cmd/entrust-sandbox gateway\b`), " --listen 127.0.0.1:0", "127.0.0.1:8443", regexp.MustCompile(`Gateway +https://(\S+)`)},
	{regexp.MustCompile(`^("\$\(go env GOPATH\)/bin/|\S*/)?nats-server"? -`), " --port -1", "127.0.0.1:4222", regexp.MustCompile(`Listening for client connections on (\S+)`)},
}

// reads are commands that read what changes soon: a reader does not type as fast.
var reads = regexp.MustCompile(` orders show | entrust\.ask\.\w+\.order\.`)

// comment is the end of a line that the shell ignores.
var comment = regexp.MustCompile(`\s+#[^'"]*$`)

// inBackground is the end of a command that a reader runs in the background.
var inBackground = regexp.MustCompile(`\s*&\s*(#.*)?$`)

// early are the commands that fail where the result is not there yet: a reader runs them again.
var early = regexp.MustCompile(`^nats stream get `)

const (
	startSandbox = "go run ./cmd/entrust-sandbox"
	// within bounds one command, and what a lasting one takes to print what the page shows.
	within = time.Minute
)

// Every command of the pages works as it stands there, and prints what the page shows.
func TestCommandsOfThePages(t *testing.T) {
	t.Parallel()
	programs := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(programs, "entrust-worker"), "../entrust-worker")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the worker: %v: %s", err, out)
	}
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, file := range append(files, "../../README.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name, _ := filepath.Rel("../..", file)
		p := page{name, programs, blocksOf(name, string(text))}
		if !p.starts() && !slices.Contains(guides, name) {
			continue
		}
		found++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p.follow(t)
		})
	}
	if found < 1+len(guides) {
		t.Errorf("%d pages are found", found)
	}
}

// page is one whose commands a reader pastes.
type page struct {
	file     string
	programs string // folder of the built worker
	blocks   []block
}

// starts reports whether a command of the page starts a sandbox.
func (p page) starts() bool {
	return slices.ContainsFunc(p.blocks, func(b block) bool { return b.commands() && strings.Contains(b.text, startSandbox) })
}

// follow pastes the commands of the page in their order into one shell.
func (p page) follow(t *testing.T) {
	r := newReader(t, p)
	if !p.starts() {
		r.sandbox("--data sandbox --orders 0")
	}
	for i, b := range p.blocks {
		switch {
		case b.language == "python" || b.language == "go":
			r.keepProgram(b)
		case b.commands():
			printed := r.paste(b)
			if i+1 < len(p.blocks) && p.blocks[i+1].output && len(printed) > 0 {
				r.compare(p.blocks[i+1], printed)
			}
		case b.language == "bash" || b.language == "shell" || b.language == "console" || strings.HasPrefix(b.text, "$ "):
			t.Errorf("%s: commands stand in a block of sh, without a prompt", b.at(0))
		}
	}
	if r.commands == 0 {
		t.Errorf("%s shows no commands", p.file)
	}
	r.end()
}

// block is a fenced block of a page.
type block struct {
	file, language, text string
	line                 int  // of the fence
	output               bool // what the commands of the block before it print
}

// at is where a line of the block is.
func (b block) at(line int) string { return fmt.Sprintf("%s:%d", b.file, b.line+1+line) }

var (
	placeholder      = regexp.MustCompile(`<([a-z][a-z.-]*)>`)
	looksLikeCommand = regexp.MustCompile(`^((export|nats|go|\.|docker|kubectl|helm|openssl|curl|python3|cat|chmod) |(\./)?entrust-(worker|sandbox) [a-z]{3})`)
)

// commands reports whether a reader is to paste the block: one of sh, or one of text that
// leaves values to fill in.
func (b block) commands() bool {
	return b.language == "sh" || b.language == "text" && looksLikeCommand.MatchString(b.text)
}

var prints = regexp.MustCompile(`(?i)\b(prints?|output)\b`)

// blocksOf are the fenced blocks of a page. One of text is what the commands before it print if
// it follows them at once, or after one paragraph that says so.
func blocksOf(file, text string) (all []block) {
	var open *block
	var between strings.Builder
	indent := ""
	for n, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimLeft(line, " ")
		switch {
		case open == nil && strings.HasPrefix(trimmed, "```"):
			indent = line[:len(line)-len(trimmed)]
			open = &block{file: file, language: strings.TrimSpace(trimmed[3:]), line: n + 1}
		case open == nil:
			between.WriteString(line + "\n")
		case strings.TrimSpace(line) == "```":
			said := strings.TrimSpace(between.String())
			open.output = len(all) > 0 && all[len(all)-1].commands() && open.language == "text" && !open.commands() &&
				(said == "" || prints.MatchString(said) && !strings.Contains(said, "\n\n"))
			all, open = append(all, *open), nil
			between.Reset()
		default:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		}
	}
	return all
}

// pasted is one command of a block.
type pasted struct{ at, text string }

// split takes the commands of a block apart: each is as many lines as bash reads for one.
func split(t *testing.T, b block) (all []pasted) {
	t.Helper()
	var c pasted
	for n, line := range strings.Split(b.text, "\n") {
		if c.text == "" {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			c.at = b.at(n)
		}
		c.text += line + "\n"
		if strings.HasSuffix(line, `\`) {
			continue
		}
		parse := exec.CommandContext(t.Context(), "bash", "-n")
		parse.Stdin = strings.NewReader(c.text)
		if complaint, err := parse.CombinedOutput(); err == nil && len(complaint) == 0 {
			c.text = strings.TrimSuffix(c.text, "\n")
			all, c = append(all, c), pasted{}
		}
	}
	if c.text != "" {
		t.Errorf("%s: this is no whole command: %s", c.at, c.text)
	}
	return all
}

// reader is a shell in a folder that looks like a clone, and what a page has started from it.
type reader struct {
	t         *testing.T
	dir, work string // the reader's folder; the test's
	env       []string
	shell     *testbed.Process
	in        io.Writer
	status    *bufio.Reader
	pipe      *os.File // of status
	n         int      // commands so far, those of the test among them
	commands  int      // of the page
	python    bool     // whether Python has the modules that the page needs
	standIn   string   // folder of what takes the place of nats-py

	box       *testbed.Process
	boxOutput testbed.Buffer
	values    string // path of a script that sets what the page sets to the sandbox's values
	lasting   []started
	addresses map[string]string // of servers, by those that the page names

	refusals bool // whether the page shows refusals

	mu       sync.Mutex
	unwanted []string // results that no command of a page should get
	refused  []string
}

// started is a command that stays up.
type started struct {
	pasted
	pid    int
	output string // path
	since  time.Time
}

// newReader starts the shell.
func newReader(t *testing.T, p page) *reader {
	t.Helper()
	for _, tool := range []string{"bash", "openssl", "jq", "base64", "sed"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here: install it to run the commands of %s", tool, p.file)
		}
	}
	r := &reader{t: t, dir: t.TempDir(), work: t.TempDir(), addresses: map[string]string{}}
	r.clone()
	r.tools(p)
	r.environment(p)
	r.open()
	t.Cleanup(func() {
		for _, l := range r.lasting {
			_ = syscall.Kill(-l.pid, syscall.SIGKILL) // fails only if it is gone
		}
		r.shell.Kill()
		r.pipe.Close()
		if r.box != nil {
			r.box.Kill()
		}
		if t.Failed() {
			t.Logf("the sandbox wrote:\n%s", r.boxOutput.Tail(4000))
		}
	})
	for _, name := range granted {
		r.provide(name)
	}
	return r
}

// open starts a shell, as a reader opens a terminal, in place of the one before.
func (r *reader) open() {
	t := r.t
	t.Helper()
	if r.shell != nil {
		r.shell.Kill()
		r.pipe.Close()
	}
	cmd := exec.CommandContext(t.Context(), "bash", "--noprofile", "--norc", "-s")
	cmd.Dir, cmd.Env = r.dir, r.env
	var theirs *os.File
	var err error
	if r.pipe, theirs, err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	r.status = bufio.NewReader(r.pipe)
	cmd.ExtraFiles = []*os.File{theirs}
	if r.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if r.shell, err = testbed.Spawn(cmd); err != nil {
		t.Fatal(err)
	}
	r.values = ""
	r.tell("set -uo pipefail\n")
}

// clone links what is in the repository into the reader's folder: commands find it there, and
// what they write stays out of the repository.
func (r *reader) clone() {
	entries, err := os.ReadDir("../..")
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range entries {
		switch e.Name() {
		case ".git", "entrust-worker", "entrust-sandbox", "sandbox": // what git does not track, a page may write
			continue
		}
		path, err := filepath.Abs(filepath.Join("../..", e.Name()))
		if err == nil {
			err = os.Symlink(path, filepath.Join(r.dir, e.Name()))
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

// goCommand is the go command of a reader. The packages of the repository have one place, so
// that they are compiled once. CGO_ENABLED=0 would compile all of them again, and .ci/supply
// builds without cgo.
const goCommand = `#!/bin/bash
set -e
unset CGO_ENABLED
here=$PWD verb=$1 package=$2
cd %[1]s
case "$verb $package" in
"run ./"* | "run "*.go)
	case $package in *.go) package=$here/$package ;; esac
	program=%[4]s/$(basename "$package")
	if [ ! -x "$program" ]; then
		program=%[3]s/run-$(basename "$package" .go)
		[ -x "$program" ] || %[2]s build -o "$program" "$package"
	fi
	shift 2
	cd "$here"
	exec "$program" "$@" ;;
"build ./"*) exec %[2]s build -o "$here/" "$package" ;;
"install ./"*) GOBIN=%[3]s exec %[2]s install "$package" ;;
"install github.com/nats-io/nats-server/v2@"*)
	version=$(%[2]s list -m -f '{{.Version}}' github.com/nats-io/nats-server/v2)
	[ "${package#*@}" = "$version" ] || { echo "go.mod has nats-server $version" >&2; exit 1; }
	mkdir -p "$GOPATH/bin"
	exec %[2]s build -o "$GOPATH/bin/nats-server" github.com/nats-io/nats-server/v2 ;;
"env "*) exec %[2]s "$@" ;;
esac
echo "the test has no go $*: it runs, builds and installs a package" >&2
exit 2
`

// natsCommandFile is the nats command where none is installed.
const natsCommandFile = `#!/bin/sh
` + runNATS + `=1 GORACE=atexit_sleep_ms=0 exec %s "$@"
`

// sandboxCommandFile is this program as the sandbox.
const sandboxCommandFile = `#!/bin/sh
` + runMain + `=1 GORACE=atexit_sleep_ms=0 exec %s "$@"
`

// tools fills the folder of programs that is first in the reader's PATH.
func (r *reader) tools(p page) {
	t := r.t
	t.Helper()
	bin := filepath.Join(r.work, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	goPath, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	write("go", fmt.Sprintf(goCommand, quote(root), quote(goPath), quote(bin), quote(p.programs)))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	write("run-entrust-sandbox", fmt.Sprintf(sandboxCommandFile, quote(self)))
	if path, err := exec.LookPath("nats"); err == nil {
		t.Logf("the nats command is %s", path)
	} else {
		t.Log("no nats command here: nats.go publishes, subscribes and asks in its place")
		write("nats", fmt.Sprintf(natsCommandFile, quote(self)))
	}
	// Debian's own interpreter first, as its modules are.
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		path, err := exec.LookPath(name)
		if err == nil && exec.CommandContext(t.Context(), path, "-c", "import msgpack, cryptography").Run() == nil {
			r.python = true
			if exec.CommandContext(t.Context(), path, "-c", "import nats").Run() != nil {
				t.Log("no nats-py here: testdata/nats-py takes its place")
				r.standIn = filepath.Join(root, "cmd/entrust-sandbox/testdata/nats-py")
			}
			write("python3", "#!/bin/sh\nexec "+quote(path)+" \"$@\"\n")
			break
		}
	}
}

// environment is that of a user who is new to the machine, but for Go's caches.
func (r *reader) environment(p page) {
	r.t.Helper()
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "NATS_") || strings.HasPrefix(name, "CERTCTL_") || strings.HasPrefix(name, "ENTRUST_") || strings.HasPrefix(name, "XDG_") {
			continue
		}
		env = append(env, v)
	}
	for _, name := range []string{"GOENV", "GOCACHE", "GOMODCACHE"} {
		value, err := exec.CommandContext(r.t.Context(), "go", "env", name).Output()
		if err != nil {
			r.t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	if r.standIn != "" {
		env = append(env, "PYTHONPATH="+r.standIn)
	}
	path := []string{filepath.Join(r.work, "bin"), os.Getenv("PATH"), p.programs}
	r.env = append(env, "HOME="+r.work, "GOPATH="+filepath.Join(r.work, "go"), "LC_ALL=C.UTF-8", "GORACE=atexit_sleep_ms=0",
		"ENTRUST_WORKER_HTTP_ADDR=127.0.0.1:0", "PYTHONDONTWRITEBYTECODE=1", "PATH="+strings.Join(path, string(os.PathListSeparator)))
}

// provide writes a file that the page takes for granted.
func (r *reader) provide(name string) {
	r.t.Helper()
	csr, err := oracle.NewCSR("shop.example.net")
	if err != nil {
		r.t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr})
	switch filepath.Ext(name) {
	case ".json":
		if text, err = entrustbus.EncodeRequest(entrustbus.EncodingJSON, &entrustbus.Issue{ID: "granted", CSRPEM: string(text)}); err != nil {
			r.t.Fatal(err)
		}
	case ".yaml":
		text = []byte("producers:\n  shop:\n    kinds: [issue]\n    names: {dns: {suffixes: [example.net]}}\n")
	}
	path := filepath.Join(r.dir, name)
	if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

// tell has the shell read text.
func (r *reader) tell(text string) {
	r.t.Helper()
	if _, err := io.WriteString(r.in, text); err != nil {
		r.t.Fatalf("the shell is gone: %v", err)
	}
}

// write keeps a command in a file for the shell to read, and returns its path and that of its
// output.
func (r *reader) write(text string) (script, output string) {
	r.t.Helper()
	r.n++
	script = filepath.Join(r.work, fmt.Sprintf("command-%d", r.n))
	if err := os.WriteFile(script, []byte(text+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return script, script + ".out"
}

// answer is the number that the shell reports.
func (r *reader) answer(what string) int {
	r.t.Helper()
	if err := r.pipe.SetReadDeadline(time.Now().Add(within)); err != nil {
		r.t.Fatal(err)
	}
	line, err := r.status.ReadString('\n')
	if errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Fatalf("%s\ndoes not end within %v; if it is to stay up, add it to the list of those", what, within)
	}
	if err != nil {
		r.t.Fatalf("%s\nended the shell", what)
	}
	var n int
	if _, err := fmt.Sscan(line, &n); err != nil {
		r.t.Fatal(err)
	}
	return n
}

// run has the shell run a command, and returns the exit code and the path of its output.
func (r *reader) run(text string) (int, string) {
	r.t.Helper()
	script, output := r.write(text)
	r.tell(fmt.Sprintf(". %s >%s 2>&1 </dev/null 3>&-; echo $? >&3\n", quote(script), quote(output)))
	code := r.answer(text)
	if r.values != "" {
		r.tell(". " + quote(r.values) + "\n")
	}
	return code, output
}

// paste runs the commands of a block, and returns what they print, or will print, into.
func (r *reader) paste(b block) (printed []func() string) {
	r.t.Helper()
	r.refusals = r.refusals || strings.Contains(b.text, "entrust.refused.")
	if strings.Contains(b.text, "python3 ") && !r.python {
		r.t.Logf("%s: skipped, as no python3 here has msgpack and cryptography:\n%s", b.at(0), b.text)
		return nil
	}
	if r.box != nil {
		control := strings.Fields(line(r.t, r.boxOutput.String(), "Control"))[0]
		b.text = strings.ReplaceAll(b.text, "<control>", strings.TrimSuffix(control, "/"))
	}
	b.text = placeholder.ReplaceAllString(b.text, "$1")
	for _, c := range split(r.t, b) {
		r.commands++
		for named, address := range r.addresses {
			c.text = strings.ReplaceAll(c.text, named, address)
		}
		if by := leftTo(c.text); by != "" {
			r.t.Logf("%s: left to %s: %s", c.at, by, c.text)
			continue
		}
		args, isSandbox := strings.CutPrefix(c.text, startSandbox)
		listens := slices.IndexFunc(servers, func(s server) bool { return s.command.MatchString(c.text) })
		switch {
		case listens >= 0:
			printed = append(printed, r.serve(c, servers[listens]))
		case isSandbox && !strings.Contains(args, "--once"):
			r.sandbox(args)
			printed = append(printed, r.boxOutput.String)
		case lasting.MatchString(c.text) && !strings.Contains(c.text, "--count"):
			printed = append(printed, r.keepUp(c))
		default:
			if reads.MatchString(c.text) {
				r.sleep(time.Second)
			}
			code, output := r.run(c.text)
			for end := time.Now().Add(within); code != 0 && early.MatchString(c.text) && time.Now().Before(end); {
				r.sleep(100 * time.Millisecond)
				code, output = r.run(c.text)
			}
			if code != 0 {
				r.t.Fatalf("%s: exit code %d:\n%s\n%s", c.at, code, c.text, r.of(output)())
			}
			printed = append(printed, r.of(output))
		}
	}
	return printed
}

// of returns what a command has written into its output so far.
func (r *reader) of(path string) func() string {
	return func() string {
		r.t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			r.t.Fatal(err)
		}
		return string(text)
	}
}

// keepUp starts a command that stays up, and returns what it prints.
func (r *reader) keepUp(c pasted) func() string {
	r.t.Helper()
	script, output := r.write(inBackground.ReplaceAllString(c.text, ""))
	r.tell(fmt.Sprintf("set -m; ( . %s ) >%s 2>&1 </dev/null 3>&- & echo $! >&3; disown; set +m\n", quote(script), quote(output)))
	r.lasting = append(r.lasting, started{pasted: c, pid: r.answer(c.text), output: output, since: time.Now()})
	return r.of(output)
}

// serve starts a server on a free port and waits until it listens. Before the simulator alone
// the page has its reader stop the sandbox, and open a terminal without its settings.
func (r *reader) serve(c pasted, s server) func() string {
	r.t.Helper()
	if r.box != nil {
		r.stopSandbox()
		r.open()
	}
	c.text = comment.ReplaceAllString(c.text, "") + s.flags
	printed := r.keepUp(c)
	for end := time.Now().Add(within); ; r.sleep(20 * time.Millisecond) {
		if m := s.says.FindStringSubmatch(printed()); m != nil {
			r.addresses[s.listen] = m[1]
			return printed
		}
		if time.Now().After(end) {
			r.t.Fatalf("%s: %s does not say where it listens:\n%s", c.at, c.text, printed())
		}
	}
}

// leftTo names the test that runs a command; empty for one that runs here.
func leftTo(command string) string {
	for _, e := range elsewhere {
		if e.command.MatchString(command) {
			return e.by
		}
	}
	return ""
}

func (r *reader) sleep(d time.Duration) {
	r.t.Helper()
	if err := testbed.Sleep(r.t.Context(), d); err != nil {
		r.t.Fatal(err)
	}
}

var programName = regexp.MustCompile(`^(#|//) (\w+\.(py|go))\b`)

// keepProgram writes a program to the file that its first line names. One in Python is compiled.
func (r *reader) keepProgram(b block) {
	r.t.Helper()
	m := programName.FindStringSubmatch(b.text)
	if m == nil {
		return // a part of one
	}
	if err := os.WriteFile(filepath.Join(r.dir, m[2]), []byte(b.text), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if m[3] != "py" || !r.python {
		return
	}
	if code, output := r.run("python3 -m py_compile " + m[2]); code != 0 {
		text, _ := os.ReadFile(output)
		r.t.Errorf("%s: %s does not compile: %s", b.at(0), m[2], text)
	}
}

// sandbox starts a sandbox as the page does, on free ports, and waits until its batch is over.
func (r *reader) sandbox(args string) {
	t := r.t
	t.Helper()
	if r.box != nil {
		t.Fatalf("the page starts a second sandbox: %s %s", startSandbox, args)
	}
	args, _, _ = strings.Cut(args, " #")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	flags := append(strings.Fields(args), "--addr", "127.0.0.1:0", "--http-addr", "127.0.0.1:0")
	if !strings.Contains(args, "--data") {
		flags = append(flags, "--data", filepath.Join(r.work, "sandbox"))
	}
	cmd := exec.CommandContext(t.Context(), self, flags...)
	cmd.Dir, cmd.Env = r.dir, append(os.Environ(), runMain+"=1")
	cmd.Stdout, cmd.Stderr = &r.boxOutput, &r.boxOutput
	if r.box, err = testbed.Spawn(cmd); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(within); !strings.Contains(r.boxOutput.String(), "Everything stays up"); r.sleep(20 * time.Millisecond) {
		if !r.box.Running() || time.Now().After(end) {
			t.Fatal("the sandbox does not come up")
		}
	}
	r.know(filepath.Join(line(t, r.boxOutput.String(), "Data"), "env"))
}

// know takes the sandbox's environment in. The page's own values stand for those of a reader:
// what the page sets gets the sandbox's value. How to reach NATS, and what only this gateway
// needs, is set at once.
func (r *reader) know(path string) {
	t := r.t
	t.Helper()
	env, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var values, now strings.Builder
	for _, m := range regexp.MustCompile(`(?m)^export (\w+)=.*$`).FindAllStringSubmatch(string(env), -1) {
		fmt.Fprintf(&values, "[ -z \"${%s+set}\" ] || %s\n", m[1], m[0])
		if strings.HasPrefix(m[1], "ENTRUST_WORKER_") || m[1] == "NATS_URL" {
			fmt.Fprintln(&now, m[0])
		}
	}
	if code, _ := r.run(now.String()); code != 0 {
		t.Fatal("the sandbox's environment cannot be set")
	}
	r.values, _ = r.write(values.String())

	nc, err := nats.Connect(line(t, r.boxOutput.String(), "NATS"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	note := func(to *[]string, text string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		*to = append(*to, text)
	}
	_, err = nc.Subscribe("entrust.refused.>", func(m *nats.Msg) { note(&r.refused, string(m.Data)) })
	if err != nil {
		t.Fatal(err)
	}
	_, err = nc.Subscribe("entrust.result.>", func(m *nats.Msg) {
		if res, err := oracle.Decode(m.Header, m.Data); err != nil {
			note(&r.unwanted, fmt.Sprintf("%s: %v", m.Subject, err))
		} else if res.Outcome == entrustbus.OutcomeFailed || res.Outcome == entrustbus.OutcomeUnconfirmed {
			note(&r.unwanted, resultLine(res))
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// compare waits until the lines of an output block are among what was printed.
func (r *reader) compare(b block, printed []func() string) {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); ; r.sleep(100 * time.Millisecond) {
		var all bytes.Buffer
		for _, text := range printed {
			all.WriteString(text())
		}
		missing := missingLine(b.text, all.String())
		if missing == "" {
			return
		}
		if time.Now().After(end) {
			r.t.Errorf("%s: the commands print no line like %q:\n%s", b.at(0), missing, all.String())
			return
		}
	}
}

// end checks what stayed up, and that the worker took every request of the page.
func (r *reader) end() {
	t := r.t
	t.Helper()
	for _, l := range r.lasting {
		// One that cannot start says so at once.
		r.sleep(time.Until(l.since.Add(2 * time.Second)))
		if syscall.Kill(l.pid, 0) != nil {
			text, _ := os.ReadFile(l.output)
			t.Errorf("%s: ended by itself: %s\n%s", l.at, l.text, text)
		}
	}
	if r.box != nil {
		r.stopSandbox()
	}
}

// stopSandbox ends the sandbox as Ctrl-C does, and checks that no request of the page failed.
func (r *reader) stopSandbox() {
	t := r.t
	t.Helper()
	r.mu.Lock()
	if !r.refusals {
		r.unwanted = append(r.unwanted, r.refused...)
	}
	for _, u := range r.unwanted {
		t.Errorf("a request of the page fails: %s", u)
	}
	r.mu.Unlock()
	if err := r.box.Stop(within); err != nil {
		t.Errorf("stopping the sandbox: %v", err)
	}
	r.box = nil
}

// missingLine is the first line of an output block that has no like among those printed, in
// their order; empty if all have one. Around it more may be printed. Of numbers, times, durations and ids only the form counts,
// and "…" stands for anything.
func missingLine(shown, printed string) string {
	rest := strings.Split(printed, "\n")
	for want := range strings.Lines(shown) {
		want = strings.TrimSpace(want)
		if want == "" || want == "…" {
			continue
		}
		pattern := strings.ReplaceAll(regexp.QuoteMeta(form(want)), "…", ".*")
		like := regexp.MustCompile(pattern)
		for {
			if len(rest) == 0 {
				return want
			}
			found := like.MatchString(form(rest[0]))
			rest = rest[1:]
			if found {
				break
			}
		}
	}
	return ""
}

var (
	timeOfDay = regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?|\b\d\d:\d\d:\d\d\b`)
	duration  = regexp.MustCompile(`\b(\d+(\.\d+)?(ns|µs|ms|s|m|h))+\b`)
	word      = regexp.MustCompile(`[0-9A-Za-z]+`)
	hex       = regexp.MustCompile(`^[0-9a-fA-F]{8,}$`)
	digits    = regexp.MustCompile(`\d+`)
)

// form is a line without what differs from run to run.
func form(line string) string {
	line = strings.ReplaceAll(strings.Join(strings.Fields(line), " "), " = ", "=") // OpenSSL 3.0 and later ones
	line = timeOfDay.ReplaceAllString(line, "@")
	line = duration.ReplaceAllString(line, "0s")
	return word.ReplaceAllStringFunc(line, func(w string) string {
		switch {
		case !digits.MatchString(w):
			return w
		case hex.MatchString(w), len(w) >= 16:
			return "#"
		}
		return digits.ReplaceAllString(w, "0")
	})
}

func TestMissingLine(t *testing.T) {
	t.Parallel()
	const printed = `Control     http://127.0.0.1:45123/  (approve)
200 of 220 results   1.31s
03:04:05  me.a  issued  serial 4f00d1aa90
order-17 stored at 2026-11-29T08:00:00.123Z
`
	for shown, want := range map[string]string{
		"": "",
		"Control http://127.0.0.1:8080/ (approve)\n7 of 8 results 340ms": "",
		"Control …\n…\norder-1 stored at 2026-01-01T00:00:00Z":           "",
		"09:09:09  me.a  issued  serial 0123456789abcdef":                "",
		"09:09:09  me.a  revoked  serial 0123456789abcdef":               "09:09:09  me.a  revoked  serial 0123456789abcdef",
		"order-1 stored at …\n7 of 8 results 340ms":                      "7 of 8 results 340ms",
		"200 of 220 results":  "",
		"200 of 220 requests": "200 of 220 requests",
	} {
		if got := missingLine(shown, printed); got != want {
			t.Errorf("%q: got %q, want %q", shown, got, want)
		}
	}
}
