package gatewaytest

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// bodyLimit bounds the bytes read of a request.
const bodyLimit = 2 << 20

// call is one request during its handling.
type call struct {
	op     Op
	flat   bool // errors are in the flat dialect
	ca     uint8
	caID   string
	id     string // tracking id, serial, profile or DN, from the path
	query  url.Values
	body   []byte
	now    time.Time
	handle func(*call) *answer

	enrollment *enrollment // OpEnroll, if parsed
	refusal    *refusal    // OpEnroll, if refused
	v          verdict
}

// serve answers one gateway request.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.busy.RLock()
	defer s.busy.RUnlock()
	if s.closed {
		panic(http.ErrAbortHandler)
	}
	if s.cfg.IdleTimeout > 0 && r.ProtoMajor == 1 {
		w.Header().Set("Keep-Alive", "timeout="+strconv.Itoa(int(s.cfg.IdleTimeout/time.Second)))
	}
	c, no := s.route(r)
	s.tally.count(c.op).Add(1)
	// Always read the body: if a server answers before it has read it, an HTTP/1.1 client sees a
	// broken connection.
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyLimit))
	c.body = body
	switch {
	case !bytes.Equal(r.TLS.PeerCertificates[0].RawSubject, s.subject):
		s.tally.forbidden.Add(1)
		s.refusalAnswer(c, &refusal{http.StatusForbidden, "cagw-4030", "The client is not authorized", ""}).write(w)
		return
	case !s.quota.admit(c.op, c.now):
		s.tally.throttled.Add(1)
		throttled().write(w)
		return
	case no != nil:
		s.tally.refused.Add(1)
		s.refusalAnswer(c, no).write(w)
		return
	case err != nil:
		s.tally.refused.Add(1)
		s.refusalAnswer(c, refuse("body", "The request body is too large")).write(w)
		return
	}
	if c.op == OpEnroll {
		// If both dialects are served, the armour of the CSR shows the dialect.
		c.flat = c.flat || s.cfg.Dialect == Both && bytes.Contains(c.body, []byte("-----BEGIN"))
		c.enrollment, c.refusal = s.parseEnrollment(c.body, c.flat, c.now)
	}
	c.v = s.rules.judge(c.op, c.caID, func() string { return s.subjectOf(c) })

	if c.v.goAway {
		w.Header().Set("Connection", "close")
	}
	wait := s.latency() + c.v.delay
	s.pause(wait / 2)
	if end := c.v.end; end != nil && !end.effective() {
		s.pause(wait - wait/2)
		s.misbehave(w, r, c, end, nil)
		return
	}
	a := c.handle(c)
	s.pause(wait - wait/2)
	if end := c.v.end; end != nil {
		s.misbehave(w, r, c, end, a)
		return
	}
	a.write(w)
}

// latency draws the time that a request takes.
func (s *Server) latency() time.Duration {
	if s.cfg.LatencyJitter == 0 {
		return s.cfg.Latency
	}
	share := draw(s.cfg.Seed, s.requests.Add(1), "latency")
	return s.cfg.Latency + time.Duration(share*float64(s.cfg.LatencyJitter))
}

// pause waits for a duration, also after the client left. It ends when the server closes.
func (s *Server) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.done:
		panic(http.ErrAbortHandler)
	}
}

// subjectOf returns the common name (or key) of the order that a call names; "" if it names
// none.
func (s *Server) subjectOf(c *call) string {
	switch c.op {
	case OpEnroll:
		if c.enrollment != nil {
			return c.enrollment.subject
		}
	case OpPoll:
		if num, ok := s.store.nonce.order(c.id); ok {
			return s.subjectOfOrder(num)
		}
	case OpRevoke, OpCert:
		if serial, ok := parseSerial(c.id, c.flat); ok {
			if num, ok := s.store.nonce.orderOf(serial); ok {
				return s.subjectOfOrder(num)
			}
		}
	}
	return ""
}

func (s *Server) subjectOfOrder(num uint32) string {
	o, ok := s.store.get(num)
	if !ok {
		return ""
	}
	sp := unpack(o.packed)
	if cn := commonName(sp.subject); cn != "" {
		return cn
	}
	key := keyIDOf(sp.spki)
	return string(key[:])
}

// route parses the path and method of a request. It always returns a call, and a refusal if
// the request cannot be served.
func (s *Server) route(r *http.Request) (*call, *refusal) {
	c := &call{op: OpCA, flat: s.cfg.Dialect == CertCtl, query: r.URL.Query(), now: time.Now()}
	if c.query.Has("redirected") {
		s.tally.redirects.Add(1)
	}
	missing := &refusal{http.StatusNotFound, "cagw-4040", "No such resource", ""}
	if r.URL.Path == s.cfg.BasePath+"/actuator/health" {
		c.handle = s.describeHealth
		return c, s.only(r, http.MethodGet, CAGW)
	}
	path, ok := strings.CutPrefix(r.URL.EscapedPath(), s.cfg.BasePath+"/v1/certificate-authorities")
	if !ok {
		return c, missing
	}
	if path == "" {
		c.handle = s.listCAs
		return c, s.only(r, http.MethodGet, CAGW)
	}
	// Split the path before unescaping: an escaped slash in an id is no separator.
	parts := strings.Split(path, "/")
	for i := range parts {
		part, err := url.PathUnescape(parts[i])
		if err != nil {
			return c, missing
		}
		parts[i] = part
	}
	parts = parts[1:]
	if path[0] != '/' || slices.Contains(parts, "") {
		return c, missing
	}
	c.caID = parts[0]
	ca := slices.Index(s.cfg.CAIDs, c.caID)
	c.ca = uint8(max(ca, 0))
	if no := s.routeCA(c, r, parts[1:], missing); no != nil || ca >= 0 {
		return c, no
	}
	// The only code in a public source.
	return c, &refusal{http.StatusNotFound, "cagw-4018", "CA not found", "caId"}
}

// routeCA parses the path below a CA.
func (s *Server) routeCA(c *call, r *http.Request, parts []string, missing *refusal) *refusal {
	if len(parts) > 1 {
		c.id = parts[1]
	}
	switch {
	case len(parts) == 0:
		c.handle = s.describeCA
		return s.only(r, http.MethodGet, Both)
	case len(parts) == 1 && parts[0] == "enrollments":
		c.op, c.handle = OpEnroll, s.enroll
		return s.only(r, http.MethodPost, Both)
	case len(parts) == 2 && parts[0] == "enrollments":
		c.op, c.handle = OpPoll, s.poll
		if s.cfg.NoPollPath {
			c.handle = noRoute
		}
		c.flat = c.flat || strings.HasPrefix(c.id, "ENR-")
		return s.only(r, http.MethodGet, Both)
	case len(parts) == 3 && parts[0] == "certificates" && parts[2] == "revoke":
		c.op, c.handle, c.flat = OpRevoke, s.revokeFlat, true
		return s.only(r, http.MethodPut, CertCtl)
	case len(parts) == 3 && parts[0] == "certificates" && parts[2] == "actions":
		c.op, c.handle = OpRevoke, s.act
		return s.only(r, http.MethodPost, CAGW)
	case len(parts) == 2 && parts[0] == "certificates":
		c.op, c.handle = OpCert, s.describeCertificate
		return s.only(r, http.MethodGet, CAGW)
	case len(parts) == 1 && parts[0] == "certificate-events":
		c.op, c.handle = OpEvents, s.listEvents
		return s.only(r, http.MethodGet, CAGW)
	case len(parts) == 1 && parts[0] == "profiles":
		c.handle = s.listProfiles
		return s.only(r, http.MethodGet, CAGW)
	case len(parts) == 2 && parts[0] == "profiles":
		c.handle = s.describeProfile
		return s.only(r, http.MethodGet, CAGW)
	case len(parts) == 1 && parts[0] == "status":
		c.handle = s.describeStatus
		if s.cfg.NoStatus {
			c.handle = noRoute
		}
		return s.only(r, http.MethodGet, CAGW)
	}
	return missing
}

// only refuses a request whose method or dialect its path does not serve.
func (s *Server) only(r *http.Request, method string, d Dialect) *refusal {
	if d != Both && s.cfg.Dialect != Both && s.cfg.Dialect != d {
		return &refusal{http.StatusNotFound, "cagw-4040", "No such resource", ""}
	}
	if r.Method != method {
		return &refusal{http.StatusMethodNotAllowed, "cagw-4050", "Method not allowed", ""}
	}
	return nil
}

// noRoute answers as Spring Boot does for an unknown path.
func noRoute(c *call) *answer { return springAnswer(c, http.StatusNotFound) }
