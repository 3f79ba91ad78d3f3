package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
)

func deadShowCommand(a *app) *cobra.Command {
	var producer string
	var body, asJSON bool
	cmd := &cobra.Command{
		Use:   "show SEQ|ORDER",
		Short: "Show one dead letter",
		Long: `Show one dead letter by its number, or the newest of an order, <producer>.<id>: its headers, what its request
asks for, and what a replay would do. The request itself is shown only with --body.`,
		Args: atLeastOne("SEQ"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("one letter at a time, got %d", len(args))
			}
			return a.atDesk(cmd, func(ctx context.Context, d *desk) error {
				l, err := d.letter(ctx, args[0], producer)
				if err != nil {
					return err
				}
				v := view(ctx, d, l, body)
				if asJSON {
					return printJSON(a.out, v)
				}
				return v.print(a, l, time.Now())
			})
		},
	}
	cmd.Flags().StringVar(&producer, "producer", "", "`producer` of an order that is named by its id alone")
	cmd.Flags().BoolVar(&body, "body", false, "show the request too, with the certificate request in it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// letter finds the letter of that number, or the newest of an order.
func (d *desk) letter(ctx context.Context, name, producer string) (*deadletter.Letter, error) {
	if sequence, err := strconv.ParseUint(name, 10, 64); err == nil && producer == "" {
		if sequence == 0 {
			return nil, withHint(usagef("letters are numbered from 1"), "entrust-worker dead ls shows the numbers; an id that is a number needs --producer")
		}
		ctx, cancel := d.step(ctx)
		defer cancel()
		l, err := d.box().Get(ctx, sequence)
		if errors.Is(err, deadletter.ErrNoLetter) {
			return nil, withHint(err, "entrust-worker dead ls shows the numbers; an id that is a number needs --producer")
		}
		return l, err
	}
	keys, err := orderKeys([]string{name}, producer)
	if err != nil {
		return nil, err
	}
	var newest *deadletter.Letter
	for l, err := range d.box().List(ctx, deadletter.Filter{Producer: keys[0].Producer, ID: keys[0].ID}) {
		if err != nil {
			return nil, err
		}
		newest = l
	}
	if newest == nil {
		return nil, withHint(fmt.Errorf("order %s has no dead letter", keys[0]), "entrust-worker orders show %s shows what became of it", keys[0])
	}
	return newest, nil
}

// letterView is everything there is to show of a letter.
type letterView struct {
	letter
	Headers map[string][]string `json:"headers"`
	Request *requestView        `json:"request,omitempty"`
	// Undecodable is why there is no Request.
	Undecodable string `json:"undecodable,omitempty"`
	// Replay is the step of a replay, or Refused why there would be none.
	Step       deadletter.Step `json:"replay_step,omitempty"`
	Generation int             `json:"replay_generation,omitempty"`
	Refused    string          `json:"replay_refused,omitempty"`
	// Stands says that the letter's end came too late.
	Stands string `json:"stands,omitempty"`
	// Only on demand.
	Subject string          `json:"csr_subject,omitempty"`
	Names   []string        `json:"names,omitempty"`
	Body    json.RawMessage `json:"body,omitempty"`
	Raw     []byte          `json:"body_base64,omitempty"`
}

// requestView is what a request asks for, without names, certificates and certificate
// requests.
type requestView struct {
	Encoding string            `json:"encoding"`
	CAID     string            `json:"ca_id,omitempty"`
	Profile  string            `json:"profile_id,omitempty"`
	MaxWait  int64             `json:"poll_max_wait_seconds,omitempty"`
	Names    int               `json:"names,omitempty"`
	Key      string            `json:"key,omitempty"`
	Tracking string            `json:"tracking_id,omitempty"`
	Serial   string            `json:"serial,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Order    string            `json:"order,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
}

// view reads what can be read of a letter.
func view(ctx context.Context, d *desk, l *deadletter.Letter, body bool) *letterView {
	v := &letterView{letter: newLetter(l), Headers: l.Request.Header}
	ctx, cancel := d.step(ctx)
	defer cancel()
	switch plan, err := deadletter.NewReplayer(d.js, d.layout).Plan(ctx, l, false); {
	case err != nil:
		v.Refused = err.Error()
	default:
		v.Step, v.Generation, v.Stands = plan.Step, plan.Generation, stands(plan)
	}
	if body {
		v.Raw = l.Request.Body
	}
	enc, err := entrustbus.EncodingOf(l.Request.Get(entrustbus.HeaderContentType), l.Request.Body)
	if err != nil {
		v.Undecodable = err.Error()
		return v
	}
	_, kind, err := d.subjects.ParseRequest(l.Request.Subject)
	if err != nil {
		v.Undecodable = err.Error()
		return v
	}
	r, err := entrustbus.DecodeRequest(kind, enc, l.Request.Body)
	if err != nil {
		v.Undecodable = err.Error()
	}
	if r == nil {
		return v
	}
	v.Request = &requestView{Encoding: enc.String(), Labels: r.LabelMap()}
	csr := v.Request.describe(r)
	if !body {
		return v
	}
	if csr != nil {
		v.Subject, v.Names = csr.Subject.String(), namesOf(r)
	}
	if text, err := entrustbus.EncodeRequest(entrustbus.EncodingJSON, r); err == nil {
		v.Body, v.Raw = text, nil
	}
	return v
}

// stands says that another end of the order was faster than the letter's.
func stands(p *deadletter.Plan) string {
	if p.Stands == "" {
		return ""
	}
	return fmt.Sprintf("the order had ended as %s before: that result stands", p.Stands)
}

// describe fills in what a request asks for, and returns its certificate request.
func (v *requestView) describe(r entrustbus.Request) *x509.CertificateRequest {
	var csr *x509.CertificateRequest
	switch q := r.(type) {
	case *entrustbus.Issue:
		v.CAID, v.Profile, v.MaxWait = q.CAID, q.ProfileID, q.PollMaxWaitSeconds
		csr, _ = q.CertificateRequest() // the letter may be about just that
	case *entrustbus.Track:
		v.CAID, v.Tracking, v.MaxWait = q.CAID, q.TrackingID, q.PollMaxWaitSeconds
		csr, _ = q.CertificateRequest()
	case *entrustbus.Revoke:
		v.CAID, v.Reason = q.CAID, q.Reason
		if serial, err := q.SerialNumber(); err == nil {
			v.Serial = fmt.Sprintf("%x", serial)
		}
	case *entrustbus.Cancel:
		v.Order = q.Order
	}
	if csr != nil {
		v.Key, v.Names = csr.PublicKeyAlgorithm.String(), len(namesOf(r))
	}
	return csr
}

func namesOf(r entrustbus.Request) []string {
	var names []entrustbus.SAN
	switch q := r.(type) {
	case *entrustbus.Issue:
		names, _ = q.Names()
	case *entrustbus.Track:
		names, _ = q.Names()
	}
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = n.Value
	}
	return all
}

// print shows the letter to people.
func (v *letterView) print(a *app, l *deadletter.Letter, now time.Time) error {
	replay := v.Refused
	switch {
	case v.Refused != "":
	case v.Generation > 0:
		replay = fmt.Sprintf("%s, as generation %d", v.Step, v.Generation)
	default:
		replay = string(v.Step)
	}
	all := []field{
		{"letter", fmt.Sprint(v.Sequence)},
		{"order", v.order()},
		{"kind", string(v.Kind)},
		{"reason", string(v.Reason)},
		{"error", v.Error},
		{"died", v.Time.UTC().Format(time.RFC3339) + " (" + span(now.Sub(v.Time)) + " ago)"},
		{"deaths", fmt.Sprint(v.Deaths)},
		{"generation", fmt.Sprint(v.letter.Replay)},
		{"deliveries", fmt.Sprint(v.Deliveries)},
		{"tracking id", v.TrackingID},
		{"subject", l.Request.Subject},
		{"came late", v.Stands},
		{"a replay would", replay},
		{"request", fmt.Sprintf("%d bytes", v.Bytes)},
		{"not readable", v.Undecodable},
	}
	if r := v.Request; r != nil {
		all = append(all,
			field{"  encoding", r.Encoding}, field{"  ca", r.CAID}, field{"  profile", r.Profile}, field{"  key", r.Key},
			field{"  names", count(r.Names)}, field{"  max wait", count64(r.MaxWait, "s")}, field{"  tracking id", r.Tracking},
			field{"  serial", r.Serial}, field{"  reason", r.Reason}, field{"  order", r.Order}, field{"  csr subject", v.Subject},
			field{"  names are", strings.Join(v.Names, " ")})
		for _, key := range slices.Sorted(maps.Keys(r.Labels)) {
			all = append(all, field{"  label", key + "=" + r.Labels[key]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.Headers)) {
		for _, value := range v.Headers[name] {
			all = append(all, field{"header", name + ": " + value})
		}
	}
	switch {
	case v.Body != nil:
		all = append(all, field{"body", string(v.Body)})
	case v.Raw != nil:
		all = append(all, field{"body", strconv.Quote(string(v.Raw))})
	}
	return printFields(a.out, all)
}

// count is a number, "" for none.
func count(n int) string { return count64(int64(n), "") }

func count64(n int64, unit string) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10) + unit
}
