package telemetry

import (
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		environ               string // NAME=value, separated by spaces, without OTEL_
		traces, logs, warning string
	}{
		"nothing set":               {"", "", "", ""},
		"traces":                    {"TRACES_EXPORTER=otlp", proto, "", ""},
		"an endpoint":               {"EXPORTER_OTLP_ENDPOINT=http://c:4318", proto, "", ""},
		"an endpoint of traces":     {"EXPORTER_OTLP_TRACES_ENDPOINT=http://c:4318/x", proto, "", ""},
		"an endpoint of logs alone": {"EXPORTER_OTLP_LOGS_ENDPOINT=http://c:4318/x", "", "", ""}, // logs are exported only where asked
		"none":                      {"EXPORTER_OTLP_ENDPOINT=http://c:4318 TRACES_EXPORTER=none", "", "", ""},
		"logs":                      {"LOGS_EXPORTER=otlp", "", proto, ""},
		"both":                      {"EXPORTER_OTLP_ENDPOINT=http://c:4318 LOGS_EXPORTER=otlp", proto, proto, ""},
		"disabled":                  {"EXPORTER_OTLP_ENDPOINT=http://c:4318 LOGS_EXPORTER=otlp SDK_DISABLED=TRUE", "", "", ""},
		"grpc":                      {"TRACES_EXPORTER=otlp EXPORTER_OTLP_PROTOCOL=grpc", grpc, "", ""},
		"a protocol for one":        {"TRACES_EXPORTER=otlp LOGS_EXPORTER=otlp EXPORTER_OTLP_LOGS_PROTOCOL=grpc EXPORTER_OTLP_PROTOCOL=http/json", "http/json", grpc, ""},
		"another exporter":          {"TRACES_EXPORTER=zipkin LOGS_EXPORTER=otlp", "", proto, `OTEL_TRACES_EXPORTER: unsupported exporter "zipkin"`},
		"another protocol":          {"TRACES_EXPORTER=otlp EXPORTER_OTLP_TRACES_PROTOCOL=udp", "", "", `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: unsupported protocol "udp"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			environ := map[string]string{}
			for entry := range strings.FieldsSeq(row.environ) {
				name, value, _ := strings.Cut(entry, "=")
				environ["OTEL_"+name] = value
			}
			c := choose(func(name string) string { return environ[name] })
			if c.traces != row.traces || c.logs != row.logs {
				t.Errorf("traces %q and logs %q, want %q and %q", c.traces, c.logs, row.traces, row.logs)
			}
			if got := strings.Join(c.warnings, "; "); (got == "") != (row.warning == "") || !strings.HasPrefix(got, row.warning) {
				t.Errorf("warnings %q, want %q", got, row.warning)
			}
		})
	}
}
