package main

import (
	"errors"
	"regexp"
	"slices"
	"strings"
)

// The packages that check a part of the configuration speak of their own fields. These put
// the keys in their place.
var (
	streamWords = strings.NewReplacer(
		"requests stream", "streams.requests", "parked stream", "streams.parked", "results stream", "streams.results",
		"dead stream", "streams.dead", "orders bucket", "streams.orders", "control bucket", "streams.control",
		"requests max bytes", "streams.requests_max_bytes", "requests duplicates", "streams.requests_duplicates",
		"results duplicates", "streams.results_duplicates", "results max age", "streams.results_max_age",
		"dead max age", "streams.dead_max_age", "orders max age", "streams.orders_max_age", "ack wait", "ack_wait",
		"issue pending", "streams.issue_pending", "revoke pending", "streams.revoke_pending",
		"order pending", "streams.order_pending", "due pending", "streams.due_pending", "prefix", "streams.prefix",
	)
	pollWords = strings.NewReplacer(
		"RetryAfterMax", "poll.retry_after_max", "First", "poll.first", "Max", "poll.max",
		"Factor", "poll.factor", "Jitter", "poll.jitter",
	)
	gatewayWords = strings.NewReplacer(
		"gateway URL:", "gateway.url", "gateway CA id:", "gateway.ca_id", "gateway poll path:", "gateway.poll_path",
		"gateway enroll timeout:", "gateway.enroll_timeout", "gateway timeout:", "gateway.timeout",
	)
)

// inKeys puts keys into what a package says.
func inKeys(err error, words *strings.Replacer) error {
	return eachLine(err, func(line string) string { return unquoted(line, words.Replace) })
}

// eachLine makes an error of each line of one, as errors.Join writes them; nil stays nil.
func eachLine(err error, change func(string) string) error {
	if err == nil {
		return nil
	}
	var all []error
	for line := range strings.SplitSeq(err.Error(), "\n") {
		all = append(all, errors.New(change(line)))
	}
	return errors.Join(all...)
}

// unquoted changes a text, but for the values that it quotes.
func unquoted(text string, change func(string) string) string {
	parts := strings.Split(text, `"`)
	for i := 0; i < len(parts); i += 2 {
		parts[i] = change(parts[i])
	}
	return strings.Join(parts, `"`)
}

var keyWord = regexp.MustCompile(`[a-z0-9_]+(\.[a-z0-9_]+)?`)

// sourced adds to each line of what is wrong with the configuration where the values came
// from that it speaks of: a flag, say, that is called otherwise than its key.
func (s *settings) sourced(err error) error {
	if err == nil {
		return nil
	}
	return &usageError{eachLine(err, func(line string) string {
		var from []string
		unquoted(line, func(part string) string {
			for _, word := range keyWord.FindAllString(part, -1) {
				origin := s.origin[word]
				if origin != "" && origin != "default" && !slices.Contains(from, origin) && !strings.Contains(line, origin) {
					from = append(from, origin)
				}
			}
			return part
		})
		if len(from) == 0 {
			return line
		}
		return line + " (" + strings.Join(from, ", ") + ")"
	})}
}
