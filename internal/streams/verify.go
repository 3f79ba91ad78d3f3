package streams

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"
)

// MinServer is the oldest nats-server whose message schedules the worker relies on.
const MinServer = "2.14.0"

// Finding is one setting that is not as it must be.
type Finding struct {
	// Object names what has the setting: "stream X", "bucket X", "consumer Y of
	// stream X", or "nats-server".
	Object string `json:"object"`
	// Setting is its name as the nats command and the server spell it.
	Setting string `json:"setting"`
	Want    string `json:"want"`
	Got     string `json:"got"`
	// Why says in a few words what would go wrong.
	Why string `json:"why"`
	// Fix is a command, or what else to do.
	Fix string `json:"fix,omitempty"`
	// Note marks what is worth knowing but breaks nothing.
	Note bool `json:"note,omitempty"`
}

// Error is one line: what, wanted and found value, reason and fix.
func (f *Finding) Error() string {
	s := fmt.Sprintf("%s: %s must be %s, is %s: %s", f.Object, f.Setting, f.Want, f.Got, f.Why)
	if f.Note {
		s = fmt.Sprintf("%s: %s is %s, configured is %s: %s", f.Object, f.Setting, f.Got, f.Want, f.Why)
	}
	if f.Fix != "" {
		s += " (" + f.Fix + ")"
	}
	return s
}

// Verify returns nil if the worker can keep its promises on the server, streams,
// buckets and consumers that are there, and otherwise an error that joins one *Finding
// for each setting that is wrong, or says why it could not look.
func Verify(ctx context.Context, js jetstream.JetStream, l Layout) error {
	found, err := Inspect(ctx, js, l)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range found {
		if !f.Note {
			errs = append(errs, &f)
		}
	}
	return errors.Join(errs...)
}

// Inspect looks at everything the worker rests on and returns what is wrong or, with
// Note set, merely not as configured. An error means that it could not look.
func Inspect(ctx context.Context, js jetstream.JetStream, l Layout) ([]Finding, error) {
	if err := l.Validate(); err != nil {
		return nil, err
	}
	c := &checker{layout: l}
	c.server(js.Conn().ConnectedServerVersion())
	c.payload(js.Conn().MaxPayload())

	for _, want := range l.streamConfigs() {
		if err := c.stream(ctx, js, want); err != nil {
			return nil, err
		}
	}
	for _, want := range l.bucketConfigs() {
		if err := c.bucket(ctx, js, want); err != nil {
			return nil, err
		}
	}
	for _, want := range l.lanes() {
		if err := c.consumer(ctx, js, want); err != nil {
			return nil, err
		}
	}
	return c.found, nil
}

// checker collects findings.
type checker struct {
	layout Layout
	found  []Finding
}

// server checks the version of the server that we are connected to. Of the others in
// a cluster only their handling of the schedules flag tells; see parked.
func (c *checker) server(version string) {
	if !atLeast(version, MinServer) {
		c.found = append(c.found, Finding{
			Object: "nats-server", Setting: "version", Want: MinServer + " or later", Got: version,
			Why: "older ones have no message schedules the worker can rely on", Fix: "upgrade nats-server",
		})
	}
}

// MinPayload is the smallest max_payload of a server that the worker runs on, in bytes: a
// result with its certificate has room, and a short dead letter. WantPayload is the
// server's own default, and what the largest request needs.
const (
	MinPayload  = 64 << 10
	WantPayload = 1 << 20
)

// payload checks how large a message may be on the server that we are connected to.
func (c *checker) payload(limit int64) {
	f := Finding{
		Object: "nats-server", Setting: "max_payload", Got: strconv.FormatInt(limit, 10),
		Fix: fmt.Sprintf("set max_payload: %d in the configuration of every nats-server, and reload it", WantPayload),
	}
	switch {
	case limit < MinPayload:
		f.Want, f.Why = fmt.Sprintf("at least %d", MinPayload), "results and dead letters would not fit into a message"
	case limit < WantPayload:
		f.Want, f.Note, f.Why = fmt.Sprintf("at least %d", WantPayload), true, "large requests are refused, and large results lose their chain or labels"
	default:
		return
	}
	c.found = append(c.found, f)
}

// missing records an object that is not there.
func (c *checker) missing(object string) {
	c.found = append(c.found, Finding{
		Object: object, Setting: "existence", Want: "there", Got: "missing",
		Why: "the worker creates nothing unless told to", Fix: "entrust-worker provision",
	})
}

// missingTrail records that there is no stream for the audit trail.
func (c *checker) missingTrail(object string) {
	c.missing(object)
	c.found[len(c.found)-1].Fix = "entrust-worker provision --audit-enabled on"
}

// object is what a run of checks is about.
type object struct {
	*checker
	name string
	// edit is the command that changes a setting, without the setting.
	edit string
	// remake says how to change a setting that the server does not let one change.
	remake string
}

// check records a finding unless ok. flag is what the edit command needs, or empty
// if the setting can't be edited.
func (o *object) check(ok bool, setting, want, got, why, flag string) {
	if ok {
		return
	}
	fix := o.remake
	if flag != "" {
		fix = o.edit + " " + flag
	}
	o.found = append(o.found, Finding{Object: o.name, Setting: setting, Want: want, Got: got, Why: why, Fix: fix})
}

// atLeast compares dotted versions; what follows a dash or plus does not count, and
// what is no version is not at least anything.
func atLeast(version, least string) bool {
	got, ok := versionParts(version)
	want, _ := versionParts(least)
	return ok && slices.Compare(got, want) >= 0
}

func versionParts(v string) ([]int, bool) {
	v, _, _ = strings.Cut(strings.TrimPrefix(v, "v"), "-")
	v, _, _ = strings.Cut(v, "+")
	var parts []int
	for s := range strings.SplitSeq(v, ".") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, false
		}
		parts = append(parts, n)
	}
	return parts, true
}
