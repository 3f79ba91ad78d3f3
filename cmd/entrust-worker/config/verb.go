package main

import (
	"encoding/json"
	"reflect"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// redacted is printed instead of a secret.
const redacted = "REDACTED"

func configCommand(a *app) *cobra.Command {
	var asJSON, list bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Print the effective configuration and where each value came from",
		Long: `Print the effective configuration and where each value came from. Secrets are
redacted. What is wrong with it is told afterwards, and makes the exit code 2.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if list {
				return a.printKeys(asJSON)
			}
			s, err := loadConfig(cmd.Flags(), a.environ)
			if err != nil {
				return err
			}
			if asJSON {
				err = a.printConfigJSON(s)
			} else {
				err = a.printConfig(s)
			}
			if err != nil {
				return err
			}
			_, err = a.worker(cmd)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&list, "keys", false, "list every key, its environment name and its flag")
	return cmd
}

// shown is a key's value as it may be printed.
func (s *settings) shown(k key) string {
	text := format(reflect.ValueOf(s.Config).FieldByIndex(k.index))
	switch {
	case k.secret && text != "":
		return redacted
	case k.path == "nats.url", k.path == "nats.socks_proxy":
		return redactedURLs(text)
	case k.path == "gateway.url" && strings.Contains(text, "@"):
		return redactedURLs(text) // refused later, but printed before
	case k.path == "nats.user" && s.NATS.Password == "" && text != "":
		return redacted // a token, then
	}
	return text
}

func (a *app) printConfig(s *settings) error {
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, k := range keys() {
		value := s.shown(k)
		if value == "" {
			value = "-"
		}
		if _, err := w.Write([]byte(k.path + "\t" + value + "\t" + s.from(k) + "\n")); err != nil {
			return err
		}
	}
	return w.Flush()
}

func (a *app) printConfigJSON(s *settings) error {
	type entry struct {
		Key    string `json:"key"`
		Value  string `json:"value"`
		Origin string `json:"origin"`
	}
	var all []entry
	for _, k := range keys() {
		all = append(all, entry{k.path, s.shown(k), s.from(k)})
	}
	enc := json.NewEncoder(a.out)
	enc.SetIndent("", "  ")
	return enc.Encode(all)
}

func (a *app) printKeys(asJSON bool) error {
	if asJSON {
		type entry struct {
			Key  string `json:"key"`
			Env  string `json:"env"`
			Flag string `json:"flag"`
			Doc  string `json:"doc"`
		}
		var all []entry
		for _, k := range keys() {
			all = append(all, entry{k.path, k.env, "--" + k.flag, k.doc})
		}
		enc := json.NewEncoder(a.out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(all)
	}
	w := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
	for _, k := range keys() {
		if _, err := w.Write([]byte(k.path + "\t" + k.env + "\t--" + k.flag + "\n")); err != nil {
			return err
		}
	}
	return w.Flush()
}
