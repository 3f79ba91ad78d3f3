package gateway

import (
	"math/big"
	"slices"
	"strings"
	"sync"
)

// hexSerial is the serial in lower-case hexadecimal without leading zeros, or padded
// with them to the width.
func hexSerial(n *big.Int, width int) string {
	s := n.Text(16)
	if len(s) < width {
		s = strings.Repeat("0", width-len(s)) + s
	}
	return s
}

// hostedWidth is the width to which the hosted CA Gateway pads its serials.
const hostedWidth = 40

// paddings remembers for each CA how wide the gateway wrote a serial that it padded.
type paddings struct {
	mu    sync.Mutex
	width map[string]int // guarded by mu
}

// learn takes in a serial as the gateway wrote it. Only one that begins with a zero
// tells of padding: any other may just be that long.
func (p *paddings) learn(caID, written string, n *big.Int) {
	written = strings.ToLower(written)
	if len(written) > 2*hostedWidth || !strings.HasPrefix(written, "0") || strings.TrimLeft(written, "0") != n.Text(16) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.width == nil {
		p.width = map[string]int{}
	}
	p.width[caID] = max(p.width[caID], len(written))
}

func (p *paddings) of(caID string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.width[caID]
}

// hexSerials are the forms in which a serial may stand in a URL, best first: at the
// width that the CA was seen to pad to, if any, then plain, in whole bytes, and at the
// hosted gateway's width. Nobody has said whether the gateway compares them as numbers,
// nor whether every serial of a CA is padded alike. So a serial that is not found is
// asked for again in the next form: a revocation must not fail for a zero.
func hexSerials(n *big.Int, width int) []string {
	plain := hexSerial(n, 0)
	var forms []string
	for _, w := range []int{width, 0, len(plain) + len(plain)%2, hostedWidth} {
		if form := hexSerial(n, w); !slices.Contains(forms, form) {
			forms = append(forms, form)
		}
	}
	return forms
}
