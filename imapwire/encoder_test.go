package imapwire

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/roost-mail/roost/imap"
)

func TestEncoderTokens(t *testing.T) {
	newYork := time.FixedZone("", -5*3600)
	at := time.Date(2024, 1, 2, 3, 4, 5, 0, newYork)
	tests := []struct {
		name string
		do   func(e *Encoder)
		want string
	}{
		{"tagged", func(e *Encoder) { e.Tagged("a1").Atom("OK").SP().Text("done") }, "a1 OK done"},
		{"untagged", func(e *Encoder) { e.Tagged("*").Number(12).SP().Atom("EXISTS") }, "* 12 EXISTS"},
		{"number64", func(e *Encoder) { e.Number64(1<<63 - 1) }, "9223372036854775807"},
		{"section atom", func(e *Encoder) { e.Atom("BODY[1.TEXT]") }, "BODY[1.TEXT]"},
		{"flags", func(e *Encoder) { e.Flags([]imap.Flag{`\Seen`, "$Junk", `\*`}) }, `(\Seen $Junk \*)`},
		{"no flags", func(e *Encoder) { e.Flags(nil) }, `()`},
		{"string", func(e *Encoder) { e.String(`a "b" \c`) }, `"a \"b\" \\c"`},
		{"empty string", func(e *Encoder) { e.String("") }, `""`},
		{"string with line end", func(e *Encoder) { e.String("a\r\nb").SP().Atom("c") }, "{4}\r\na\r\nb c"},
		{"string with 8 bit", func(e *Encoder) { e.String("é") }, "{2}\r\né"},
		{"string with NUL", func(e *Encoder) { e.String("a\x00b") }, "{3}\r\na?b"},
		{"string in UTF-8", func(e *Encoder) { e.UTF8 = true; e.String("é") }, `"é"`},
		{"string that is no UTF-8", func(e *Encoder) { e.UTF8 = true; e.String("\xff") }, "{1}\r\n\xff"},
		{"nstring", func(e *Encoder) { e.NString("").SP().NString("x") }, `NIL "x"`},
		{"astring", func(e *Encoder) { e.AString("x").SP().AString("").SP().AString("nil").SP().AString("a b") }, `x "" "nil" "a b"`},
		{"mailbox", func(e *Encoder) { e.Mailbox("inbox").SP().Mailbox("Entwürfe").SP().Mailbox("A&B c") }, `INBOX Entw&APw-rfe "A&-B c"`},
		{"mailbox in UTF-8", func(e *Encoder) { e.UTF8 = true; e.Mailbox("Entwürfe") }, `"Entwürfe"`},
		{"text is made clean", func(e *Encoder) { e.Text("a\r\nb\x00c\x7fd é") }, "a  b c d é"},
		{"text is no code", func(e *Encoder) { e.Atom("OK").SP().Text("[ALERT] x") }, "OK  [ALERT] x"},
		{"code", func(e *Encoder) { e.Code(imap.CodeNoPerm, "").Text("no") }, "[NOPERM] no"},
		{"code with arguments", func(e *Encoder) { e.Code("UIDNEXT", "7").Text("ok") }, "[UIDNEXT 7] ok"},
		{"date-time", func(e *Encoder) { e.DateTime(at) }, `" 2-Jan-2024 03:04:05 -0500"`},
		{"date", func(e *Encoder) { e.Date(at) }, `2-Jan-2024`},
		{"set", func(e *Encoder) { e.AppendFunc(imap.UIDSetOf(1, 2, 5).AppendTo) }, `1:2,5`},
		{"literal", func(e *Encoder) { e.Literal(3, strings.NewReader("abcdef")).Special(')') }, "{3}\r\nabc)"},
		{"literal of nothing", func(e *Encoder) { e.Literal(0, strings.NewReader("")).Special(')') }, "{0}\r\n)"},
		{"literal hides NUL", func(e *Encoder) { e.Literal(3, strings.NewReader("a\x00c")) }, "{3}\r\na\x80c"},
		{"literal8 keeps NUL", func(e *Encoder) { e.Literal8(3, strings.NewReader("a\x00c")) }, "~{3}\r\na\x00c"},
		{"raw", func(e *Encoder) { e.Raw([]byte("x\x00")).RawString("y") }, "x\x00y"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			e := NewEncoder(&out)
			tt.do(e)
			if err := e.CRLF().Flush(); err != nil {
				t.Fatal(err)
			}
			if got := out.String(); got != tt.want+"\r\n" {
				t.Errorf("got %q, want %q", got, tt.want+"\r\n")
			}
			if e.buf != nil {
				t.Error("buffer is held after Flush")
			}
		})
	}
}

// A value that cannot be sent takes its line away and leaves the others.
func TestEncoderTakesBadLineBack(t *testing.T) {
	bad := map[string]func(e *Encoder){
		"line end in atom": func(e *Encoder) { e.Atom("x\r\na2 OK") },
		"NUL in atom":      func(e *Encoder) { e.Atom("x\x00") },
		"empty atom":       func(e *Encoder) { e.Atom("") },
		"space in tag":     func(e *Encoder) { e.Tagged("a b") },
		"line end in flag": func(e *Encoder) { e.Flag("\\Seen\r\n") },
		"lone backslash":   func(e *Encoder) { e.Flag(`\`) },
		"line end in code": func(e *Encoder) { e.Code("X", "a\r\nb") },
		"bracket in code":  func(e *Encoder) { e.Code("X", "a] b") },
		"negative literal": func(e *Encoder) { e.LiteralHeader(-1) },
	}
	for name, do := range bad {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			e := NewEncoder(&out)
			e.Atom("before").CRLF()
			e.Atom("half").SP()
			do(e)
			e.SP().Atom("half").CRLF()
			e.Atom("after").CRLF()
			if err := e.Flush(); !errors.Is(err, ErrNotSendable) {
				t.Errorf("error is %v", err)
			}
			if got := out.String(); got != "before\r\nafter\r\n" {
				t.Errorf("sent %q", got)
			}
			if err := e.Flush(); err != nil {
				t.Errorf("error stays: %v", err)
			}
		})
	}
}

// A literal whose content can't be had is taken back with its line, as long as
// nothing of that has left.
func TestEncoderTakesLiteralBack(t *testing.T) {
	var out bytes.Buffer
	e := NewEncoder(&out)
	e.Atom("before").CRLF().Atom("half").SP().Literal(5, strings.NewReader("abc")).SP().Atom("half").CRLF().Atom("after").CRLF()
	if err := e.Flush(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error is %v", err)
	}
	if got := out.String(); got != "before\r\nafter\r\n" {
		t.Errorf("sent %q", got)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Where part of the line has left, or announced bytes are missing, the peer
// cannot be told: nothing may follow.
func TestEncoderBreaks(t *testing.T) {
	tests := []struct {
		name string
		do   func(e *Encoder)
		want error
	}{
		{"bad atom behind flushed part", func(e *Encoder) { _ = e.Atom("x").Flush(); e.Atom("\r") }, ErrNotSendable},
		{"short reader behind flushed part", func(e *Encoder) { _ = e.Atom("x").Flush(); e.Literal(5, strings.NewReader("abc")) }, io.ErrUnexpectedEOF},
		{"reader without progress behind flushed part", func(e *Encoder) { _ = e.Atom("x").Flush(); e.Literal(5, idleReader{}) }, io.ErrNoProgress},
		{"short reader of much", func(e *Encoder) { e.Literal(writeSize+1, io.LimitReader(zeros{}, writeSize)) }, io.ErrUnexpectedEOF},
		{"token inside of literal", func(e *Encoder) { e.LiteralHeader(5).Atom("abcde") }, errCounting},
		{"line end inside of literal", func(e *Encoder) { e.LiteralHeader(5).CRLF() }, errCounting},
		{"too much", func(e *Encoder) { _, _ = e.LiteralHeader(2).Write([]byte("abc")) }, ErrNotSendable},
		{"write without literal", func(e *Encoder) { _, _ = e.Write([]byte("abc")) }, ErrNotSendable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			e := NewEncoder(&out)
			tt.do(e)
			e.CRLF().Atom("next").CRLF()
			for range 2 {
				if err := e.Flush(); !errors.Is(err, tt.want) {
					t.Errorf("error is %v, want %v", err, tt.want)
				}
			}
			if strings.Contains(out.String(), "next") {
				t.Errorf("sent %q", out.String())
			}
		})
	}
}

func TestAppendStrings(t *testing.T) {
	tests := []struct {
		name string
		do   func([]byte, string) []byte
		in   string
		want string
	}{
		{"string", AppendString, `a "b"`, `"a \"b\""`},
		{"string with line end", AppendString, "a\r\nb", "{4}\r\na\r\nb"},
		{"string with 8 bit", AppendString, "é", "{2}\r\né"},
		{"string with NUL", AppendString, "a\x00", "{2}\r\na?"},
		{"long string", AppendString, strings.Repeat("x", 1025), "{1025}\r\n" + strings.Repeat("x", 1025)},
		{"astring", AppendAString, "x", "x"},
		{"astring that is no atom", AppendAString, "x y", `"x y"`},
		{"astring NIL", AppendAString, "NIL", `"NIL"`},
	}
	for _, tt := range tests {
		if got := string(tt.do([]byte("* "), tt.in)); got != "* "+tt.want {
			t.Errorf("%s: %q", tt.name, got)
		}
	}
}

// After STARTTLS nothing that was meant for the old connection goes on the new.
func TestEncoderReset(t *testing.T) {
	var out bytes.Buffer
	e := NewEncoder(failingWriter{errors.New("gone")})
	_ = e.Atom("x").Flush()
	e.Atom("old").CRLF()
	e.Reset(&out)
	if e.Buffered() != 0 {
		t.Error("kept what was buffered")
	}
	if err := e.Atom("new").CRLF().Flush(); err != nil || out.String() != "new\r\n" {
		t.Errorf("sent %q, %v", out.String(), err)
	}
}

type idleReader struct{}

func (idleReader) Read([]byte) (int, error) { return 0, nil }

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestEncoderWriterErrorStays(t *testing.T) {
	gone := errors.New("gone")
	e := NewEncoder(failingWriter{gone})
	for range 2 {
		if err := e.Atom("x").CRLF().Flush(); err != gone {
			t.Errorf("error is %v", err)
		}
	}
}

// Larger than the buffer, in each of the ways.
func TestEncoderLong(t *testing.T) {
	long := strings.Repeat("0123456789", 10_000)
	var out bytes.Buffer
	e := NewEncoder(&out)
	e.RawString(long).Raw([]byte(long)).Text(long).String(long)
	e.AppendFunc(func(b []byte) []byte { return append(b, long...) })
	e.Literal(int64(len(long)), strings.NewReader(long))
	e.LiteralHeader(int64(len(long)))
	if n, err := e.Write([]byte(long)); n != len(long) || err != nil {
		t.Fatal(n, err)
	}
	if err := e.CRLF().Flush(); err != nil {
		t.Fatal(err)
	}
	h := "{100000}\r\n"
	want := long + long + long + h + long + long + h + long + h + long + "\r\n"
	if out.String() != want {
		t.Errorf("got %d bytes, want %d", out.Len(), len(want))
	}
}

func TestEncoderClientLiterals(t *testing.T) {
	refused := errors.New("refused")
	tests := []struct {
		name    string
		nonSync int64
		wait    error
		want    string
		waits   int
	}{
		{"waits", 0, nil, "{3}\r\n\r\nx {5}\r\n\r\nabc\r\n", 2},
		{"refused", 0, refused, "{3}\r\n", 1},
		{"LITERAL+", 1 << 62, nil, "{3+}\r\n\r\nx {5+}\r\n\r\nabc\r\n", 0},
		{"LITERAL-", 4, nil, "{3+}\r\n\r\nx {5}\r\n\r\nabc\r\n", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			waits := 0
			e := NewEncoder(&out)
			e.NonSync = tt.nonSync
			e.Wait = func() error {
				waits++
				if !strings.HasSuffix(out.String(), "}\r\n") {
					t.Errorf("waits with %q sent", out.String())
				}
				return tt.wait
			}
			e.String("\r\nx").SP().Literal(5, strings.NewReader("\r\nabc")).CRLF()
			if err := e.Flush(); !errors.Is(err, tt.wait) {
				t.Errorf("error is %v", err)
			}
			if got := out.String(); got != tt.want || waits != tt.waits {
				t.Errorf("sent %q with %d waits, want %q with %d", got, waits, tt.want, tt.waits)
			}
			out.Reset()
			if err := e.Atom("next").CRLF().Flush(); err != nil || out.String() != "next\r\n" {
				t.Errorf("next line: %q, %v", out.String(), err)
			}
		})
	}
}

func BenchmarkEncodeFetch(b *testing.B) {
	e := NewEncoder(io.Discard)
	flags := []imap.Flag{imap.FlagSeen}
	b.ReportAllocs()
	for n := uint32(1); b.Loop(); n++ {
		e.RawString("* ").Number(n).RawString(" FETCH (UID ").Number(n).RawString(" FLAGS ").Flags(flags).RawString(")").CRLF()
	}
	if err := e.Flush(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkAppendString(b *testing.B) {
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendString(buf[:0], "Re: the minutes of the meeting on Thursday")
	}
}
