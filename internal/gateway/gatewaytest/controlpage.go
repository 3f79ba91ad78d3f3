package gatewaytest

import (
	_ "embed"
	"html/template"
	"net/http"
	"time"
)

// shownPending bounds the pending orders on the page.
const shownPending = 50

// PendingOrder is an order that waits for approval.
type PendingOrder struct {
	TrackingID string    `json:"tracking_id"`
	CN         string    `json:"cn"`
	Enrolled   time.Time `json:"enrolled"`
	// Due is when the order ends by itself; zero: only by hand.
	Due   time.Time `json:"due,omitzero"`
	Polls int       `json:"polls"`
}

// Pending returns at most limit orders that wait for approval, the oldest first.
func (s *Server) Pending(limit int) []PendingOrder {
	nums := s.store.pendingOrders()
	nums = nums[:min(len(nums), max(limit, 0))]
	st := s.store
	st.mu.Lock()
	defer st.mu.Unlock()
	out := make([]PendingOrder, 0, len(nums))
	for _, num := range nums {
		r := st.pollRecord(num)
		if st.at(num).state != pending {
			continue
		}
		out = append(out, PendingOrder{TrackingID: r.TrackingID, CN: r.CN, Enrolled: r.Enrolled, Due: r.Due, Polls: r.Count})
	}
	return out
}

// Cut resets every open connection once. The server accepts new ones.
func (s *Server) Cut() { s.cutConnections() }

//go:embed controlpage.html
var controlPageHTML string

// controlView is the content of the page.
type controlView struct {
	URL     string
	Down    bool
	Stats   Stats
	Pending []PendingOrder
	Left    int // further pending orders
	Faults  []Fault
	Now     time.Time
}

// controlPage serves the page of the control listener. Its forms post to the endpoints with page=1.
func (s *Server) controlPage() http.HandlerFunc {
	page := template.Must(template.New("control").Funcs(template.FuncMap{
		"age": func(now, then time.Time) string { return now.Sub(then).Round(time.Second).String() },
		"due": func(now, then time.Time) string {
			if then.IsZero() {
				return "by hand"
			}
			return "in " + max(0, then.Sub(now)).Round(time.Second).String()
		},
	}).Parse(controlPageHTML))
	return func(w http.ResponseWriter, _ *http.Request) {
		v := controlView{URL: s.URL(), Down: s.down.Load(), Stats: s.Stats(), Pending: s.Pending(shownPending), Faults: s.Faults(), Now: time.Now()}
		v.Left = max(0, v.Stats.Pending-len(v.Pending))
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'")
		_ = page.Execute(w, v) // the error of a client that left does not matter
	}
}

// backToPage redirects a form to the page after its endpoint succeeded.
func backToPage(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Query().Get("page") == "" {
			next.ServeHTTP(w, r)
			return
		}
		kept := &statusWriter{ResponseWriter: w}
		next.ServeHTTP(kept, r)
		if !kept.written {
			http.Redirect(w, r, "/", http.StatusSeeOther)
		}
	})
}

// statusWriter drops a successful answer, and passes on any other.
type statusWriter struct {
	http.ResponseWriter
	written bool
}

func (w *statusWriter) WriteHeader(status int) {
	if status/100 != 2 {
		w.written = true
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.written {
		return w.ResponseWriter.Write(b)
	}
	return len(b), nil
}
