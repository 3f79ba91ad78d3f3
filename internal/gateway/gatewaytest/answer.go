package gatewaytest

import (
	"encoding/json"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"
)

// answer is a response before it is written.
type answer struct {
	status      int
	contentType string
	body        []byte
}

// jsonAnswer encodes v, which must be one of this package's types.
func jsonAnswer(status int, v any) *answer {
	body, err := json.Marshal(v)
	if err != nil {
		return &answer{status: http.StatusInternalServerError, contentType: "text/plain", body: []byte("encoding answer")}
	}
	return &answer{status: status, contentType: "application/json", body: body}
}

func (a *answer) write(w http.ResponseWriter) {
	if a.contentType != "" {
		w.Header().Set("Content-Type", a.contentType)
	}
	if a.status != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	w.Write(a.body)
}

// throttled is the answer beyond the quota. The hosted gateway sends no JSON there.
func throttled() *answer {
	return &answer{status: http.StatusTooManyRequests, contentType: "text/plain", body: []byte("TooManyRequests")}
}

// message is the message member of CAGW answers.
type message struct {
	Message string   `json:"message"`
	Details []string `json:"details"`
}

// errorBody is the error of the CAGW dialect. details and additionalProperties hold
// backend details, which a client must not pass on.
type errorBody struct {
	Type  string `json:"type"`
	Error struct {
		Code       string            `json:"code"`
		Message    string            `json:"message"`
		Target     string            `json:"target,omitempty"`
		Details    []message         `json:"details"`
		Properties map[string]string `json:"additionalProperties"`
	} `json:"error"`
}

// refusalAnswer is the error body of r in the dialect of the call.
func (s *Server) refusalAnswer(c *call, r *refusal) *answer {
	if c.flat {
		return jsonAnswer(r.status, map[string]string{"error": r.message})
	}
	body := errorBody{Type: "ErrorResponse"}
	body.Error.Code, body.Error.Message, body.Error.Target = r.code, r.message, r.target
	body.Error.Details = []message{{Message: "com.example.backend.GatewayException: " + r.code, Details: []string{}}}
	body.Error.Properties = map[string]string{"node": "backend-detail"}
	return jsonAnswer(r.status, body)
}

// internalError is the answer if the simulator itself fails, as when it cannot write
// its journal.
func (s *Server) internalError(c *call) *answer {
	return s.refusalAnswer(c, &refusal{http.StatusInternalServerError, "cagw-5000", "Internal error", ""})
}

// misbehave replaces the answer a by that of the fault f. a is nil if the request took no
// effect.
func (s *Server) misbehave(w http.ResponseWriter, r *http.Request, c *call, f *Fault, a *answer) {
	switch f.Kind {
	case FaultCut, FaultLostReply:
		cut(r, f)
	case FaultHang:
		select {
		case <-r.Context().Done():
		case <-s.done:
		}
		cut(r, f)
	case FaultHalfBody:
		a.body = append(a.body, ' ') // so that a part of the body is always missing
		w.Header().Set("Content-Type", a.contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
		w.WriteHeader(a.status)
		w.Write(a.body[:len(a.body)/2])
		http.NewResponseController(w).Flush()
		cut(r, f)
	case FaultThrottle:
		s.tally.throttled.Add(1)
		setRetryAfter(w, f, c.now)
		throttled().write(w)
	case FaultStatus:
		setRetryAfter(w, f, c.now)
		s.statusAnswer(c, f).write(w)
	case FaultLicence:
		s.licenceAnswer(c, f).write(w)
	case FaultRedirect:
		w.Header().Set("Location", r.URL.EscapedPath()+"?redirected=1")
		(&answer{status: http.StatusTemporaryRedirect}).write(w)
	case FaultGarbage:
		(&answer{http.StatusOK, "application/json", []byte(`{"enrollment":{"id":"7f0c`)}).write(w)
	case FaultEmptyBody:
		(&answer{status: a.status, contentType: a.contentType}).write(w)
	case FaultHugeBody:
		huge(w)
	}
}

// cut ends the exchange without an answer.
func cut(r *http.Request, f *Fault) {
	if c, ok := r.Context().Value(connKey{}).(net.Conn); ok && f.WholeConnection {
		reset(c)
	}
	panic(http.ErrAbortHandler)
}

func setRetryAfter(w http.ResponseWriter, f *Fault, now time.Time) {
	switch {
	case f.RetryAfter < 0:
		w.Header().Set("Retry-After", "soon")
	case f.RetryAfter > 0 && f.RetryAfterDate:
		w.Header().Set("Retry-After", now.Add(f.RetryAfter).UTC().Format(http.TimeFormat))
	case f.RetryAfter > 0:
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	}
}

// statusAnswer returns the answer for FaultStatus.
func (s *Server) statusAnswer(c *call, f *Fault) *answer {
	status := f.Status
	if status == 0 {
		status = http.StatusInternalServerError
	}
	text := f.Message
	if text == "" {
		text = http.StatusText(status)
	}
	switch f.Form {
	case "text":
		return &answer{status, "text/plain; charset=utf-8", []byte(text + "\n")}
	case "html":
		page := "<html>\r\n<head><title>" + strconv.Itoa(status) + " " + text + "</title></head>\r\n" +
			"<body><center><h1>" + strconv.Itoa(status) + " " + text + "</h1></center></body>\r\n</html>\r\n"
		return &answer{status, "text/html", []byte(page)}
	case "empty":
		return &answer{status: status}
	case "spring":
		return springAnswer(c, status)
	case "other":
		return jsonAnswer(status, map[string]any{"error": map[string]string{"code": "UPSTREAM", "message": text}, "request_id": "4bf92f35"})
	}
	code := f.Code
	if code == "" {
		code = "cagw-" + strconv.Itoa(status) + "0"
	}
	return s.refusalAnswer(c, &refusal{status: status, code: code, message: text})
}

// licenceAnswer says that no more certificates may be issued. No public source has the
// real status and code.
func (s *Server) licenceAnswer(c *call, f *Fault) *answer {
	r := &refusal{http.StatusForbidden, "cagw-4035", "The number of licensed certificates is reached", ""}
	if f != nil && f.Status != 0 {
		r.status = f.Status
	}
	if f != nil && f.Code != "" {
		r.code = f.Code
	}
	if f != nil && f.Message != "" {
		r.message = f.Message
	}
	return s.refusalAnswer(c, r)
}

// huge writes valid JSON of 6 MiB, which no client should read to its end.
func huge(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	w.Write([]byte(`{"padding":"`))
	block := make([]byte, 64<<10)
	for i := range block {
		block[i] = 'x'
	}
	for range 96 {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
	w.Write([]byte(`"}`))
}
