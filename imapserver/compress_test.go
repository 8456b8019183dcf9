package imapserver

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roost-mail/roost/imap"
	"github.com/roost-mail/roost/mailbox/mailboxmem"
)

// squeezed is a client's end of a connection with COMPRESS. It reads while it
// sends: the server may answer before it has read all.
type squeezed struct {
	net.Conn
	*flate.Writer
	r       *bufio.Reader
	wire    *bytes.Buffer // what Writer gives
	sending sync.WaitGroup
}

// squeeze logs in and asks for COMPRESS.
func squeeze(t *testing.T, conn net.Conn, r *bufio.Reader) *squeezed {
	t.Helper()
	wantLine(t, r, "* OK …")
	sendLine(t, conn, "a LOGIN ann secret")
	wantLine(t, r, "a OK …COMPRESS=DEFLATE…")
	sendLine(t, conn, "b COMPRESS DEFLATE")
	wantLine(t, r, "b OK Begin compression.")
	var wire bytes.Buffer
	w, err := flate.NewWriter(&wire, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	return &squeezed{Conn: conn, Writer: w, r: bufio.NewReader(flate.NewReader(r)), wire: &wire}
}

func (s *squeezed) send(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(s.Writer, text); err != nil {
		t.Fatal(err)
	}
	if err := s.Writer.Flush(); err != nil {
		t.Fatal(err)
	}
	s.sendRaw(bytes.Clone(s.wire.Bytes()))
	s.wire.Reset()
}

func (s *squeezed) sendRaw(p []byte) {
	s.sending.Wait()
	s.sending.Go(func() { _, _ = s.Conn.Write(p) }) // the server may have closed: the answers show it
}

func compressServer(t *testing.T) (*mailboxmem.Mail, *squeezed) {
	t.Helper()
	mail := mailboxmem.New("ann")
	c, r := pipe(t, Config{Authenticator: authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
		return &Login{User: "ann", Account: mail.As("ann", false)}, nil
	})})
	return mail, squeeze(t, c, r)
}

func TestCompress(t *testing.T) {
	_, c := compressServer(t)
	c.send(t, "c COMPRESS DEFLATE\r\n")
	wantLine(t, c.r, "c BAD …already active")
	c.send(t, "d CAPABILITY\r\n")
	if line, _ := c.r.ReadString('\n'); strings.Contains(line, "COMPRESS") {
		t.Errorf("still offered: %s", line)
	}
	wantLine(t, c.r, "d OK …")
	// Text that refers back to what was sent before each rest, and flushes of nothing.
	text := "Subject: x\r\n\r\n" + strings.Repeat("all of this comes again and again\r\n", 3000)
	for n := range 5 {
		c.send(t, "")
		c.send(t, fmt.Sprintf("e APPEND INBOX {%d+}\r\n", len(text)))
		c.send(t, text[:1000])
		c.send(t, text[1000:]+"\r\n")
		wantLine(t, c.r, fmt.Sprintf("e OK [APPENDUID 1 %d] …", n+1))
	}
	c.send(t, "f EXAMINE INBOX\r\ng FETCH 5 BODY.PEEK[]\r\n")
	for line := ""; !strings.Contains(line, "BODY[] {"); {
		var err error
		if line, err = c.r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c.r, got); err != nil || string(got) != text {
		t.Fatalf("%v, and equal: %v", err, string(got) == text)
	}
	wantLine(t, c.r, ")")
	wantLine(t, c.r, "g OK …")
	c.send(t, "h LOGOUT\r\n")
	wantLine(t, c.r, "* BYE …")
	wantLine(t, c.r, "h OK …")
}

// A session that waits holds no more than what the client has sent.
func TestCompressRests(t *testing.T) {
	client, server := net.Pipe()
	go func() {
		w, _ := flate.NewWriter(client, flate.BestSpeed)
		_, _ = io.WriteString(w, "a NOOP\r\n")
		_ = w.Flush()
		_ = client.Close()
	}()
	s := &stream{conn: server, sock: server, readTimeout: testTimeout, flush: func() error { return nil }}
	d := &deflated{stream: s}
	line := make([]byte, 100)
	if n, err := d.Read(line); err != nil || string(line[:n]) != "a NOOP\r\n" || d.inflater.tables == nil {
		t.Fatalf("%q, %v", line[:n], err)
	}
	if _, err := d.Read(line[:1]); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if d.inflater.tables != nil || cap(d.window) > 64 {
		t.Errorf("holds %v and %d bytes", d.inflater.tables != nil, cap(d.window))
	}
}

// An idle session is woken.
func TestCompressIdle(t *testing.T) {
	mail, c := compressServer(t)
	c.send(t, "c SELECT INBOX\r\nd IDLE\r\n")
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "+ idling\r\n" {
			break
		}
	}
	for n := range 3 {
		appendTo(t, mail.As("ann", false), imap.Inbox)
		wantLine(t, c.r, fmt.Sprintf("* %d EXISTS", n+1))
		wantLine(t, c.r, fmt.Sprintf("* %d RECENT", n+1))
	}
	c.send(t, "DONE\r\n")
	wantLine(t, c.r, "d OK …")
}

func TestCompressRefusals(t *testing.T) {
	mail := mailboxmem.New("ann")
	c, r := pipe(t, Config{Authenticator: authFunc(func(context.Context, *Client, Credentials) (*Login, error) {
		return &Login{User: "ann", Account: mail.As("ann", false)}, nil
	})})
	wantLine(t, r, "* OK …")
	sendLine(t, c, "a COMPRESS DEFLATE\r\nb LOGIN ann secret\r\nc COMPRESS LZ4\r\nd NOOP")
	wantLine(t, r, "a BAD …Log in first")
	wantLine(t, r, "b OK …")
	wantLine(t, r, "c BAD …Unknown compression mechanism")
	wantLine(t, r, "d OK …")
	sendLine(t, c, "e COMPRESS DEFLATE")
	wantLine(t, r, "e OK …")
	sendLine(t, c, "\xff\xff\xff\xff this is not compressed")
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
}

// What little inflates to much meets the limits of every command.
func TestCompressBomb(t *testing.T) {
	_, c := compressServer(t)
	c.send(t, strings.Repeat("a", 100<<20))
	if rest, err := io.ReadAll(io.LimitReader(c.r, 1<<20)); !strings.Contains(string(rest), "too long") {
		t.Fatalf("%q, %v", rest, err)
	}
}

// A block that has come in part is a wait between commands: some flushes hold back
// bits of its end.
func TestCompressedBlockInPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := pipe(t, Config{Authenticator: annsMail()})
		s := squeeze(t, c, r)
		start := time.Now()
		var block bytes.Buffer
		s.Writer.Reset(&block)
		_, _ = io.WriteString(s.Writer, strings.Repeat("NOOP and much more ", 20))
		_ = s.Writer.Close()
		if _, err := c.Write(block.Bytes()[:1]); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took != 30*time.Minute {
			t.Errorf("ended after %v", took)
		}
	})
}

// FuzzInflate compares what arrives, however the bytes are cut, with what was sent.
func FuzzInflate(f *testing.F) {
	f.Add([]byte("a NOOP\r\n"), []byte("b NOOP\r\n"), uint8(3))
	f.Add(bytes.Repeat([]byte("abc"), 30_000), []byte{0, 0, 0xff, 0xff}, uint8(255))
	f.Fuzz(func(t *testing.T, first, second []byte, cut uint8) {
		var wire bytes.Buffer
		w, _ := flate.NewWriter(&wire, int(cut)%10)
		for _, part := range [][]byte{first, second, first} {
			_, _ = w.Write(part)
			_ = w.Flush()
		}
		client, server := net.Pipe()
		go func() {
			for wire.Len() > 0 {
				_, _ = client.Write(wire.Next(int(cut) + 1))
			}
			_ = client.Close()
		}()
		s := &stream{conn: server, sock: server, readTimeout: testTimeout, flush: func() error { return nil }}
		d := &deflated{stream: s}
		want := string(first) + string(second) + string(first)
		var got []byte
		buf := make([]byte, 1+int(cut)*50)
		for len(got) < len(want) {
			n, err := d.Read(buf[:1+len(got)%len(buf)])
			got = append(got, buf[:n]...)
			if err != nil {
				t.Fatalf("after %d of %d bytes: %v", len(got), len(want), err)
			}
		}
		if string(got) != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		_ = server.Close()
	})
}
