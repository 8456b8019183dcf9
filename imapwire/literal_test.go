package imapwire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// turns is a client that waits: each part is sent only after the server has
// asked for it. A read too early is an error instead of a wait without end.
type turns struct {
	parts []string
	asked int
	r     strings.Reader
	begun bool
}

var errTooEarly = errors.New("server reads what the client has not sent")

func (c *turns) ask() error {
	c.asked++
	return c.next()
}

func (c *turns) next() error {
	if c.r.Len() > 0 || len(c.parts) == 0 {
		return fmt.Errorf("asked with %d bytes unread", c.r.Len())
	}
	c.r.Reset(c.parts[0])
	c.parts = c.parts[1:]
	return nil
}

func (c *turns) Read(p []byte) (int, error) {
	if !c.begun {
		c.begun = true
		_ = c.next()
	}
	if c.r.Len() == 0 {
		return 0, errTooEarly
	}
	return c.r.Read(p)
}

func TestSyncLiteralIsAskedFor(t *testing.T) {
	c := &turns{parts: []string{"a LOGIN {3}\r\n", "ann {2}\r\n", "pw\r\n"}}
	d := NewDecoder(c, Limits{})
	d.ContinueFunc = c.ask
	var tag, name, user, password string
	ok := d.ExpectTag(&tag) && d.ExpectSP() && d.ExpectAtom(&name) && d.ExpectSP() &&
		d.ExpectAString(&user) && d.ExpectSP() && d.ExpectAString(&password) && d.ExpectCRLF()
	if !ok || user != "ann" || password != "pw" || c.asked != 2 {
		t.Errorf("%q %q, asked %d times, error %v", user, password, c.asked, d.Err())
	}
}

func TestSyncLiteralOfNothingIsAskedFor(t *testing.T) {
	c := &turns{parts: []string{"{0}\r\n", "{0}\r\n", "\r\n"}}
	d := NewDecoder(c, Limits{})
	d.ContinueFunc = c.ask
	var s string
	if !d.ExpectAString(&s) {
		t.Fatal(d.Err())
	}
	l, err := d.LiteralReader()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Accept(); err != nil {
		t.Fatal(err)
	}
	if n, err := l.Read(make([]byte, 1)); n != 0 || err != io.EOF || !d.ExpectCRLF() || c.asked != 2 {
		t.Errorf("read %d, %v; asked %d; error %v", n, err, c.asked, d.Err())
	}
}

// A server that cannot ask has lost its connection.
func TestSyncLiteralCannotBeAskedFor(t *testing.T) {
	gone := errors.New("gone")
	d := NewDecoder(strings.NewReader("{3}\r\n"), Limits{})
	d.ContinueFunc = func() error { return gone }
	if d.ExpectAString(new(string)) || d.Err() != gone || d.SkipLine() != gone {
		t.Errorf("error is %v", d.Err())
	}
}

func TestLiteralReaderNeedsLiteral(t *testing.T) {
	d := NewDecoder(strings.NewReader("x\r\nnext\r\n"), Limits{})
	if l, err := d.LiteralReader(); l != nil || err == nil || err.Error() != "Expected literal" {
		t.Errorf("%v, %v", l, err)
	}
	wantNext(t, d)
}

// A literal that is not accepted is not sent: the next line follows its header.
func TestSyncLiteralRefused(t *testing.T) {
	tests := map[string]func(d *Decoder) error{
		"stream": func(d *Decoder) error {
			l, err := d.LiteralReader()
			if err != nil {
				return err
			}
			if l.Size != 2000 || l.NonSync || l.Binary {
				return fmt.Errorf("header %+v", l)
			}
			if _, err := l.Read(make([]byte, 1)); err != ErrNotAccepted {
				return fmt.Errorf("read: %v", err)
			}
			return nil
		},
		"too big": func(d *Decoder) error {
			if d.ExpectString(new(string)) || !errors.Is(d.Err(), ErrTooLong) {
				return fmt.Errorf("error is %v", d.Err())
			}
			return nil
		},
		"not looked at": func(d *Decoder) error { d.ExpectAtom(new(string)); return nil },
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			d := NewDecoder(strings.NewReader("{2000}\r\nnext\r\n"), Limits{Literal: 1000})
			d.ContinueFunc = func() error { return errors.New("asked for") }
			if err := do(d); err != nil {
				t.Fatal(err)
			}
			if err := d.SkipLine(); err != nil {
				t.Fatal(err)
			}
			wantNext(t, d)
		})
	}
}

// Whatever part of a literal is read before the caller gives up, the line
// goes on behind it.
func TestLiteralReaderSkipped(t *testing.T) {
	for _, size := range []int{0, 1, 100, readSize, 100_000} {
		content := strings.Repeat("x\r\n{9+}\r\n", size/9+1)[:size]
		in := fmt.Sprintf("~{%d+}\r\n%s ({2+}\r\n\r\n) x\r\nnext\r\n", size, content)
		for _, read := range []int{0, size / 2, size} {
			decodersOf(t, in, Limits{}, func(t *testing.T, d *Decoder) {
				d.ContinueFunc = func() error { return errors.New("asked for") }
				l, err := d.LiteralReader()
				if err != nil || !l.NonSync || !l.Binary || l.Accept() != nil {
					t.Fatalf("%+v, %v", l, err)
				}
				got := make([]byte, read)
				if _, err := io.ReadFull(l, got); err != nil || string(got) != content[:read] {
					t.Fatalf("content differs, error %v", err)
				}
				if read == size && !d.SP() {
					t.Errorf("no space behind the literal, error %v", d.Err())
				}
				if err := d.SkipLine(); err != nil {
					t.Fatal(err)
				}
				wantNext(t, d)
			})
		}
	}
}

func TestLiteralReaderStreams(t *testing.T) {
	content := strings.Repeat("0123456789abcdef", 10_000)
	in := fmt.Sprintf("{%d}\r\n%s)\r\nnext\r\n", len(content), content)
	decodersOf(t, in, Limits{}, func(t *testing.T, d *Decoder) {
		l, err := d.LiteralReader()
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(l)
		if err != nil || string(got) != content || !d.ExpectSpecial(')') {
			t.Errorf("%d bytes, %v, %v", len(got), err, d.Err())
		}
		wantNext(t, d)
	})
}

// Parsing must not run into the content of a literal.
func TestLiteralLeftOpen(t *testing.T) {
	d := NewDecoder(strings.NewReader("{2+}\r\nab\r\n"), Limits{})
	if _, err := d.LiteralReader(); err != nil {
		t.Fatal(err)
	}
	if d.Atom(new(string)) || d.Err() != ErrLiteralOpen || d.SkipLine() != ErrLiteralOpen {
		t.Errorf("error is %v", d.Err())
	}
}

func TestLiteralReaderCut(t *testing.T) {
	d := NewDecoder(strings.NewReader("{10}\r\nab"), Limits{})
	l, err := d.LiteralReader()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := io.ReadAll(l); err != io.ErrUnexpectedEOF {
			t.Errorf("error is %v", err)
		}
	}
	if d.SkipLine() != io.ErrUnexpectedEOF {
		t.Error("connection goes on")
	}
}

// A literal header that the parser went over in other ways still counts when
// the line is skipped: what follows must never be read as a command.
func TestSkipLineSeesLiterals(t *testing.T) {
	for name, do := range map[string]func(d *Decoder){
		"untouched":       func(d *Decoder) { d.ExpectAtom(new(string)) },
		"inside of text":  func(d *Decoder) { d.Text(new(string)) },
		"inside of brace": func(d *Decoder) { d.Special('('); d.Special('{'); d.ExpectAtom(new(string)) },
		"at the end":      func(d *Decoder) { d.Text(new(string)); d.ExpectSP() },
	} {
		t.Run(name, func(t *testing.T) {
			for _, header := range []string{"{6+}\r\n", "{6+}\n", "~{6+}\r\n", "{0000000000000006+}\r\n"} {
				decodersOf(t, "("+header+"evil\r\n)\r\nnext\r\n", Limits{}, func(t *testing.T, d *Decoder) {
					d.ContinueFunc = func() error { return errors.New("asked for") }
					do(d)
					if err := d.SkipLine(); err != nil {
						t.Fatal(err)
					}
					wantNext(t, d)
				})
			}
		})
	}
}

// In responses the content follows without being asked for.
func TestSkipLineOfResponse(t *testing.T) {
	d := NewDecoder(strings.NewReader("* 1 FETCH (BODY[] {6}\r\nevil\r\n UID 5)\r\nnext\r\n"), Limits{})
	if !d.Special('*') {
		t.Fatal(d.Err())
	}
	if err := d.SkipLine(); err != nil {
		t.Fatal(err)
	}
	wantNext(t, d)
}

func TestIdleDecoderHoldsNoBuffer(t *testing.T) {
	client, server := io.Pipe()
	d := NewDecoder(client, Limits{})
	go func() {
		for range 3 {
			_, _ = server.Write([]byte("a NOOP\r\n"))
		}
		_, _ = server.Write([]byte("a X\r\nrest"))
		_ = server.Close()
	}()
	for range 3 {
		if err := d.WaitInput(); err != nil {
			t.Fatal(err)
		}
		var s string
		if !d.Text(&s) || s != "a NOOP" || d.Buffered() == 0 || !d.CRLF() {
			t.Fatalf("line %q, error %v", s, d.Err())
		}
		d.Release()
		if d.buf != nil || d.Buffered() != 0 {
			t.Error("holds a buffer")
		}
	}
	if err := d.Fill(); err != nil || !d.Special('a') {
		t.Fatal(err)
	}
	if d.Release(); d.buf == nil {
		t.Error("gave a line away")
	}
	_ = d.SkipLine()
	if rest := d.TakeBuffered(); !bytes.Equal(rest, []byte("rest")) || d.buf != nil {
		t.Errorf("rest is %q", rest)
	}
	if err := d.WaitInput(); err != io.EOF {
		t.Errorf("error is %v", err)
	}
}

// A deadline that ends a wait does not end the connection.
func TestFillErrorDoesNotStay(t *testing.T) {
	timeout := errors.New("timeout")
	r := &onceFailing{err: timeout, r: strings.NewReader("next\r\n")}
	d := NewDecoder(r, Limits{})
	if err := d.WaitInput(); err != timeout {
		t.Fatalf("error is %v", err)
	}
	wantNext(t, d)
}

type onceFailing struct {
	err error
	r   io.Reader
}

func (r *onceFailing) Read(p []byte) (int, error) {
	if err := r.err; err != nil {
		r.err = nil
		return 0, err
	}
	return r.r.Read(p)
}

// After STARTTLS nothing that came before it in the clear may count.
func TestDecoderReset(t *testing.T) {
	d := NewDecoder(strings.NewReader("a STARTTLS\r\na EVIL\r\n"), Limits{})
	d.Text(new(string))
	d.CRLF()
	d.Reset(strings.NewReader("next\r\n"))
	if d.Buffered() != 0 {
		t.Error("kept what was buffered")
	}
	wantNext(t, d)
}
