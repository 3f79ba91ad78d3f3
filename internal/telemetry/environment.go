package telemetry

import (
	"fmt"
	"strings"
)

// OTLP protocols.
const (
	grpc  = "grpc"
	proto = "http/protobuf"
)

// choice holds the protocol of each exported signal; "" means that the signal is not
// exported.
type choice struct {
	traces, logs string
	warnings     []string
}

// choose reads the requested signals. Traces are exported if an exporter or an endpoint
// is set. Logs are exported only if an exporter is set: they contain more, and most sites
// collect them from standard error. An unsupported value turns its signal off and adds a
// warning, as OpenTelemetry requires.
func choose(getenv func(string) string) choice {
	var c choice
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return c
	}
	wants := func(signal string, byDefault bool) string {
		name := "OTEL_" + signal + "_EXPORTER"
		switch value := getenv(name); value {
		case "otlp":
		case "none":
			return ""
		case "":
			if !byDefault {
				return ""
			}
		default:
			c.warnings = append(c.warnings, fmt.Sprintf("%s: unsupported exporter %q (supported: otlp, none)", name, value))
			return ""
		}
		protocol, from := proto, ""
		for _, name := range []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_" + signal + "_PROTOCOL"} {
			if value := getenv(name); value != "" {
				protocol, from = value, name
			}
		}
		switch protocol {
		case grpc, proto, "http/json":
			return protocol
		}
		c.warnings = append(c.warnings, fmt.Sprintf("%s: unsupported protocol %q (supported: http/protobuf, http/json, grpc)", from, protocol))
		return ""
	}
	endpoint := getenv("OTEL_EXPORTER_OTLP_ENDPOINT") + getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	c.traces = wants("TRACES", endpoint != "")
	c.logs = wants("LOGS", false)
	return c
}
