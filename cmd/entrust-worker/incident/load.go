package incident

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/connect"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/terminal"
	"github.com/entrust-worker/entrust-worker/cmd/entrust-worker/usage"
	"github.com/entrust-worker/entrust-worker/entrustbus"
	"github.com/entrust-worker/entrust-worker/internal/incident"
	"github.com/entrust-worker/entrust-worker/internal/streams"
)

// filter chooses certificates from results. A zero field chooses all.
type filter struct {
	producer, ca, profile     string
	issuedAfter, issuedBefore string
	after, before             time.Time
}

func loadCommand(t *terminal.Terminal, dial connect.Dialer) *cobra.Command {
	var file string
	var f filter
	var all, yes bool
	cmd := &cobra.Command{
		Use:   "load NAME",
		Short: "Add serials to an incident, from a file or from the results",
		Long: `Add serials to an incident: those of a file, one a line in hexadecimal, or those of the certificates in the results
that match every flag and have not expired. The verb adds no serial that the incident has already. Without --yes it
says how many it would add, and adds none. Only entrust-worker incident run revokes.`,
		Example: `  entrust-worker incident load leak-7 --file serials.txt --yes
  entrust-worker incident load leak-7 --producer shop --issued-after 2026-07-01T00:00:00Z`,
		Args: oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			chosen := 0
			for _, name := range []string{"producer", "ca", "profile", "issued-after", "issued-before"} {
				if cmd.Flags().Changed(name) {
					chosen++
				}
			}
			switch {
			case file != "" && (chosen > 0 || all):
				return usage.Errorf("--file and a choice of results exclude each other")
			case file == "" && chosen == 0 && !all:
				return usage.WithHint(usage.Errorf("no serials chosen"), "name a --file, choose results by flags, or pass --all")
			case all && chosen > 0:
				return usage.Errorf("--all and a choice of results exclude each other")
			}
			if err := f.times(); err != nil {
				return err
			}
			var entries []incident.Entry
			if file != "" {
				var err error
				if entries, err = readSerials(file, t.In); err != nil {
					return err
				}
			}
			return work(cmd, dial, func(ctx context.Context, bus *connect.Bus, s *incident.Store) error {
				if file == "" {
					var err error
					if entries, err = f.results(ctx, bus, t.Now()); err != nil {
						return err
					}
				}
				i, _, err := s.Get(ctx, args[0])
				if err != nil {
					return err
				}
				if yes {
					n, err := s.Load(ctx, args[0], entries)
					if err != nil {
						return err
					}
					t.Printf("added %d serials to incident %s; it has %d\n", n, i.Name, i.Serials+n)
					return nil
				}
				more, err := s.Missing(ctx, i, entries)
				if err != nil {
					return err
				}
				t.Printf("would add %d serials to incident %s; it has %d\n", len(more), i.Name, i.Serials)
				t.Notef("nothing was done; pass --yes to add them")
				return nil
			}, false, t)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "file", "", "`file` with one serial a line in hexadecimal, or - for standard input; # begins a comment")
	flags.StringVar(&f.producer, "producer", "", "certificates of this `producer`")
	flags.StringVar(&f.ca, "ca", "", "certificates of the certificate authority with this `id`")
	flags.StringVar(&f.profile, "profile", "", "certificates of this `profile`")
	flags.StringVar(&f.issuedAfter, "issued-after", "", "certificates issued at this `time` or later, such as 2026-07-01T00:00:00Z")
	flags.StringVar(&f.issuedBefore, "issued-before", "", "certificates issued before this `time`")
	flags.BoolVar(&all, "all", false, "every certificate in the results that has not expired")
	flags.BoolVar(&yes, "yes", false, "do it; without this the verb says how many it would add")
	return cmd
}

// times reads the instants of the flags.
func (f *filter) times() error {
	for _, of := range []struct {
		flag, text string
		to         *time.Time
	}{{"issued-after", f.issuedAfter, &f.after}, {"issued-before", f.issuedBefore, &f.before}} {
		if of.text == "" {
			continue
		}
		var err error
		if *of.to, err = time.Parse(time.RFC3339, of.text); err != nil {
			return usage.Errorf("--%s must be a time such as 2026-07-01T00:00:00Z, is %q", of.flag, terminal.Plain(of.text))
		}
	}
	return nil
}

// results are the certificates that fit. The results are kept for streams.results_max_age:
// older certificates are in no result any more.
func (f *filter) results(ctx context.Context, bus *connect.Bus, now time.Time) ([]incident.Entry, error) {
	producer := "*"
	if f.producer != "" {
		producer = f.producer
	}
	if producer != "*" && !entrustbus.ValidToken(producer) {
		return nil, usage.Errorf("%q is not a producer name", terminal.Plain(producer))
	}
	var entries []incident.Entry
	for m, err := range streams.Scan(ctx, bus.JS, bus.Layout.Results, bus.Subjects.Result(producer, "*")) {
		if err != nil {
			return nil, err
		}
		enc, err := entrustbus.EncodingOf(m.Header.Get(entrustbus.HeaderContentType), m.Data)
		if err != nil {
			return nil, fmt.Errorf("reading result %d: %w", m.Sequence, err)
		}
		r, err := entrustbus.DecodeResult(enc, m.Data)
		if err != nil {
			return nil, fmt.Errorf("reading result %d: %w", m.Sequence, err)
		}
		issued := m.Time
		if r.Outcome == entrustbus.OutcomeIssued && r.Serial != "" && r.NotAfter.After(now) &&
			(f.ca == "" || f.ca == r.CAID) && (f.profile == "" || f.profile == r.ProfileID) &&
			(f.after.IsZero() || !issued.Before(f.after)) && (f.before.IsZero() || issued.Before(f.before)) {
			entries = append(entries, incident.Entry{Serial: r.Serial, CAID: r.CAID})
		}
	}
	return entries, nil
}

// maxLine is the longest line of a file of serials, in bytes.
const maxLine = 4096

// readSerials reads a file of serials.
func readSerials(path string, stdin io.Reader) ([]incident.Entry, error) {
	in := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return nil, usage.Wrap(fmt.Errorf("reading serials: %w", err))
		}
		defer file.Close()
		in = file
	}
	var entries []incident.Entry
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxLine)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		r := entrustbus.Revoke{Serial: text}
		serial, err := r.SerialNumber()
		if err != nil {
			return nil, usage.Wrap(fmt.Errorf("reading serials: line %d of %s: %w", n, path, err))
		}
		entries = append(entries, incident.Entry{Serial: serial.Text(16)})
	}
	if err := lines.Err(); err != nil {
		return nil, usage.Wrap(fmt.Errorf("reading serials from %s: %w", path, err))
	}
	return entries, nil
}
