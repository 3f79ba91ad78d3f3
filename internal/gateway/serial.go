package gateway

import (
	"math/big"
	"slices"
	"strings"
	"sync"
)

// hexSerial returns the serial in lower-case hexadecimal, padded with zeros to the width. A
// width of 0 means no padding.
func hexSerial(n *big.Int, width int) string {
	s := n.Text(16)
	if len(s) < width {
		s = strings.Repeat("0", width-len(s)) + s
	}
	return s
}

// hostedWidth is the width to which the hosted CA Gateway pads its serials.
const hostedWidth = 40

// paddings remembers, for each CA, the width of the serials that the gateway pads. The zero
// value is empty. Safe for concurrent use.
type paddings struct {
	mu    sync.Mutex
	width map[string]int // guarded by mu
}

// learn records the width of a serial as the gateway wrote it. Only a leading zero shows
// padding: another serial may just be that long.
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

// of returns the width for a CA; 0: unknown.
func (p *paddings) of(caID string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.width[caID]
}

// hexSerials returns the forms of a serial for a URL, best first: at the CA's known width, if
// any, then without padding, in whole bytes, and at the hosted gateway's width. No source
// says whether the gateway compares serials as numbers, or whether it pads all serials of a
// CA alike. So callers try the next form if a serial is not found: a revocation must not
// fail because of a leading zero.
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
