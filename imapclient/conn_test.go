package imapclient_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/imapclient"
	"github.com/roost-mail/roost/imapwire"
)

func atom(name string) func(*imapwire.Encoder) {
	return func(e *imapwire.Encoder) { e.RawString(name) }
}

func TestAuthenticateWithInitialResponse(t *testing.T) {
	c := play(t, imapclient.Config{}, `
		S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hello
		C: R1 AUTHENTICATE PLAIN YW5uAGJvYgBzZWNyZXQ=
		S: R1 OK [CAPABILITY IMAP4rev1 ACL] welcome`)
	status, err := c.Authenticate(t.Context(), "ann", "bob", "secret")
	if err != nil || status.Text != "welcome" || !c.Has("ACL") || c.Has("SASL-IR") {
		t.Fatalf("got %+v, %v, %v", status, err, c.Capabilities())
	}
}

func TestAuthenticateWithPrompt(t *testing.T) {
	c := play(t, imapclient.Config{}, `
		S: * OK hello
		C: R1 CAPABILITY
		S: * CAPABILITY IMAP4rev1 AUTH=PLAIN
		S: R1 OK done
		C: R2 AUTHENTICATE PLAIN
		S: +
		C: AGJvYgBzZWNyZXQ=
		S: R2 OK
		C: R3 CAPABILITY
		S: * CAPABILITY IMAP4rev1
		S: R3 OK done`)
	if _, err := c.Authenticate(t.Context(), "", "bob", "secret"); err != nil {
		t.Fatal(err)
	}
}

func TestAuthenticateRefused(t *testing.T) {
	c := play(t, imapclient.Config{}, `
		S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hello
		C: R1 AUTHENTICATE PLAIN AGJvYgBzZWNyZXQ=
		S: + again?
		C: *
		S: R1 NO [AUTHENTICATIONFAILED] bob has another password at host7`)
	_, err := c.Authenticate(t.Context(), "", "bob", "secret")
	if imap.CodeOf(err) != imap.CodeAuthenticationFailed || strings.Contains(imap.AsError(err).Text, "host7") {
		t.Fatalf("got %v", err)
	}
	if c.Broken() != nil {
		t.Fatalf("a refusal broke the connection: %v", c.Broken())
	}
}

// A server without AUTH=PLAIN must not be given a password in another way, as
// that would log in somebody else.
func TestAuthenticateNotOffered(t *testing.T) {
	c := play(t, imapclient.Config{}, `S: * OK [CAPABILITY IMAP4rev1] hello`)
	if _, err := c.Authenticate(t.Context(), "ann", "bob", "secret"); !errors.Is(err, imapclient.ErrNoPlain) {
		t.Fatalf("got %v", err)
	}
}

func TestLoginDisabled(t *testing.T) {
	c := play(t, imapclient.Config{}, `S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED] hello`)
	if _, err := c.Login(t.Context(), "bob", "secret"); imap.CodeOf(err) != imap.CodePrivacyRequired {
		t.Fatalf("got %v", err)
	}
}

func TestLoginWithLiterals(t *testing.T) {
	c := play(t, imapclient.Config{}, `
		S: * OK [CAPABILITY IMAP4rev1] hello
		C: R1 LOGIN "bob" {7}
		S: + go on
		C: süßes
		S: R1 OK [CAPABILITY IMAP4rev1] in`)
	if _, err := c.Login(t.Context(), "bob", "süßes"); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedLiteralEndsTheCommand(t *testing.T) {
	c := play(t, imapclient.Config{}, `
		S: * OK [CAPABILITY IMAP4rev1] hello
		C: R1 APPEND INBOX {4}
		S: R1 NO [OVERQUOTA] full
		C: R2 NOOP
		S: R2 OK`)
	_, err := c.Do(t.Context(), nil, func(e *imapwire.Encoder) {
		e.RawString("APPEND INBOX ").Literal(4, strings.NewReader("mail"))
	})
	if imap.CodeOf(err) != imap.CodeOverQuota {
		t.Fatalf("got %v", err)
	}
	if _, err := c.Do(t.Context(), nil, atom("NOOP")); err != nil {
		t.Fatal(err)
	}
}

func TestPipelinedCommandsGetTheirResponses(t *testing.T) {
	c := play(t, imapclient.Config{}, `
		S: * OK hello
		C: R1 SEARCH ALL
		C: R2 SEARCH SEEN
		S: * SEARCH 1 2 3
		S: R1 OK
		S: * ESEARCH (TAG "R2") UID ALL 2:3
		S: R2 OK`)
	var first, second imap.UIDSet
	a, err := c.Send(t.Context(), &imapclient.Handler{Search: func(s imap.UIDSet, _ imap.ModSeq) { first = s }}, atom("SEARCH ALL"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.Send(t.Context(), &imapclient.Handler{Search: func(s imap.UIDSet, _ imap.ModSeq) { second = s }}, atom("SEARCH SEEN"))
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*imapclient.Command{b, a} {
		if _, err := c.Wait(t.Context(), cmd); err != nil {
			t.Fatal(err)
		}
	}
	if first.String() != "1:3" || second.String() != "2:3" {
		t.Fatalf("got %s and %s", first, second)
	}
}

func TestFetchResponse(t *testing.T) {
	c := play(t, imapclient.Config{}, `
		S: * OK hello
		C: R1 FETCH
		S: * 4 FETCH (UID 9 FLAGS (\seen $Label1) MODSEQ (77) RFC822.SIZE 12 INTERNALDATE " 2-Feb-2026 23:30:00 +0100" ENVELOPE ("a" NIL ("b\"(")) X-NEW (1 2) BODY[HEADER.FIELDS (Subject "To")] {5}
		S~ abcde BODY[2] NIL BODY[1]<7> "qu")
		S:
		S: * 5 FETCH (FLAGS ())
		S: R1 OK`)
	var got []string
	var last *imapclient.FetchData
	h := &imapclient.Handler{
		Section: func(m *imapclient.FetchData, s *imapclient.SectionData) error {
			body, err := io.ReadAll(s.Body)
			got = append(got, s.Name+"="+string(body))
			return err
		},
		Fetch: func(m *imapclient.FetchData) error {
			if m.Seq == 4 {
				last = m
			}
			return nil
		},
	}
	if _, err := c.Do(t.Context(), h, atom("FETCH")); err != nil {
		t.Fatal(err)
	}
	if want := `BODY[HEADER.FIELDS (SUBJECT TO)]=abcde;BODY[2]=;BODY[1]<7>=qu`; strings.Join(got, ";") != want {
		t.Errorf("got sections %q", got)
	}
	if last.UID != 9 || last.ModSeq != 77 || last.Size != 12 || last.InternalDate.Day() != 2 ||
		string(last.Envelope) != `("a" NIL ("b\"("))` || last.Flags[0] != imap.FlagSeen {
		t.Errorf("got %+v", last)
	}
}

func TestIdle(t *testing.T) {
	c := play(t, imapclient.Config{}, `
		S: * OK hello
		C: R1 IDLE
		S: + idling
		S: * 3 EXISTS
		C: DONE
		S: * 4 EXISTS
		S: R1 OK`)
	var counts []uint32
	h := &imapclient.Handler{Exists: func(n uint32) {
		counts = append(counts, n)
		c.Interrupt()
	}}
	if err := c.Idle(t.Context(), h, time.Hour); err != nil {
		t.Fatal(err)
	}
	if len(counts) != 2 || counts[1] != 4 {
		t.Fatalf("got %v", counts)
	}
}

func TestIdleEndsInTime(t *testing.T) {
	c := play(t, imapclient.Config{}, `
		S: * OK hello
		C: R1 IDLE
		S: + idling
		C: DONE
		S: R1 OK`)
	if err := c.Idle(t.Context(), nil, time.Millisecond); err != nil {
		t.Fatal(err)
	}
}

func TestDetachGivesWhatWasRead(t *testing.T) {
	c := play(t, imapclient.Config{}, `
		S: * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] hello
		C: R1 AUTHENTICATE PLAIN AGEAYg==
		S~ R1 OK [CAPABILITY X] in\r\n* more`)
	if _, err := c.Authenticate(t.Context(), "", "a", "b"); err != nil {
		t.Fatal(err)
	}
	nc, buffered := c.Detach()
	rest, err := io.ReadAll(nc)
	if got := string(buffered) + string(rest); err != nil || !strings.HasSuffix(got, "* more") {
		t.Fatalf("got %q, %v", got, err)
	}
}

// A server that has forgotten when messages went tells of all that are not there.
func TestLongVanished(t *testing.T) {
	var long imap.UIDSet
	for n := range uint32(30_000) {
		long = append(long, imap.Range{Start: 2*n + 1, Stop: 2*n + 1})
	}
	conn := play(t, imapclient.Config{}, "S: * OK hello\nC: R1 NOOP\nS: * VANISHED (EARLIER) "+long.String()+"\nS: * VANISHED 7:5\nS: R1 OK")
	var told []string
	h := &imapclient.Handler{Vanished: func(uids imap.UIDSet, earlier bool) { told = append(told, fmt.Sprint(uids.Len(), earlier)) }}
	if _, err := conn.Do(t.Context(), h, atom("NOOP")); err != nil || !slices.Equal(told, []string{"30000 true", "3 false"}) {
		t.Fatalf("got %q, %v", told, err)
	}
}

func TestBreaks(t *testing.T) {
	for _, c := range []struct{ name, answer, want string }{
		{"BYE", "S: * BYE [UNAVAILABLE] shutting down", "shutting down"},
		{"Nonsense", "S: hello?", "tagged response"},
		{"EndInALine", "S~ * 1 FE", "EOF"},
		{"UnknownTag", "S: R99 OK", "unknown command"},
		{"TooLong", "S: * SEARCH " + strings.Repeat("1 ", 600), "limit"},
		{"BrokenVanished", "S: * VANISHED 1:*", "VANISHED"},
		{"NoVanished", "S: * VANISHED 0", "VANISHED"},
		{"BrokenFetch", "S: * 1 FETCH (UID x)", "FETCH"},
		{"DeepEnvelope", "S: * 1 FETCH (ENVELOPE " + strings.Repeat("(", 300), "nested"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := play(t, imapclient.Config{Limits: imapwire.Limits{Line: 1000}}, "S: * OK hello\nC: R1 NOOP\n"+c.answer)
			_, err := conn.Do(t.Context(), nil, atom("NOOP"))
			if err == nil || conn.Broken() == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v", err)
			}
			if _, again := conn.Do(t.Context(), nil, atom("NOOP")); again == nil {
				t.Fatal("a broken connection was used")
			}
		})
	}
}

func TestSilentServer(t *testing.T) {
	silent := "S: * OK hello\nC: R1 NOOP\nsilence"
	t.Run("Context", func(t *testing.T) {
		conn := play(t, imapclient.Config{}, silent)
		ctx, cancel := context.WithCancel(t.Context())
		h := &imapclient.Handler{}
		cmd, err := conn.Send(ctx, h, atom("NOOP"))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := conn.Wait(ctx, cmd); err == nil || conn.Broken() == nil {
			t.Fatalf("got %v", err)
		}
	})
}

func TestRawLog(t *testing.T) {
	in, out := &memory{}, &memory{}
	cfg := imapclient.Config{RawLog: func() (io.WriteCloser, io.WriteCloser) { return in, out }}
	c := play(t, cfg, "S: * OK hello\nC: R1 NOOP\nS: R1 OK")
	if _, err := c.Do(t.Context(), nil, atom("NOOP")); err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	if !strings.HasSuffix(out.String(), " R1 NOOP\r\n") || strings.Count(in.String(), "\r\n") != 2 || !in.closed {
		t.Fatalf("got %q and %q", in, out)
	}
}

type memory struct {
	bytes.Buffer
	closed bool
}

func (m *memory) Close() error {
	m.closed = true
	return nil
}

func TestCounters(t *testing.T) {
	var n imapclient.Counters
	c := play(t, imapclient.Config{Counters: &n}, "S: * OK hello\nC: R1 NOOP\nS: R1 OK")
	if _, err := c.Do(t.Context(), nil, atom("NOOP")); err != nil {
		t.Fatal(err)
	}
	if waits := n.Waits.Read().Count; waits != 1 {
		t.Errorf("%d waits were timed", waits)
	}
	if n.Connections.Load() != 1 || n.RoundTrips.Load() != 1 {
		t.Fatalf("got %d connections and %d round trips", n.Connections.Load(), n.RoundTrips.Load())
	}
}

// An IDLE that the server ends is told, and nothing is sent behind it.
func TestIdleEndedByServer(t *testing.T) {
	c := play(t, imapclient.Config{}, `
		S: * OK hello
		C: R1 IDLE
		S: + go on
		S: R1 OK that was all
		C: R2 NOOP
		S: R2 OK done`)
	if err := c.Idle(t.Context(), nil, time.Hour); imap.CodeOf(err) != imap.CodeCannot || c.Broken() != nil {
		t.Errorf("%v, broken: %v", err, c.Broken())
	}
	if _, err := c.Do(t.Context(), nil, atom("NOOP")); err != nil {
		t.Error(err)
	}
}
