package dead

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

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/orders"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/deadletter"
	"github.com/entrust-worker/entrust-worker/internal/order"
	replays "github.com/entrust-worker/entrust-worker/internal/replay"
)

func showCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var producer string
	var body, asJSON bool
	cmd := &cobra.Command{
		Use:   "show SEQ|ORDER",
		Short: "Show one dead letter",
		Long: `Show one dead letter by its number, or the newest of an order, <producer>.<id>. The verb shows its headers, what its
request asks for, and what a replay would do. It shows the request itself only with --body.`,
		Example: `  entrust-worker dead show 42
  entrust-worker dead show web.4711 --body`,
		Args: usage.AtLeastOne("SEQ"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage.Errorf("show takes one dead letter, got %d", len(args))
			}
			return dial.Work(cmd, func(ctx context.Context, bus *connect.Bus) error {
				l, err := find(ctx, bus, args[0], producer)
				if err != nil {
					return err
				}
				v := view(ctx, bus, l, body)
				if asJSON {
					return terminal.PrintJSON(t.Out, v)
				}
				return v.print(t, l)
			})
		},
	}
	cmd.Flags().StringVar(&producer, "producer", "", "`producer` of an order that is named by its id alone")
	cmd.Flags().BoolVar(&body, "body", false, "show the request too, with the certificate request in it")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return cmd
}

// find finds the letter of that number, or the newest of an order.
func find(ctx context.Context, bus *connect.Bus, name, producer string) (*deadletter.Letter, error) {
	sequence, ok, err := sequenceOf(name, producer)
	if err != nil {
		return nil, err
	}
	if ok {
		ctx, cancel := bus.Step(ctx)
		defer cancel()
		l, err := box(bus).Get(ctx, sequence)
		if errors.Is(err, deadletter.ErrNoLetter) {
			return nil, usage.WithHint(err, "entrust-worker dead ls shows the numbers; if the number is the id of an order, add --producer")
		}
		return l, err
	}
	keys, err := orders.Keys([]string{name}, producer)
	if err != nil {
		return nil, err
	}
	return newestOf(ctx, bus, keys[0])
}

// errNoLetters says that an order has no dead letter.
var errNoLetters = errors.New("has no dead letter")

// newestOf reads the newest letter of an order. The error wraps errNoLetters where there is none.
func newestOf(ctx context.Context, bus *connect.Bus, key order.Key) (*deadletter.Letter, error) {
	var newest *deadletter.Letter
	for l, err := range box(bus).List(ctx, deadletter.Filter{Producer: key.Producer, ID: key.ID}) {
		if _, odd := errors.AsType[*deadletter.UnreadableError](err); odd {
			continue
		}
		if err != nil {
			return nil, err
		}
		newest = l
	}
	if newest == nil {
		return nil, usage.WithHint(fmt.Errorf("order %s %w", key, errNoLetters), "entrust-worker orders show %s shows what became of it", key)
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
	Step       order.Replay `json:"replay_step,omitempty"`
	Generation int          `json:"replay_generation,omitempty"`
	Refused    string       `json:"replay_refused,omitempty"`
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
func view(ctx context.Context, bus *connect.Bus, l *deadletter.Letter, body bool) *letterView {
	v := &letterView{letter: newLetter(l), Headers: l.Request.Header}
	ctx, cancel := bus.Step(ctx)
	defer cancel()
	switch plan, err := replays.New(bus.JS, bus.Layout).Plan(ctx, l, false); {
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
	_, kind, err := bus.Subjects.ParseRequest(l.Request.Subject)
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
func stands(p *replays.Plan) string {
	if p.Stands == "" {
		return ""
	}
	return fmt.Sprintf("the order had ended as %s before; that result stands", p.Stands)
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
func (v *letterView) print(t *terminal.Terminal, l *deadletter.Letter) error {
	now := t.Now()
	replay := v.Refused
	switch {
	case v.Refused != "":
	case v.Generation > 0:
		replay = fmt.Sprintf("%s, as generation %d", v.Step, v.Generation)
	default:
		replay = string(v.Step)
	}
	all := []terminal.Field{
		{"letter", fmt.Sprint(v.Sequence)},
		{"order", v.order()},
		{"kind", string(v.Kind)},
		{"reason", string(v.Reason)},
		{"error", v.Error},
		{"died", v.Time.UTC().Format(time.RFC3339) + " (" + terminal.Span(now.Sub(v.Time)) + " ago)"},
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
			terminal.Field{"  encoding", r.Encoding}, terminal.Field{"  ca", r.CAID}, terminal.Field{"  profile", r.Profile}, terminal.Field{"  key", r.Key},
			terminal.Field{"  names", count(r.Names)}, terminal.Field{"  max wait", count64(r.MaxWait, "s")}, terminal.Field{"  tracking id", r.Tracking},
			terminal.Field{"  serial", r.Serial}, terminal.Field{"  reason", r.Reason}, terminal.Field{"  order", r.Order}, terminal.Field{"  csr subject", v.Subject},
			terminal.Field{"  names are", strings.Join(v.Names, " ")})
		for _, key := range slices.Sorted(maps.Keys(r.Labels)) {
			all = append(all, terminal.Field{"  label", key + "=" + r.Labels[key]})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(v.Headers)) {
		for _, value := range v.Headers[name] {
			all = append(all, terminal.Field{"header", name + ": " + value})
		}
	}
	switch {
	case v.Body != nil:
		all = append(all, terminal.Field{"body", string(v.Body)})
	case v.Raw != nil:
		all = append(all, terminal.Field{"body", strconv.Quote(string(v.Raw))})
	}
	return terminal.PrintFields(t.Out, all)
}

// count is a number, "" for none.
func count(n int) string { return count64(int64(n), "") }

func count64(n int64, unit string) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10) + unit
}
