package usage

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// Placeholder is the annotation of a flag that says what its value is called in the help.
const Placeholder = "placeholder"

// helpWidth is how many columns a line of the flags in a help has at most.
const helpWidth = 100

// Flags lists the flags that are not hidden, for a help: their name with a placeholder in
// capital letters, and what they do. The placeholder is the annotation of that name, else
// the word that the text quotes in back quotes, else the type.
func Flags(set *pflag.FlagSet) string {
	var names, texts []string
	width := 0
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		placeholder, text := describe(f)
		name := "      --" + f.Name
		if f.Shorthand != "" {
			name = "  -" + f.Shorthand + ", --" + f.Name
		}
		if placeholder != "" {
			name += " " + placeholder
		}
		width = max(width, len(name))
		names, texts = append(names, name), append(texts, text)
	})
	var b strings.Builder
	for i, name := range names {
		for n, line := range wrap(texts[i], max(helpWidth-width-3, 40)) {
			if n > 0 {
				name = ""
			}
			fmt.Fprintf(&b, "%-*s   %s\n", width, name, line)
		}
	}
	return b.String()
}

// describe returns the placeholder of a flag, "" for one without a value, and its text with
// the default.
func describe(f *pflag.Flag) (placeholder, text string) {
	placeholder, text = pflag.UnquoteUsage(f)
	if set := f.Annotations[Placeholder]; len(set) == 1 {
		placeholder = set[0]
	}
	switch {
	case f.NoOptDefVal != "":
		placeholder = ""
	case placeholder == "string":
		placeholder = "text"
	case placeholder == "int", placeholder == "uint", placeholder == "float":
		placeholder = "number"
	}
	switch f.DefValue {
	case "", "0", "false", "[]", "0s":
	default:
		if f.NoOptDefVal == "" {
			text += fmt.Sprintf(" (default %s)", f.DefValue)
		}
	}
	return strings.ToUpper(strings.ReplaceAll(placeholder, " ", "-")), text
}

// wrap breaks a text into lines. A word that is longer than a line has one of its own.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
