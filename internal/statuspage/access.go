package statuspage

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	cookieName = "entrust_worker_page"
	// signedInFor is how long a sign-in lasts.
	signedInFor = 12 * time.Hour
	// maxForm bounds the body of a sign-in.
	maxForm = 4 << 10
)

// access decides who may read the page. It is safe for concurrent use.
type access struct {
	token string
	// loopback says that only this host reaches the address.
	loopback bool
}

// refusal returns the status code and the text for a request that a sign-in cannot help,
// or 0.
func (a *access) refusal(r *http.Request) (status int, why string) {
	switch {
	case a.token != "":
		return 0, ""
	case !a.loopback:
		return http.StatusForbidden, "The status page is off: http.addr is not a loopback address, and http.token is not set."
	case forwarded(r.Header):
		return http.StatusForbidden, "The status page is off behind a proxy, since http.token is not set."
	case !local(r.Host):
		// A page of another site whose name was made to resolve to this host sends its name.
		return http.StatusMisdirectedRequest, "The status page answers to localhost and to loopback addresses only, since http.token is not set."
	}
	return 0, ""
}

// forwarded reports whether a proxy passed a request on.
func forwarded(h http.Header) bool {
	return h.Get("Forwarded") != "" || h.Get("X-Forwarded-For") != "" || h.Get("X-Forwarded-Host") != ""
}

// local reports whether a Host header names this host: as localhost or by a loopback
// address, with any port.
func local(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if strings.EqualFold(name, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}

// Loopback reports whether only this host reaches a listening address.
func Loopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// signedIn reports whether a request carries the token, as a bearer token or by the
// cookie of a sign-in. If no token is configured, every request counts as signed in.
func (a *access) signedIn(r *http.Request, now time.Time) bool {
	if a.token == "" {
		return true
	}
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return a.isToken(strings.TrimSpace(token))
	}
	cookie, err := r.Cookie(cookieName)
	return err == nil && a.isPass(cookie.Value, now)
}

// isToken compares in a time that depends on neither text.
func (a *access) isToken(got string) bool {
	want, have := sha256.Sum256([]byte(a.token)), sha256.Sum256([]byte(got))
	return subtle.ConstantTimeCompare(want[:], have[:]) == 1
}

// pass returns the value of a sign-in's cookie: its end, and a proof of the token. Every
// worker with the same token accepts it.
func (a *access) pass(end time.Time) string {
	until := strconv.FormatInt(end.Unix(), 10)
	return until + "." + base64.RawURLEncoding.EncodeToString(a.proof(until))
}

func (a *access) proof(until string) []byte {
	mac := hmac.New(sha256.New, []byte(a.token))
	mac.Write([]byte("entrust-worker status page until " + until))
	return mac.Sum(nil)
}

func (a *access) isPass(value string, now time.Time) bool {
	until, encoded, _ := strings.Cut(value, ".")
	proof, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || !hmac.Equal(proof, a.proof(until)) {
		return false
	}
	end, err := strconv.ParseInt(until, 10, 64)
	return err == nil && now.Unix() < end
}

// cookie returns the cookie of a sign-in, or of a sign-out if value is empty.
func cookie(r *http.Request, value string) *http.Cookie {
	c := &http.Cookie{
		Name: cookieName, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: int(signedInFor / time.Second),
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// within returns a path of this page for the redirect after a sign-in; "/" if the text is
// not such a path.
func within(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.IsAbs() || u.Host != "" || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n\t") {
		return "/"
	}
	return path
}

// guard refuses requests that may not read the page, and passes others to next.
func (p *Page) guard(a *access, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protect(w.Header())
		if status, why := a.refusal(r); status != 0 {
			http.Error(w, why, status)
			return
		}
		switch {
		case a.signedIn(r, time.Now()):
			next.ServeHTTP(w, r)
		case strings.Contains(r.Header.Get("Accept"), "text/html"):
			http.Redirect(w, r, "/login?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		default:
			w.Header().Set("WWW-Authenticate", `Bearer realm="entrust-worker"`)
			http.Error(w, "The status page needs http.token: as a bearer token, or by /login.", http.StatusUnauthorized)
		}
	})
}

// protect sets headers so that browsers run only the page's own script, and do not frame,
// cache or leak the page.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}

// login shows the form for the token and accepts it. Everyone may read the form.
func (p *Page) login(a *access) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protect(w.Header())
		if status, why := a.refusal(r); status != 0 {
			http.Error(w, why, status)
			return
		}
		form := loginView{Next: within(r.URL.Query().Get("next"))}
		if r.Method != http.MethodPost {
			if a.signedIn(r, time.Now()) {
				http.Redirect(w, r, form.Next, http.StatusSeeOther)
				return
			}
			p.show(w, http.StatusOK, "login", head{Title: "Sign in"}, form)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		form.Next = within(r.PostFormValue("next"))
		if !a.isToken(strings.TrimSpace(r.PostFormValue("token"))) {
			form.Wrong = true
			p.show(w, http.StatusForbidden, "login", head{Title: "Sign in"}, form)
			return
		}
		http.SetCookie(w, cookie(r, a.pass(time.Now().Add(signedInFor))))
		http.Redirect(w, r, form.Next, http.StatusSeeOther)
	})
}

// logout ends a sign-in in this browser.
func (p *Page) logout(w http.ResponseWriter, r *http.Request) {
	http.SetCookie(w, cookie(r, ""))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// loginView is the content of the form.
type loginView struct {
	Next  string
	Wrong bool
}
