//go:build integration && unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// page is a part of a page: from one text of it to another; "" stands for its begin and end.
type page struct{ file, from, to string }

// pages are those whose commands run. The two parts of start.md have a terminal of their own.
// CONTRIBUTING.md has the commands that run the tests: .ci/run and .ci/more are among them.
var pages = []page{
	{file: "README.md"},
	{file: "docs/producers.md"},
	{file: "docs/start.md", to: "\n## Part 2"},
	{file: "docs/start.md", from: "\n## Part 2"},
}

// elsewhere has the blocks that do not run here, and what runs them.
var elsewhere = map[string]string{
	"go test ./... ./entrustbus/...\n": ".ci/run",
}

// staysUp has the commands that run until Ctrl-C, and what they print when they are ready.
var staysUp = map[string]string{
	`go run ./cmd/entrust-sandbox --data`:  "Everything runs until Ctrl-C",
	`go run ./cmd/entrust-sandbox gateway`: "Trust ",
	`"$(go env GOPATH)/bin/nats-server"`:   "Server is ready",
	`./entrust-worker run`:                 "the gateway answers; working",
}

// edits puts free ports in place of those of a page, and what its reader types or waits for.
func edits(t *testing.T) *strings.Replacer {
	t.Helper()
	gateway, _ := freeAddress(t)
	server, port := freeAddress(t)
	return strings.NewReplacer(
		"entrust-sandbox --data sandbox", "entrust-sandbox --data sandbox --addr 127.0.0.1:0 --http-addr 127.0.0.1:0",
		"entrust-sandbox gateway --data sim", "entrust-sandbox gateway --data sim --listen "+gateway,
		"--addr 127.0.0.1\n", "--addr 127.0.0.1 --port "+port+"\n",
		"127.0.0.1:8443", gateway,
		"127.0.0.1:4222", server,
		"'<control>/", `"$(control)"'/`,
		"go run ./cmd/entrust-worker orders show me.hold-1", "parked me.hold-1; go run ./cmd/entrust-worker orders show me.hold-1",
	)
}

var (
	programName = regexp.MustCompile(`^(?:#|//) (\w+\.(?:py|go)) `)
	unwanted    = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d  \S+  (failed|unconfirmed|rejected|expired)\b.*`) // of a sandbox
)

// Every command of the pages works as it stands there, and prints what the page shows.
func TestCommandsOfThePages(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"bash", "openssl", "jq", "curl", "base64"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("no %s here: install it to run the commands of the pages", tool)
		}
	}
	gopath := buildPrograms(t)
	for _, p := range pages {
		t.Run(p.file+strings.TrimSpace(p.from), func(t *testing.T) {
			t.Parallel()
			blocks := p.blocks(t)
			s := newShell(t, gopath)
			p.fill(t, s, blocks)
			if last, err := s.run(t); err != nil {
				t.Fatalf("%s:%s: %v\n%s", p.file, last, err, s.printed(last))
			}
			p.compare(t, s, blocks)
		})
	}
}

// blocks reads the blocks of the page.
func (p page) blocks(t *testing.T) []block {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", p.file))
	if err != nil {
		t.Fatal(err)
	}
	above, part, found := strings.Cut(string(text), p.from)
	if !found {
		t.Fatalf("%s has no %q", p.file, p.from)
	}
	if p.to != "" {
		if part, _, found = strings.Cut(part, p.to); !found {
			t.Fatalf("%s has no %q", p.file, p.to)
		}
	}
	return blocksOf(strings.Repeat("\n", strings.Count(above+p.from, "\n")) + part) // keeps the lines' numbers
}

// fill writes the programs of the page into the reader's folder, and its commands into the shell.
func (p page) fill(t *testing.T, s *shell, blocks []block) {
	t.Helper()
	python := exec.CommandContext(t.Context(), "/usr/bin/python3", "-c", "import msgpack, cryptography").Run() == nil
	edit := edits(t)
	for _, b := range blocks {
		program := programName.FindStringSubmatch(b.text)
		switch {
		case program != nil:
			if err := os.WriteFile(filepath.Join(s.dir, program[1]), []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
		case b.language == "bash" || b.language == "shell" || b.language == "console":
			t.Errorf("%s:%d: write commands into a block of sh", p.file, b.line)
		case b.language != "sh":
		case !python && strings.Contains(b.text, "python3 "):
			t.Logf("%s:%d: left out: /usr/bin/python3 has no msgpack and cryptography", p.file, b.line)
		case elsewhere[b.text] != "":
			t.Logf("%s:%d: left to %s", p.file, b.line, elsewhere[b.text])
		default:
			b.text = edit.Replace(b.text)
			s.add(t, b)
		}
	}
}

// compare compares what the commands have printed with what the page shows.
func (p page) compare(t *testing.T, s *shell, blocks []block) {
	t.Helper()
	for n, b := range blocks {
		if b.output {
			printed := s.printed(strconv.Itoa(blocks[n-1].line))
			if missing := missingLine(b.text, printed); missing != "" {
				t.Errorf("%s:%d: the commands print no line like %q:\n%s", p.file, b.line, missing, printed)
			}
		}
		printed := s.printed(strconv.Itoa(b.line))
		if strings.HasSuffix(printed, "\nended by itself\n") {
			t.Errorf("%s:%d: did not stay up:\n%s", p.file, b.line, printed)
		}
		for _, result := range unwanted.FindAllString(printed, -1) {
			t.Errorf("%s: a request of the page fails: %s", p.file, result)
		}
	}
}
