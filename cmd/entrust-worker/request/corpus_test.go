package request

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/order"
	"github.com/entrust-worker/entrust-worker/internal/streams"
	"github.com/entrust-worker/entrust-worker/internal/testbed"
)

var updateCorpus = flag.Bool("update", false, "write testdata/corpus.jsonl from the cases")

// variation is one way to write a request, and what has to become of it. The file
// testdata/corpus.jsonl has them for other implementations.
type variation struct {
	Name string          `json:"name"`
	Kind entrustbus.Kind `json:"kind"`
	// ContentType is the header of the message; "" for none.
	ContentType string `json:"content_type,omitempty"`
	// Body is what is published; nil where the variation is of the command line alone.
	Body []byte `json:"body,omitempty"`
	Bus  *fate  `json:"bus,omitempty"`
	// Args and Files are what the command line is given. "FILE" in Args is the path of File.
	Args    []string `json:"args,omitempty"`
	File    []byte   `json:"file,omitempty"`
	Command *fate    `json:"command,omitempty"`
	// Same names the request that it is, where it is accepted: all of one name have one digest.
	Same string `json:"same,omitempty"`
}

// fate is what becomes of a variation at one door.
type fate struct {
	// Outcome is accepted, refused (under its id, on the bus) or unanswerable (no id can be read).
	Outcome string `json:"outcome"`
	// Says is part of the error or hint, or for accepted of the one warning; "" for none.
	Says string `json:"says,omitempty"`
}

func corpusFile(t *testing.T) []variation {
	t.Helper()
	const path = "testdata/corpus.jsonl"
	var made bytes.Buffer
	enc := json.NewEncoder(&made)
	enc.SetEscapeHTML(false)
	for _, v := range corpusCases(t) {
		if err := enc.Encode(v); err != nil {
			t.Fatal(err)
		}
	}
	if *updateCorpus {
		if err := os.WriteFile(path, made.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(data, made.Bytes()) {
		t.Fatalf("%s is not what the cases make, %v (run the test with -update to write it)", path, err)
	}
	var all []variation
	for dec := json.NewDecoder(bytes.NewReader(data)); ; {
		var v variation
		if err := dec.Decode(&v); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
}

// Whatever people's software sends has one outcome, on the bus and through the command line.
func TestCorpus(t *testing.T) {
	t.Parallel()
	all := corpusFile(t)
	if len(all) < 200 {
		t.Errorf("there are %d variations, want at least 200", len(all))
	}
	door := newCommandDoor(t)
	names, same := map[string]bool{}, map[string]string{}
	for i, v := range all {
		if names[v.Name] {
			t.Errorf("two are called %q", v.Name)
		}
		names[v.Name] = true
		check := func(where string, want *fate, q order.Request, problem string) {
			got := fate{"accepted", ""}
			switch {
			case problem != "":
				got = fate{"refused", problem}
				if where == "bus" && q.Key.ID == "" {
					got.Outcome = "unanswerable"
				}
			case len(q.Body.Warnings()) > 0:
				got.Says = strings.Join(q.Body.Warnings(), "\n")
			}
			if got.Outcome != want.Outcome || !strings.Contains(got.Says, want.Says) || want.Says == "" && got.Says != "" {
				t.Errorf("%s, %s: got %s %q, want %s %q", v.Name, where, got.Outcome, got.Says, want.Outcome, want.Says)
			}
			if v.Same == "" || got.Outcome != "accepted" {
				return
			}
			digest := hex.EncodeToString(q.Digest)
			if first, ok := same[v.Same]; ok && first != digest {
				t.Errorf("%s, %s: another request than others of %q", v.Name, where, v.Same)
			}
			same[v.Same] = digest
		}
		if v.Bus != nil {
			raw := &order.Message{Subject: "entrust.request.shop." + string(v.Kind), Body: v.Body}
			if v.ContentType != "" {
				raw.Header = map[string][]string{entrustbus.HeaderContentType: {v.ContentType}}
			}
			q := order.Read(entrustbus.Subjects{}, raw, order.Limits{})
			problem := ""
			if q.Problem != nil {
				problem = q.Problem.Error()
			}
			check("bus", v.Bus, q, problem)
		}
		if v.Command != nil {
			q, problem := door.send(t, fmt.Sprintf("p%d", i), v)
			check("command", v.Command, q, problem)
		}
	}
}

// commandDoor runs the verbs against a real bus, and reads what they published as a worker does.
type commandDoor struct {
	server *testbed.Server
	js     jetstream.JetStream
	dir    string
}

func newCommandDoor(t *testing.T) *commandDoor {
	t.Helper()
	d := &commandDoor{server: testbed.Start(t), dir: t.TempDir()}
	d.js = d.server.JetStream(t)
	if _, err := streams.Provision(t.Context(), d.js, streams.DefaultLayout()); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *commandDoor) dial(*cobra.Command, ...nats.Option) (*connect.Bus, error) {
	nc, err := nats.Connect(d.server.URL)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	layout := streams.DefaultLayout()
	return &connect.Bus{Conn: nc, JS: js, Layout: layout, Subjects: layout.Subjects(), Patience: 10 * time.Second}, nil
}

// send runs the verb of a variation, and reads the request that it published. problem is what the verb said instead.
func (d *commandDoor) send(t *testing.T, producer string, v variation) (q order.Request, problem string) {
	t.Helper()
	path := filepath.Join(d.dir, producer)
	if err := os.WriteFile(path, v.File, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{string(v.Kind), "--producer", producer, "--id", "a"}
	for _, arg := range v.Args {
		if arg == "FILE" {
			arg = path
		}
		args = append(args, arg)
	}
	var out bytes.Buffer
	cmd := Command(&terminal.Terminal{In: strings.NewReader(""), Out: &out, Err: &out, Now: time.Now}, nil, d.dial)
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	subject := "entrust.request." + producer + "." + string(v.Kind)
	if err := cmd.ExecuteContext(context.WithoutCancel(t.Context())); err != nil {
		if _, err := streams.Last(t.Context(), d.js, streams.DefaultLayout().Requests, subject); err == nil {
			t.Errorf("%s: the verb failed and published something", v.Name)
		}
		return q, err.Error() + "; " + usage.Hint(err)
	}
	m, err := streams.Last(t.Context(), d.js, streams.DefaultLayout().Requests, subject)
	if err != nil {
		t.Fatalf("%s: the verb published nothing: %v", v.Name, err)
	}
	q = order.Read(entrustbus.Subjects{}, &order.Message{Subject: subject, Header: m.Header, Body: m.Data}, order.Limits{})
	if q.Problem != nil {
		t.Fatalf("%s: the verb published what the worker refuses: %v", v.Name, q.Problem)
	}
	return q, ""
}
