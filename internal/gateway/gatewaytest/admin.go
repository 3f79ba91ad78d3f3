package gatewaytest

import (
	"encoding/json"
	"errors"
	"io"
	"iter"
	"math"
	"net/http"
	"strconv"
	"time"
)

// adminHandler serves the control listener. The package comment lists its paths.
func (s *Server) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.controlPage())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if s.down.Load() {
			http.Error(w, "down", http.StatusServiceUnavailable)
			return
		}
		io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /_sim/info", s.adminInfo)
	mux.HandleFunc("GET /_sim/stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Stats()) })
	mux.HandleFunc("GET /_sim/enrollments", s.adminEnrollments)
	mux.HandleFunc("GET /_sim/revocations", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Revocations()) })
	mux.HandleFunc("GET /_sim/polls", s.adminPolls)
	mux.HandleFunc("GET /_sim/faults", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Faults()) })
	mux.HandleFunc("POST /_sim/faults", s.adminAddFault)
	mux.HandleFunc("PUT /_sim/faults", s.adminSetFaults)
	mux.HandleFunc("DELETE /_sim/faults", s.adminRemoveFaults)
	mux.HandleFunc("POST /_sim/approve", s.adminApprove)
	mux.HandleFunc("POST /_sim/reject", func(w http.ResponseWriter, r *http.Request) {
		adminDone(w, s.Reject(r.FormValue("id")))
	})
	mux.HandleFunc("POST /_sim/down", func(w http.ResponseWriter, r *http.Request) {
		on, err := strconv.ParseBool(r.FormValue("on"))
		if err == nil {
			s.SetDown(on)
		}
		adminDone(w, err)
	})
	mux.HandleFunc("GET /_sim/pending", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Pending(math.MaxInt)) })
	mux.HandleFunc("POST /_sim/cut", func(w http.ResponseWriter, _ *http.Request) {
		s.Cut()
		adminDone(w, nil)
	})
	mux.HandleFunc("POST /_sim/rotate-client", func(w http.ResponseWriter, _ *http.Request) {
		adminDone(w, s.RotateClient())
	})
	return backToPage(mux)
}

func (s *Server) adminInfo(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, map[string]any{
		"url": s.URL(), "dialect": s.cfg.Dialect, "ca_ids": s.cfg.CAIDs, "profiles": s.cfg.Profiles,
		"server_ca": s.ServerCA(), "client_cert": s.ClientCert(), "client_key": s.ClientKey(),
		"seed": s.cfg.Seed,
	})
}

// adminEnrollments lists keys; ?key=HASH picks one, ?min=N those with N orders or more.
func (s *Server) adminEnrollments(w http.ResponseWriter, r *http.Request) {
	if key := r.FormValue("key"); key != "" {
		e, ok := s.Enrollment(key)
		if !ok {
			http.Error(w, "no such key", http.StatusNotFound)
			return
		}
		writeJSON(w, e)
		return
	}
	least, _ := strconv.Atoi(r.FormValue("min"))
	writeSeq(w, func(yield func(Enrollment) bool) {
		for e := range s.AllEnrollments() {
			if e.Count >= least && !yield(e) {
				return
			}
		}
	})
}

// adminPolls lists the orders that were polled; ?id= picks one.
func (s *Server) adminPolls(w http.ResponseWriter, r *http.Request) {
	if id := r.FormValue("id"); id != "" {
		p, err := s.PollsOf(id)
		if err != nil {
			adminDone(w, err)
			return
		}
		writeJSON(w, p)
		return
	}
	writeSeq(w, s.Polls())
}

func (s *Server) adminAddFault(w http.ResponseWriter, r *http.Request) {
	var f Fault
	if err := decodeBody(r, &f); err != nil {
		adminDone(w, err)
		return
	}
	id, err := s.AddFault(f)
	if err != nil {
		adminDone(w, err)
		return
	}
	writeJSON(w, map[string]int{"id": id})
}

func (s *Server) adminSetFaults(w http.ResponseWriter, r *http.Request) {
	var list []Fault
	err := decodeBody(r, &list)
	if err == nil {
		err = s.SetFaults(list...)
	}
	adminDone(w, err)
}

// adminRemoveFaults removes the rule ?id=N, or all without it.
func (s *Server) adminRemoveFaults(w http.ResponseWriter, r *http.Request) {
	text := r.FormValue("id")
	if text == "" {
		adminDone(w, s.SetFaults())
		return
	}
	id, err := strconv.Atoi(text)
	if err == nil && !s.RemoveFault(id) {
		err = ErrNoOrder
	}
	adminDone(w, err)
}

// adminApprove approves ?id=, or every pending order with ?all=true, spread over ?over=1m.
func (s *Server) adminApprove(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("all") != "true" {
		adminDone(w, s.Approve(r.FormValue("id")))
		return
	}
	var over time.Duration
	if text := r.FormValue("over"); text != "" {
		var err error
		if over, err = time.ParseDuration(text); err != nil {
			adminDone(w, err)
			return
		}
	}
	n, err := s.ApproveAll(over)
	if err != nil {
		adminDone(w, err)
		return
	}
	writeJSON(w, map[string]int{"approved": n})
}

// decodeBody reads the JSON body of a control request.
func decodeBody(r *http.Request, v any) error {
	return json.NewDecoder(io.LimitReader(r.Body, bodyLimit)).Decode(v)
}

// adminDone answers a control request without a result.
func adminDone(w http.ResponseWriter, err error) {
	switch {
	case errors.Is(err, ErrNoOrder):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, ErrEnded):
		http.Error(w, err.Error(), http.StatusConflict)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the error of a client that left does not matter
}

// writeSeq writes a JSON array of the values of seq, without keeping all of them in memory.
func writeSeq[T any](w http.ResponseWriter, seq iter.Seq[T]) {
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	sep := "["
	for v := range seq {
		io.WriteString(w, sep)
		if enc.Encode(v) != nil {
			return
		}
		sep = ","
	}
	if sep == "[" {
		io.WriteString(w, sep)
	}
	io.WriteString(w, "]\n")
}
