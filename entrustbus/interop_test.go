package entrustbus_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// python runs testdata/interop.py and returns its lines, or skips the test where it cannot run.
func python(t *testing.T, stdin string, args ...string) []string {
	t.Helper()
	// Debian's own interpreter first: python3-msgpack belongs to it, and another python3 may come before it in PATH.
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(name, "-c", "import msgpack").Run() != nil {
			continue
		}
		cmd := exec.Command(name, append([]string{"testdata/interop.py"}, args...)...)
		var stderr bytes.Buffer
		cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
		cmd.Env = append(cmd.Environ(), "PYTHONIOENCODING=utf-8")
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, stderr.String())
		}
		return strings.Split(strings.TrimSpace(string(out)), "\n")
	}
	t.Skip("no python3 with the msgpack module here: install python3-msgpack to run this test")
	return nil
}

func TestPythonInterop(t *testing.T) {
	t.Parallel()
	t.Run("requests", func(t *testing.T) {
		t.Parallel()
		want := []entrustbus.Request{
			&entrustbus.Issue{ID: "py-1", CSRPEM: testdata(t, "request.pem")},
			&entrustbus.Issue{
				ID: "py-2", CSRDER: csrDER(t), CommonName: "shop.example.net", SANs: []string{"shop.example.net", "ip:192.0.2.7"},
				SubjectDN: "CN=shop.example.net,O=Söhne", ProfileID: "tls-server", CAID: "ca-1", ValiditySeconds: 90 * 86400,
				PollMaxWaitSeconds: 1 << 20, Labels: map[string]string{"team": "Käse", "made": "2026"},
			},
			&entrustbus.Revoke{ID: "py-3", Serial: "12:34:AB:CD", Reason: "keyCompromise", Comment: "laptop lost"},
			&entrustbus.Revoke{ID: "py-4", SerialDecimal: "305441741"},
			&entrustbus.Track{ID: "py-5", TrackingID: "t-1", PollMaxWaitSeconds: 200},
			&entrustbus.Cancel{ID: "py-6", Order: "py-2"},
		}
		lines := python(t, "", "pack", "testdata/request.pem", base64.StdEncoding.EncodeToString(csrDER(t)))
		if len(lines) != len(want) {
			t.Fatalf("Python packed %d requests, want %d", len(lines), len(want))
		}
		for i, line := range lines {
			var packed struct {
				Kind entrustbus.Kind
				Body []byte
			}
			if err := json.Unmarshal([]byte(line), &packed); err != nil {
				t.Fatal(err)
			}
			enc, err := entrustbus.EncodingOf("", packed.Body)
			if err != nil || enc != entrustbus.EncodingMsgpack {
				t.Errorf("%s: told as %v, %v", want[i].OrderID(), enc, err)
			}
			got, err := entrustbus.DecodeRequest(packed.Kind, enc, packed.Body)
			if err != nil {
				t.Errorf("%s: %v", want[i].OrderID(), err)
				continue
			}
			if d := difference(got, want[i]); d != "" {
				t.Errorf("%s: %s", want[i].OrderID(), d)
			}
		}
	})
	t.Run("results", func(t *testing.T) {
		t.Parallel()
		samples := sampleResults(t)
		outcomes := slices.Sorted(maps.Keys(samples))
		var stdin strings.Builder
		for _, name := range outcomes {
			body, err := entrustbus.EncodeResult(entrustbus.EncodingMsgpack, samples[name])
			if err != nil {
				t.Fatal(err)
			}
			stdin.WriteString(base64.StdEncoding.EncodeToString(body) + "\n")
		}
		lines := python(t, stdin.String(), "unpack")
		if len(lines) != len(outcomes) {
			t.Fatalf("Python read %d results, want %d", len(lines), len(outcomes))
		}
		for i, name := range outcomes {
			var got, want map[string]any
			asJSON, err := entrustbus.EncodeResult(entrustbus.EncodingJSON, samples[name])
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(asJSON, &want); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(lines[i]), &got); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{"not_before", "not_after", "requested_at", "submitted_at", "finished_at"} {
				if text, ok := want[key].(string); ok {
					at, err := time.Parse(time.RFC3339, text)
					if err != nil {
						t.Fatal(err)
					}
					want[key] = map[string]any{"seconds": float64(at.Unix()), "nanoseconds": float64(at.Nanosecond())}
				}
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: Python read\n%v, want\n%v", name, got, want)
			}
		}
	})
}
