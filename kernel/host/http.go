package host

// The HTTP server on port 80: the status page, a health check, and two
// resources that measure and check transfers.
//
//	GET  /          status, for people
//	GET  /healthz   "ok"
//	GET  /bytes?n=N N bytes of Pattern
//	PUT  /hash      (or POST) SHA-256 in hex and length of the body

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

const (
	// httpHeaderMax bounds the request line and the headers; net/http takes 4
	// KiB more. What they become in memory is in limits.go.
	httpHeaderMax = 2 << 10
	// httpFieldsMax is how many header fields a request may have that is served.
	// One with more ends its connection: it would keep them while it waits for
	// a slow client.
	httpFieldsMax = 64
	httpIdle      = 15 * time.Second
	// bytesMax bounds /bytes.
	bytesMax = 1 << 40
)

// Variables, as a test that has others wait for it gives them longer.
var (
	httpHeaders = 5 * time.Second
	// httpStall is how long one block of a transfer may take.
	httpStall = 30 * time.Second
)

// patternPeriod is a prime, so that blocks of 2^k bytes that are lost, doubled
// or out of order change the stream.
const patternPeriod = 65521

// bytesBlock is what /bytes writes at a time, in bytes: of segments of the usual MTU with
// timestamps as many as gVisor sends in one packet, in one piece of its memory. A longer
// block would leave a short packet behind each long one.
const bytesBlock = 45 * 1448

// pattern is a period, and what follows: a block can begin anywhere in the period.
var pattern = func() (p [patternPeriod + bytesBlock]byte) {
	for i := range p {
		j := i % patternPeriod
		p[i] = byte(j*7 + j>>8)
	}
	return p
}()

// Pattern fills p with the bytes of /bytes from offset off on: byte i of the
// stream is, with j = i mod 65521, the low byte of 7j + (j >> 8).
func Pattern(p []byte, off int64) {
	for len(p) > 0 {
		n := copy(p, pattern[off%patternPeriod:])
		p, off = p[n:], off+int64(n)
	}
}

type statusPage struct {
	s *Stack
}

func (s *Stack) serveHTTP() error {
	l, err := s.listen(httpPort, s.lim.httpConnections)
	if err != nil {
		return err
	}
	page := &statusPage{s: s}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", page.status)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /bytes", serveBytes)
	mux.HandleFunc("PUT /hash", serveHash)
	mux.HandleFunc("POST /hash", serveHash)
	server := &http.Server{
		Handler:           limitFields(mux),
		ReadHeaderTimeout: httpHeaders,
		IdleTimeout:       httpIdle,
		MaxHeaderBytes:    httpHeaderMax,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // mostly what clients do wrong
	}
	s.services = append(s.services, server, l)
	s.wg.Go(func() { server.Serve(l) })
	return nil
}

// limitFields serves requests with at most httpFieldsMax header fields.
func limitFields(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fields := 0
		for _, values := range r.Header {
			fields += len(values)
		}
		if fields > httpFieldsMax {
			panic(http.ErrAbortHandler)
		}
		next.ServeHTTP(w, r)
	})
}

func serveBytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
	if err != nil || n < 0 || n > bytesMax {
		http.Error(w, fmt.Sprintf("want /bytes?n=N with N from 0 to %d", int64(bytesMax)), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	deadline := http.NewResponseController(w)
	for off := int64(0); off < n; {
		if off%(16*bytesBlock) == 0 {
			deadline.SetWriteDeadline(time.Now().Add(httpStall))
		}
		block := pattern[off%patternPeriod:][:min(bytesBlock, n-off)]
		if _, err := w.Write(block); err != nil {
			return
		}
		off += int64(len(block))
	}
}

func serveHash(w http.ResponseWriter, r *http.Request) {
	sum, n, err := hashBody(w, r)
	if err != nil {
		http.Error(w, "the body ended early", http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%x %d\n", sum, n)
}

// hashBody reads the body, and returns its SHA-256 and length.
func hashBody(w http.ResponseWriter, r *http.Request) (sum []byte, total int64, err error) {
	h := sha256.New()
	buf := streamBuffers.Get().(*[streamBuffer]byte)
	defer streamBuffers.Put(buf)
	deadline := http.NewResponseController(w)
	for next := int64(0); ; {
		if total >= next {
			deadline.SetReadDeadline(time.Now().Add(httpStall))
			next = total + 16*streamBuffer
		}
		n, err := r.Body.Read(buf[:])
		h.Write(buf[:n])
		total += int64(n)
		if err == io.EOF {
			return h.Sum(nil), total, nil
		}
		if err != nil {
			return nil, total, err
		}
	}
}

const pageHead = `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1"><title>Sluice</title><style>
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;padding:1rem;max-width:44rem;color:#1b2733;background:#fbfcfd}
h1{margin:0;font-size:1.6rem}h2{font-size:1.05rem;margin:1.4rem 0 .3rem}p{margin:0;color:#5b6b7b}
table{border-collapse:collapse;width:100%}td{padding:.2rem .4rem;border-bottom:1px solid #e3e8ed;overflow-wrap:anywhere}
td+td{text-align:right;font-variant-numeric:tabular-nums}
@media(prefers-color-scheme:dark){body{color:#dde5ec;background:#10161c}td{border-color:#26323d}p{color:#93a3b3}}
</style></head><body><h1>Sluice</h1>
`

// status writes the page. All text that comes from elsewhere is escaped.
func (p *statusPage) status(w http.ResponseWriter, _ *http.Request) {
	s := p.s
	var b bytes.Buffer
	b.WriteString(pageHead)
	uptime := s.now()
	if s.cfg.Status.Uptime != nil {
		uptime = s.cfg.Status.Uptime()
	}
	fmt.Fprintf(&b, "<p>a Go kernel on the bare machine</p>\n")

	section := func(title string) { fmt.Fprintf(&b, "<h2>%s</h2><table>\n", html.EscapeString(title)) }
	row := func(name, value string) {
		fmt.Fprintf(&b, "<tr><td>%s</td><td>%s</td></tr>\n", html.EscapeString(name), html.EscapeString(value))
	}
	end := func() { b.WriteString("</table>\n") }

	section("Machine")
	row("Version", s.cfg.Status.Version)
	row("Build", s.cfg.Status.BuildID)
	row("Uptime", uptime.Truncate(time.Second).String())
	if s.cfg.Status.Memory != nil {
		total, used := s.cfg.Status.Memory()
		row("Memory used", fmt.Sprintf("%d of %d MiB", used>>20, total>>20))
	}
	current, opened := s.Connections()
	row("TCP connections", fmt.Sprintf("%d open, %d accepted", current, opened))
	end()

	section("Addresses")
	for _, l := range s.Links() {
		if !l.Loopback {
			state := "down"
			if l.Up {
				state = "up"
			}
			row(l.Name+" "+l.Driver+" "+l.Location, state+", "+l.MAC)
		}
	}
	for _, a := range s.Addresses() {
		row(a.Link, a.Prefix.String())
	}
	for _, d := range s.DNS() {
		row("name server", d.String())
	}
	end()

	section("Counters")
	for _, c := range s.Counters() {
		if c.Value != 0 {
			row(c.Name, strconv.FormatUint(c.Value, 10))
		}
	}
	end()
	b.WriteString("</body></html>\n")

	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.Header().Set("Cache-Control", "no-store")
	w.Write(b.Bytes())
}
