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

// stream checks one stream against the one that Provision would create.
func (c *checker) stream(ctx context.Context, js jetstream.JetStream, want jetstream.StreamConfig) error {
	name := "stream " + want.Name
	st, err := js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		if want.Name == c.layout.Audit {
			c.missingTrail(name)
		} else {
			c.missing(name)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading stream %s: %w", want.Name, err)
	}
	got := st.CachedInfo().Config
	o := &object{
		checker: c,
		name:    name,
		edit:    "nats stream edit " + want.Name,
		remake:  "cannot be changed: let the stream run empty, delete it, then entrust-worker provision",
	}
	o.common(got)
	o.subjects(want, got)
	o.check(got.Retention == want.Retention, "retention", retentionWord(want.Retention), retentionWord(got.Retention),
		map[bool]string{
			true:  "a request must stay until it is acknowledged, and be removed then",
			false: "messages must stay for every reader",
		}[want.Retention == jetstream.WorkQueuePolicy], "")

	switch want.Name {
	case c.layout.Requests:
		o.requests(got)
	case c.layout.Parked:
		o.parked(got)
	case c.layout.Results:
		o.kept(want, got)
		o.noSubjectLimits(got)
		o.check(got.Duplicates >= want.Duplicates, "duplicate window", "at least "+want.Duplicates.String(), got.Duplicates.String(),
			"a result that is published again must be recognised", "--dupe-window="+want.Duplicates.String())
	case c.layout.Events:
		o.discardNew(got, "a full stream would drop the oldest instead of making the worker wait")
		o.noRollup(got)
		o.noSubjectLimits(got)
		o.direct(got, "a worker could not see which events were published before")
	case c.layout.Audit:
		o.trail(want, got)
	case c.layout.Dead:
		o.kept(want, got)
		o.perReason(got)
		o.check(got.Duplicates >= want.Duplicates, "duplicate window", "at least "+want.Duplicates.String(), got.Duplicates.String(),
			"a dead letter that is published again must be recognised", "--dupe-window="+want.Duplicates.String())
	}

	if got.Replicas != want.Replicas {
		c.found = append(c.found, Finding{
			Object: name, Setting: "replicas", Want: strconv.Itoa(want.Replicas), Got: strconv.Itoa(got.Replicas), Note: true,
			Why: "with one replica, data that its server loses is lost",
			Fix: fmt.Sprintf("%s --replicas=%d", o.edit, want.Replicas),
		})
	}
	if want.Retention != jetstream.WorkQueuePolicy {
		return nil
	}
	return o.otherConsumers(ctx, st)
}

// common checks every stream, also those of buckets.
func (o *object) common(got jetstream.StreamConfig) {
	o.check(got.Storage == jetstream.FileStorage, "storage", "file", strings.ToLower(got.Storage.String()),
		"memory does not survive a restart", "")
	o.check(!got.NoAck, "no ack", "false", "true",
		"without acknowledgements the worker cannot know that a message is stored", "--ack")
	o.check(!got.Sealed, "sealed", "false", "true",
		"a sealed stream takes no messages", "")
	o.check(got.Mirror == nil, "mirror", "none", "set",
		"a mirror takes no messages but its origin's", "")
	o.check(got.SubjectTransform == nil, "subject transform", "none", "set",
		"messages would be stored on subjects that the worker does not read", "--no-transform")
	o.check(got.PersistMode != jetstream.AsyncPersistMode, "persist mode", "default", "async",
		"the server would acknowledge messages before it stores them", "")
	o.check(!got.AllowMsgCounter, "message counter", "false", "true",
		"a counter stream takes no ordinary messages", "")
	o.check(got.MaxMsgSize <= 0, "max message size", "unlimited", strconv.Itoa(int(got.MaxMsgSize)),
		"the worker could not store the result, wake-up or dead letter of a large request", "--max-msg-size=-1")
}

func (o *object) subjects(want, got jetstream.StreamConfig) {
	w, g := slices.Sorted(slices.Values(want.Subjects)), slices.Sorted(slices.Values(got.Subjects))
	o.check(slices.Equal(w, g), "subjects", strings.Join(w, " "), cmpWord(strings.Join(g, " ")),
		"with fewer subjects messages are lost, with others the stream collects messages that no worker reads", "--subjects="+strings.Join(w, ","))
}

// noSubjectLimits checks every stream that has consumers, ours or a producer's.
func (o *object) noSubjectLimits(got jetstream.StreamConfig) {
	o.check(got.MaxMsgsPerSubject <= 0 && !got.DiscardNewPerSubject, "max messages per subject", "unlimited", strconv.FormatInt(got.MaxMsgsPerSubject, 10),
		"a message that is replaced is lost, and consumers may forget others with it", "--max-msgs-per-subject=-1")
}

func (o *object) noRollup(got jetstream.StreamConfig) {
	o.check(!got.AllowRollup, "allow rollup", "false", "true",
		"a rollup deletes messages, and consumers may forget others with them", "--no-allow-rollup")
}

func (o *object) discardNew(got jetstream.StreamConfig, why string) {
	o.check(got.Discard == jetstream.DiscardNew, "discard", "new", strings.ToLower(strings.TrimPrefix(got.Discard.String(), "Discard")), why, "--discard=new")
}

func (o *object) requests(got jetstream.StreamConfig) {
	l := o.layout
	o.discardNew(got, "a full stream would drop the oldest requests instead of refusing new ones")
	o.noSubjectLimits(got)
	o.noRollup(got)
	o.check(got.MaxAge == 0, "max age", "unlimited", got.MaxAge.String(),
		"requests that wait for the gateway would be deleted", "--max-age=0")
	o.check(!got.AllowMsgTTL, "allow message ttl", "false", "true",
		"a publisher's header could delete a request before its result", "")
	o.check(!got.AllowMsgSchedules, "allow message schedules", "false", "true",
		"it switches rollups on", "")
	o.check(got.Duplicates >= l.RequestsDuplicates, "duplicate window", "at least "+l.RequestsDuplicates.String(), got.Duplicates.String(),
		"a request that is published again reaches the worker again", "--dupe-window="+l.RequestsDuplicates.String())
	o.check(got.MaxBytes > 0 || got.MaxMsgs > 0, "max bytes", strconv.FormatInt(l.RequestsMaxBytes, 10), "unlimited",
		"without a limit the disk fills and every stream stops, results too", "--max-bytes="+strconv.FormatInt(l.RequestsMaxBytes, 10))
}

func (o *object) parked(got jetstream.StreamConfig) {
	const why = "the server would delete parked orders silently"
	// An old server drops the flag when it stores the configuration, and then treats a
	// scheduled message as an ordinary one.
	o.check(got.AllowMsgSchedules, "allow message schedules", "true", "false",
		"no parked order would ever be due; a server that ignores the flag is older than "+MinServer, "--allow-schedules --allow-rollup --no-deny-purge")
	o.check(got.MaxMsgs <= 0, "max messages", "unlimited", strconv.FormatInt(got.MaxMsgs, 10), why, "--max-msgs=-1")
	o.check(got.MaxBytes <= 0, "max bytes", "unlimited", strconv.FormatInt(got.MaxBytes, 10), why, "--max-bytes=-1")
	o.check(got.MaxAge == 0, "max age", "unlimited", got.MaxAge.String(), why, "--max-age=0")
	o.noSubjectLimits(got)
	o.check(!got.DenyPurge, "deny purge", "false", "true",
		"the worker purges the wake-up of a finished order", "")
	o.direct(got, "the watchdog could not read the wake-ups, and would find no lost one")
}

// direct checks a stream that the worker reads in batches, which needs direct gets.
func (o *object) direct(got jetstream.StreamConfig, why string) {
	o.check(got.AllowDirect, "allow direct", "true", "false", why, "--allow-direct")
}

// kept checks the streams of results and dead letters.
func (o *object) kept(want, got jetstream.StreamConfig) {
	o.discardNew(got, "a full stream would drop the oldest instead of making the worker wait")
	o.noRollup(got)
	o.check(got.MaxAge == want.MaxAge, "max age", want.MaxAge.String(), got.MaxAge.String(),
		"the age of ledger records depends on it", "--max-age="+want.MaxAge.String())
	o.direct(got, "its messages could not be listed, and each look-up would go to the stream's leader")
}

// trail checks the stream of the audit trail.
func (o *object) trail(want, got jetstream.StreamConfig) {
	o.discardNew(got, "a full stream would drop the oldest records instead of stopping the worker")
	o.noRollup(got)
	o.noSubjectLimits(got)
	o.check(got.DenyDelete, "deny delete", "true", "false", "a record could be deleted", "")
	o.check(got.DenyPurge, "deny purge", "true", "false", "records could be purged", "")
	o.check(!got.AllowMsgTTL, "allow message ttl", "false", "true", "a publisher's header could delete a record", "")
	o.check(got.MaxAge == 0 || got.MaxAge >= want.MaxAge, "max age", "at least "+want.MaxAge.String(), got.MaxAge.String(),
		"the server would remove records too early", "--max-age="+want.MaxAge.String())
	o.check(got.MaxBytes > 0, "max bytes", strconv.FormatInt(want.MaxBytes, 10), "unlimited",
		"without a limit the disk fills and every stream stops, results too", "--max-bytes="+strconv.FormatInt(want.MaxBytes, 10))
	o.check(got.Duplicates >= want.Duplicates, "duplicate window", "at least "+want.Duplicates.String(), got.Duplicates.String(),
		"a record that is published again must be recognised", "--dupe-window="+want.Duplicates.String())
	o.direct(got, "the trail could not be read")
}

// perReason checks the stream of dead letters. A stream of an earlier version has no bound: the
// worker runs on it, and reports a note.
func (o *object) perReason(got jetstream.StreamConfig) {
	const setting = "max messages per subject"
	want := strconv.FormatInt(o.layout.DeadPerReason, 10)
	flag := "--max-msgs-per-subject=" + want
	o.check(!got.DiscardNewPerSubject, "discard new per subject", "false", "true",
		"the server would refuse every dead letter beyond the bound, and its request would never end", "--no-discard-per-subject")
	if got.MaxMsgsPerSubject <= 0 {
		o.found = append(o.found, Finding{
			Object: o.name, Setting: setting, Want: want, Got: "unlimited", Note: true,
			Why: "one producer's dead letters can fill the disk", Fix: o.edit + " " + flag,
		})
		return
	}
	o.check(got.MaxMsgsPerSubject >= o.layout.DeadPerReason, setting, "at least "+want, strconv.FormatInt(got.MaxMsgsPerSubject, 10),
		"the server would remove dead letters before an operator sees them", flag)
}

// otherConsumers finds consumers that take messages away from the worker's own.
func (o *object) otherConsumers(ctx context.Context, st jetstream.Stream) error {
	ours := map[string]bool{}
	for _, lane := range o.layout.lanes() {
		ours[lane.config.Durable] = true
	}
	names := st.ConsumerNames(ctx)
	for name := range names.Name() {
		o.check(ours[name], "consumers", "the worker's alone", name,
			"messages that it acknowledges are removed, and a schedule that it receives never fires",
			"")
		if !ours[name] {
			o.found[len(o.found)-1].Fix = fmt.Sprintf("nats consumer rm %s %s", st.CachedInfo().Config.Name, name)
		}
	}
	if err := names.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return fmt.Errorf("listing the consumers of stream %s: %w", st.CachedInfo().Config.Name, err)
	}
	return nil
}

// bucket checks the stream below a key-value bucket.
func (c *checker) bucket(ctx context.Context, js jetstream.JetStream, want jetstream.KeyValueConfig) error {
	name := bucketStream(want.Bucket)
	st, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		c.missing("bucket " + want.Bucket)
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading bucket %s: %w", want.Bucket, err)
	}
	got := st.CachedInfo().Config
	o := &object{
		checker: c,
		name:    "bucket " + want.Bucket,
		edit:    "nats stream edit " + name,
		remake:  "cannot be changed: stop the workers, delete the bucket, then entrust-worker provision",
	}
	o.common(got)
	o.subjects(jetstream.StreamConfig{Subjects: []string{"$KV." + want.Bucket + ".>"}}, got)
	o.discardNew(got, "a full bucket would drop the oldest records")
	o.check(got.Retention == jetstream.LimitsPolicy, "retention", "limits", retentionWord(got.Retention),
		"records must stay", "")
	o.check(got.MaxMsgsPerSubject == 1, "history", "1", strconv.FormatInt(got.MaxMsgsPerSubject, 10),
		"old revisions are never read and cost memory", "--max-msgs-per-subject=1")
	ttl, why := want.TTL.String(), "if a record is removed before its result, the same id enrolls again"
	switch want.Bucket {
	case c.layout.Control:
		ttl, why = "unlimited", "the workers would lose their shared state"
	case c.layout.Certs:
		ttl, why = "unlimited", "a producer could not revoke its certificates any more"
	case c.layout.Keys:
		ttl, why = "unlimited", "keys that were revoked for compromise would be certified again"
	}
	o.check(got.MaxAge == want.TTL, "ttl", ttl, got.MaxAge.String(), why, "--max-age="+want.TTL.String())
	o.check(got.AllowRollup, "allow rollup", "true", "false", "keys could not be purged", "--allow-rollup")
	if want.Bucket == c.layout.Orders {
		o.direct(got, "the watchdog could not read the ledger, and no lost wake-up would be found")
	}
	if want.LimitMarkerTTL > 0 {
		o.check(got.AllowMsgTTL, "allow message ttl", "true", "false",
			"a key could not be given a time to live", "--allow-msg-ttl")
	}
	if got.Replicas != want.Replicas {
		c.found = append(c.found, Finding{
			Object: o.name, Setting: "replicas", Want: strconv.Itoa(want.Replicas), Got: strconv.Itoa(got.Replicas), Note: true,
			Why: "with one replica, data that its server loses is lost",
			Fix: fmt.Sprintf("%s --replicas=%d", o.edit, want.Replicas),
		})
	}
	return nil
}

func cmpWord(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
