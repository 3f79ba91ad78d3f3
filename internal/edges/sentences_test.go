package edges

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// maxWords is how many words a sentence of a page may have.
const maxWords = 35

// Sentences of the pages are short.
func TestSentencesAreShort(t *testing.T) {
	t.Parallel()
	for file, text := range written(t) {
		if file != "README.md" && (filepath.Dir(file) != "docs" || filepath.Ext(file) != ".md") || file == "docs/licences.md" {
			continue
		}
		for _, s := range sentences(text) {
			if s.words > maxWords {
				t.Errorf("%s:%d: a sentence of %d words: %s …; split it: the limit is %d words", file, s.line, s.words, s.begins, maxWords)
			}
		}
	}
}

// sentence is one of a page.
type sentence struct {
	line, words int
	begins      string // its first words
}

var (
	listItem    = regexp.MustCompile(`^\s*([-*+]|\d+\.) `)
	code        = regexp.MustCompile("``[^`]*``|`[^`]*`")
	linked      = regexp.MustCompile(`!?\[([^]]*)\]\([^)]*\)`)
	cellBorder  = regexp.MustCompile(`(^|[^\\])\|`)
	wordOfText  = regexp.MustCompile(`[\p{L}\p{N}]`)
	endOfClause = regexp.MustCompile(`[.!?]["'”)*_]*$`)
	abbreviated = regexp.MustCompile(`(?i)(^|[(])(e\.g|i\.e|etc|vs|cf|approx|no)\.$`)
)

// sentences are those of a page without its code blocks. A heading, an item of a list and a
// cell of a table each end one. What stands in backquotes is one word.
func sentences(page string) (all []sentence) {
	var s sentence
	var first []string
	end := func() {
		if s.begins = strings.Join(first, " "); s.words > 0 {
			all = append(all, s)
		}
		s, first = sentence{}, nil
	}
	read := func(line int, text string) {
		for _, w := range strings.Fields(text) {
			if wordOfText.MatchString(w) {
				if s.words == 0 {
					s.line = line
				}
				s.words++
				if len(first) < 8 {
					first = append(first, w)
				}
			}
			if endOfClause.MatchString(w) && !abbreviated.MatchString(w) {
				end()
			}
		}
	}
	// Without a line less, for the numbers of the lines.
	blank := func(block string) string { return strings.Repeat("\n", strings.Count(block, "\n")) }
	page = fence.ReplaceAllStringFunc(page, blank)
	// Code and links may go on in the next line.
	page = code.ReplaceAllStringFunc(page, func(c string) string { return "code" + blank(c) })
	page = linked.ReplaceAllString(page, "$1")
	for n, line := range strings.Split(page, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case trimmed == "":
			end()
		case trimmed[0] == '#':
			end()
			read(n+1, trimmed)
			end()
		case trimmed[0] == '|':
			end()
			for _, cell := range strings.Split(cellBorder.ReplaceAllString(trimmed, "$1\x00"), "\x00") {
				read(n+1, cell)
				end()
			}
		case listItem.MatchString(line):
			end()
			read(n+1, listItem.ReplaceAllString(line, ""))
		default:
			read(n+1, trimmed)
		}
	}
	end()
	return all
}

func TestSentences(t *testing.T) {
	t.Parallel()
	const page = "# A head\n\nOne two `a. b` [three\nfour](x.md#y). Five e.g. six\n\n```sh\nnot this.\n```\n- an item\n  of two lines\n- another\n\n| a b | c. d \\| e |\n|---|---|\n"
	want := "1:2 3:5 4:3 9:5 11:1 13:2 13:1 13:2"
	var got []string
	for _, s := range sentences(page) {
		got = append(got, fmt.Sprintf("%d:%d", s.line, s.words))
	}
	if text := strings.Join(got, " "); text != want {
		t.Errorf("got %s, want %s", text, want)
	}
}
