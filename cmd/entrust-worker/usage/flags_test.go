package usage

import (
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestFlags(t *testing.T) {
	t.Parallel()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	var text string
	var span Span
	set.StringVar(&text, "ca", "", "`id` of the certificate authority, whose name is long enough that the line has to be broken in two")
	set.StringVarP(&text, "config", "c", "worker.yaml", "read this `file`")
	set.String("plain", "", "text of any kind")
	set.Int("lines", 20, "so many")
	set.Bool("yes", false, "do it")
	set.Duration("drain", time.Second, "wait so long")
	set.Var(&span, "older-than", "only older ones")
	set.String("poll", "auto", "auto or never")
	if err := set.SetAnnotation("poll", Placeholder, []string{"WAY"}); err != nil {
		t.Fatal(err)
	}
	set.String("secret", "", "not shown")
	if err := set.MarkHidden("secret"); err != nil {
		t.Fatal(err)
	}
	const want = `      --ca ID                 id of the certificate authority, whose name is long enough that the
                              line has to be broken in two
  -c, --config FILE           read this file (default worker.yaml)
      --drain DURATION        wait so long (default 1s)
      --lines NUMBER          so many (default 20)
      --older-than DURATION   only older ones
      --plain TEXT            text of any kind
      --poll WAY              auto or never (default auto)
      --yes                   do it
`
	if got := Flags(set); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
