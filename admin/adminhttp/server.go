// Package adminhttp is package admin's table of operations over HTTP, and its client.
//
//	GET  /v1/operations        the table
//	POST /v1/director/status   calls an operation; arguments are a JSON object
//
// The answer is the operation's result in JSON, or {"error": {"code", "text",
// "exit"}} with a status of 400 or more. What takes time answers with a line of JSON
// for each step, {"progress": …}, and last one with {"result": …} or {"error": …}.
//
// Over the network a caller shows a bearer token; who has failed too often, or calls too
// much at once, gets 429 with Retry-After. On the unix socket, which only its
// owner can open, the kernel says who calls, and there is no token.
package adminhttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/roost-mail/roost/admin"
	"github.com/roost-mail/roost/imap"
)

// Limits of calls.
const (
	MaxBody = 4 << 20 // bytes of a call's arguments

	maxHeader   = 16 << 10
	maxConns    = 128 // open connections of each listener; others wait
	readTime    = 15 * time.Second
	writeTime   = 30 * time.Second // of an answer, or of one line of it
	idleTime    = 2 * time.Minute
	refusedTime = time.Second // that who has no token waits for the answer
	quickTime   = time.Minute // for an operation that is not slow
)

// Config is what a Server needs.
type Config struct {
	Admin  *admin.Admin
	Log    *slog.Logger
	Tokens func() *Tokens // as they are now; nil: nobody comes in over the network
}

// Server serves the API. Serve may be called for several listeners.
type Server struct {
	cfg    Config
	http   *http.Server
	cancel context.CancelFunc // of all calls

	failures failures
	calls    counts[string] // by Caller.Name
}

// New makes a Server. It starts nothing.
func New(cfg Config) *Server {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{cfg: cfg, cancel: cancel}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/operations", s.list)
	mux.HandleFunc("POST /v1/", s.call)
	s.http = &http.Server{
		Handler:           s.admit(mux),
		ReadHeaderTimeout: readTime, ReadTimeout: readTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeader,
		BaseContext:    func(net.Listener) context.Context { return ctx },
		ConnContext:    withPeer,
		ErrorLog:       slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	return s
}

// Serve answers connections of ln until Close, and closes ln. Those of a Socket are
// of the machine's own users, all others need a token.
func (s *Server) Serve(ln net.Listener) error {
	err := s.http.Serve(&limited{Listener: ln, free: make(chan struct{}, maxConns)})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Close ends calls that wait for something, which goes on by itself, and then the
// server; what is left when ctx is done is cut off.
func (s *Server) Close(ctx context.Context) error {
	s.cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

type callerKey struct{}

// admit finds out who calls. An address from which too many have failed is told to
// wait before its token is looked at, so that guessing is slow and does not fill the log.
func (s *Server) admit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := source(r.RemoteAddr)
		if wait := s.failures.wait(from, time.Now()); wait > 0 {
			tooMany(w, wait, tooManyFailures)
			return
		}
		who, err := s.caller(r)
		if err != nil {
			s.refuse(w, r, from, err)
			return
		}
		done, ok := s.calls.add(who.Name, maxCalls)
		if !ok {
			tooMany(w, busyTime, fmt.Sprintf("%s has %d calls under way", who.Name, maxCalls))
			return
		}
		defer done()
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, who)))
	})
}

const tooManyFailures = "too many calls from your address without a valid token"

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, from netip.Addr, err error) {
	log := s.cfg.Log.With("from", r.RemoteAddr, "path", fmt.Sprintf("%.100q", r.URL.Path), "error", err)
	times := 0
	if from.IsValid() { // the socket's users are not guessing
		times = s.failures.add(from, time.Now())
	}
	switch {
	case times > maxFailures:
		tooMany(w, failureTime, tooManyFailures)
		return
	case times == maxFailures:
		log.Warn("administrator's call refused, and for a while all from this address", "calls", maxFailures, "for", failureTime)
	default:
		log.Warn("administrator's call refused")
	}
	select {
	case <-time.After(refusedTime):
	case <-r.Context().Done():
	}
	w.Header().Set("WWW-Authenticate", `Bearer realm="roost"`)
	fail(w, err)
}

func (s *Server) caller(r *http.Request) (admin.Caller, error) {
	if p, ok := r.Context().Value(peerKey{}).(peer); ok {
		return p.caller()
	}
	refused := imap.Errorf(imap.CodeAuthenticationFailed, "a valid token is needed: Authorization: Bearer TOKEN")
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || s.cfg.Tokens == nil {
		return admin.Caller{}, refused
	}
	e, ok := s.cfg.Tokens().find(strings.TrimSpace(token))
	if !ok {
		return admin.Caller{}, refused
	}
	return admin.Caller{Name: "token " + e.name, From: r.RemoteAddr, Operate: e.operate}, nil
}

// described is an operation in the table that clients can ask for.
type described struct {
	Name    string `json:"name"`
	Path    string `json:"path"`
	Help    string `json:"help"`
	Long    string `json:"long,omitempty"`
	Changes string `json:"changes,omitempty"`
	Slow    bool   `json:"slow,omitempty"`
	Args    []arg  `json:"args"`
}

type arg struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Required bool   `json:"required,omitempty"`
	Default  string `json:"default,omitempty"`
	Help     string `json:"help"`
}

func (s *Server) list(w http.ResponseWriter, _ *http.Request) {
	var all []described
	for _, op := range admin.Operations() {
		d := described{op.Name, path(op.Name), op.Help, op.Long, op.Changes, op.Slow, []arg{}}
		for _, a := range op.Args {
			d.Args = append(d.Args, arg{a.Name, a.Type.String(), a.Required, a.Default, a.Help})
		}
		all = append(all, d)
	}
	answer(w, http.StatusOK, all)
}

// path is where an operation is called.
func path(name string) string { return "/v1/" + strings.ReplaceAll(name, " ", "/") }

func (s *Server) call(w http.ResponseWriter, r *http.Request) {
	op, ok := admin.Find(strings.TrimPrefix(r.URL.Path, "/v1/"))
	if !ok {
		fail(w, imap.Errorf(imap.CodeNonExistent, "there is no operation %.100q: GET /v1/operations lists them", r.URL.Path))
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, MaxBody))
	if err != nil {
		fail(w, imap.BadCommand("the body can't be read, or is longer than %d bytes", MaxBody))
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // all is read; it would end the call
	args, err := op.ParseJSON(body)
	if err != nil {
		fail(w, err)
		return
	}
	who, _ := r.Context().Value(callerKey{}).(admin.Caller)
	if op.Slow {
		s.stream(w, r, who, op, args)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), quickTime)
	defer cancel()
	res, err := s.cfg.Admin.Call(ctx, who, op, args, nil)
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, http.StatusOK, res)
}

// line is one of an answer that takes time.
type line struct {
	Progress *admin.Progress `json:"progress,omitempty"`
	Result   any             `json:"result,omitempty"`
	Error    *Error          `json:"error,omitempty"`
}

const streamType = "application/x-ndjson"

func (s *Server) stream(w http.ResponseWriter, r *http.Request, who admin.Caller, op *admin.Operation, args admin.Args) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	control := http.NewResponseController(w)
	send := func(l line) {
		_ = control.SetWriteDeadline(time.Now().Add(writeTime))
		text, err := json.Marshal(l)
		if err == nil {
			_, err = w.Write(append(text, '\n'))
		}
		if err == nil {
			err = control.Flush()
		}
		if err != nil {
			cancel() // nobody listens: what was begun goes on by itself
		}
	}
	w.Header().Set("Content-Type", streamType)
	res, err := s.cfg.Admin.Call(ctx, who, op, args, func(p admin.Progress) { send(line{Progress: &p}) })
	if err != nil {
		send(line{Error: newError(err)})
		return
	}
	send(line{Result: res})
}

// answer writes a whole answer.
func answer(w http.ResponseWriter, status int, body any) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who has gone away gets nothing
}

// tooMany has the caller wait.
func tooMany(w http.ResponseWriter, wait time.Duration, why string) {
	seconds := int(math.Ceil(wait.Seconds()))
	w.Header().Set("Retry-After", strconv.Itoa(seconds))
	err := imap.Errorf(imap.CodeUnavailable, "%s: try again in %d s", why, seconds)
	answer(w, http.StatusTooManyRequests, map[string]*Error{"error": newError(err)})
}

func fail(w http.ResponseWriter, err error) {
	e := newError(err)
	answer(w, e.status(), map[string]*Error{"error": e})
}

// Error is a failure as it is told to the caller.
type Error struct {
	Code string `json:"code,omitempty"` // of RFC 5530
	Text string `json:"text"`
	Exit int    `json:"exit"` // what a command line ends with
}

func (e *Error) Error() string { return e.Text }

// newError takes what may be shown; the cause is for the log.
func newError(err error) *Error {
	e := imap.AsError(err)
	out := &Error{Code: string(e.Code), Text: e.Text, Exit: admin.ExitCode(err)}
	if e.Bad {
		out.Code = string(imap.CodeClientBug)
	}
	return out
}

func (e *Error) status() int {
	switch imap.Code(e.Code) {
	case imap.CodeClientBug:
		return http.StatusBadRequest
	case imap.CodeAuthenticationFailed:
		return http.StatusUnauthorized
	case imap.CodeNoPerm:
		return http.StatusForbidden
	case imap.CodeNonExistent:
		return http.StatusNotFound
	case imap.CodeInUse, imap.CodeAlreadyExists:
		return http.StatusConflict
	case imap.CodeLimit:
		return http.StatusRequestEntityTooLarge
	case imap.CodeCannot:
		return http.StatusNotImplemented
	case imap.CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
