// What there is to ask for.

package main

import (
	"embed"
	"fmt"
	"net/http"
	"path"
	"strconv"
)

//go:embed page
var page embed.FS

// policy lets the page use nothing but what lies here.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// kinds are the media types of the page's files.
var kinds = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// newSite returns the handler of everything.
func newSite(s source) http.Handler {
	m := http.NewServeMux()
	for at, name := range map[string]string{"/{$}": "index.html", "/page.css": "page.css", "/page.js": "page.js", "/plot.js": "plot.js", "/histogram.js": "histogram.js", "/routing": "routing.html", "/routing.js": "routing.js", "/icon.svg": "icon.svg"} {
		m.Handle("GET "+at, static(name))
	}
	m.HandleFunc("GET /stats.json", func(w http.ResponseWriter, r *http.Request) {
		b, err := s.Snapshot()
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		w.Write(b)
	})
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { text(w, "ok\n") })
	m.HandleFunc("GET /hello", func(w http.ResponseWriter, r *http.Request) { text(w, "Hello, world.\n") })
	t := newTransfers()
	m.HandleFunc("GET /hash", t.limit(hash))
	m.HandleFunc("POST /upload", t.limit(upload))
	m.HandleFunc("PUT /upload", t.limit(upload))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		m.ServeHTTP(w, r)
	})
}

// static serves a file of the page.
func static(name string) http.Handler {
	b, err := page.ReadFile("page/" + name)
	if err != nil {
		panic(fmt.Sprintf("web: the page lacks %s", name)) // a mistake in newSite
	}
	kind := kinds[path.Ext(name)]
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Content-Length", strconv.Itoa(len(b)))
		w.Write(b)
	})
}

func text(w http.ResponseWriter, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(s)))
	w.Write([]byte(s))
}
