package imapserver

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/roost-mail/roost/mailbox"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// memConn is a connection whose client sends input, reads everything and goes.
type memConn struct {
	input  io.Reader
	output bytes.Buffer
}

func (c *memConn) Read(p []byte) (int, error)     { return c.input.Read(p) }
func (c *memConn) Write(p []byte) (int, error)    { return c.output.Write(p) }
func (*memConn) Close() error                     { return nil }
func (*memConn) LocalAddr() net.Addr              { return nil }
func (*memConn) RemoteAddr() net.Addr             { return nil }
func (*memConn) SetDeadline(time.Time) error      { return nil }
func (*memConn) SetReadDeadline(time.Time) error  { return nil }
func (*memConn) SetWriteDeadline(time.Time) error { return nil }

// states are what a client sends to get somewhere, ahead of the fuzzer's bytes.
var states = []string{
	"",
	"f AUTHENTICATE PLAIN\r\n",
	"f LOGIN ann secret\r\n",
	"f LOGIN ann secret\r\nf SELECT INBOX\r\n",
	"f LOGIN ann secret\r\nf EXAMINE INBOX\r\n",
	"f LOGIN ann secret\r\nf SELECT INBOX\r\nf IDLE\r\n",
	"f LOGIN ann secret\r\nf APPEND INBOX {5+}\r\na: b\n",
	"f LOGIN ann secret\r\nf SELECT INBOX\r\nf SEARCH RETURN (ALL) ",
	"f LOGIN ann secret\r\nf SELECT INBOX\r\nf FETCH 1:* ",
	"f LOGIN ann secret\r\nf ENABLE QRESYNC\r\nf SELECT INBOX (QRESYNC ",
	"f LOGIN ann secret\r\nf ENABLE QRESYNC IMAP4rev2 UTF8=ACCEPT\r\nf SELECT INBOX\r\n",
}

// FuzzServer sends anything in any state. Whatever comes, nothing panics or
// hangs, no answer is lost, every line of the server ends as lines do, and the
// answers are the same when the bytes come one by one.
func FuzzServer(f *testing.F) {
	for state, text := range transcriptInputs(f) {
		f.Add(uint8(state), text)
		f.Add(uint8(3), text)
	}
	f.Add(uint8(6), []byte(" (\\Seen) {3}\r\nabc\r\n"))
	f.Add(uint8(7), []byte("OR (NOT 1:* UID 2) HEADER \"\" {2+}\r\nab\r\n"))
	f.Add(uint8(8), []byte("(BODY[1.2.HEADER.FIELDS (a {1}\r\nb)]<1.2> RFC822.TEXT)\r\n"))
	f.Add(uint8(9), []byte("(1 9223372036854775807 1:4294967295,3 (1:4294967295 1:4294967295)))\r\n"))
	f.Add(uint8(10), []byte("f UID SORT RETURN (PARTIAL -1:-2 SAVE) (REVERSE SUBJECT CC) UTF-8 OLDER 5\r\nf SORT (DISPLAYTO) UTF-8 1 YOUNGER 9\r\nf THREAD REFERENCES UTF-8 NOT SEEN\r\nf UID FETCH 1:* UID (PARTIAL 1:2)\r\n"))
	f.Add(uint8(10), []byte("f UID FETCH 1:* FLAGS (CHANGEDSINCE 1 VANISHED)\r\nf SEARCH RETURN (SAVE MIN) MODSEQ \"/flags/\\\\seen\" all 1\r\nf STORE $ (UNCHANGEDSINCE 0) FLAGS ()\r\nf APPEND \"\xc3\xa4\" UTF8 (~{1+}\r\na)\r\n"))
	f.Fuzz(func(t *testing.T, state uint8, input []byte) {
		all := append([]byte(states[int(state)%len(states)]), input...)
		output, log := serveBytes(bytes.NewReader(all))
		if slow, _ := serveBytes(iotest.OneByteReader(bytes.NewReader(all))); !bytes.Equal(withoutDates(output), withoutDates(slow)) {
			t.Fatalf("at once:\n%s\none by one:\n%s", output, slow)
		}
		if strings.Contains(log, "panic") || strings.Contains(log, "not sent") || strings.Contains(log, "command failed") {
			t.Fatalf("log: %s", log)
		}
		if bytes.Contains(output, []byte("SERVERBUG")) {
			t.Fatalf("SERVERBUG in %q", output)
		}
		if n := len(output); n > 0 && !bytes.HasSuffix(output, []byte("\r\n")) {
			t.Fatalf("output ends with %q", output[max(0, n-100):])
		}
		if limit := 100_000 + 1000*len(input); len(output) > limit {
			t.Fatalf("%d bytes in, %d out", len(input), len(output))
		}
	})
}

// withoutDates hides the dates that say when a message was appended.
func withoutDates(output []byte) []byte {
	return regexp.MustCompile(`(INTERNALDATE|SAVEDATE) "[^"]*"`).ReplaceAll(output, []byte("$1"))
}

func serveBytes(input io.Reader) (output []byte, log string) {
	mail := mailboxmem.New("ann")
	account := newTestAccount(mail.As("ann", false), &testACLs{}, "eve")
	for _, text := range []string{"Subject: one\r\n\r\nbody\r\n", "X: y\n"} {
		m := &mailbox.NewMessage{Size: int64(len(text)), Body: strings.NewReader(text)}
		_, _ = account.Append(context.Background(), "INBOX", mailbox.One(m))
	}
	var logged bytes.Buffer
	conn := &memConn{input: input}
	srv := New(Config{
		Log: slog.New(slog.NewTextHandler(&logged, nil)),
		Authenticator: authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
			return &Login{User: "ann", Account: account}, nil
		}),
	})
	srv.ServeConn(context.Background(), conn)
	return conn.output.Bytes(), logged.String()
}

// transcriptInputs are what the clients of the transcripts send.
func transcriptInputs(f *testing.F) [][]byte {
	files, _ := filepath.Glob("testdata/*.txt")
	var inputs [][]byte
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		var input []byte
		for line := range strings.SplitSeq(string(text), "\n") {
			if text, ok := strings.CutPrefix(line, "C: "); ok {
				input = append(input, unescape(text)+"\r\n"...)
			}
		}
		inputs = append(inputs, input)
	}
	return inputs
}
