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

// Finding is one wrong setting.
type Finding struct {
	// Object is what has the setting: "stream X", "bucket X", "consumer Y of stream X", or
	// "nats-server".
	Object string `json:"object"`
	// Setting is the setting's name in the nats command and the server.
	Setting string `json:"setting"`
	Want    string `json:"want"`
	Got     string `json:"got"`
	// Why says in a few words what would go wrong.
	Why string `json:"why"`
	// Fix is a command, or another remedy.
	Fix string `json:"fix,omitempty"`
	// Note marks a finding that breaks nothing.
	Note bool `json:"note,omitempty"`
}

// Error returns one line: setting, wanted value, found value, reason and fix.
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

// Verify returns nil when the worker can keep its invariants on the existing server, streams,
// buckets and consumers. Otherwise the error joins one *Finding for each wrong setting, or says
// why Verify could not read them.
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

// Inspect reads every server setting, stream, bucket and consumer that the worker depends on.
// It returns wrong settings, and with Note set, settings that merely differ from the
// configuration. An error means that it could not read them.
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

// server checks the version of the connected server. Of the other servers in a cluster, only
// the schedules flag tells whether they are new enough; see parked.
func (c *checker) server(version string) {
	if !atLeast(version, MinServer) {
		c.found = append(c.found, Finding{
			Object: "nats-server", Setting: "version", Want: MinServer + " or later", Got: version,
			Why: "older versions have no reliable message schedules", Fix: "upgrade nats-server",
		})
	}
}

// MinPayload is the smallest max_payload, in bytes, that the worker runs with: a result with
// its certificate fits, and so does a short dead letter. WantPayload is the server's default;
// the largest request needs it.
const (
	MinPayload  = 64 << 10
	WantPayload = 1 << 20
)

// payload checks how large a message may be on the connected server.
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

// missing records that an object does not exist.
func (c *checker) missing(object string) {
	c.found = append(c.found, Finding{
		Object: object, Setting: "existence", Want: "there", Got: "missing",
		Why: "the worker creates nothing without --provision", Fix: "entrust-worker provision",
	})
}

// missingTrail records that the stream of the audit trail does not exist.
func (c *checker) missingTrail(object string) {
	c.missing(object)
	c.found[len(c.found)-1].Fix = "entrust-worker provision --audit-enabled on"
}

// object is the subject of a series of checks.
type object struct {
	*checker
	name string
	// edit is the command that changes a setting, without the setting's flag.
	edit string
	// remake says how to change a setting that the server does not allow to change.
	remake string
}

// check records a finding unless ok. flag is the flag of the edit command, or empty when the
// setting cannot be edited.
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

// atLeast compares dotted versions. It ignores the part after a dash or plus. A malformed
// version is never at least anything.
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
