package usage

import (
	"errors"
	"regexp"

	"github.com/spf13/cobra"
)

// parserWords are what the flag library quotes of Go's parsers.
var parserWords = regexp.MustCompile(`strconv\.Parse(\w+): parsing "[^"]*": .*`)

// FlagError says what the value of a flag must be, instead of which parser refused it.
func FlagError(cmd *cobra.Command, err error) error {
	text := parserWords.ReplaceAllStringFunc(err.Error(), func(found string) string {
		switch parserWords.FindStringSubmatch(found)[1] {
		case "Bool":
			return "must be true or false"
		case "Int", "Uint":
			return "must be a whole number"
		}
		return "must be a number"
	})
	return WithHint(Wrap(errors.New(text)), "%s --help; entrust-worker options lists the flags of every verb", cmd.CommandPath())
}
