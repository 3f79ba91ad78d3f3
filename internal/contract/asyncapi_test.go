package contract

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/entrust-worker/entrust-worker/entrustbus"
)

// asyncAPI is the part of docs/asyncapi.yaml that the test compares.
type asyncAPI struct {
	Version  string `yaml:"asyncapi"`
	Channels map[string]struct {
		Address    string         `yaml:"address"`
		Parameters map[string]any `yaml:"parameters"`
		Messages   map[string]ref `yaml:"messages"`
	} `yaml:"channels"`
	Operations map[string]struct {
		Action  string `yaml:"action"`
		Channel ref    `yaml:"channel"`
		Reply   *struct {
			Messages []ref `yaml:"messages"`
		} `yaml:"reply"`
	} `yaml:"operations"`
	Components struct {
		Messages map[string]struct {
			Payload struct {
				Schema ref `yaml:"schema"`
			} `yaml:"payload"`
		} `yaml:"messages"`
	} `yaml:"components"`
}

type ref struct {
	To string `yaml:"$ref"`
}

// The description of the bus names the subjects of the Go types, and every schema.
func TestAsyncAPI(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var api asyncAPI
	if err := yaml.Unmarshal(data, &api); err != nil {
		t.Fatal(err)
	}
	if api.Version != "3.0.0" {
		t.Errorf("it is AsyncAPI %q", api.Version)
	}

	var s entrustbus.Subjects
	want := map[string]string{
		"result": s.Result("{producer}", "{id}"), "refused": s.Refused("{producer}"), "event": s.EventFilter(),
		"ask-ca": s.Ask("{producer}", entrustbus.TopicCA), "ask-check": s.Ask("{producer}", entrustbus.TopicCheck),
		"ask-version": s.Ask("{producer}", entrustbus.TopicVersion), "ask-order": s.AskOrder("{producer}", "{id}"),
		"ask-suspend": s.AskOperator(entrustbus.TopicSuspend), "ask-resume": s.AskOperator(entrustbus.TopicResume),
		"reply": "",
	}
	want["event"] = strings.Replace(want["event"], "*", "{ca}", 1)
	for _, kind := range []entrustbus.Kind{
		entrustbus.KindIssue, entrustbus.KindRevoke, entrustbus.KindTrack, entrustbus.KindCancel, entrustbus.KindComplete, entrustbus.KindResolve,
	} {
		want["operator-"+string(kind)] = s.Operator("{producer}", kind)
		if kind.ForProducers() {
			want["request-"+string(kind)] = s.Request("{producer}", kind)
			want["ask-policy-"+string(kind)] = s.AskPolicy("{producer}", kind)
		}
	}
	addresses := map[string]string{}
	for name, c := range api.Channels {
		addresses[name] = c.Address
		for parameter := range c.Parameters {
			if !strings.Contains(c.Address, "{"+parameter+"}") {
				t.Errorf("channel %s has a parameter %s that its address lacks", name, parameter)
			}
		}
		if strings.Count(c.Address, "{") != len(c.Parameters) {
			t.Errorf("channel %s describes %d parameters of %s", name, len(c.Parameters), c.Address)
		}
	}
	if !maps.Equal(addresses, want) {
		t.Errorf("channels are\n%v\nwant\n%v", addresses, want)
	}

	used := map[string]bool{}
	resolve := func(from string, r ref) {
		name, ok := strings.CutPrefix(r.To, "#/components/messages/")
		if _, known := api.Components.Messages[name]; !ok || !known {
			t.Errorf("%s refers to %q", from, r.To)
		}
		used[name] = true
	}
	for name, c := range api.Channels {
		for _, m := range c.Messages {
			resolve(name, m)
		}
	}
	for name, o := range api.Operations {
		channel := strings.TrimPrefix(o.Channel.To, "#/channels/")
		if _, ok := api.Channels[channel]; !ok || o.Action != "send" && o.Action != "receive" {
			t.Errorf("operation %s: %s on %q", name, o.Action, o.Channel.To)
		}
		if o.Reply == nil {
			continue
		}
		for _, m := range o.Reply.Messages {
			if _, ok := api.Channels["reply"].Messages[strings.TrimPrefix(m.To, "#/channels/reply/messages/")]; !ok {
				t.Errorf("operation %s replies with %q", name, m.To)
			}
		}
	}
	if len(api.Operations) != len(api.Channels)-1 {
		t.Errorf("%d operations for %d channels and the replies", len(api.Operations), len(api.Channels)-1)
	}

	var schemas []string
	for name, m := range api.Components.Messages {
		if !used[name] {
			t.Errorf("no channel has message %s", name)
		}
		if file, ok := strings.CutPrefix(m.Payload.Schema.To, "schema/"); ok {
			schemas = append(schemas, file)
		}
	}
	files, err := filepath.Glob(filepath.Join(schemaDir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range files {
		files[i] = filepath.Base(file)
	}
	slices.Sort(schemas)
	if !slices.Equal(schemas, files) {
		t.Errorf("messages have the schemas\n%v\nand there are\n%v", schemas, files)
	}
}
